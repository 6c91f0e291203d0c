"""seed -> Clip with ground truth: MuJoCo scenes, rendering, captions.

What is exported here is fetched when it is first used (PEP 562): who wants the words alone does not wait for physics.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from muybridge.simulation.captions import VOCABULARY as VOCABULARY
    from muybridge.simulation.captions import Fact as Fact
    from muybridge.simulation.captions import describe as describe
    from muybridge.simulation.captions import prompt_and_facts as prompt_and_facts
    from muybridge.simulation.clip import Clip as Clip
    from muybridge.simulation.clip import ObjectInfo as ObjectInfo
    from muybridge.simulation.clip import States as States
    from muybridge.simulation.clip import Unseen as Unseen
    from muybridge.simulation.clip import film as film
    from muybridge.simulation.clip import simulate as simulate
    from muybridge.simulation.clip import unseen as unseen
    from muybridge.simulation.events import Hidden as Hidden
    from muybridge.simulation.events import Landed as Landed
    from muybridge.simulation.meshes import mesh_of as mesh_of
    from muybridge.simulation.meshes import read_mesh as read_mesh
    from muybridge.simulation.meshes import read_meshes as read_meshes
    from muybridge.simulation.meshes import scaled as scaled
    from muybridge.simulation.physics import Contact as Contact
    from muybridge.simulation.scene import Camera as Camera
    from muybridge.simulation.scene import Mesh as Mesh
    from muybridge.simulation.standins import with_meshes as with_meshes
    from muybridge.simulation.worlds import Pairs as Pairs
    from muybridge.simulation.worlds import World as World
    from muybridge.simulation.worlds import has_pair as has_pair
    from muybridge.simulation.worlds import sample_world as sample_world

_HOMES = {
    "Camera": "scene",
    "Clip": "clip",
    "Contact": "physics",
    "Fact": "captions",
    "Hidden": "events",
    "Landed": "events",
    "Mesh": "scene",
    "ObjectInfo": "clip",
    "Pairs": "worlds",
    "States": "clip",
    "Unseen": "clip",
    "VOCABULARY": "captions",
    "World": "worlds",
    "describe": "captions",
    "film": "clip",
    "has_pair": "worlds",
    "mesh_of": "meshes",
    "prompt_and_facts": "captions",
    "read_mesh": "meshes",
    "read_meshes": "meshes",
    "sample_world": "worlds",
    "scaled": "meshes",
    "simulate": "clip",
    "unseen": "clip",
    "with_meshes": "standins",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'muybridge.simulation' has no attribute {name!r}")
    return getattr(import_module(f"muybridge.simulation.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
