"""Speed: a small network in stages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from muybridge.evaluation.speed import Parts, measure_speed
from muybridge.storage.video import read_mp4, write_mp4


def words() -> torch.Tensor:
    return torch.ones(4, 8) @ torch.ones(8, 16)


def steps(said: torch.Tensor) -> Iterator[torch.Tensor | None]:
    """Three products; only the last is to be decoded."""
    x = said
    for left in (2, 1, 0):
        x = x @ torch.full((16, 16), 0.1)
        yield x if left == 0 else None


def decode(made: torch.Tensor | None) -> np.ndarray:
    assert made is not None
    pixels = (made @ torch.ones(16, 32 * 32)).sigmoid()
    return (pixels.reshape(4, 32, 32, 1) * 255).byte().numpy().repeat(3, axis=3)


def test_every_stage_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    parts = Parts(words, steps, decode, lambda frames: write_mp4(path, frames, 8.0))
    told: list[int] = []
    found = measure_speed(parts, 8.0, rounds=2, watch=told.append)
    assert told == [1, 2, 3, 4]
    assert [stage.name for stage in found.stages] == ["text", "step 1", "step 2", "step 3", "decode", "write"]
    products = [2 * 4 * 8 * 16, *[2 * 4 * 16 * 16] * 3, 2 * 4 * 16 * 32 * 32]
    assert [stage.flops for stage in found.stages] == [*products, None]
    assert found.flops == sum(products)
    assert found.frames == 4
    assert all(stage.seconds > 0 and stage.peak_mebibytes > 1 for stage in found.stages)
    assert len(read_mp4(path).frames) == 4


def test_rates_follow_from_seconds_and_all_of_it_becomes_json() -> None:
    found = measure_speed(Parts(words, steps, decode, lambda frames: None), 2.0, rounds=1)
    assert found.frames_per_second == pytest.approx(4 / found.seconds_per_clip)
    assert found.real_time_factor == pytest.approx(found.seconds_per_clip / (4 / 2.0))
    assert found.share_of_peak == pytest.approx(found.flops / found.seconds_per_clip / found.matmul_peak)
    assert found.seconds_to_first_frame == pytest.approx(sum(stage.seconds for stage in found.stages[:-1]))
    assert found.peak_mebibytes == max(stage.peak_mebibytes for stage in found.stages)
    read = json.loads(json.dumps(found.as_json()))
    assert read["real_time_factor"] == found.real_time_factor
    assert read["stages"][1]["name"] == "step 1"


def test_the_first_frame_alone_is_decoded_if_it_can_be() -> None:
    calls: list[str] = []

    def first(made: torch.Tensor | None) -> np.ndarray:
        calls.append("first")
        return decode(made)[:1]

    found = measure_speed(Parts(words, steps, decode, lambda frames: None, first), 2.0, rounds=1)
    assert calls == ["first", "first"]  # the round that does not count, and the one that does
    assert found.seconds_to_first_frame > sum(stage.seconds for stage in found.stages if stage.name.startswith("step"))


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="positive numbers"):
        measure_speed(Parts(words, steps, decode, lambda frames: None), 2.0, rounds=0)
    with pytest.raises(ValueError, match=r"Parts\.steps"):
        measure_speed(Parts(words, lambda said: iter(()), decode, lambda frames: None), 2.0)
