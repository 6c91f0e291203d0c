"""The page's plans, in Node.js, against those that they mirror."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from lab_node import in_node
from torch import Tensor

from muybridge.conditioning.witness import Witness, WitnessConfig
from muybridge.data.naming import PROPS, names_prop
from muybridge.sampler.plan import SALT, SHIFT, plan
from muybridge.transformer.dynamics import Dynamics
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
}

PLAN = """
const { plan } = await page("plan.js");
const bent = (x, level) => Math.sin(x) + level ** 2;
const foresee = async (tracks, levels) => tracks.map((x, i) => bent(x, levels[Math.floor(i / given.numbers)]));
const held = given.held && Float32Array.from(given.held, (value) => value ?? NaN);
return [...(await plan(foresee, given.about, given.steps, given.seeds, held))];
"""

CERTAIN = """
const { certain } = await page("plan.js");
return given.said.map((said) => {
  const held = certain(said, given.prompt, given.about);
  return held && Array.from(held, (value) => (Number.isNaN(value) ? null : value));
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
def test_what_is_certain_is_that_of_python(prompt: str) -> None:
    torch.manual_seed(3)
    judge = Witness(WITNESS).eval()
    for parameter in judge.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    text = torch.randn(24, 4, 6)
    with torch.inference_mode():
        asked, said = judge.asked(text), scores(judge, text)
        props = torch.tensor([names_prop(prompt)] * len(text))
        course = torch.full((len(text), WINDOW, 4, CONFIG.things, 2), torch.nan)
        wanted = held(course, asked, CONFIG, props)
    found = in_node(CERTAIN, {"said": said, "prompt": prompt, "about": ABOUT})
    named = asked.any(dim=1).tolist()
    assert [one is not None for one in found] == named
    assert len(set(asked.sum(dim=1).tolist())) > 1, "words that all name alike test nothing"
    for one, other, names in zip(found, wanted, named, strict=True):
        if names:
            assert one == written(other)
    assert in_node(CERTAIN, {"said": said, "prompt": prompt, "about": ABOUT | {"things": 5}}) == [None] * len(text)
