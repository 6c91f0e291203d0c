"""seed -> Clip with ground truth: MuJoCo scenes, rendering, captions."""

from muybridge.simulation.captions import VOCABULARY, Fact, describe, prompt_and_facts
from muybridge.simulation.clip import Clip, ObjectInfo, States, film, simulate
from muybridge.simulation.events import Hidden, Landed
from muybridge.simulation.meshes import mesh_of, read_mesh, read_meshes, scaled
from muybridge.simulation.physics import Contact
from muybridge.simulation.scene import Mesh
from muybridge.simulation.standins import with_meshes
from muybridge.simulation.worlds import Pairs, World, has_pair, sample_world

__all__ = [
    "VOCABULARY",
    "Clip",
    "Contact",
    "Fact",
    "Hidden",
    "Landed",
    "Mesh",
    "ObjectInfo",
    "Pairs",
    "States",
    "World",
    "describe",
    "film",
    "has_pair",
    "mesh_of",
    "prompt_and_facts",
    "read_mesh",
    "read_meshes",
    "sample_world",
    "scaled",
    "simulate",
    "with_meshes",
]
