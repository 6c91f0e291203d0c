"""What held-out prompts have become of so far: pictures that are looked at while the transformer learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from einops import rearrange
from jaxtyping import UInt8

from muybridge.conditioning.text import pad
from muybridge.conditioning.vocabulary import Vocabulary
from muybridge.data.material import Shape
from muybridge.data.worlds import HELD_OUT
from muybridge.sampler.sample import Settings, sample
from muybridge.simulation import prompt_and_facts
from muybridge.tokenizer.autoencoder import VideoAutoencoder
from muybridge.training.objectives import FlowMatching
from muybridge.types import Sampled, Streams, latent_frames

SAMPLED = 8
"""Held-out prompts whose pictures are drawn now and then while the transformer learns."""

STEPS = 16
"""In which they are sampled at most."""


def samples(
    shapes: Sequence[Shape],
    settings: Settings,
    objective: FlowMatching,
    autoencoder: VideoAutoencoder,
    vocabulary: Vocabulary,
    step: int,
) -> UInt8[np.ndarray, "h w 3"]:
    """A row of frames for each prompt, the same prompts in every shape. `step` is when: a `trainer.Sheet` has it."""
    clips = 2 * max(1, SAMPLED // (2 * len(shapes)))
    rows = [_samples(shape, settings, clips, objective, autoencoder, vocabulary) for shape in shapes]
    widest = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0))) for row in rows])


def _samples(
    shape: Shape,
    settings: Settings,
    clips: int,
    objective: FlowMatching,
    autoencoder: VideoAutoencoder,
    vocabulary: Vocabulary,
) -> UInt8[np.ndarray, "h w 3"]:
    """Clips of one shape, two side by side."""
    prompts = [prompt_and_facts(HELD_OUT + i)[0] for i in range(clips)]
    device, config = objective.transformer.frames_in.weight.device, autoencoder.config
    rows, columns = shape.height // config.spatial_stride, shape.width // config.spatial_stride
    known = torch.zeros(clips, latent_frames(shape.frames), config.channels, rows, columns, device=device)
    nothing = torch.zeros(known.shape[:2], dtype=torch.bool, device=device)
    fps = known.new_full((clips,), shape.fps)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        text = objective.text(pad([vocabulary.ids(prompt) for prompt in prompts]).to(device))
        negative = objective.text(pad([[]] * clips).to(device))
        streams, without = Streams(text, None, known, nothing, fps), Streams(negative, None, known, nothing, fps)
        quick = replace(settings, steps=min(settings.steps, STEPS), preview_every=0)
        *_, last = sample(objective.transformer, streams, without, quick, range(clips))
        assert isinstance(last, Sampled), last
        video, _ = autoencoder.to(device).decode(last.latent.frames)
    shown = np.unique(np.linspace(0, shape.frames - 1, 6).round().astype(int))
    frames = ((video[:, shown].float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return rearrange(frames, "(r n) t c h w -> (n h) (r t w) c", r=2).cpu().numpy()
