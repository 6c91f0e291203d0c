"""Engines: clips made by them are PyTorch's, `inspect` makes them again, and nobody is told of it."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from checked import unchecked
from tiny_checkpoint import build_planning_model, child_environment

import muybridge
from muybridge.cli import obey
from muybridge.engines import choice, kinds
from muybridge.engines.choice import LARGEST_ERROR, LEAST_PSNR, Trial, fastest, rehearse, remembered
from muybridge.engines.engine import Engine
from muybridge.engines.kinds import KINDS, PROMPTS, eager, home_of, kind_of, make, present, recorded
from muybridge.engines.parts import Part
from muybridge.storage.video import read_mp4

PLAIN = (
    *(f"transformer.{name}" for name in ("model", "blocks", "rope", "planner")),
    "tokenizer.autoencoder",
    "conditioning.text",
)
PROMPT = "a small red ball rolls behind a tall blue box"


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter looks into functions, and must not find the checks of shapes there."""
    unchecked(monkeypatch, *(f"muybridge.{name}" for name in PLAIN))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the graphs of the tiny model are kept while these tests run."""
    return tmp_path_factory.mktemp("engines")


@pytest.fixture
def model(tiny_model: Path) -> muybridge.Model:
    return muybridge.load(tiny_model, device="cpu", dtype=torch.float32)


def test_a_clip_that_follows_a_plan_is_pytorchs(tmp_path: Path) -> None:
    model = muybridge.load(build_planning_model(tmp_path / "model"), device="cpu", dtype=torch.float32)
    condition = muybridge.Condition(PROMPT, frames=9, height=32, width=48)
    wanted, plain = (model.generate(condition, 3, replace(model.settings, plan_steps=n))[0] for n in (2, 0))
    kind = next(kind for kind in present() if kind.endswith("f32"))
    model.engine = make(model, kind, tmp_path / "engines")
    for steps, clip in ((2, wanted), (0, plain)):
        found = model.generate(condition, 3, replace(model.settings, plan_steps=steps))[0]
        torch.testing.assert_close(found.video.frames, clip.video.frames, rtol=0, atol=2e-3)
    assert not torch.equal(wanted.video.frames, plain.video.frames)


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_is_pytorchs(kind: str, model: muybridge.Model, folder: Path) -> None:
    if kind not in present():
        pytest.skip(f"{KINDS[kind]} is not installed")
    condition = muybridge.Condition(PROMPT, frames=9, height=32, width=48)
    wanted = model.generate(condition, seed=[3, 4])
    model.engine = make(model, kind, folder)
    found = model.generate(condition, seed=[3, 4])
    for one, other in zip(wanted, found, strict=True):
        error = float((one.video.frames - other.video.frames).square().mean()) / 4
        assert -10 * np.log10(max(error, 1e-12)) > (60 if kind.endswith("f32") else 20)
        assert other.provenance.engine == kind
        assert one.provenance.engine == ""


def test_int8_rounds_products_and_leaves_the_decoder(
    model: muybridge.Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its velocity is off by rounding, no more and no less; its pixels are those of the precision around it."""
    if "openvino-int8" not in present():
        pytest.skip("openvino is not installed")
    from muybridge.engines.open_vino import native

    monkeypatch.setattr("muybridge.engines.rounding.FEWEST_ROWS", 10)
    (home_of(model, folder) / "transformer-int8.safetensors").unlink(missing_ok=True)
    whole, rounded, around = (make(model, f"openvino-{kind}", folder) for kind in ("f32", "int8", native()))
    assert model.engine is None
    for given in recorded(model, "transformer")[:3]:
        wanted, found, near = (engine.functions["transformer"](given)[0] for engine in (whole, rounded, around))
        assert float((near - wanted).norm()) < float((found - wanted).norm()) < 0.05 * float(wanted.norm())
    latent = whole.parts["decoder"].example({"batch": 1, "frames": 3, "height": 4, "width": 6})
    pixels, same = (engine.functions["decoder"](latent)[0] for engine in (around, rounded))
    assert torch.equal(pixels, same)
    monkeypatch.setattr(kinds, "recorded", lambda *model: pytest.fail("noted twice"))
    again = make(model, "openvino-int8", folder)
    assert torch.equal(again.functions["transformer"](given)[0], found)


def test_what_is_recorded_is_what_clips_are_made_of(model: muybridge.Model) -> None:
    given = recorded(model, "transformer")
    assert len(given) % len(PROMPTS) == 0
    assert len({float(inputs[1].max()) for inputs in given}) > 1, "levels of several steps"
    assert all(len(inputs) == len(eager(model).parts["transformer"].inputs) for inputs in given)
    assert not torch.equal(given[0][2], given[-1][2]), "words of several prompts"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(muybridge.Model, "generate", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            recorded(model, "transformer")
    assert model.engine is None


def test_a_rehearsal_is_remembered_for_this_machine_alone(
    tiny_model: Path, model: muybridge.Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And for what is multiplied in: who asks for float32 gets it."""
    if not present():
        pytest.skip("no engine is installed")
    trials = rehearse(model, folder)
    assert [trial.engine for trial in trials] == ["torch", *present(torch.float32)]
    assert all(trial.exact for trial in trials)
    assert remembered(model, folder) == trials
    coarse = muybridge.load(tiny_model, device="cpu", dtype=torch.bfloat16)
    assert remembered(coarse, folder) == []
    assert [trial.engine for trial in rehearse(coarse, folder)] == ["torch", *present()]
    assert remembered(model, folder) == trials
    monkeypatch.setattr(choice, "version", lambda package: "99")
    assert remembered(model, folder) == []


def test_what_another_version_made_is_not_read(model: muybridge.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    here = home_of(model)
    monkeypatch.setattr(kinds, "_code", lambda: "another")
    assert home_of(model) != here


def test_an_engine_that_fails_is_left_out(
    model: muybridge.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(model: muybridge.Model, kind: str, folder: Path, names: Sequence[str]) -> Engine:
        if kind == "broken":
            raise RuntimeError("no such instruction\n at some line of C++")
        return eager(model)

    monkeypatch.setattr(choice, "present", lambda dtype=None: ["broken", "onnxruntime-f32"])
    monkeypatch.setattr(choice, "KINDS", {"broken": "torch", "onnxruntime-f32": "torch"})
    monkeypatch.setattr(choice, "make", made)
    with pytest.warns(UserWarning, match=r"broken fails .* left out: no such instruction$"):
        trials = rehearse(model, tmp_path)
    assert [trial.engine for trial in trials] == ["torch", "onnxruntime-f32"]
    assert remembered(model, tmp_path) == trials


def test_an_engine_that_fails_in_a_clip_is_a_sentence(
    model: muybridge.Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        raise RuntimeError("could not create a primitive\n at some line of C++")

    monkeypatch.setattr(kinds, "_function", lambda *given: broken)
    model.engine = make(model, "onnxruntime-f32", folder)
    with pytest.raises(
        ValueError, match=r"^onnxruntime-f32 failed on this machine \(could not create a primitive\): take"
    ):
        model.generate(muybridge.Condition(PROMPT, frames=5, height=32, width=32))


def test_a_damaged_graph_is_made_anew(model: muybridge.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Graph:
        def SerializeToString(self) -> bytes:
            return b"a graph"

    made: list[Part] = []
    monkeypatch.setattr("muybridge.engines.graphs.to_onnx", lambda part: made.append(part) or Graph())
    part = eager(model).parts["decoder"]
    file = kinds._graph(part, tmp_path)
    assert kinds._graph(part, tmp_path) == file
    assert (file.read_bytes(), len(made)) == (b"a graph", 1)
    file.write_bytes(b"a grape")
    assert kinds._graph(part, tmp_path).read_bytes() == b"a graph"
    file.with_suffix(".sha256").unlink()
    kinds._graph(part, tmp_path)
    assert len(made) == 3


def test_the_fastest_that_is_exact_enough_is_taken() -> None:
    torch_ = Trial("torch", 1.0, 1.0, 0.5, 10.0)
    rough = Trial("rough", 0.1, 0.1, 2 * LARGEST_ERROR, 90.0)
    blurred = Trial("blurred", 0.1, 0.1, 0.0, LEAST_PSNR - 1)
    steps, decodes = Trial("steps", 0.5, 9.0, LARGEST_ERROR, 90.0), Trial("decodes", 0.9, 0.1, 0.0, LEAST_PSNR)
    assert fastest([], 4) == "torch"
    assert fastest([torch_, rough, blurred], 4) == "torch"
    assert fastest([torch_, rough, steps, decodes], 64) == "steps"
    assert fastest([torch_, rough, steps, decodes], 1) == "decodes"


def test_openvino_is_imported_without_its_reporter() -> None:
    """In a process of its own, in which every socket that is opened is an error, and so is the reporter."""
    pytest.importorskip("onnxscript")
    if not any(kind.startswith("openvino") for kind in present()):
        pytest.skip("openvino is not installed")
    script = """
import socket, sys, threading
def refuse(*values, **more): raise AssertionError("a socket was opened")
socket.socket.__init__ = refuse
from muybridge.engines.open_vino import opened
core = opened().Core()
reporters = [name for name in sys.modules if name.startswith("openvino_telemetry")]
assert not reporters, reporters
assert threading.active_count() == 1, threading.enumerate()
assert "CPU" in core.available_devices
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=child_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_signal_is_heard_after_engines_have_gone(tiny_model: Path, model: muybridge.Model, folder: Path) -> None:
    """OpenVINO moves the stack that signals are handled on; what it moves it to must not go with an engine."""
    if "openvino-f32" not in present():
        pytest.skip("openvino is not installed")
    make(model, "openvino-f32", folder, names=["decoder"])  # its graph is made
    script = f"""
import gc, signal
from pathlib import Path
import torch, muybridge
from muybridge.engines.kinds import make
model = muybridge.load({str(tiny_model)!r}, device="cpu", dtype=torch.float32)
engines = [make(model, "openvino-f32", Path({str(folder)!r}), names=["decoder"]) for _ in range(2)]
for engine in engines:
    engine.functions["decoder"](engine.parts["decoder"].example())
del engine
while engines:
    del engines[0]
    gc.collect()
signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
signal.raise_signal(signal.SIGUSR1)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=child_environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_inspect_makes_the_same_frames_again(
    tiny_model: Path,
    model: muybridge.Model,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "onnxruntime-f32" not in present():
        pytest.skip("onnxruntime is not installed")
    make(model, "onnxruntime-f32", folder)
    shutil.copytree(home_of(model, folder), home_of(model), dirs_exist_ok=True)  # else they are made anew
    monkeypatch.chdir(tmp_path)
    words = ["generate", PROMPT, "--model", str(tiny_model), "--engine", "onnxruntime", "--seed", "5", "-o", "a.mp4"]
    assert obey([*words, "--no-sign"]) == 0
    assert ", onnxruntime-f32" in capsys.readouterr().out
    assert obey(["inspect", "a.mp4"]) == 0
    again = shlex.split(capsys.readouterr().out)
    assert again[again.index("--engine") + 1] == "onnxruntime-f32"
    assert obey(again[1:]) == 0
    first, second = (read_mp4(tmp_path / name)[0] for name in ("a.mp4", "a-again.mp4"))
    assert np.array_equal(first, second)


def test_the_speed_of_an_engine_is_told_beside_what_it_computes(tiny_model: Path, tmp_path: Path) -> None:
    if "onnxruntime-f32" not in present():
        pytest.skip("onnxruntime is not installed")
    found = []
    for engine in ("torch", "onnxruntime"):
        words = ["bench", "speed", "--model", str(tiny_model), "--rounds", "1", "--engine", engine]
        assert obey([*words, "--json", str(tmp_path / f"{engine}.json")]) == 0
        found.append(json.loads((tmp_path / f"{engine}.json").read_text()))
    assert [one["engine"] for one in found] == ["torch", "onnxruntime-f32"]
    assert found[0]["flops"] == found[1]["flops"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "abacus"], "take one of auto, torch, openvino, onnxruntime"),
        (["--fast"], "make one with `muybridge distill nano-fast --teacher"),
        (["--fast"], "-o runs/fast`, then take --model runs/fast/model instead"),
    ],
)
def test_what_is_not_there_is_a_sentence(
    words: list[str], said: str, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "a.mp4"
    assert obey(["generate", PROMPT, "--model", str(tiny_model), "-o", str(output), "--no-sign", *words]) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""
    assert not output.exists()


def test_fast_takes_the_bundled_student(monkeypatch: pytest.MonkeyPatch) -> None:
    from muybridge.commands.generate import Wish, fast_of
    from muybridge.types import device_of

    monkeypatch.setattr("muybridge.storage.checkpoint.bundled", lambda: ["nano", "nano-fast"])
    assert fast_of("nano") == "nano-fast"
    assert fast_of("nano-fast") == "nano-fast"
    usual = "nano-fast" if device_of().type == "cpu" else "nano"
    assert Wish("a red ball").model_name == Wish("a red ball", steps=8, seed=3).model_name == usual
    for asked in ({"guidance": 2.0}, {"solver": "heun"}, {"negative": "a box"}, {"model": "nano"}):
        assert Wish("a red ball", **asked).model_name == "nano", asked


def test_fast_takes_the_fastest_engine_unless_one_is_named() -> None:
    from muybridge.commands.generate import Wish, engine_of

    assert engine_of(Wish(PROMPT)) is None
    assert engine_of(Wish(PROMPT, fast=True)) == "auto"
    assert engine_of(Wish(PROMPT, fast=True, engine="torch")) == "torch"
    assert engine_of(Wish(PROMPT, fast=True, model="org/theirs")) is None


def test_a_missing_engine_names_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muybridge.engines.kinds.find_spec", lambda name: None)
    assert present() == []
    with pytest.raises(ModuleNotFoundError, match="openvino"):
        kind_of("openvino", torch.float32)


def test_a_part_of_a_missing_package_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(**options: object) -> None:
        raise ModuleNotFoundError("No module named 'onnxscript.ir'", name="onnxscript.ir")

    monkeypatch.setattr("muybridge.cli.app.cli", missing)
    assert obey(["export", "nano"]) == 2
    assert "onnxscript.ir is not installed: pip install 'muybridge[fast-cpu]'" in capsys.readouterr().err


def test_what_was_remembered_and_is_damaged_counts_for_nothing(model: muybridge.Model, tmp_path: Path) -> None:
    file = home_of(model, tmp_path) / "trials-float32.json"
    file.parent.mkdir(parents=True)
    for text in ("", "[]", "{}", json.dumps({"machine": choice.machine(), "trials": [{"engine": "x"}]})):
        file.write_text(text, encoding="utf-8")
        assert remembered(model, tmp_path) == []
