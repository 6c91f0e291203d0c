"""seed -> Clip with ground truth: MuJoCo scenes, rendering, captions."""

from muybridge.simulation.captions import VOCABULARY, Fact, describe, prompt_and_facts
from muybridge.simulation.clip import Clip, ObjectInfo, States, film, simulate
from muybridge.simulation.events import Hidden, Landed
from muybridge.simulation.physics import Contact
from muybridge.simulation.worlds import Pairs, World, has_pair, sample_world

__all__ = [
    "VOCABULARY",
    "Clip",
    "Contact",
    "Fact",
    "Hidden",
    "Landed",
    "ObjectInfo",
    "Pairs",
    "States",
    "World",
    "describe",
    "film",
    "has_pair",
    "prompt_and_facts",
    "sample_world",
    "simulate",
]
