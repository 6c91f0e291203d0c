"""Folders in diffusers' format: where they are, whether they are whole, and whether it is safe to open them.

A pipeline is a folder with `model_index.json`, which names its parts and the class of each; a part is a folder of its
own. Nothing here imports diffusers: what is wrong with a folder should not take ten seconds to be told.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from muybridge.storage.atomic import AnyPath, standing
from muybridge.storage.checkpoint import check_header, fetched, is_bundled, is_hub_name

INDEX = "model_index.json"
OURS = "MuybridgePipeline"
"""The class of pipelines that hold a model of ours."""

_SAFE = (".safetensors",)
PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_LIBRARIES = {"diffusers", "transformers", "muybridge"}
_PARTS_OF_HUB = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")


@dataclass(frozen=True)
class PipelineFolder:
    """A pipeline on disk, nothing of it loaded.

    folder    where it lies
    pipeline  the class of the pipeline
    classes   part -> name of its class, without the parts that are left out
    settings  part -> its settings; those of the pipeline itself under ""
    weights   part -> its weight files; parts that have none are left out
    absent    parts that its pipeline can have and this one does without
    """

    folder: Path
    pipeline: str
    classes: Mapping[str, str]
    settings: Mapping[str, Mapping[str, Any]] = field(repr=False)
    weights: Mapping[str, list[Path]] = field(repr=False)
    absent: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 over settings and weights of all parts, each with its name and length.

        Of a weight file that is larger than 64 MiB the ends are read only: it is to tell models apart, quickly.
        """
        total = hashlib.sha256()
        for file in sorted(self.folder.rglob("*")):
            if file.suffix in (".json", *_SAFE, *PICKLED) and file.is_file():
                total.update(f"{file.relative_to(self.folder).as_posix()}\0{file.stat().st_size}\0".encode())
                total.update(ends(file))
        return total.hexdigest()

    @property
    def pickled(self) -> bool:
        """Whether some part has pickled weights only."""
        return any(file.suffix in PICKLED for files in self.weights.values() for file in files)


def find(path_or_name: AnyPath, allow_pickle: bool = False, without: Sequence[str] = ()) -> PipelineFolder | None:
    """The pipeline that is meant: a folder, or "org/name" on the hub; None if it is none.

    without  parts whose weights come from elsewhere: theirs are neither wanted nor fetched

    ValueError, with the mend, for a folder that is incomplete or damaged, that would run code of its own, or that has
    pickled weights where `allow_pickle` is not set.
    """
    name, folder = str(path_or_name), standing(path_or_name)
    if is_bundled(path_or_name):
        return None
    if os.path.isdir(folder):
        return opened(folder, allow_pickle, without) if (folder / INDEX).is_file() else None
    if os.path.exists(folder) or not is_hub_name(name):
        return None
    if not (fetched(name, [INDEX]) / INDEX).is_file():
        return None
    wanted = [*_PARTS_OF_HUB, *(f"*{suffix}" for suffix in PICKLED if allow_pickle)]
    spared = [f"{part}/*{suffix}" for part in without for suffix in (*_SAFE, *PICKLED, ".index.json")]
    files = [INDEX, *(f"*/{pattern}" for pattern in wanted)]
    return opened(fetched(name, files, spared), allow_pickle, without)


def opened(folder: Path, allow_pickle: bool = False, without: Sequence[str] = ()) -> PipelineFolder:
    """What a folder holds; ValueError as in `find`."""
    index = _json(folder / INDEX)
    pipeline = index.get("_class_name")
    if not isinstance(pipeline, str):
        raise ValueError(
            f"{folder} brings code of its own for its pipeline ({pipeline!r}), and such code is never run: "
            "take a model whose pipeline is part of diffusers"
        )
    classes: dict[str, str] = {}
    settings: dict[str, Mapping[str, Any]] = {"": {k: v for k, v in index.items() if not isinstance(v, list)}}
    weights: dict[str, list[Path]] = {}
    for part, said in index.items():
        if part.startswith("_") or not isinstance(said, list) or said == [None, None]:
            continue
        if len(said) != 2 or not all(isinstance(word, str) for word in said):
            continue  # a setting that is a list
        library, classes[part] = said
        if library.split(".")[0] not in _LIBRARIES and not library.isidentifier():
            raise ValueError(f"{folder / INDEX} is damaged ({part}: {said}): copy or download it again")
        if library.split(".")[0] not in _LIBRARIES and (folder / part / f"{library}.py").exists():
            raise ValueError(
                f"the part {part} of {folder} brings code of its own ({library}.py), and such code is never run: "
                "take a model whose parts are part of diffusers or transformers"
            )
        if not (folder / part).is_dir():
            raise ValueError(f"{folder} lacks its part {part!r}: copy or download it again, whole")
        if (folder / part / "config.json").is_file():
            settings[part] = _json(folder / part / "config.json")
            weights[part] = [] if part in without else _weights(folder / part, allow_pickle)
    absent = tuple(part for part, said in index.items() if said == [None, None])
    return PipelineFolder(folder, pipeline, classes, settings, weights, absent)


def _weights(part: Path, allow_pickle: bool) -> list[Path]:
    """The weight files of a part, each seen to be whole."""
    for listing in sorted(part.glob("*.safetensors.index.json")):
        wanted = sorted({part / name for name in _json(listing).get("weight_map", {}).values()})
        missing = [file.name for file in wanted if not file.is_file()]
        if missing:
            said = f"{missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            raise ValueError(f"{part} is half downloaded, it lacks {said}: download it again, it goes on where it was")
    plain = [file for file in part.glob("*.safetensors") if not _is_variant(file)]
    found = sorted(plain or part.glob("*.safetensors"))
    for file in found:
        _check_pointer(file)
        check_header(file)
    if found:
        return found
    pickled = sorted(file for file in part.iterdir() if file.suffix in PICKLED)
    if pickled and not allow_pickle:
        raise ValueError(
            f"the weights of {part} are pickled ({pickled[0].name}), and a pickled file can run any program when it is "
            "opened: take a version with .safetensors, or, if you trust where it is from, add --allow-pickle"
        )
    if not pickled:
        raise ValueError(f"{part} has no weights (*.safetensors): copy or download it again, whole")
    return pickled


def _is_variant(file: Path) -> bool:
    """model.fp16.safetensors and the like, which lie beside the full ones."""
    middle = file.name.split(".")[1:-1]
    return bool(middle) and not middle[0].isdigit()


def _check_pointer(file: Path) -> None:
    with file.open("rb") as content:
        if content.read(24).startswith(b"version https://git-lfs"):
            raise ValueError(f"{file} is a pointer of Git LFS, not the file itself: run `git lfs pull` in its folder")


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{file} is damaged or cut off ({error}): copy or download it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} is damaged (no settings in it): copy or download it again")
    return content


def ends(file: Path, whole: int = 64 << 20, end: int = 1 << 20) -> bytes:
    """SHA-256 of a file; of one that is larger than `whole` bytes, of its first and last `end` bytes."""
    digest = hashlib.sha256()
    with file.open("rb") as content:
        if file.stat().st_size <= whole:
            return hashlib.file_digest(content, "sha256").digest()
        digest.update(content.read(end))
        content.seek(-end, os.SEEK_END)
        digest.update(content.read(end))
    return digest.digest()
