"""A LoRA of one's own: it lowers the loss, goes on where it was, is saved, loaded and fused to the same clip."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_pipelines as tiny
import torch
from safetensors.torch import load_file
from test_backends_families import condition, noise

import muybridge
from muybridge import cli
from muybridge.backends.finetuning import LoraVelocity, save
from muybridge.storage.video import write_mp4
from muybridge.training.settings import TrainSettings
from muybridge.training.trainer import Trainer
from muybridge.types import Batch

pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore")


class Same:
    """One clip, with the same noise, again and again: the least that can be learnt."""

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        video = ((noise(5, 32) + 1) * 127.5).byte()[None]
        return Batch(video=video, text=torch.tensor([[1]]), seed=torch.tensor([step % 2]))


def trained(folder: Path, steps: int, stop: int | None = None) -> tuple[LoraVelocity, list[float]]:
    """A tiny Wan, finetuned; `stop` leaves off after so many steps."""
    objective = LoraVelocity(tiny.wan(), ["a cat"], rank=4)
    settings = TrainSettings(steps=steps, lr=2e-2, warmup=1, ema=None, log_every=2, decay=0.0)
    losses = []
    events = Trainer(objective, Same(), settings, folder).run()
    for event in events:
        losses.append(event.metrics["loss"])
        if stop is not None and event.step >= stop:
            events.close()  # type: ignore[attr-defined]
            break
    return objective, losses


def test_it_lowers_the_loss_and_leaves_the_model_alone(tmp_path: Path) -> None:
    before = tiny.wan().transformer.state_dict()
    objective, losses = trained(tmp_path, 30)
    assert losses[-1] < 0.97 * losses[0]
    after = {name.replace(".base_layer", ""): value for name, value in objective.transformer.state_dict().items()}
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_what_is_interrupted_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, _ = trained(tmp_path / "whole", 8)
    trained(tmp_path / "parts", 8, stop=4)
    parts, _ = trained(tmp_path / "parts", 8)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other)


def test_saved_loaded_and_fused_it_makes_the_same_clip(tmp_path: Path) -> None:
    folder = tmp_path / "wan"
    tiny.wan().save_pretrained(folder)
    objective, _ = trained(tmp_path / "run", 10)
    path = tmp_path / "lora.safetensors"
    (pipe,) = objective._pipe
    save(pipe, path)
    assert all(name.startswith("transformer.blocks.") for name in load_file(path))
    model = muybridge.load(folder, "cpu", loras=[str(path)])
    settings = muybridge.Settings(2, "own", 5.0, preview_every=0)

    def made(one: muybridge.Model) -> torch.Tensor:
        return one.generate(condition("Wan", ""), 3, settings)[0].video.frames

    loaded, plain = made(model), made(muybridge.load(folder, "cpu"))
    assert (loaded - plain).abs().max() > 1e-3
    model.pipeline.pipe.fuse_lora()  # type: ignore[attr-defined]
    model.pipeline.pipe.unload_lora_weights()  # type: ignore[attr-defined]
    assert (made(model) - loaded).abs().max() < 1e-4


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, data, run = tmp_path / "wan", tmp_path / "films", tmp_path / "run"
    tiny.wan().save_pretrained(folder)
    data.mkdir()
    for i in range(2):
        write_mp4(data / f"{i}.mp4", ((noise(6, 32) + 1) * 127.5).byte().permute(0, 2, 3, 1).numpy(), 16.0)
        (data / f"{i}.txt").write_text("a cat walks")
    words = ["finetune", "--model", str(folder), "--data", str(data), "-o", str(run), "--steps", "2", "--rank", "2"]
    words += ["--size", "32x32", "--frames", "5"]
    assert cli.obey(words) == 0, capsys.readouterr().err
    lora = run / "lora.safetensors"
    assert f"--lora {lora}" in capsys.readouterr().out
    assert isinstance(muybridge.load(folder, "cpu", loras=[f"{lora}:0.5"]), muybridge.Model)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "WanVACEPipeline"}))
    assert cli.obey(words) == 2
    assert "cannot be" in capsys.readouterr().err
