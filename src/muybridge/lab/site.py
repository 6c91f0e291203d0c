"""The lab as a folder of files: the page, the runtime, a model. Whatever is there already and still right is kept.

index.html, *.js, *.css, …   the page, as it is in this package
runtime/                     onnxruntime-web and Mediabunny, from npm
model/                       what `muybridge export --format onnx --precision int8` writes
lab.json                     what the page has to know of all this; from the start on it marks the folder as ours
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import torch

import muybridge
from muybridge.engines.export import FORMAT as EXPORT_FORMAT
from muybridge.engines.export import check_words, export
from muybridge.lab import runtime
from muybridge.storage import checkpoint
from muybridge.storage.atomic import new_file
from muybridge.types import latent_frames

FORMAT = 1
PRECISION = "int8"
_WRITERS = ("engines", "conditioning", "tokenizer", "transformer")
"""The rooms whose code decides what is in the graphs."""


def build(folder: Path, model: str, tell: Callable[[str], None] = lambda doing: None) -> dict[str, Any]:
    """Makes `folder` the lab of a model, or brings it up to date; returns what lab.json says. ValueError if it cannot.

    tell  hears what is being done, for it may take a minute
    """
    _refuse_others(folder)
    found = checkpoint.load(model)
    check_words(model, found.config)
    folder.mkdir(parents=True, exist_ok=True)
    if not _note(folder):  # one that breaks off is known again
        _write_note(folder, {"format": FORMAT, "muybridge": muybridge.__version__})
    tell("copying the page")
    for name, content in page().items():
        with new_file(folder / name) as temporary:
            temporary.write_bytes(content)
    tell("fetching the runtime of the page")
    runtime.fetch(folder / "runtime")
    if not _is_exported(folder, found.model_hash):
        tell(f"writing {model} as graphs for the browser; this takes a minute, once")
        _export(model, folder / "model")
    lab = describe(folder)
    _write_note(folder, lab)
    return lab


def page() -> Mapping[str, bytes]:
    """The files of the page by name."""
    files = (resources.files("muybridge.lab") / "page").iterdir()
    return {file.name: file.read_bytes() for file in sorted(files, key=lambda file: file.name) if file.is_file()}


def describe(folder: Path) -> dict[str, Any]:
    """What lab.json says of a folder that has page, runtime and model: which model, every file's size, a version."""
    config = json.loads((folder / "model" / "config.json").read_text(encoding="utf-8"))
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lab.json" and not path.name.startswith(".")
    }
    digest = hashlib.sha256()
    for name, path in files.items():
        digest.update(name.encode() + b"\0" + path.read_bytes())
    return {
        "format": FORMAT,
        "version": digest.hexdigest()[:12],
        "muybridge": muybridge.__version__,
        "code": _code(),
        "model": {
            "name": config["name"],
            "hash": config["model_hash"],
            "learnt_from": config["learnt_from"],
            "trained": config["trained"],
            "sampling": config["sampling"],
            "channels": config["channels"],
            "stride": config["spatial_stride"],
            "planner": config["planner"],
        },
        "graphs": {part: f"model/{about['file']}" for part, about in config["parts"].items()},
        "files": {name: path.stat().st_size for name, path in files.items()},
    }


def _export(name: str, folder: Path) -> None:
    model = muybridge.load(name, device="cpu", dtype=torch.float32)
    trained, stride = model.config["trained"], model.autoencoder.config.spatial_stride
    height, width = trained["height"] // stride, trained["width"] // stride
    frames = latent_frames(trained["frames"])
    sizes = {"batch": 1, "frames": frames, "height": height, "width": width, "words": 8}
    export(model, model.vocabulary.to_json(), folder, "onnx", PRECISION, sizes)


def _is_exported(folder: Path, model_hash: str) -> bool:
    """Whether the graphs are there, and are those that today's code would write."""
    try:
        config = json.loads((folder / "model" / "config.json").read_text(encoding="utf-8"))
        found = (config["format"], config["target"], config["precision"], config["model_hash"])
        return found == (EXPORT_FORMAT, "onnx", PRECISION, model_hash) and _note(folder).get("code") == _code()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _code() -> str:
    """The digest of the code that writes graphs."""
    digest = hashlib.sha256()
    for room in _WRITERS:
        for file in sorted((Path(muybridge.__file__).parent / room).rglob("*.py")):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def _note(folder: Path) -> dict[str, Any]:
    """What lab.json says; nothing where there is none of ours."""
    try:
        said = json.loads((folder / "lab.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) and {"format", "muybridge"} <= set(said) else {}


def _write_note(folder: Path, lab: Mapping[str, Any]) -> None:
    with new_file(folder / "lab.json") as temporary:
        temporary.write_text(json.dumps(lab, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _refuse_others(folder: Path) -> None:
    """ValueError for a folder that holds other things: none of them is to be written over."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: name a folder for the lab")
    if folder.is_dir() and any(folder.iterdir()) and not _note(folder):
        raise ValueError(f"{folder} holds other things than a lab: name an empty folder, or a new one")
