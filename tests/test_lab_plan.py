"""The page's plans, in Node.js, against those that they mirror."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from lab_node import in_node
from torch import Tensor

from muybridge.conditioning.witness import Witness, WitnessConfig
from muybridge.data.moves import course_of, move_of
from muybridge.data.naming import COLOUR_OF, PROPS, SHAPE_OF, names_prop
from muybridge.sampler.plan import SALT, SHIFT, plan
from muybridge.transformer.dynamics import MIDDLE, SPREAD, Dynamics
from muybridge.transformer.planner import PlannerConfig, held, told
from muybridge.types import Streams

CONFIG = PlannerConfig(channels=4, text_width=6, kinds=(4, 5), things=4, width=32)
WITNESS = WitnessConfig(channels=4, text_width=6, colours=3, shapes=2, objects=3, width=8, blocks=1)
WINDOW, CLIPS = 3, 2
ABOUT = {
    "things": CONFIG.things,
    "kinds": list(CONFIG.kinds),
    "numbers": CONFIG.numbers,
    "window": WINDOW,
    "shift": SHIFT,
    "salt": SALT,
    "props": list(PROPS),
    "colours": COLOUR_OF,
    "shapes": list(SHAPE_OF),
    "middle": list(MIDDLE[:2]),
    "spread": list(SPREAD[:2]),
}

PLAN = """
const { plan } = await page("plan.js");
const bent = (x, level) => Math.sin(x) + level ** 2;
const foresee = async (tracks, levels) => tracks.map((x, i) => bent(x, levels[Math.floor(i / given.numbers)]));
const held = given.held && Float32Array.from(given.held, (value) => value ?? NaN);
return [...(await plan(foresee, given.about, given.steps, given.seeds, held))];
"""

CERTAIN = """
const { certain, holding } = await page("plan.js");
const { courseOf, movesOf } = await page("moves.js");
const course = given.moves ? courseOf(movesOf(given.moves), 4 * given.frames - 3, given.about) : null;
return given.said.map((said) => {
  const held = holding(said && certain(said, given.prompt, given.about, course), course, given.frames, given.about);
  return held && Array.from(held, (value) => (Number.isNaN(value) ? null : value));
});
"""

MOVES = """
const { asPython, courseOf, movesOf, written } = await page("moves.js");
return given.texts.map((text) => {
  try {
    const moves = movesOf(text);
    courseOf(moves, 9, given.about);
    return [moves.map(written).join("\\n"), asPython(moves)];
  } catch (error) {
    return error.message;
  }
});
"""


@dataclass
class Bent:
    """Foresees what bends in x and in the level."""

    config: PlannerConfig = CONFIG
    dynamics: Dynamics | None = None

    def look_once(self, streams: Streams) -> tuple[Tensor, Tensor]:
        return torch.zeros(CLIPS, WINDOW, CONFIG.things, CONFIG.width), torch.zeros(CLIPS, WINDOW, CONFIG.width)

    def foresee(self, x: Tensor, level: Tensor, text: Tensor, fps: Tensor, seen: Tensor, whole: Tensor) -> Tensor:
        return x.sin() + level[..., None] ** 2


def streams(certain: Tensor | None = None) -> Streams:
    known = torch.zeros(CLIPS, WINDOW, 4, 4, 4)
    return Streams(
        torch.zeros(CLIPS, 2, 6),
        None,
        known,
        torch.zeros(CLIPS, WINDOW, dtype=torch.bool),
        torch.full((CLIPS,), 15.0),
        held=certain,
    )


def written(certain: Tensor) -> list[float | None]:
    """As JSON has it."""
    return [None if value != value else value for value in certain.flatten().tolist()]


def scores(judge: Witness, text: Tensor) -> list[dict[str, Any]]:
    colour, shape = judge.read(text)
    return [
        {
            name: {"data": value[i].flatten().tolist(), "dims": [1, *value.shape[1:]]}
            for name, value in (("colour", colour), ("shape", shape))
        }
        for i in range(len(text))
    ]


@pytest.mark.parametrize("steps", [1, 2, 8])
@pytest.mark.parametrize("holds", [False, True])
def test_a_plan_is_that_of_python(steps: int, holds: bool) -> None:
    certain = None
    if holds:
        certain = torch.full((CLIPS, WINDOW, CONFIG.things, CONFIG.numbers), torch.nan)
        certain[:, :, 1] = 0.5
        certain[:, :, 3, -1] = -1.0
    wanted = plan(Bent(), streams(certain), WINDOW, steps, [7, 2**32 + 5])
    given = {
        "about": ABOUT,
        "steps": steps,
        "seeds": [7, 2**32 + 5],
        "numbers": CONFIG.numbers,
        "held": None if certain is None else written(certain[0]),
    }
    found = torch.tensor(in_node(PLAN, given)).view(CLIPS, WINDOW, CONFIG.things, CONFIG.numbers)
    tracks = told(found, CONFIG)
    torch.testing.assert_close(tracks.place, wanted.place, atol=1e-4, rtol=1e-4)
    assert torch.equal(tracks.kind, wanted.kind)
    assert torch.equal(tracks.is_there, wanted.is_there)


@pytest.mark.parametrize("prompt", ["a red ball", "a red ball slides down the RAMPS", "a wallaby"])
@pytest.mark.parametrize("frames", [1, 2, WINDOW])
@pytest.mark.parametrize(
    "moves", ["", "red ball: 0.2,0.5 0.8,0.25 0.5,1.5", "orange can: 0.1,0.9\ntiny yellow box: 0,0 1,1"]
)
def test_what_is_certain_is_that_of_python(prompt: str, frames: int, moves: str) -> None:
    torch.manual_seed(3)
    judge = Witness(WITNESS).eval()
    for parameter in judge.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    text = torch.randn(24, 4, 6)
    course = course_of([move_of(line) for line in moves.splitlines()], 4 * frames - 3, CONFIG.things - 1)
    course = course.expand(len(text), -1, -1, -1, -1)
    with torch.inference_mode():
        asked, said = judge.asked(text), scores(judge, text)
        props = torch.tensor([names_prop(prompt)] * len(text))
        wanted = held(course, asked, CONFIG, props)
        unsaid = held(course, None, CONFIG, props)
    given = {"said": said, "prompt": prompt, "about": ABOUT, "frames": frames, "moves": moves}
    found = in_node(CERTAIN, given)
    named = asked.any(dim=1).tolist()
    assert [one is not None for one in found] == [bool(moves) or name for name in named]
    assert len(set(asked.sum(dim=1).tolist())) > 1, "words that all name alike test nothing"
    for one, other in zip(found, wanted, strict=True):
        if one is not None:
            assert one == pytest.approx(filled(other), abs=1e-5, nan_ok=True)
    pictured = in_node(CERTAIN, given | {"said": [None]})
    assert pictured == ([pytest.approx(filled(unsaid[0]), abs=1e-5)] if moves else [None])
    if not moves:
        assert in_node(CERTAIN, given | {"about": ABOUT | {"things": 5}}) == [None] * len(text)


def filled(certain: Tensor) -> list[float | None]:
    """As JSON has it, up to the window's end, where nothing is certain."""
    return written(torch.cat([certain, torch.full((WINDOW - len(certain), *certain.shape[1:]), torch.nan)]))


def test_moves_in_text_are_those_of_python() -> None:
    good = ["red ball: 0.2,0.5 0.8,1", "a tiny red ball:0,1e-2", " orange can : .5,.5\n\nyellow box: 0.25,0.75 1,1 0,0"]
    bad = ["", "red ball", "red ball 0.2,0.5", ": 0.2,0.5", "red ball: 0.2", "red ball: 0.2,0.5,1", "red ball: a,b"]
    bad += ["ball: 0,0", "green ball: 0,0", "red ball: 0,0\nred box: 0,0", "red ball: 3,0", "red ball: ,1"]
    found = in_node(MOVES, {"texts": good + bad, "about": ABOUT})
    for text, (again, repr_) in zip(good, found, strict=False):
        moves = tuple(move_of(line) for line in text.splitlines() if line)
        assert repr_ == repr(moves)
        assert tuple(move_of(line) for line in again.splitlines()) == moves
    assert found[len(good)] == ["", "()"]  # no ways are no mistake
    for text, said in zip(bad[1:], found[len(good) + 1 :], strict=True):
        assert isinstance(said, str), (text, said)
        with pytest.raises(ValueError, match=r"no move|cannot be moved|two moves|points of"):
            course_of([move_of(line) for line in text.splitlines()], 9, CONFIG.things - 1)
