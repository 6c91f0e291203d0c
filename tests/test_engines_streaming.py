"""Streams by an engine: the frames are those of PyTorch, the past rolls alike, and nothing grows."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from checked import unchecked
from tiny_checkpoint import build_causal_model
from tiny_models import TRANSFORMER, autoencoder, text_encoder, transformer

from muybridge.engines.engine import Engine
from muybridge.engines.export import config_of, difference
from muybridge.engines.kinds import CLIP, KINDS, STREAM, eager, make, of_a_stream, present
from muybridge.engines.parts import Part, parts_of
from muybridge.engines.readme import readme
from muybridge.engines.streaming import parts_of_a_stream
from muybridge.generate import Model, load
from muybridge.transformer.streaming import advance, read
from muybridge.types import Carry, Condition

PLAIN = ("transformer.model", "transformer.blocks", "transformer.rope", "transformer.streaming")
MORE_PLAIN = ("tokenizer.autoencoder", "conditioning.text")
CONDITION = Condition("a red ball rolls", height=32, width=48)
SIZES = {"batch": 1, "height": 4, "width": 6}
OTHERS = {"batch": 2, "height": 6, "width": 2}


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter looks into functions, and must not find the checks of shapes there."""
    unchecked(monkeypatch, *(f"muybridge.{name}" for name in PLAIN + MORE_PLAIN))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the graphs of the tiny model are kept while these tests run."""
    return tmp_path_factory.mktemp("engines")


@pytest.fixture
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(build_causal_model(tmp_path_factory.mktemp("models") / "causal"), device="cpu", dtype=torch.float32)


def parts(anchored: bool) -> dict[str, Part]:
    """Of a model that takes the least, or all there is."""
    config = replace(TRANSFORMER, causal=True, window=4, sink=2, spans=anchored, anchored=anchored)
    return parts_of_a_stream(transformer(replace(config, tracked=(3, 2) if anchored else None)), tokens=5, tells=True)


@pytest.mark.parametrize("anchored", [False, True])
def test_a_fixed_past_is_the_past_that_grows(anchored: bool) -> None:
    """Long enough for the window to fill and roll on; also what looks without remembering."""
    found = parts(anchored)
    network = found["advance"].module.transformer
    assert isinstance(network, torch.nn.Module)
    engine = Engine("eager", found, {"advance": lambda inputs: list(found["advance"].module(*inputs))})
    generator = torch.Generator().manual_seed(0)
    words, fps = read(network, torch.randn(2, 5, 16, generator=generator)), torch.tensor([15.0, 24.0])
    grown: Carry = {}
    fixed: Carry = {}
    for number in range(9):
        latent, level = torch.randn(2, 1, 4, 4, 6, generator=generator), torch.rand(2, 1, generator=generator)
        span = level / 2 if anchored else None
        told = torch.randn(2, 1, 6, TRANSFORMER.width, generator=generator) if anchored and number % 4 else None
        with torch.inference_mode():
            for remember in (False, True):
                wanted, grown = advance(network, latent, level, words, fps, grown, span, remember, told)
                velocity, fixed = engine.advance(latent, level, words, fps, fixed, span, remember, told)
                torch.testing.assert_close(velocity, wanted, rtol=0, atol=1e-4)
        assert fixed["held"].sum(dim=1).tolist() == [min(number + 1, 4)] * 2
        size = grown["values.0"].shape[2]
        torch.testing.assert_close(fixed["values.0"].flatten(2, 4)[:, :, :size], grown["values.0"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["read", "advance"])
def test_a_graph_does_what_the_part_does_at_any_size(name: str) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from muybridge.engines.graphs import to_onnx
    from muybridge.engines.onnx_runtime import function

    part = parts(anchored=True)[name]
    run = function(part, to_onnx(part).SerializeToString())
    for sizes in (SIZES, OTHERS):
        assert difference(part, run, sizes).relative < 1e-4


@pytest.mark.parametrize("kind", ["torch", *KINDS])
def test_streamed_frames_are_pytorchs(kind: str, model: Model, folder: Path) -> None:
    if kind not in ("torch", *present()):
        pytest.skip(f"{KINDS[kind]} is not installed")
    wanted = np.concatenate(list(islice(model.stream(CONDITION, 7), 7)))
    model.engine = eager(model) if kind == "torch" else make(model, kind, folder, names=STREAM)
    running, sizes, found = model.stream(CONDITION, 7), [], []
    for frames in islice(running, 7):
        found.append(frames)
        sizes.append(sum(tensor.numel() for tensor in (running._carry or {}).values()))
    assert len(set(sizes)) == 1
    error = np.abs(np.concatenate(found).astype(int) - wanted)
    assert error.mean() < 2 if kind.endswith(("bf16", "int8")) else error.max() <= 1


def test_windows_are_clips(tiny_model: Path, model: Model) -> None:
    """An engine of the parts that a stream asks for, and of no others."""
    plain = load(tiny_model, device="cpu", dtype=torch.float32)
    assert (of_a_stream(model), of_a_stream(plain)) == (STREAM, CLIP)
    wanted = np.concatenate(list(islice(plain.stream(CONDITION, 7), 4)))
    whole = eager(plain)
    functions = {name: function for name, function in whole.functions.items() if name in of_a_stream(plain)}
    plain.engine = Engine("eager", {name: whole.parts[name] for name in functions}, functions)
    assert np.array_equal(np.concatenate(list(islice(plain.stream(CONDITION, 7), 4))), wanted)


def test_new_words_reach_the_frames_to_come(model: Model) -> None:
    model.engine = eager(model)
    one, other = model.stream(CONDITION, 1), model.stream(CONDITION, 1)
    assert np.array_equal(next(one), next(other))
    other.prompt = "a blue box"
    assert not np.array_equal(next(one), next(other))


def test_the_folder_of_a_causal_model_says_how_it_streams(model: Model) -> None:
    found = parts_of_a_stream(model.transformer, model.text.config.queries)
    config = config_of(model, found, "onnx", "fp32", SIZES, [])
    page = readme(config)
    assert "`advance.onnx`" in page
    assert "The past has\n   3 places" in page
    assert "{" not in page
    assert "past.keys.1 (batch, 2, 3, height/2, width/2, 16)" in page


def test_only_causal_models_have_the_parts(model: Model) -> None:
    assert parts_of_a_stream(transformer(), tokens=5) == {}
    assert {*eager(model).functions} == {"transformer", "decoder", "advance"}
    assert {*parts_of(text_encoder(), transformer(), autoencoder())} == {"text", "transformer", "decoder", "encoder"}
