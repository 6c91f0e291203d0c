"""What a student is when its lessons begin: the teacher, with what it needs to do more than the teacher can."""

from __future__ import annotations

from dataclasses import replace

from muybridge.transformer.model import VideoTransformer


def begun(teacher: VideoTransformer, spans: bool, causal: bool, window: int | None = None) -> VideoTransformer:
    """A trainable copy of `teacher` that takes spans, or sees no future, if that is wanted.

    window  latent frames that it remembers while it streams; None: as many as the teacher's shape says

    The new input starts at no effect: a student says what its teacher says until it has learnt something.
    """
    window = teacher.config.window if window is None else window
    causal = causal or teacher.config.causal
    student = VideoTransformer(replace(teacher.config, spans=spans, causal=causal, window=window))
    missing, unexpected = student.load_state_dict(teacher.state_dict(), strict=False)
    assert not unexpected, unexpected
    assert set(missing) <= {"level.span.weight"}, missing
    student.to(teacher.frames_in.weight.device).requires_grad_(True)
    if student.tracks_in is not None:
        student.tracks_in.requires_grad_(False)  # the teacher reads tracks for both
    return student
