"""Every family of open models, with a tiny random pipeline of it: generate, save, reload, cancel, two at a time."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import tiny_pipelines as tiny
import torch
from torch import Tensor

import muybridge
from muybridge.backends.families import FAMILIES, family_of
from muybridge.backends.pipelines import Pipeline
from muybridge.sampler.sample import Settings
from muybridge.types import Condition, Event, Progress, Sampled

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore")


@dataclass(frozen=True)
class Case:
    """A pipeline, and the tasks that it is tried with."""

    make: Callable[[], Any]
    condition: Condition
    tasks: tuple[str, ...] = ("",)
    save: bool = True


def noise(frames: int, side: int) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.rand(frames, 3, side, side, generator=generator) * 2 - 1


def text(frames: int, side: int, fps: float = 16.0) -> Condition:
    return Condition("a cat", frames=frames, height=side, width=side, fps=fps)


CASES = {
    "Wan": Case(tiny.wan, text(9, 32), ("", "negative", "video")),
    "Wan 2.2": Case(tiny.wan_two, text(9, 32), ("", "image"), save=False),
    "Wan, stills": Case(tiny.wan_image, text(9, 32), ("image",)),
    "Wan, both ends": Case(tiny.wan_ends, text(9, 32), ("image", "image ending"), save=False),
    "Wan VACE": Case(tiny.wan_vace, text(9, 32), ("", "image ending", "opening", "video mask", "control")),
    "LTX": Case(tiny.ltx, text(9, 32, 25.0), ("", "image", "opening", "ending", "image ending")),
    "LTX-2": Case(tiny.ltx2, text(17, 64, 24.0), ("", "image", "opening", "image ending")),
    "HunyuanVideo": Case(tiny.hunyuan, text(9, 32, 24.0)),
    "HunyuanVideo 1.5": Case(tiny.hunyuan15, text(9, 16, 24.0)),
    "SkyReels": Case(tiny.skyreels, text(9, 32, 24.0), ("", "image", "image ending")),
    "SkyReels, plain": Case(lambda: tiny.skyreels("SkyReelsV2Pipeline"), text(9, 32, 24.0), save=False),
    "SkyReels, stills": Case(tiny.skyreels_image, text(9, 32, 24.0), ("image",), save=False),
    "CogVideoX": Case(tiny.cogvideox, text(9, 32, 8.0), ("", "video")),
    "CogVideoX, stills": Case(
        lambda: tiny.cogvideox("CogVideoXImageToVideoPipeline", 8), text(9, 32, 8.0), ("image",), save=False
    ),
    "CogVideoX, control": Case(
        lambda: tiny.cogvideox("CogVideoXFunControlPipeline", 8), text(9, 32, 8.0), ("control",), save=False
    ),
    "SANA-Video": Case(tiny.sana, text(9, 32)),
    "SANA-Video, stills": Case(lambda: tiny.sana("SanaImageToVideoPipeline"), text(9, 32), ("image",), save=False),
    "SANA-WM": Case(tiny.sana_world, text(9, 64), ("image camera",)),
    "Helios": Case(tiny.helios, text(33, 32, 24.0), ("", "image")),
    "Mochi": Case(tiny.mochi, text(7, 16, 30.0)),
    "Allegro": Case(tiny.allegro, text(24, 128, 15.0)),
    "Latte": Case(tiny.latte, text(4, 32, 8.0)),
    "SVD": Case(tiny.svd, replace(text(4, 64, 7.0), prompt=""), ("image",)),
    "AnimateDiff": Case(tiny.animatediff, text(4, 32, 8.0), ("", "video")),
    "AnimateDiff, ControlNet": Case(tiny.animatediff_control, text(4, 32, 8.0), ("control", "video control")),
    "ModelScope": Case(tiny.modelscope, text(4, 32, 8.0), ("", "video")),
    "Text2Video-Zero": Case(tiny.zero, text(3, 32, 4.0)),
}
TASKS = [(name, task) for name, case in CASES.items() for task in case.tasks]


@functools.cache
def pipeline(name: str) -> Pipeline:
    return Pipeline(CASES[name].make(), name)


def condition(name: str, task: str) -> Condition:
    """The case's condition with everything that the task names."""
    base = CASES[name].condition
    frames, side = base.frames, base.height
    given: dict[str, dict[str, Any]] = {
        "negative": {"negative": "a dog"},
        "image": {"prefix": noise(1, side)},
        "opening": {"prefix": noise(5 if "VACE" in name else 9, side)},
        "ending": {"suffix": noise(1, side)},
        "video": {"video": noise(frames, side), "strength": 0.7},
        "mask": {"mask": torch.arange(side).expand(frames, side, side) > side // 2},
        "control": {"control": noise(frames, side)},
        "camera": {"camera": torch.eye(4).repeat(frames, 1, 1), "intrinsics": torch.tensor([60.0, 60.0, 32.0, 32.0])},
    }
    for word in task.split():
        base = replace(base, **given[word])
    return base


def settings(model: Pipeline, **changes: Any) -> Settings:
    return replace(model.settings, steps=2, preview_every=1, **changes)


def made(model: Pipeline, task: Condition, seed: int = 3, **changes: Any) -> Tensor:
    *_, last = model.sample(task, [seed], settings(model, **changes))
    assert isinstance(last, Sampled)
    return last.latent.frames[0]


@pytest.mark.parametrize(("name", "task"), TASKS)
def test_a_clip_is_what_was_asked_for_and_the_same_for_the_same_seed(name: str, task: str) -> None:
    model, wanted = pipeline(name), condition(name, task)
    events = list(model.sample(wanted, [3], settings(model)))
    steps = [event for event in events if isinstance(event, Progress)]
    assert [event.step for event in steps] == list(range(1, steps[-1].steps + 1))
    last = events[-1]
    assert isinstance(last, Sampled)
    frames = last.latent.frames[0]
    assert tuple(frames.shape) == (wanted.frames, 3, wanted.height, wanted.width)
    assert -1 <= frames.min() < frames.max() <= 1
    assert torch.equal(frames, made(model, wanted))
    assert not torch.equal(frames, made(model, wanted, seed=4))


@pytest.mark.parametrize(("name", "task"), [(name, task) for name, task in TASKS if task])
def test_what_is_given_changes_the_clip(name: str, task: str) -> None:
    """Nothing is dropped in silence: another still, video, mask or camera makes another clip."""
    model, wanted = pipeline(name), condition(name, task)
    for field in ("negative", "prefix", "suffix", "video", "mask", "control", "camera"):
        value = getattr(wanted, field)
        if value is None or value == "":
            continue
        if field == "negative":
            other: Any = "rain"
        elif field == "mask":
            other = ~value
        elif field == "camera":
            other = value.clone()
            other[:, 2, 3] = torch.linspace(0, 2, len(value))
        else:
            other = -value
        changed = replace(wanted, **{field: other})
        assert not torch.equal(made(model, wanted, guidance=6.0), made(model, changed, guidance=6.0)), field


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.save])
def test_it_is_the_same_after_saving_and_loading(name: str, tmp_path: Path) -> None:
    model, wanted = pipeline(name), condition(name, CASES[name].tasks[0])
    model.pipe.save_pretrained(tmp_path)
    loaded = muybridge.load(tmp_path, "cpu")
    clip = loaded.generate(wanted, 3, settings(model))[0]
    assert (clip.video.frames[0] - made(model, wanted)).abs().max() < 1e-5
    assert clip.provenance.model_hash == loaded.hash


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.save])
def test_a_call_can_be_left_off(name: str) -> None:
    model, wanted = pipeline(name), condition(name, CASES[name].tasks[0])
    before = threading.active_count()
    events = model.sample(wanted, [3], settings(model))
    assert isinstance(next(events), Progress)
    events.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert torch.equal(made(model, wanted), made(model, wanted))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.save])
def test_two_at_a_time_make_what_each_makes_alone(name: str) -> None:
    model, wanted = pipeline(name), condition(name, CASES[name].tasks[0])
    orders = [{"seed": 3, "guidance": 3.0}, {"seed": 4, "guidance": 6.0, "steps": 3}]
    alone = [made_with(model, wanted, order) for order in orders]
    together: list[Tensor | None] = [None, None]

    def run(i: int) -> None:
        together[i] = made_with(model, wanted, orders[i])

    threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(alone, together, strict=True):
        assert other is not None
        assert torch.equal(one, other)


def made_with(model: Pipeline, wanted: Condition, order: dict[str, Any]) -> Tensor:
    chosen = replace(model.settings, preview_every=1, **{"steps": 2} | {k: v for k, v in order.items() if k != "seed"})
    events: list[Event] = list(model.sample(wanted, [order["seed"]], chosen))
    assert isinstance(events[-1], Sampled)
    return events[-1].latent.frames[0]


def test_two_iterators_in_one_thread_take_turns() -> None:
    model, wanted = pipeline("Wan"), condition("Wan", "")
    alone = [made(model, wanted, seed) for seed in (3, 4)]
    pair = [model.sample(wanted, [seed], settings(model)) for seed in (3, 4)]
    steps = list(zip(*pair, strict=True))
    for i, one in enumerate(alone):
        last = steps[-1][i]
        assert isinstance(last, Sampled)
        assert torch.equal(last.latent.frames[0], one)


def test_every_family_that_can_be_tried_here_is() -> None:
    """With all of it: saved and loaded again, left off, two at a time."""
    tried = {pipeline(name).family.name for name, case in CASES.items() if case.save}
    assert tried == {family.name for family in FAMILIES if not family.without}


def test_what_a_model_lacks_is_refused_with_families_that_have_it() -> None:
    model = pipeline("Mochi")
    with pytest.raises(ValueError, match=r"does not take a first frame: leave it out \(families that do: Wan"):
        model.check(condition("Mochi", "image"))
    with pytest.raises(ValueError, match="also needs a camera path"):
        pipeline("SANA-WM").check(condition("SANA-WM", "image"))
    with pytest.raises(ValueError, match="does not take a prompt"):
        pipeline("SVD").check(replace(condition("SVD", "image"), prompt="a cat"))
    with pytest.raises(ValueError, match="does not take last frames"):  # the pipeline would leave them out unasked
        pipeline("Wan 2.2").check(condition("Wan 2.2", "image ending"))


def test_shapes_that_cannot_be_made_name_the_nearest() -> None:
    model = pipeline("LTX")
    with pytest.raises(ValueError, match="1 \\+ 8k frames, not 10: take 9"):
        model.check(text(10, 32))
    with pytest.raises(ValueError, match="the nearest size is 32x32"):
        model.check(text(9, 40))
    with pytest.raises(ValueError, match="the video is"):
        pipeline("CogVideoX").check(replace(text(9, 32), video=noise(5, 32)))


def test_settings_that_would_be_ignored_are_refused() -> None:
    model = pipeline("Mochi")
    for change in ({"solver": "euler"}, {"guidance_rescale": 0.5}, {"context_noise": 0.1}):
        with pytest.raises(ValueError, match="samples its own way"):
            list(model.sample(text(7, 16), [0], settings(model, **change)))
    assert not torch.equal(made(model, text(7, 16)), made(model, text(7, 16), shift=8.0))


def test_every_pipeline_of_the_table_is_in_diffusers() -> None:
    import diffusers

    for family in FAMILIES:
        for way in family.ways:
            assert family_of(way.pipeline) is family
            if not family.without:
                assert hasattr(diffusers, way.pipeline), way.pipeline
