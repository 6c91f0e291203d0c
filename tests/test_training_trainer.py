"""The loop: it learns, it resumes to the bit however it ended, and it is the same in one process and in two."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_training import Denoise, Points, settings, trainer
from torch import Tensor

from muybridge.training.board import Board
from muybridge.training.parallel import joined
from muybridge.training.trainer import Trainer
from muybridge.types import Batch

SCRIPT = Path(__file__).with_name("tiny_training.py")


def state(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "state.safetensors")


def assert_same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    differing = [name for name in one if not torch.equal(one[name], other[name])]
    assert not differing


def script(*arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, *arguments], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_learns(tmp_path: Path) -> None:
    losses = [
        event.metrics["loss"] for event in trainer(tmp_path, Points(), settings(150, save_every_seconds=1e9)).run()
    ]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])


@pytest.mark.parametrize("muon_lr", [None, 3e-3])
def test_a_run_in_two_parts_gives_the_bits_of_one(tmp_path: Path, muon_lr: float | None) -> None:
    chosen = settings(8, muon_lr=muon_lr)
    events = list(trainer(tmp_path / "whole", Points(), chosen, dropout=0.2).run())
    for event in trainer(tmp_path / "parts", Points(), chosen, dropout=0.2).run():
        if event.step == 4:
            break
    again = trainer(tmp_path / "parts", Points(), chosen, dropout=0.2)
    assert again.step == 4
    rest = list(again.run())
    assert [event.metrics for event in rest] == [event.metrics for event in events[4:]]
    assert_same_bits(state(tmp_path / "whole"), state(tmp_path / "parts"))


class Sharpen(torch.nn.Module):
    """A convolution whose weights lie in memory channels last, as those of an autoencoder may."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(2, 2, 3, padding=1).to(memory_format=torch.channels_last)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.latent is not None
        frames = batch.latent.flatten(0, 1)
        return (self.conv(frames) - 2 * frames).square().mean(), {}


def test_weights_in_another_order_in_memory_resume_to_the_bit(tmp_path: Path) -> None:
    for name, limits in (("whole", [None]), ("parts", [0.0, 0.0, None])):
        for limit in limits:
            list(Trainer(Sharpen(), Points(), settings(6, time_limit_seconds=limit), tmp_path / name).run())
    assert_same_bits(state(tmp_path / "whole"), state(tmp_path / "parts"))


def test_a_killed_run_goes_on_to_the_bit(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    list(trainer(whole, Points(), settings(8)).run())
    killed = tmp_path / "killed"
    process = script(str(SCRIPT), str(killed), "8", "--pause", "0.3")
    wait_for(killed / "state.safetensors", process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    (killed / ".0123.part").write_bytes(b"what a process leaves that is killed while it writes")
    again = trainer(killed, Points(), settings(8))
    assert not list(killed.glob(".*"))
    assert 1 <= again.step < 8
    list(again.run())
    assert_same_bits(state(whole), state(killed))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_save_first(tmp_path: Path, number: int) -> None:
    training = trainer(tmp_path, Points(), settings(8, save_every_seconds=1e9))
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit):  # noqa: PT012
        for event in training.run():
            if event.step == 3:
                os.kill(os.getpid(), number)
    assert trainer(tmp_path, Points(), settings(8)).step == 4  # the step in which the signal came is not lost


def test_time_limit_saves_and_ends(tmp_path: Path) -> None:
    events = list(trainer(tmp_path, Points(), settings(8, save_every_seconds=1e9, time_limit_seconds=0.0)).run())
    assert [event.step for event in events] == [1]
    assert trainer(tmp_path, Points(), settings(8)).step == 1


def test_events_are_means_since_the_last(tmp_path: Path) -> None:
    each = [event.metrics for event in trainer(tmp_path / "a", Points(), settings(7)).run()]
    some = [(event.step, event.metrics) for event in trainer(tmp_path / "b", Points(), settings(7, log_every=3)).run()]
    assert [step for step, _ in some] == [3, 6, 7]
    assert some[0][1]["root"] == pytest.approx(np.mean([metrics["root"] for metrics in each[:3]]))
    assert some[2][1]["loss"] == each[6]["loss"]


def test_accumulation_takes_the_same_step(tmp_path: Path) -> None:
    for name, pieces in (("whole", 1), ("pieces", 3)):
        list(trainer(tmp_path / name, Points(), settings(3, accumulate=pieces, muon_lr=None)).run())
    one, other = state(tmp_path / "whole"), state(tmp_path / "pieces")
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=1e-5, rtol=1e-4)


def test_bf16_is_close_and_keeps_weights_in_float32(tmp_path: Path) -> None:
    exact = [e.metrics["loss"] for e in trainer(tmp_path / "a", Points(), settings(5)).run()]
    rough = [e.metrics["loss"] for e in trainer(tmp_path / "b", Points(), settings(5, bf16=True)).run()]
    assert exact != rough
    np.testing.assert_allclose(rough, exact, rtol=0.03)
    assert {tensor.dtype for tensor in state(tmp_path / "b").values()} == {torch.float32}


def test_another_recipe_in_the_folder_is_refused(tmp_path: Path) -> None:
    list(trainer(tmp_path, Points(), settings(2), recipe={"width": 32}).run())
    with pytest.raises(ValueError, match=r"lr = 0.003 there, 0.1 here"):
        trainer(tmp_path, Points(), settings(2, lr=0.1), recipe={"width": 32})
    with pytest.raises(ValueError, match=r"width = 32 there, 64 here"):
        trainer(tmp_path, Points(), settings(2), recipe={"width": 64})
    trainer(tmp_path, Points(), settings(2, log_every=7, accumulate=2), recipe={"width": 32})


def test_another_model_in_the_folder_is_refused(tmp_path: Path) -> None:
    list(trainer(tmp_path, Points(), settings(2)).run())
    other = Denoise()
    other.out = torch.nn.Linear(32, 9)
    with pytest.raises(ValueError, match=r"another model: .*out"):
        Trainer(other, Points(), settings(2), tmp_path)


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.safetensors").write_bytes(b"not a state")
    with pytest.raises(ValueError, match=r"state.safetensors is damaged"):
        trainer(tmp_path, Points(), settings(2))
    save_file({"weight": torch.zeros(1)}, tmp_path / "state.safetensors")
    with pytest.raises(ValueError, match=r"state.safetensors is not the state of a training"):
        trainer(tmp_path, Points(), settings(2))


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    list(trainer(tmp_path, Points(), settings(8, time_limit_seconds=0.0)).run())
    before = state(tmp_path)
    training = trainer(tmp_path, Points(), settings(8))
    with torch.no_grad():
        training.objective.out.weight.fill_(torch.nan)  # type: ignore[union-attr, operator]
    with pytest.raises(ValueError, match=r"loss became nan .* still holds the state of step 1"):
        list(training.run())
    assert_same_bits(before, state(tmp_path))


class Rooted(Denoise):
    """Its loss is a number, and its gradient none: the root of nothing has no slope."""

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        loss, metrics = super().forward(batch)
        return loss + (0 * self.out.bias).square().sum().sqrt(), metrics


def test_a_gradient_that_is_no_number_is_not_saved(tmp_path: Path) -> None:
    list(trainer(tmp_path, Points(), settings(8, time_limit_seconds=0.0)).run())
    before = state(tmp_path)
    with pytest.raises(ValueError, match=r"gradient became nan .* still holds the state of step 1"):
        list(Trainer(Rooted(), Points(), settings(8), tmp_path).run())
    assert_same_bits(before, state(tmp_path))


def test_samples_are_drawn_with_the_averaged_weights(tmp_path: Path) -> None:
    seen: list[tuple[int, Tensor]] = []

    def sheet(step: int) -> np.ndarray:
        seen.append((step, training.objective.out.weight.detach().clone()))  # type: ignore[union-attr, operator]
        return np.full((4, 6, 3), step, np.uint8)

    training = trainer(tmp_path, Points(), settings(4, sample_every=2), on_sample=sheet)
    list(training.run())
    assert [step for step, _ in seen] == [2, 4]
    assert torch.equal(seen[-1][1], state(tmp_path)["ema.out.weight"])
    assert not torch.equal(seen[-1][1], state(tmp_path)["model.out.weight"])
    assert (tmp_path / "samples" / "step-0000004.png").exists()
    assert list((tmp_path / "board").glob("events*"))


def test_compiled_takes_the_same_steps(tmp_path: Path) -> None:
    plain = [e.metrics["loss"] for e in trainer(tmp_path / "a", Points(), settings(3)).run()]
    calls: list[bool] = []
    training = trainer(tmp_path / "b", Points(), settings(3))
    training.objective.compile(backend=lambda graph, _: calls.append(True) or graph.forward)
    compiled = [e.metrics["loss"] for e in training.run()]
    assert calls
    np.testing.assert_allclose(compiled, plain, rtol=1e-5)


def test_processes_wait_for_the_one_that_encodes(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[timedelta] = []
    monkeypatch.setattr("torch.distributed.is_torchelastic_launched", lambda: True)
    monkeypatch.setattr("torch.distributed.init_process_group", lambda kind, timeout: waits.append(timeout))
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.barrier", lambda: None)
    monkeypatch.setattr("torch.distributed.destroy_process_group", lambda: None)
    with joined("cpu"):
        assert waits[0] > timedelta(days=7)


@pytest.mark.parametrize(
    ("device", "sentence"), [("gpu", "there is no device 'gpu' here"), ("cuda:99", "there is no device 'cuda:99' here")]
)
def test_a_device_that_is_not_there_is_a_sentence(device: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence), joined(device):
        pass


@pytest.mark.parametrize("more", [[], ["--fsdp"]], ids=["ddp", "fsdp2"])
def test_two_processes_take_the_steps_of_one(tmp_path: Path, more: list[str]) -> None:
    single = [event.metrics["loss"] for event in trainer(tmp_path / "one", Points(), settings(4)).run()]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = script(*launch, str(SCRIPT), str(tmp_path / "two"), "4", *more)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    double = [float(line.split()[1]) for line in out.splitlines()]
    np.testing.assert_allclose(double, single, rtol=1e-3)  # Muon's bf16 products differ in the last bits
    one, two = state(tmp_path / "one"), state(tmp_path / "two")
    assert one.keys() == two.keys()
    for name in one.keys() - {"model.seen"}:  # a buffer counts the clips of its own process
        torch.testing.assert_close(one[name], two[name], atol=2e-3, rtol=2e-2)


def test_a_sheet_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(image: Image.Image, path: Path, *rest: str) -> None:
        path.write_bytes(b"half a picture")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", stops)
    with pytest.raises(KeyboardInterrupt):
        Board(tmp_path, 0).sheet(1, np.zeros((4, 6, 3), np.uint8))
    assert not list((tmp_path / "samples").iterdir())
