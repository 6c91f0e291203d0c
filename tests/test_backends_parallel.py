"""One clip on two processes: the same frames as on one, and one file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tiny_pipelines as tiny
from tiny_checkpoint import child_environment

from muybridge.backends.parallel import spread
from muybridge.storage.video import read_mp4
from muybridge.training.parallel import Group
from muybridge.types import Condition

pytest.importorskip("diffusers")
TWO = ("--standalone", "--nproc-per-node", "2")
pytestmark = pytest.mark.filterwarnings("ignore")


def test_what_cannot_be_cut_is_refused() -> None:
    clip = Condition("a cat", frames=9, height=48, width=48)
    with pytest.raises(
        ValueError, match="cannot be spread over 2 processes, its MochiTransformer3DModel cannot be cut"
    ):
        spread(tiny.mochi(), "mochi", clip, Group(0, 2))
    with pytest.raises(ValueError, match="has 2 heads and 27 tokens at 9 frames of 48x48: both have to be multiples"):
        spread(tiny.wan(), "wan", clip, Group(0, 2))


@pytest.mark.slow
def test_two_processes_make_the_clip_of_one(tmp_path: Path) -> None:
    tiny.wan().save_pretrained(tmp_path / "model")
    words = ["generate", "a cat", "--model", str(tmp_path / "model"), "--size", "64x64", "--seconds", "0.5"]
    words += ["--steps", "3", "--seed", "5", "--no-sign", "--no-watermark"]
    starts = {
        "one": [sys.executable, "-m", "muybridge"],
        "two": [sys.executable, "-m", "torch.distributed.run", *TWO, "-m", "muybridge"],
    }
    for clip, start in starts.items():
        command = [*start, *words, "-o", str(tmp_path / f"{clip}.mp4")]
        done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert sum(line.startswith("clip ") for line in done.stdout.splitlines()) == 1
    one, two = (read_mp4(tmp_path / f"{clip}.mp4").frames.astype(int) for clip in starts)
    assert abs(one - two).max() <= 2  # sums in another order, then compressed
