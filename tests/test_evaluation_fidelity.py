"""PSNR of autoencoders and first frames whose error is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from muybridge.evaluation.fidelity import autoencoder_fidelity, first_frame, first_frame_fidelity
from muybridge.simulation.clip import Clip, simulate

SEEDS = range(2**40 + 7000, 2**40 + 7003)


@cache
def short(seed: int) -> Clip:
    return simulate(seed, frames=5)


def off_by(levels: int) -> float:
    """PSNR of an error of so many levels everywhere."""
    return 20 * math.log10(255 / levels)


def shifted(frames: np.ndarray, levels: int) -> np.ndarray:
    """Every value that many levels off, towards grey."""
    return np.where(frames > 127, frames - np.uint8(levels), frames + np.uint8(levels))


def test_an_even_error_scores_the_same_everywhere() -> None:
    found = autoencoder_fidelity(lambda frames: shifted(frames, 6), SEEDS, clip=short)
    assert found.whole.value == pytest.approx(off_by(6))
    assert found.objects.value == pytest.approx(off_by(6))
    assert found.ssim.value < 1
    assert found.whole.n == len(SEEDS)


def test_an_error_in_the_objects_shows_there() -> None:
    def smudged(frames: np.ndarray) -> np.ndarray:
        inside = next(clip for seed in SEEDS if (clip := short(seed)).rgb is frames).instance > 0
        return np.where(inside[..., None], shifted(frames, 20), frames)

    found = autoencoder_fidelity(smudged, SEEDS, clip=short)
    assert found.objects.value == pytest.approx(off_by(20))
    assert found.whole.value > off_by(20) + 5


def test_finished_clips_are_not_made_again(tmp_path: Path) -> None:
    first = autoencoder_fidelity(lambda frames: shifted(frames, 3), SEEDS, clip=short, folder=tmp_path)
    assert first == autoencoder_fidelity(lambda frames: frames, SEEDS, clip=short, folder=tmp_path)


def test_first_frames_are_held_against_the_autoencoder() -> None:
    def animate(stills: np.ndarray, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        assert len(stills) == len(prompts) == len(seeds)
        return np.stack([shifted(stills, 4), np.zeros_like(stills)], axis=1)

    found = first_frame_fidelity(animate, lambda frames: shifted(frames, 2), SEEDS, batch=2)
    assert found.generated.value == pytest.approx(off_by(4))
    assert found.reconstructed.value == pytest.approx(off_by(2))
    assert found.lost.value == pytest.approx(20 * math.log10(2))


def test_the_still_is_the_first_frame_of_the_clip() -> None:
    np.testing.assert_array_equal(first_frame(SEEDS[0]), short(SEEDS[0]).rgb[0])


def test_a_reconstruction_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        autoencoder_fidelity(lambda frames: frames[:, ::2], SEEDS, clip=short)
