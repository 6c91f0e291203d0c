"""Memory told beforehand, and open models made smaller and faster: what each option changes, and what is refused."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_pipelines as tiny
import torch
from test_backends_families import CASES, condition, pipeline
from torch import Tensor, nn

import muybridge
from muybridge import cli
from muybridge.backends.families import FAMILIES
from muybridge.backends.memory import needs
from muybridge.backends.pipelines import Pipeline
from muybridge.backends.placement import Need, Placement
from muybridge.backends.rehearsal import ENTRANCES, Alive, rehearse
from muybridge.backends.tuning import CACHES, FIRST_BLOCK, TAYLOR, Tuning, cache_settings
from muybridge.commands.models import GIB, advice
from muybridge.sampler.sample import Settings
from muybridge.storage import pipelines
from muybridge.storage.provenance import from_metadata
from muybridge.storage.video import read_metadata
from muybridge.types import Condition, Sampled

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore")
SAVED = [name for name, case in CASES.items() if case.save]


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned") / "wan"
    tiny.wan().save_pretrained(folder)
    return folder


# memory


UNLIKE = {"LTX-2", "HunyuanVideo 1.5"}
"""Gemma's attention is not fused on processors; and which words are padding is not known without words."""


@pytest.mark.parametrize("name", [name for name in SAVED if name not in UNLIKE])
def test_a_rehearsal_holds_what_a_clip_holds(name: str, tmp_path: Path) -> None:
    """Without data, each family takes what it takes with data."""
    case = CASES[name]
    pipe = case.make()
    pipe.save_pretrained(tmp_path)
    found = pipelines.find(tmp_path)
    assert found is not None
    wanted = case.condition
    told = rehearse(found, (wanted.frames, wanted.height, wanted.width), torch.float32).calls
    weights = sum(one.nbytes for part in told for one in getattr(pipe, part).parameters())
    held = _counted(pipe, name)
    assert set(told) >= set(held)
    assert abs((weights + max(told.values())) / (weights + max(held.values())) - 1) < 0.15, (weights, told, held)


def _counted(pipe: Any, name: str) -> dict[str, int]:
    """Part -> bytes that were alive at the most while a clip was really made."""
    counts: dict[str, int] = {}

    def counting(network: nn.Module, part: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            with Alive(network) as alive:
                given = [one.clone() if isinstance(one, Tensor) else one for one in args]
                named = {key: one.clone() if isinstance(one, Tensor) else one for key, one in kwargs.items()}
                found = method(*given, **named)
            counts[part] = max(counts.get(part, 0), alive.most)
            return found

        return call

    for part, network in pipe.components.items():
        if isinstance(network, nn.Module):
            for method in ENTRANCES:
                if hasattr(network, method):
                    setattr(network, method, counting(network, part, getattr(network, method)))
    model = Pipeline(pipe, name)
    way = min(model.ways, key=lambda way: (way.pipeline != type(pipe).__name__, len(way.needs)))
    task = " ".join(sorted(way.needs, reverse=True))
    for _ in model.sample(condition(name, task), [0], replace(model.settings, steps=2, preview_every=0)):
        pass
    return counts


@pytest.mark.parametrize("name", sorted(UNLIKE))
def test_the_others_can_be_rehearsed(name: str, tmp_path: Path) -> None:
    CASES[name].make().save_pretrained(tmp_path)
    found, wanted = pipelines.find(tmp_path), CASES[name].condition
    assert found is not None
    told = rehearse(found, (wanted.frames, wanted.height, wanted.width), torch.float32).calls
    assert all(told[part] > 0 for part in ("text_encoder", "transformer", "vae"))


def test_the_fastest_placement_that_fits_is_taken() -> None:
    sizes = {"text_encoder": 11 * GIB, "transformer": 28 * GIB, "vae": GIB}
    need = Need(sizes, {"transformer": GIB}, {"transformer": 4 * GIB, "vae": 20 * GIB}, 3 * GIB, GIB)
    takes = [need.takes(one) // GIB for one in Placement]
    assert takes == [60, 44, 32, 32, 11]
    assert [need.placement(free * GIB) for free in (80, 50, 40, 20)] == [
        Placement.TOGETHER,
        Placement.TILED,
        Placement.PARTS,
        Placement.BLOCKS,
    ]
    assert advice({"bfloat16": need}, 80 * GIB, "cuda") == ["it fits with --precision bf16"]
    (said,) = advice({"bfloat16": need}, 50 * GIB, "cpu")
    assert said == "it fits with --precision bf16 (all parts, the decoder in tiles; that is chosen for you)"
    assert "the least it takes is 11.0 GiB" in advice({"bfloat16": need}, GIB, "cuda")[0]


@pytest.mark.slow
def test_check_says_which_options_make_it_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.modelscope().save_pretrained(tmp_path)
    assert cli.obey(["models", "check", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "it fits with --precision bf16" in shown
    assert "int8" in shown


def test_what_is_needed_says_what_fits(wan: Path) -> None:
    found = pipelines.find(wan)
    assert found is not None
    wanted = needs(found, 9, 32, 32)
    for need in wanted.values():
        sizes = [need.takes(one) for one in Placement]
        assert sizes[0] >= sizes[2] >= sizes[4] > 0
    options = ["fp32", "bf16", "fp8", "int8"]
    assert advice(wanted, GIB, "cpu") == [f"it fits with --precision {option}" for option in options]


# precision and caches


def frames_of(folder: Path, tuning: Tuning, **changes: Any) -> Tensor:
    model = muybridge.load(folder, "cpu", tuning=tuning, **changes)
    chosen = replace(model.settings, steps=6, preview_every=0)
    return model.generate(condition("Wan", ""), 3, chosen)[0].video.frames


def test_weights_of_eight_bits_are_nearly_the_same_clip_and_another_model(wan: Path) -> None:
    exact = frames_of(wan, Tuning())
    small = frames_of(wan, Tuning("fp8"))
    assert 0 < (small - exact).abs().mean() < 0.05
    assert torch.equal(small, frames_of(wan, Tuning("fp8")))
    hashes = {muybridge.load(wan, "cpu", tuning=one).hash for one in (Tuning(), Tuning("fp8"), Tuning("", TAYLOR))}
    assert len(hashes) == 3


@pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="torchao is not installed")
def test_int8_by_torchao(wan: Path) -> None:
    exact, small = frames_of(wan, Tuning()), frames_of(wan, Tuning("int8"))
    assert 0 < (small - exact).abs().mean() < 0.05


def made(model: Pipeline, wanted: Condition, seed: int = 3) -> Tensor:
    last = list(model.sample(wanted, [seed], eight_steps(model)))[-1]
    assert isinstance(last, Sampled)
    return last.latent.frames[0]


def eight_steps(model: Pipeline) -> Settings:
    return replace(model.settings, steps=8, preview_every=0)


CACHED = [(name, cache) for cache in CACHES for name in ("Wan", "LTX", "CogVideoX", "HunyuanVideo", "Mochi")]


@pytest.mark.parametrize(("name", "cache"), CACHED)
def test_a_cache_changes_little_and_is_forgotten_between_calls(name: str, cache: str) -> None:
    """A clip is the same whatever was made, or left off, before it."""
    model, wanted = Pipeline(CASES[name].make(), name), condition(name, "")
    exact = made(model, wanted)
    model.pipe.transformer.enable_cache(cache_settings(f"{cache}:0.9" if cache == FIRST_BLOCK else cache))
    fast = made(model, wanted)
    begun = model.sample(wanted, [4], eight_steps(model))
    next(begun)
    begun.close()  # type: ignore[attr-defined]
    assert torch.equal(made(model, wanted), fast)
    assert 0 < (fast - exact).abs().mean() < 0.2


def test_requests_on_a_pipeline_with_a_cache_do_not_meet() -> None:
    """Two that are asked for in turns make what each makes alone."""
    model, wanted = Pipeline(tiny.wan(), "wan"), condition("Wan", "")
    model.pipe.transformer.enable_cache(cache_settings(TAYLOR))
    alone = [made(model, wanted, seed) for seed in (3, 4)]
    first = model.sample(wanted, [3], eight_steps(model))
    begun = [next(first)]
    second = model.sample(wanted, [4], eight_steps(model))
    for events, expected in ((first, alone[0]), (second, alone[1])):
        last = list(events)[-1]
        assert isinstance(last, Sampled)
        assert torch.equal(last.latent.frames[0], expected)
    assert begun


def test_every_cache_names_families_that_are_there() -> None:
    assert frozenset().union(*CACHES.values()) <= {family.name for family in FAMILIES}
    assert {pipeline(name).family.name for name, _ in CACHED} == frozenset().union(*CACHES.values())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--precision", "int4"], "take bf16, fp16, fp32, fp8, int8, or a .gguf file"),
        (["--precision", "none.gguf"], "there is no such file"),
        (["--precision", "bf16", "--dtype", "float16"], "give one of them"),
        (["--cache", "taylorseer:1"], "every how many steps it computes, 2 to 20"),
        (["--cache", "much"], "take first-block (or first-block:0.05"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    words: list[str], said: str, wan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["generate", "a cat", "--model", str(wan), "--size", "32x32", "--seconds", "0.5", "--steps", "2"]
    assert cli.obey([*base, "-o", str(tmp_path / "clip.mp4"), *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_what_does_not_go_with_a_family_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    tiny.latte().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"first-block cache does not go with Latte: leave it out \(families that do"):
        muybridge.load(tmp_path, "cpu", tuning=Tuning(cache=FIRST_BLOCK))
    with pytest.raises(ValueError, match="--precision and --cache are for models of others"):
        muybridge.load(tiny_model, "cpu", tuning=Tuning("fp8"))


def test_a_fast_clip_says_how_it_is_made_again(wan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["generate", "a cat", "--model", str(wan), "--size", "32x32", "--seconds", "0.5", "--steps", "3"]
    words += ["--fast", "--precision", "fp8", "--no-sign", "-o", str(tmp_path / "clip.mp4")]
    assert cli.obey(words) == 0, capsys.readouterr().err
    assert "fp8 weights, first-block cache" in capsys.readouterr().out
    options = from_metadata(read_metadata(tmp_path / "clip.mp4")).options
    assert options == '["--precision", "fp8", "--cache", "first-block"]'
