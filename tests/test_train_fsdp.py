"""Training by two processes, weights shared or not: the whole journey is that of one, to rounding, stopped or not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_checkpoint import child_environment

from muybridge.cli import obey
from muybridge.data.material import Simulated
from muybridge.generate import load
from muybridge.recipes import find
from muybridge.storage.checkpoint import load as load_checkpoint
from muybridge.train import train
from muybridge.training.parallel import Group
from muybridge.types import Condition

STAGES = ("autoencoder", "decoder", "words", "stills", "clips", "witness", "planner", "dynamics")
JOURNEY = Path(__file__).with_name("tiny_journey.py")


def two_processes(*arguments: str) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, *arguments], env=child_environment(), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr


def command(folder: Path, *more: str) -> tuple[str, ...]:
    return ("-m", "muybridge.cli", "train", "tiny", "--device", "cpu", "--workers", "0", "-o", str(folder), *more)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training whose weights two processes shared."""
    folder = tmp_path_factory.mktemp("sharded")
    two_processes(*command(folder, "--fsdp"))
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of one process."""
    folder = tmp_path_factory.mktemp("alone")
    list(train(find("tiny"), Simulated(), folder, Group(), workers=0))
    return folder


def losses(folder: Path) -> list[float]:
    board = EventAccumulator(str(folder / "board"))
    board.Reload()
    return [event.value for event in board.Scalars("loss")]


def test_every_stage_is_that_of_one_process(sharded: Path, alone: Path) -> None:
    compare(sharded, alone)


def test_replicated_it_is_that_of_one_process_too(alone: Path, tmp_path: Path) -> None:
    """Of batches of some stages only a part of what learns is asked."""
    two_processes(*command(tmp_path))
    compare(tmp_path, alone)
    assert load(tmp_path / "model").planner is not None


def compare(together: Path, alone: Path) -> None:
    for stage in STAGES:
        np.testing.assert_allclose(losses(together / stage), losses(alone / stage), rtol=1e-4, err_msg=stage)
        two, one = (load_file(folder / stage / "state.safetensors") for folder in (together, alone))
        assert two.keys() == one.keys()
        for name in one:
            torch.testing.assert_close(two[name], one[name], atol=2e-3, rtol=2e-2)


def test_the_checkpoint_generates(sharded: Path) -> None:
    model = load(sharded / "model")
    assert model.witness is not None
    clip = model.generate(Condition("a red ball", frames=9, height=64, width=64), seed=1)[0]
    assert clip.frames.shape == (9, 64, 64, 3)
    assert (sharded / "clips" / "samples" / "step-0000002.png").exists()


@pytest.mark.slow
def test_stopped_and_resumed_is_uninterrupted(sharded: Path, tmp_path: Path) -> None:
    """In the second stage of the transformer, so that the first one's weights come from a file."""
    two_processes(str(JOURNEY), str(tmp_path), "--fsdp", "--until", "clips")
    assert not (tmp_path / "model").exists()
    two_processes(*command(tmp_path, "--fsdp"))
    assert load_checkpoint(tmp_path / "model").digest == load_checkpoint(sharded / "model").digest


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ((), "there is one: start them with torchrun --nproc-per-node 2 -m muybridge.cli train tiny --fsdp, or leave"),
        (("--rehearse",), "a rehearsal is of one process, and --fsdp is for several"),
    ],
)
def test_one_process_has_nobody_to_share_with(
    more: tuple[str, ...], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert obey(["train", "tiny", "--fsdp", "--device", "cpu", "-o", str(tmp_path / "run"), *more]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
