"""seed -> Clip with ground truth: MuJoCo scenes, rendering, captions."""

from muybridge.simulation.captions import VOCABULARY, Fact, describe, prompt_and_facts
from muybridge.simulation.clip import Clip, ObjectInfo, States, Unseen, film, simulate, unseen
from muybridge.simulation.events import Hidden, Landed
from muybridge.simulation.meshes import mesh_of, read_mesh, read_meshes, scaled
from muybridge.simulation.outlines import outlines
from muybridge.simulation.physics import Contact
from muybridge.simulation.scene import Camera, Mesh
from muybridge.simulation.standins import with_meshes
from muybridge.simulation.worlds import Pairs, World, has_pair, sample_world

__all__ = [
    "VOCABULARY",
    "Camera",
    "Clip",
    "Contact",
    "Fact",
    "Hidden",
    "Landed",
    "Mesh",
    "ObjectInfo",
    "Pairs",
    "States",
    "Unseen",
    "World",
    "describe",
    "film",
    "has_pair",
    "mesh_of",
    "outlines",
    "prompt_and_facts",
    "read_mesh",
    "read_meshes",
    "sample_world",
    "scaled",
    "simulate",
    "unseen",
    "with_meshes",
]
