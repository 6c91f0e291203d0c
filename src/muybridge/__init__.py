"""Muybridge: video diffusion transformers that are world models.

    import muybridge

    model = muybridge.load("nano")
    clip = model.generate(muybridge.Condition("a red ball rolls behind a blue box"), seed=7)[0]
    clip.save("clip.mp4")

What is exported here is fetched when it is first used (PEP 562), so that `import muybridge` does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from muybridge.generate import Clip as Clip
    from muybridge.generate import Model as Model
    from muybridge.generate import Stream as Stream
    from muybridge.generate import load as load
    from muybridge.sampler.sample import Settings as Settings
    from muybridge.simulation.clip import simulate as simulate
    from muybridge.storage.checkpoint import bundled as bundled
    from muybridge.storage.models import save_model as save_model
    from muybridge.storage.provenance import Provenance as Provenance
    from muybridge.storage.stills import contact_sheet as contact_sheet
    from muybridge.storage.stills import fit as fit
    from muybridge.storage.stills import read_still as read_still
    from muybridge.storage.stills import to_uint8 as to_uint8
    from muybridge.storage.video import read_mp4 as read_mp4
    from muybridge.storage.video import write_mp4 as write_mp4
    from muybridge.types import Condition as Condition
    from muybridge.types import Event as Event
    from muybridge.types import Latent as Latent
    from muybridge.types import Move as Move
    from muybridge.types import Progress as Progress
    from muybridge.types import Sampled as Sampled
    from muybridge.types import Video as Video

    __version__: str

_HOMES = {
    "Clip": "generate",
    "Condition": "types",
    "Event": "types",
    "Latent": "types",
    "Model": "generate",
    "Move": "types",
    "Progress": "types",
    "Provenance": "storage.provenance",
    "Sampled": "types",
    "Settings": "sampler.sample",
    "Stream": "generate",
    "Video": "types",
    "bundled": "storage.checkpoint",
    "contact_sheet": "storage.stills",
    "fit": "storage.stills",
    "load": "generate",
    "read_mp4": "storage.video",
    "read_still": "storage.stills",
    "save_model": "storage.models",
    "simulate": "simulation.clip",
    "to_uint8": "storage.stills",
    "write_mp4": "storage.video",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module 'muybridge' has no attribute {name!r}")
    return getattr(import_module(f"muybridge.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, "__version__"])


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("muybridge")
    except PackageNotFoundError:  # run from its sources, not installed
        return "0+source"
