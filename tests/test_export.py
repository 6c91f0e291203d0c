"""`muybridge export`: what is written does what the model does, at any size, in every format that can be run here."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from checked import unchecked
from rich.console import Console
from tiny_checkpoint import build_drafting_model, build_whole_model
from tiny_models import autoencoder, drawn, text_encoder, transformer

from muybridge.cli import obey
from muybridge.commands.export import _psnr, _tell, clip_psnr
from muybridge.engines.engine import Engine
from muybridge.engines.export import config_of, difference
from muybridge.engines.kinds import eager
from muybridge.engines.parts import Part, parts_of
from muybridge.engines.readme import readme
from muybridge.engines.weights import in_int8
from muybridge.generate import load
from muybridge.transformer.model import TransformerConfig
from muybridge.transformer.planner import Planner, PlannerConfig
from muybridge.types import Condition, Streams

SIZES = {"batch": 1, "frames": 3, "height": 4, "width": 6, "words": 4}
OTHERS = {"batch": 2, "frames": 1, "height": 6, "width": 2, "words": 1}
PLAIN = (
    *(f"transformer.{name}" for name in ("model", "blocks", "rope", "planner", "eye", "tracks")),
    "tokenizer.autoencoder",
    "conditioning.text",
    "types",
)
PARTS = ("text", "transformer", "decoder", "encoder", "eye", "planner")


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter looks into functions, and must not find the checks of shapes there."""
    unchecked(monkeypatch, *(f"muybridge.{name}" for name in PLAIN))


@pytest.fixture(scope="module")
def parts() -> dict[str, Part]:
    kinds = (4, 3)
    config = TransformerConfig(4, 2, 32, 2, 2, text_width=16, spans=True, anchored=True, tracked=kinds)
    planner = drawn(Planner(PlannerConfig(4, 16, kinds, things=4, width=32, layers=1, heads=2, eye=8)))
    return parts_of(text_encoder(), transformer(config), autoencoder(), planner=planner)


@pytest.fixture(scope="module")
def graphs(parts: dict[str, Part]) -> dict[str, bytes]:
    """The parts as ONNX graphs; to write them takes most of the time here."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from muybridge.engines.graphs import to_onnx

    with pytest.MonkeyPatch.context() as patch:
        unchecked(patch, *(f"muybridge.{name}" for name in PLAIN))
        return {name: to_onnx(part).SerializeToString() for name, part in parts.items()}


@pytest.fixture(scope="module")
def engine(parts: dict[str, Part], graphs: dict[str, bytes]) -> Engine:
    from muybridge.engines.onnx_runtime import function

    return Engine("onnxruntime", parts, {name: function(part, graphs[name]) for name, part in parts.items()})


@pytest.mark.parametrize("name", PARTS)
def test_a_graph_does_what_the_part_does_at_any_size(engine: Engine, name: str) -> None:
    for sizes in (SIZES, OTHERS):
        assert difference(engine.parts[name], engine.functions[name], sizes).largest < 1e-4


def test_an_engine_is_called_like_the_networks(engine: Engine, parts: dict[str, Part]) -> None:
    latent, level, span = torch.randn(1, 3, 4, 4, 6), torch.rand(1, 3), torch.rand(1, 3) * 0.1
    text = engine.words(torch.tensor([[3, 4]]))
    streams = Streams(text, None, latent, torch.zeros(1, 3, dtype=torch.bool), torch.tensor([12.0]))
    network, codec = parts["transformer"].module.transformer, parts["decoder"].module.autoencoder
    with torch.inference_mode():
        for given in (None, span):
            wanted = network(latent, level, streams, span=given)
            torch.testing.assert_close(
                engine.velocity(latent, level, streams, span=given), wanted, rtol=1e-4, atol=1e-4
            )
        video = codec.decode(latent)[0]
        torch.testing.assert_close(engine.decode(latent)[0], video, rtol=0, atol=1e-4)
        torch.testing.assert_close(engine.encode(video)[0], codec.encode(video)[0], rtol=0, atol=1e-4)


def test_chunks_decode_and_encode_as_the_whole(engine: Engine) -> None:
    latent = torch.randn(1, 4, 4, 2, 4)
    first, carry = engine.decode(latent[:, :1])
    rest, _ = engine.decode(latent[:, 1:], carry)
    whole = engine.decode(latent)[0]
    torch.testing.assert_close(torch.cat([first, rest], dim=1), whole, rtol=0, atol=1e-5)
    first, carry = engine.encode(whole[:, :5])
    rest, _ = engine.encode(whole[:, 5:], carry)
    torch.testing.assert_close(torch.cat([first, rest], dim=1), engine.encode(whole)[0], rtol=0, atol=1e-5)


def test_eight_bits_are_within_half_a_step() -> None:
    values = np.random.default_rng(0).standard_normal((3, 5, 2)).astype(np.float32)
    for axis in (0, 1, -1):
        whole, scale = in_int8(values, axis)
        assert np.all(np.abs(whole * scale - values) <= scale / 2 + 1e-7)
        assert np.abs(whole).max() == 127


@pytest.mark.parametrize(("precision", "error"), [("fp16", 5e-3), ("int8", 0.1)])
@pytest.mark.parametrize("name", PARTS)
def test_fewer_bits_say_nearly_the_same(
    name: str, precision: str, error: float, parts: dict[str, Part], graphs: dict[str, bytes]
) -> None:
    import onnx

    from muybridge.engines.onnx_runtime import function
    from muybridge.engines.weights import narrowed

    narrow = narrowed(onnx.load_from_string(graphs[name]), precision).SerializeToString()
    assert difference(parts[name], function(parts[name], narrow), SIZES).relative < error


def test_clips_that_are_compared_are_of_one_scene(tmp_path: Path) -> None:
    """Also where the model would draw drafts first, which an engine alone does not."""
    model = load(build_drafting_model(tmp_path / "drafting"), device="cpu", dtype=torch.float32)
    condition = Condition("a red ball", frames=9, height=32, width=48)
    found = clip_psnr(model, eager(model), condition, Console(quiet=True))
    assert len(found) == condition.frames
    assert min(found) > 60


def test_the_worst_frame_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    notes = Console(stderr=True, width=200)
    _tell(
        _psnr(torch.zeros(3, 3, 2, 2), torch.tensor([0.002, 0.2, 0.0]).view(3, 1, 1, 1).expand(3, 3, 2, 2)),
        "int8",
        notes,
    )
    said = capsys.readouterr()
    assert "whole clip     24.8 dB, the worst frame, 2 of 3, 20.0 dB" in said.out
    assert "take --precision fp16 or fp32" in said.err
    _tell([math.inf] * 3, "fp32", notes)
    _tell([31.0, 45.0], "fp32", notes)
    said = capsys.readouterr()
    assert "the same frames" in said.out
    assert said.err == ""


def test_the_folder_says_all_that_its_sampler_does(tmp_path: Path, tiny_model: Path) -> None:
    """Every input and output of its graphs, and what decides between drafts; of what it has not, nothing."""
    for folder, drafts in ((build_whole_model(tmp_path / "whole"), True), (tiny_model, False)):
        model = load(folder, device="cpu")
        found = parts_of(model.text, model.transformer, model.autoencoder, model.witness, model.planner)
        page = readme(config_of(model, found, "onnx", "fp32", SIZES, []))
        table, text = page.split("## From a sentence to frames")
        assert ("known (batch, frames)" in table, "`witness.onnx`" in table, "## Drafts" in text) == (drafts,) * 3
        if drafts:
            assert all(
                f"`{name}`" in text for name in ("known", "tracks", *found["witness"].outputs, *found["eye"].outputs)
            )
        assert ("## Plans" in text, "tracks (batch, frames, 9, 35)" in table) == (drafts,) * 2
        assert "{" not in page


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnx", "openvino", "torch-export"])
def test_the_command_writes_what_runs_elsewhere(
    target: str, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if target != "torch-export":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime" if target == "onnx" else "openvino")
    folder = tmp_path / "out"
    assert obey(["export", str(tiny_model), "-o", str(folder), "--format", target]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()] == [*PARTS, "whole", "written"]
    assert float(out.split("whole clip")[1].split()[0]) > 60
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    files = {path.name: path for path in folder.iterdir()}
    assert {part["file"] for part in config["parts"].values()} <= {*files}
    assert {name: said["bytes"] for name, said in config["files"].items()} == {
        name: file.stat().st_size for name, file in files.items() if name in config["files"]
    }
    assert all(str(Path.cwd()).encode() not in file.read_bytes() for file in files.values())
    assert "{" not in (folder / "README.md").read_text(encoding="utf-8")
    if target == "onnx":
        assert a_part_runs(folder, config)


def a_part_runs(folder: Path, config: dict[str, dict[str, dict[str, Sequence[object]]]]) -> bool:
    """With nothing but the runtime and what the folder says of itself."""
    import onnxruntime

    part = config["parts"]["decoder"]
    session = onnxruntime.InferenceSession(folder / str(part["file"]))
    assert [value.name for value in session.get_inputs()] == [*part["inputs"]]
    assert [value.name for value in session.get_outputs()] == [*part["outputs"]]
    assert session.get_inputs()[0].shape == list(part["inputs"]["latent"])
    return True


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "coreml"], "take one of onnx, openvino, torch-export"),
        (["--format", "torch-export", "--precision", "int8"], "torch-export takes fp32"),
        (["--precision", "int3"], "onnx takes fp32, fp16, int8"),
        (["--size", "33x32"], "the nearest size is 32x32"),
    ],
)
def test_what_cannot_be_written_is_a_sentence(
    words: list[str], said: str, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert obey(["export", str(tiny_model), "-o", str(tmp_path / "out"), *words]) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_left_alone(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    assert obey(["export", str(tiny_model), "-o", str(tmp_path), "--format", "torch-export"]) == 2
    assert "muybridge: " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_missing_runtime_names_the_extra(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muybridge.engines.export.find_spec", lambda name: None)
    assert obey(["export", str(tiny_model), "-o", str(tmp_path / "out")]) == 2
    assert "pip install 'muybridge[fast-cpu]'" in capsys.readouterr().err


def test_norms_are_one_kernel_each(graphs: dict[str, bytes], tmp_path: Path) -> None:
    """Of ONNX Runtime; as the exporter writes them, each is six."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 3
    onnxruntime.InferenceSession(graphs["transformer"], options, providers=["CPUExecutionProvider"])
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert kinds["SimplifiedLayerNormalization"] > 4
    assert kinds["Sqrt"] == 0
