"""Simulated worlds as a source: the clips of the simulator, by the step alone, never a held-out one."""

from __future__ import annotations

import hypothesis
import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from muybridge.data.source import clip_seeds
from muybridge.data.worlds import HELD_OUT, HELD_OUT_PAIRS, Worlds
from muybridge.simulation import simulate


def letters(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def test_a_batch_holds_the_clips_of_its_seeds() -> None:
    source = Worlds(frames=5, height=32, width=48, fps=15.0, batch=2, seed=1, encode_text=letters, text_length=400)
    batch = source.batch(3)
    assert batch.video is not None
    assert batch.moving is not None
    assert batch.text is not None
    assert batch.seed is not None
    assert batch.fps is not None
    for place, seed in enumerate(batch.seed.tolist()):
        clip = simulate(seed % HELD_OUT, 5, 32, 48, 15.0, HELD_OUT_PAIRS)
        assert np.array_equal(batch.video[place].permute(0, 2, 3, 1).numpy(), clip.rgb)
        assert np.array_equal(batch.moving[place].numpy(), clip.instance > 0)
        assert "".join(chr(letter) for letter in batch.text[place].tolist() if letter) in clip.captions
    assert batch.fps.tolist() == [15.0, 15.0]


def test_processes_share_the_same_batch() -> None:
    source = Worlds(frames=1, height=32, width=32, fps=15.0, batch=4)
    whole, parts = source.batch(7), [source.batch(7, rank, 2) for rank in range(2)]
    for name in ("video", "moving", "seed"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts]))
    assert whole.text is None


@hypothesis.settings(deadline=None)
@given(seed=st.integers(0, 2**31), step=st.integers(0, 2**31))
def test_seeds_do_not_repeat_in_a_batch(seed: int, step: int) -> None:
    assert len(set(clip_seeds(seed, step, range(32)).tolist())) == 32
