"""docs/systems.md: every command parses, and the model that it names takes what the command gives it."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from test_readme import parse

from muybridge import cli
from muybridge.backends.families import FAMILIES, Parts, family_of

PAGE = Path(__file__).parents[1] / "docs" / "systems.md"
TIMED: Parts = {"": {"expand_timesteps": True}}
PLAIN: Parts = {"": {}}

MODELS: dict[str, tuple[str, Parts]] = {
    "BestWishYsh/Helios-Base": ("HeliosPipeline", PLAIN),
    "Efficient-Large-Model/SANA-WM_diffusers": ("SanaWMPipeline", PLAIN),
    "Lightricks/LTX-2": ("LTX2Pipeline", PLAIN),
    "Lightricks/LTX-Video": ("LTXPipeline", PLAIN),
    "Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers": ("SkyReelsV2DiffusionForcingPipeline", PLAIN),
    "THUDM/CogVideoX-2b": ("CogVideoXPipeline", PLAIN),
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": ("WanPipeline", PLAIN),
    "Wan-AI/Wan2.1-VACE-1.3B-diffusers": ("WanVACEPipeline", PLAIN),
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers": ("WanPipeline", TIMED),
}
"""What model_index.json of each says: its pipeline, and the settings that decide what it takes."""

GIVEN = {"image": "image", "last_image": "ending", "video": "video", "mask": "mask", "control": "control"}
GIVEN |= {"camera": "camera", "prompt": "prompt", "negative": "negative"}
"""Options of the command, as `Condition.given` calls what they bring."""


def commands() -> list[tuple[str, str]]:
    """(system, command); of a row's further ones only what is different is written out."""
    rows = [line.strip("|").split("|") for line in PAGE.read_text(encoding="utf-8").splitlines()]
    return [
        (row[0].strip(), code if code.startswith("muybridge ") else f"muybridge generate words {code}")
        for row in rows
        if len(row) == 3
        for code in re.findall(r"`([^`]+)`", row[2])
    ]


@pytest.mark.parametrize(("system", "command"), commands())
def test_a_command_asks_for_what_its_model_takes(system: str, command: str) -> None:
    _, verb, *words = shlex.split(command)
    function: Any = getattr(cli, verb)
    said = parse(function, words) if words else {}
    assert {*said} <= {*inspect.signature(function).parameters}
    if verb != "generate":
        return
    pipeline, parts = MODELS[said["model"]]
    family = family_of(pipeline)
    assert family is not None
    given = {name for option, name in GIVEN.items() if said.get(option)}
    ways = [way for way in family.ways if way.serves(pipeline, parts) and way.needs <= given <= way.takes]
    assert ways, f"{system}: {said['model']} does not take {given}"


def test_the_models_are_of_families_in_the_table() -> None:
    named = {model for _, command in commands() for model in re.findall(r"--model (\S+)", command)}
    assert named == {*MODELS}
    known = {family_of(pipeline) for pipeline, _ in MODELS.values()}
    assert known <= {*FAMILIES}
