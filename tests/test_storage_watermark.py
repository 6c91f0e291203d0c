"""The mark in the pixels: not seen, read back through codecs and other sizes, and not read where it is not."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import UInt8
from PIL import Image

from muybridge.simulation.clip import simulate
from muybridge.storage.video import read_mp4, write_mp4
from muybridge.storage.watermark import FALSE_ALARM, SMALLEST, embed, fits, read

MESSAGE = 0xDEADBEEF
Frames = UInt8[np.ndarray, "t h w 3"]


@cache
def clip(name: str) -> Frames:
    """33 frames of 128x128: simulated worlds, and what is hardest to hide in or to find in."""
    if name.startswith("world"):
        return simulate(int(name[5:])).rgb
    y, x = np.mgrid[:128, :128]
    still = {
        "grey": np.full((128, 128, 3), 128),
        "white": np.full((128, 128, 3), 255),
        "ramp": np.stack([x + 60, y + 60, (x + y) // 2 + 60], -1),
        "noise": np.random.default_rng(0).normal(128, 10, (128, 128, 3)),
    }[name]
    return np.broadcast_to(still.clip(0, 255).astype(np.uint8), (33, 128, 128, 3))


CLIPS = ("world1000", "world1003", "world1004", "grey", "white", "ramp", "noise")

TEXTURED = ("world1000", "world1003", "world1004", "noise")


def psnr(one: Frames, other: Frames) -> float:
    return float(10 * np.log10(255**2 / (one.astype(np.float64) - other).__pow__(2).mean()))


def resized(frames: Frames, side: int) -> Frames:
    return np.stack([np.asarray(Image.fromarray(f).resize((side, side), Image.Resampling.BICUBIC)) for f in frames])


def coded(frames: Frames, folder: Path, crf: int) -> Frames:
    write_mp4(folder / "clip.mp4", frames, 15.0, crf=crf)
    return read_mp4(folder / "clip.mp4").frames


@pytest.mark.parametrize("name", CLIPS)
def test_it_is_not_seen(name: str) -> None:
    marked = embed(clip(name), MESSAGE)
    assert psnr(clip(name), marked) >= (43 if name == "noise" else 46)
    assert np.abs(marked.astype(int) - clip(name)).max() <= 9, "no pixel stands out"


@pytest.mark.parametrize("name", CLIPS)
def test_it_survives_compression_and_resizing(name: str, tmp_path: Path) -> None:
    marked = embed(clip(name), MESSAGE)
    found = read(marked)
    assert found.message == MESSAGE
    for seen in (
        coded(coded(marked, tmp_path, 12), tmp_path, 23),
        coded(resized(marked, 96), tmp_path, 23),
        resized(coded(resized(marked, 192), tmp_path, 23), 128),
        resized(resized(marked, 96), 128),
        resized(marked, 256),
    ):
        reading = read(seen)
        assert reading.log10_chance < -20
        assert reading.message == MESSAGE


def test_where_it_is_not_it_is_not_found() -> None:
    """Scores of clips without a mark, each with 40 keys: none is found, and none comes near the bound."""
    scores = [read(clip(name)[::16], b"key %d" % key).score for name in TEXTURED for key in range(40)]
    assert max(scores) < 8, "9.1 would be found"
    # 40 sums of coins' faces: each is half normal, and the score the sum of their magnitudes over their joint length.
    assert np.mean(scores) == pytest.approx(math.sqrt(40 * 2 / math.pi), abs=0.2)
    assert np.std(scores) == pytest.approx(math.sqrt(1 - 2 / math.pi), abs=0.15)


def test_the_stated_chance_is_hoeffdings() -> None:
    for name in CLIPS:
        reading = read(embed(clip(name), MESSAGE))
        assert reading.found
        assert reading.log10_chance == pytest.approx((40 * math.log(2) - reading.score**2 / 2) / math.log(10))
    assert math.log10(FALSE_ALARM) == -6


def test_another_key_reads_nothing() -> None:
    marked = embed(clip("world1000")[:9], MESSAGE, b"secret")
    assert read(marked, b"secret").message == MESSAGE
    assert not read(marked).found
    assert read(marked).message is None


def test_the_same_gives_the_same() -> None:
    assert (embed(clip("world1000"), 7) == embed(clip("world1000"), 7)).all()
    assert (embed(clip("world1000"), 7) != embed(clip("world1000"), 8)).any()


def test_every_frame_carries_it() -> None:
    marked = embed(clip("world1003"), MESSAGE)
    assert all(read(frame[None]).message == MESSAGE for frame in marked[::8])
    assert read(marked[-5:]).message == MESSAGE
    assert (embed(clip("world1003")[3:5], MESSAGE) == marked[3:5]).all(), "no frame depends on the others"


def test_a_marked_clip_can_be_marked_again() -> None:
    once = embed(clip("world1004"), 0x12345678)
    assert read(embed(once, MESSAGE)).message == MESSAGE


def test_a_clip_that_goes_on_from_a_marked_still_has_its_own() -> None:
    still = embed(clip("world1004")[:1], 0x12345678)
    assert read(embed(np.concatenate([still, clip("world1004")[1:]]), MESSAGE)).message == MESSAGE


@settings(max_examples=25, deadline=None)
@given(
    message=st.integers(0, 2**32 - 1),
    colour=st.tuples(*[st.integers(0, 255)] * 3),
    height=st.integers(SMALLEST, 200),
    width=st.integers(SMALLEST, 200),
)
def test_any_message_in_any_colour_and_size(
    message: int, colour: tuple[int, int, int], height: int, width: int
) -> None:
    flat = np.broadcast_to(np.array(colour, np.uint8), (1, height, width, 3))
    assert not read(flat).found
    assert read(embed(flat, message)).message == message


def test_too_small() -> None:
    small = np.zeros((1, SMALLEST - 1, 200, 3), np.uint8)
    assert not fits(SMALLEST - 1, 200)
    with pytest.raises(ValueError, match=r"200x63 are too small .* 64 pixels"):
        embed(small, MESSAGE)
    assert not read(small).found
    assert not read([]).found
