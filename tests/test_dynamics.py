"""The dynamics: motion that goes on, what it learns, and plans that follow it."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from tiny_models import TEXT, TRANSFORMER, drawn, text_encoder
from torch import Tensor

from muybridge.sampler.plan import plan
from muybridge.training.following import Following
from muybridge.training.planning import Planning
from muybridge.transformer.dynamics import PLACE, Dynamics
from muybridge.transformer.planner import Planner, PlannerConfig, held, is_led, joined, parted, told, written
from muybridge.types import TEMPORAL_STRIDE, Batch, Streams, Tracks

KINDS = (4, 3)
CONFIG = PlannerConfig(TRANSFORMER.channels, TEXT.width, KINDS, things=4, width=32, layers=1, heads=2, eye=16, steps=32)
FRAMES = 5
WORDS = torch.zeros(1, 2, TEXT.width)


def moving(clips: int = 2, frames: int = FRAMES, bend: float = 0.0) -> Tracks:
    """Things that go their way at a speed each, and `bend` a frame faster downwards."""
    generator = torch.Generator().manual_seed(1)
    start, speed = torch.rand(2, clips, 4, 2, generator=generator)
    when = torch.arange(frames * TEMPORAL_STRIDE).view(frames, TEMPORAL_STRIDE, 1, 1)
    middle = start[:, None, None] * 0.5 + 0.02 * when * (speed[:, None, None] - 0.5)
    middle = middle + torch.stack([torch.zeros_like(when), bend * when.square()], dim=-1)[None, ..., 0, :]
    place = torch.cat([middle, torch.full((*middle.shape[:-1], 2), 0.1), torch.full((*middle.shape[:-1], 1), 3.0)], -1)
    kind = torch.stack([torch.arange(4), torch.zeros(4, dtype=torch.int64)], dim=-1).expand(clips, -1, -1)
    return Tracks(place, kind, torch.ones(clips, 4, dtype=torch.bool))


def test_what_nothing_is_known_of_goes_on_as_it_was() -> None:
    """Before it has learnt anything, a dynamics has what Newton's first law says, of the numbers it is told."""
    numbers = written(moving(), CONFIG)
    places, what = parted(numbers, CONFIG)
    dynamics = Dynamics(CONFIG.of_dynamics)
    found = dynamics(places[:, :2], dynamics.listen(places[:, :2]), what, WORDS.expand(2, -1, -1), FRAMES)
    torch.testing.assert_close(found, places, rtol=1e-4, atol=1e-4)


def test_numbers_are_taken_apart_and_joined() -> None:
    numbers = written(moving(), CONFIG)
    assert torch.equal(joined(*parted(numbers, CONFIG)), numbers)
    _, what = parted(numbers + 0.4, CONFIG)  # what things are is made certain
    assert torch.equal(what, parted(numbers, CONFIG)[1])


def test_a_thing_is_roughly_where_the_eye_sees_it() -> None:
    dynamics = Dynamics(CONFIG.of_dynamics)
    with torch.no_grad():
        for parameter in dynamics.eye.parameters():
            parameter.zero_()
        dynamics.eye.enter.weight[0, 0, 1, 1] = 1.0
        dynamics.eye.scores.weight[2, 0] = 50.0
    pictures = torch.zeros(1, 3, TRANSFORMER.channels, 4, 6)
    pictures[0, 1, 0, 3, 1] = 1.0
    roughly, found, scores = dynamics.look(pictures)
    assert found.shape == (1, 3, 5, 32)
    assert scores.shape == (1, 3, 5, 4, 6)
    kinds = torch.zeros(1, 3, 4, CONFIG.numbers - PLACE * TEMPORAL_STRIDE)
    where = told(torch.cat([roughly, kinds], dim=-1), CONFIG).place[0, 1, :, 2, :2]
    torch.testing.assert_close(where, torch.tensor([[1.5 / 6, 3.5 / 4]]).expand(4, -1), rtol=1e-3, atol=1e-3)


def batch(pictures: bool, clips: int = 4, frames: int = FRAMES, bend: float = 1e-3) -> Batch:
    some = moving(clips, frames, bend)
    generator = torch.Generator().manual_seed(5)
    latent = torch.randn(clips, frames, TRANSFORMER.channels, 4, 6, generator=generator)
    classes = torch.randint(0, 1 + 3, (clips, frames, 4, 6), generator=generator, dtype=torch.int64)
    return Batch(
        latent=latent if pictures else None,
        classes=classes.to(torch.uint8) if pictures else None,
        place=some.place,
        kind=some.kind,
        text=torch.ones(clips, 3, dtype=torch.int64),
        fps=torch.full((clips,), 15.0),
        seed=torch.arange(clips) + 11,
        common=torch.full((clips,), 5),
    )


@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize("common", [0, 1, 2])
def test_a_batch_is_its_parts(pictures: bool, common: int) -> None:
    """So it may be divided among processes; of its clips some have fewer things than others."""
    torch.manual_seed(0)
    objective = Following(drawn(Dynamics(CONFIG.of_dynamics)), text_encoder().requires_grad_(False), CONFIG)
    whole = replace(batch(pictures, 4), common=torch.full((4,), common))
    assert whole.kind is not None
    alone = whole.kind.clone()
    alone[1:, 1:] = -1
    whole = replace(whole, kind=alone)
    rows = {field.name: getattr(whole, field.name) for field in fields(whole)}
    parts = [Batch(**{n: None if of is None else of[part] for n, of in rows.items()}) for part in ([0, 1], [2, 3])]
    with torch.no_grad():
        losses = [objective(one)[0] for one in (whole, *parts)]
    torch.testing.assert_close(losses[0], (losses[1] + losses[2]) / 2)


@pytest.mark.parametrize("pictures", [False, True])
def test_every_weight_learns_from_every_batch(pictures: bool) -> None:
    """Processes that share a training wait for each other's gradients of all of them."""
    torch.manual_seed(0)
    dynamics = drawn(Dynamics(CONFIG.of_dynamics))
    objective = Following(dynamics, text_encoder().requires_grad_(False), CONFIG)
    loss, metrics = objective(batch(pictures))
    loss.backward()  # type: ignore[no-untyped-call]
    assert [name for name, p in dynamics.named_parameters() if p.grad is None] == []
    assert ("seeing" in metrics) == pictures
    assert all(torch.isfinite(value) for value in metrics.values())


def test_it_learns_to_fall() -> None:
    """What falls the faster the longer, from what it is told of two frames: a hundred steps make it ten times as exact
    as going on is."""
    torch.manual_seed(0)
    dynamics = Dynamics(CONFIG.of_dynamics)
    objective = Following(dynamics, text_encoder().requires_grad_(False), CONFIG)
    optimizer = torch.optim.AdamW(dynamics.parameters(), lr=3e-3)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 100)  # else how exact it is, is luck
    losses = []
    for step in range(100):
        loss, _ = objective(replace(batch(False, 8), seed=torch.arange(8) + 8 * step, common=torch.full((8,), step)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falling.step()
        losses.append(float(loss.detach()))
    places, what = parted(written(moving(2, bend=1e-3), CONFIG), CONFIG)
    text = objective.text(torch.ones(2, 3, dtype=torch.int64))

    def off(model: Dynamics) -> Tensor:
        with torch.no_grad():
            found = model(places[:, :2], model.listen(places[:, :2]), what, text, FRAMES)
        return (found - places)[:, 2:].abs().mean()

    assert off(dynamics) < off(Dynamics(CONFIG.of_dynamics)) / 10, losses[::10]


def test_a_planner_learns_without_its_dynamics() -> None:
    planner = Planner(CONFIG)
    Planning(planner, text_encoder())
    assert planner.dynamics is not None
    assert not any(p.requires_grad for p in planner.dynamics.parameters())
    Following(planner.dynamics, text_encoder(), CONFIG)
    assert all(p.requires_grad for p in planner.dynamics.parameters())


def streams(known: tuple[int, ...], frames: int = FRAMES) -> Streams:
    """A clip for each number of known frames."""
    generator = torch.Generator().manual_seed(3)
    text = torch.randn(len(known), TEXT.queries, TEXT.width, generator=generator)
    pictures = torch.randn(len(known), frames, TRANSFORMER.channels, 4, 6, generator=generator)
    is_known = torch.arange(frames) < torch.tensor(known)[:, None]
    return Streams(text, None, pictures, is_known, torch.full((len(known),), 15.0))


@pytest.fixture(scope="module")
def planner() -> Planner:
    module = drawn(Planner(CONFIG))
    assert isinstance(module, Planner)
    with torch.no_grad():
        module.out.bias[-1] = 9.0  # all things are there
    return module.requires_grad_(False)


def without(planner: Planner) -> Planner:
    bare = Planner(replace(CONFIG, steps=0))
    bare.load_state_dict({k: v for k, v in planner.state_dict().items() if not k.startswith("dynamics.")})
    return bare.requires_grad_(False)


def test_from_two_known_frames_on_a_plan_follows_its_dynamics(planner: Planner) -> None:
    given = streams((0, 1, 2, 3))
    drawn_ones = plan(without(planner), given, FRAMES, 3, [1, 2, 3, 4])
    found = plan(planner, given, FRAMES, 3, [1, 2, 3, 4])
    assert torch.equal(found.is_there, drawn_ones.is_there)
    assert found.is_there.any(dim=1).all()
    assert torch.equal(found.kind[found.is_there], drawn_ones.kind[found.is_there])
    assert torch.equal(found.place[:2], drawn_ones.place[:2])
    assert all(not torch.allclose(found.place[i], drawn_ones.place[i]) for i in (2, 3))


def test_where_something_is_led_the_whole_is_planned(planner: Planner) -> None:
    given = streams((3, 3, 3), frames=12)
    course = torch.full((3, 12, TEMPORAL_STRIDE, 4, 2), torch.nan)
    course[1, :, :, 2] = 0.25
    led = replace(given, held=held(course, None, CONFIG))
    assert is_led(led.held, given.text).tolist() == [False, True, False]
    assert is_led(None, given.text).tolist() == [False] * 3
    found, free = (plan(planner, some, FRAMES, 3, [1, 2, 3]) for some in (led, given))
    bare = plan(without(planner), led, FRAMES, 3, [1, 2, 3])
    torch.testing.assert_close(found.place[1], bare.place[1])
    torch.testing.assert_close(found.place[[0, 2]], free.place[[0, 2]])


def test_what_is_absent_is_not_led() -> None:
    course = torch.full((1, FRAMES, TEMPORAL_STRIDE, 4, 2), torch.nan)
    asked = torch.zeros(1, 6, dtype=torch.bool)
    asked[0, 1] = True
    certain = held(course, asked, replace(CONFIG, kinds=(4, 3)), torch.zeros(1, dtype=torch.bool))
    assert not bool(is_led(certain, course).any())


@pytest.mark.parametrize("frames", [FRAMES, 12])
def test_a_plan_of_several_is_that_of_each(planner: Planner, frames: int) -> None:
    given = streams((2, 3, 1), frames)
    together = plan(planner, given, FRAMES, 3, [1, 2, 3])
    for i in range(3):
        alone = plan(
            planner,
            Streams(given.text[[i]], None, given.known[[i]], given.is_known[[i]], given.fps[[i]]),
            FRAMES,
            3,
            [1 + i],
        )
        torch.testing.assert_close(together.place[[i]], alone.place, rtol=1e-4, atol=1e-4)
