"""The planner: tracks as numbers and back, what it looks at, and plans of any length."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_checkpoint import build_planning_model, build_tiny_model
from tiny_models import TEXT, TRANSFORMER, drawn, text_encoder
from torch import Tensor

import muybridge
from muybridge.conditioning.witness import WitnessConfig
from muybridge.sampler import Settings
from muybridge.sampler.plan import Foreseer, Plans, plan
from muybridge.training.planning import Planning
from muybridge.transformer.model import places
from muybridge.transformer.planner import Planner, PlannerConfig, held, told, written
from muybridge.types import Batch, Condition, Streams, Tracks

KINDS = (4, 3)  # three colours and none; a shape, walls and ramps
CONFIG = PlannerConfig(TRANSFORMER.channels, TEXT.width, KINDS, things=4, width=32, layers=2, heads=2, eye=8)
FRAMES = 5


def as_it_is(streams: Streams) -> Streams:
    return streams


@pytest.fixture(scope="module")
def planner() -> Planner:
    module = drawn(Planner(CONFIG))
    assert isinstance(module, Planner)
    return module.requires_grad_(False)


def tracks(clips: int = 3, things: int = 4) -> Tracks:
    generator = torch.Generator().manual_seed(0)
    place = torch.rand(clips, FRAMES, 4, things, 5, generator=generator)
    place = place * torch.tensor([1.4, 1.4, 0.4, 0.4, 3.0]) + torch.tensor([-0.2, -0.2, 0.05, 0.05, 1.0])
    kind = torch.stack([torch.randint(0, n, (clips, things), generator=generator) for n in KINDS], dim=-1)
    return Tracks(place, kind, torch.arange(things).expand(clips, -1) < torch.arange(1, clips + 1)[:, None])


def streams(clips: int = 2, frames: int = FRAMES, known: int = 0) -> Streams:
    generator = torch.Generator().manual_seed(3)
    text = torch.randn(clips, TEXT.queries, TEXT.width, generator=generator)
    pictures = torch.randn(clips, frames, TRANSFORMER.channels, 4, 6, generator=generator)
    is_known = (torch.arange(frames) < known).expand(clips, -1)
    return Streams(text, None, pictures, is_known, torch.full((clips,), 15.0))


def test_tracks_come_back_from_their_numbers() -> None:
    some = tracks()
    back = told(written(some, CONFIG), CONFIG)
    there = some.is_there
    assert torch.equal(back.is_there, there)
    assert torch.equal(back.kind[there], some.kind[there])
    seen = there[:, None, None].expand(some.place.shape[:-1])
    torch.testing.assert_close(back.place[seen], some.place[seen], rtol=1e-4, atol=1e-4)


def test_what_is_far_out_of_the_picture_is_told_as_near_it() -> None:
    some = tracks()
    some.place[..., 0] = 1e6
    assert written(some, CONFIG).abs().max() < 10


@pytest.mark.parametrize("known", [0, 1, 3])
def test_frames_that_are_not_known_are_not_looked_at(planner: Planner, known: int) -> None:
    given = streams(known=known)
    other = replace(given, known=torch.where(given.is_known[..., None, None, None], given.known, 7.0))
    x, level = torch.randn(2, FRAMES, 4, CONFIG.numbers), torch.full((2, FRAMES, 4), 0.7)
    assert torch.equal(planner(x, level, given)[0], planner(x, level, other)[0])
    if known:
        changed = replace(given, known=given.known + 1)
        assert not torch.equal(planner(x, level, given)[0], planner(x, level, changed)[0])


@pytest.mark.parametrize("known", [0, 1, 3, FRAMES])
def test_looking_once_sees_what_looking_at_all_frames_does(planner: Planner, known: int) -> None:
    given = streams(known=known)
    for one, other in zip(planner.look_once(given), planner.look(given.known, given.is_known), strict=False):
        torch.testing.assert_close(one, other)


def test_the_eye_finds_the_middle_of_what_it_looks_for() -> None:
    """A score that is high at one place alone: what is told of the thing is what is there, and where that is."""
    eye = Planner(CONFIG).eye
    with torch.no_grad():
        for parameter in eye.parameters():
            parameter.zero_()
        eye.enter.weight[0, 0, 1, 1] = 1.0
        eye.scores.weight[2, 0] = 50.0
        eye.out.weight[:, CONFIG.eye :] = torch.eye(33)[: CONFIG.width]
        picture = torch.zeros(1, TRANSFORMER.channels, 4, 6)
        picture[0, 0, 3, 1] = 1.0
        told, _, scores = eye(picture)
    at = places(4, 6, picture.device)[3 * 6 + 1]
    torch.testing.assert_close(told[0, 2], at[: CONFIG.width], rtol=1e-3, atol=1e-3)
    assert scores.shape == (1, CONFIG.things + 1, 4, 6)


def test_a_plan_depends_on_its_seed_alone(planner: Planner) -> None:
    given = streams(3, known=1)
    together = plan(planner, given, FRAMES, 3, [5, 6, 7])
    alone = plan(
        planner,
        replace(given, text=given.text[1:2], known=given.known[1:2], is_known=given.is_known[1:2], fps=given.fps[1:2]),
        FRAMES,
        3,
        [6],
    )
    torch.testing.assert_close(together.place[1:2], alone.place)
    other = plan(planner, given, FRAMES, 3, [5, 60, 7])
    assert torch.equal(other.place[0], together.place[0])
    assert not torch.equal(other.place[1], together.place[1])


@pytest.mark.parametrize("frames", [1, 3])
def test_a_short_clip_has_the_beginning_of_a_plan(planner: Planner, frames: int) -> None:
    whole = plan(planner, streams(frames=FRAMES), FRAMES, 3, [5, 6])
    short = plan(planner, streams(frames=frames), FRAMES, 3, [5, 6])
    assert short.place.shape[1] == frames
    torch.testing.assert_close(short.place, whole.place[:, :frames])


def test_a_long_clip_is_planned_window_by_window(planner: Planner) -> None:
    long = plan(planner, streams(frames=12, known=2), FRAMES, 3, [5, 6])
    assert long.place.shape == (2, 12, 4, 4, 5)
    first = plan(planner, streams(frames=FRAMES, known=2), FRAMES, 3, [5, 6])
    assert torch.isfinite(long.place).all()
    assert first.place.shape[1] == FRAMES


def test_a_stream_s_plan_goes_on_from_window_to_window(planner: Planner) -> None:
    plans, given = Plans(planner, as_it_is), streams(1, known=1)
    first = plans.window(given, 3, seed=1)
    torch.testing.assert_close(first.place, plan(planner, given, FRAMES, 3, [1]).place)
    later = replace(given, known=given.known + 1, is_known=(torch.arange(FRAMES) < 3)[None])  # the pictures are others
    second = plans.window(later, 3, seed=2)
    torch.testing.assert_close(second.place[:, :1], first.place[:, :1])
    torch.testing.assert_close(second.place[:, 1:3], first.place[:, -2:])
    assert not torch.allclose(second.place[:, 3:], first.place[:, 3:])
    other_words = replace(later, text=later.text + 1)
    fresh = Plans(planner, as_it_is).window(other_words, 3, seed=3)
    torch.testing.assert_close(plans.window(other_words, 3, seed=3).place, fresh.place)
    plans.forget()
    torch.testing.assert_close(
        plans.window(later, 3, seed=2).place, Plans(planner, as_it_is).window(later, 3, seed=2).place
    )
    moved = replace(other_words, known=other_words.known.flip(-1))
    assert not torch.allclose(Plans(planner, as_it_is).window(moved, 3, seed=3).place, fresh.place)


def test_a_window_that_was_left_is_gone_on_from_where_that_was(planner: Planner) -> None:
    plans, given = Plans(planner, as_it_is), streams(1, known=1)
    first = plans.window(given, 3, seed=1)
    later = replace(given, is_known=(torch.arange(FRAMES) < 3)[None])
    second = plans.window(later, 3, seed=2, unused=1)
    torch.testing.assert_close(second.place[:, :1], first.place[:, :1])
    torch.testing.assert_close(second.place[:, 1:3], first.place[:, -3:-1])


def test_a_stream_looks_only_where_nothing_was_foreseen(planner: Planner) -> None:
    looks: list[int] = []

    def counted(streams: Streams) -> Streams:
        looks.append(int(streams.is_known.sum()))
        return streams

    plans, given = Plans(planner, counted), streams(1, known=1)
    later = replace(given, is_known=(torch.arange(FRAMES) < 3)[None])
    for asked in (given, later, later, replace(later, text=later.text + 1)):
        plans.window(asked, 3, seed=1)
    assert looks == [1, 3]


@pytest.mark.parametrize("given", [0, 1])
def test_pictures_of_any_size_are_looked_at_in_the_size_that_was_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: int
) -> None:
    model = muybridge.load(build_planning_model(tmp_path / "model"), dtype=torch.float32)
    trained = model.config["trained"]
    seen: list[Streams] = []

    def noted(planner: Foreseer, streams: Streams, *rest: Any) -> Tracks:
        seen.append(streams)
        return plan(planner, streams, *rest)

    monkeypatch.setattr("muybridge.generate.plan", noted)
    height, width = 2 * trained["height"], 2 * trained["width"] + 16
    still = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1
    asked = Condition("a red ball", prefix=still if given else None, frames=9, height=height, width=width)
    (clip,) = model.generate(asked, settings=Settings(steps=1, guidance=1, plan_steps=1))
    assert clip.video.frames.shape[3:] == (height, width)
    (streams,) = seen
    stride = model.autoencoder.config.spatial_stride
    assert streams.known.shape[3:] == (trained["height"] // stride, trained["width"] // stride)
    assert streams.is_known.sum() == given
    if given:
        with torch.inference_mode():
            whole, _ = model.autoencoder.encode(still[None])
            pixels, _ = model.autoencoder.decode(whole)
            size = (trained["height"], trained["width"])
            small = torch.nn.functional.interpolate(pixels[:, 0], size, mode="bicubic", antialias=True)
            latent, _ = model.autoencoder.encode(small.clamp(-1, 1)[:, None])
        torch.testing.assert_close(streams.known[:, :1], latent)


def test_what_words_name_is_held() -> None:
    """Of clips of which it is known what they show: all of each thing is certain but where it is."""
    config = PlannerConfig(TRANSFORMER.channels, TEXT.width, (4, 3), things=4, width=32, layers=1, heads=2, eye=8)
    course = torch.full((3, FRAMES, 4, 4, 2), torch.nan)
    course[:, :, :, 1] = 0.25
    asked = torch.zeros(3, 6, dtype=torch.bool)  # three colours of two shapes
    asked[0, [1, 4]] = True  # the first colour has the second shape, the third the first; nothing has the second
    asked[1, [0, 1]] = True  # two of one colour
    numbers = held(course, asked, config)
    place = torch.zeros(1, FRAMES, 4, 4, 5)
    kind = torch.tensor([[[0, 1], [0, 0], [2, 0], [0, 0]]])
    there = torch.tensor([[True, False, True, False]])
    wanted = written(Tracks(place, kind, there), config)[0]
    moving = 5 * 4
    for thing, certain in enumerate((slice(moving, None), None, slice(moving, None), None)):
        says = ~numbers[0, :, thing].isnan()
        if certain is not None:
            torch.testing.assert_close(numbers[0, :, thing, certain], wanted[:, thing, certain])
            assert not says[:, :moving].any()
    assert numbers[0, :, 3].isnan().all(), "what has no colour is free"
    assert (numbers[0, :, 1, -1] == 1).all(), "what goes somewhere is there, whatever words say"
    assert numbers[0, :, 1, moving:-1].isnan().all(), "and what it is, the planner says"
    assert numbers[1, :, 0].isnan().all(), "which of two has the place is free"
    absent = written(Tracks(place, kind, torch.zeros(1, 4, dtype=torch.bool)), config)[0]
    torch.testing.assert_close(numbers[1, :, 2], absent[:, 2])
    assert numbers[2, :, [0, 2, 3]].isnan().all(), "where nothing is asked, nobody knows"
    props = torch.tensor([False, True, False])
    numbers = held(course, asked, config, props)
    torch.testing.assert_close(numbers[0, :, 3], absent[:, 3])
    assert numbers[1:, :, 3].isnan().all(), "there may be one, or nobody knows"


def lesson(clips: int = 8, seen: bool = True) -> Batch:
    some = tracks(clips)
    generator = torch.Generator().manual_seed(1)
    kind = torch.where(some.is_there[..., None], some.kind, -1)
    latent = torch.randn(clips, FRAMES, TRANSFORMER.channels, 4, 6, generator=generator) if seen else None
    classes = torch.randint(0, 4, (clips, FRAMES, 4, 6), generator=generator) if seen else None
    text = torch.randint(1, TEXT.vocabulary, (clips, 6), generator=generator)
    return Batch(
        latent=latent,
        classes=classes,
        text=text,
        place=some.place,
        kind=kind,
        fps=torch.full((clips,), 15.0),
        seed=torch.arange(clips),
    )


@pytest.mark.parametrize("seen", [True, False])
def test_it_learns_where_things_go(seen: bool) -> None:
    torch.manual_seed(0)
    objective, batch = Planning(Planner(CONFIG), text_encoder().requires_grad_(False)), lesson(seen=seen)
    optimiser = torch.optim.AdamW(objective.planner.parameters(), lr=3e-3)
    losses: list[float] = []
    for _ in range(60):
        optimiser.zero_grad()
        loss, metrics = objective(batch)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert {"loss", "where", "what", "off", *(["seeing"] if seen else [])} == set(metrics)
    assert not [n for n, p in objective.planner.named_parameters() if p.grad is None], "unused in one kind of batch"


def test_a_clip_s_share_of_the_loss_does_not_depend_on_its_batch() -> None:
    objective, batch = Planning(drawn(Planner(CONFIG)), text_encoder()), lesson(4)
    with torch.no_grad():
        whole = float(objective(batch)[0])
        halves = [
            float(objective(Batch(**{n: v[part] for n, v in vars(batch).items() if v is not None}))[0])
            for part in (slice(0, 2), slice(2, 4))
        ]
    assert sum(halves) / 2 == pytest.approx(whole, rel=1e-5)


def test_a_stream_follows_one_plan(planning_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = muybridge.load(planning_model, dtype=torch.float32)
    told_of, tell = [], model.transformer.tell

    def hears(tracks: Tracks, known: Tensor) -> Tensor | None:
        told_of.append(tracks.place)
        return tell(tracks, known)

    monkeypatch.setattr(model.transformer, "tell", hears)
    stream = model.stream(Condition("a red ball", height=32, width=48), seed=1)
    for _ in range(6):
        next(stream)
    windows = [place for place in told_of if place.shape[1] == model._frames]
    assert len(windows) >= 3
    for before, after in pairwise(windows):
        torch.testing.assert_close(after[:, 0], before[:, 0])
        torch.testing.assert_close(after[:, 1], before[:, -1])


@pytest.fixture(scope="module")
def planning_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_planning_model(tmp_path_factory.mktemp("planning") / "model")


def frames_of(model: muybridge.Model, **settings: object) -> Tensor:
    condition = Condition("a red ball", frames=9, height=32, width=48)
    return model.generate(condition, 3, replace(model.settings, **settings))[0].video.frames


def test_a_clip_follows_its_plan(planning_model: Path) -> None:
    model = muybridge.load(planning_model, dtype=torch.float32)
    assert model.planner is not None
    planned, plain = frames_of(model), frames_of(model, plan_steps=0)
    assert not torch.equal(planned, plain)
    assert torch.equal(planned, frames_of(model))
    condition = Condition("a red ball", frames=9, height=32, width=48)
    streams, negative = model.streams(condition)
    tracks = plan(model.planner, streams, 3, model.settings.plan_steps, [3])
    by_hand = replace(streams, told=model.transformer.tell(tracks, streams.known))
    *_, last = model.steps(by_hand, negative, model.settings, [3])
    assert torch.equal(model.decode(last.latent).frames, planned)


def test_the_planner_comes_back_from_disk(planning_model: Path, tmp_path: Path) -> None:
    first = muybridge.load(planning_model, dtype=torch.float32)
    assert (planning_model / "planner.safetensors").is_file()
    assert first.config["planner"]["things"] == 4
    made = first.generate(Condition("a red ball", frames=9, height=32, width=48), 1)[0]
    assert made.provenance.plan_steps == first.settings.plan_steps == 2


def test_steps_of_a_plan_are_not_negative() -> None:
    with pytest.raises(ValueError, match="plan_steps is -1"):
        Settings(plan_steps=-1)


def test_what_the_witness_reads_is_foreseen(tmp_path: Path) -> None:
    plans = PlannerConfig(channels=4, text_width=16, kinds=(9, 5), things=9, width=32, layers=1, heads=2, eye=8)
    looks = WitnessConfig(channels=4, text_width=16, colours=8, shapes=3, objects=3, width=8, blocks=1)
    frames = replace(TRANSFORMER, anchored=True, tracked=plans.kinds)
    sampling = Settings(steps=1, guidance=1.0, drafts=1, draft_steps=1, plan_steps=2)
    folder = build_tiny_model(tmp_path / "model", None, frames, sampling, looks, plans)
    model = muybridge.load(folder, dtype=torch.float32)
    assert model.planner is not None
    assert model.witness is not None
    condition = Condition("a red ball", frames=9, height=32, width=48)
    with torch.no_grad():
        model.witness.colour.bias[3] += 9  # it reads one colour whatever is said
        model.witness.shape.bias[1] += 9
        streams, _ = model.streams(condition)
        found = plan(model.planner, streams, 3, 2, [4])
        assert found.is_there[0, :8].tolist() == [n == 3 for n in range(8)]
        assert found.kind[0, 3].tolist() == [3, 1]
        seen, _ = model.streams(replace(condition, prefix=torch.zeros(1, 3, 32, 48)))
    assert seen.held is not None
    assert seen.held.isnan().all(), "a picture may show what words do not name"
    assert torch.isfinite(model.generate(condition, 4)[0].video.frames).all()


def test_given_frames_are_gone_on_from_with_their_own_guidance(planning_model: Path) -> None:
    model = muybridge.load(planning_model, dtype=torch.float32)
    condition = Condition("a red ball", frames=9, height=32, width=48)
    image = replace(condition, prefix=torch.zeros(1, 3, 32, 48))
    settings = replace(model.settings, guidance=3.0, given_guidance=1.0)
    for asked, guidance in ((condition, 3.0), (image, 1.0)):
        (clip,) = model.generate(asked, 3, settings)
        (plain,) = model.generate(asked, 3, replace(model.settings, guidance=guidance))
        assert clip.provenance.guidance == guidance
        assert torch.equal(clip.video.frames, plain.video.frames)
