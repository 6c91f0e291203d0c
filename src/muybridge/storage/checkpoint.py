"""Checkpoints: a folder of `config.json`, `*.safetensors`, a model card `README.md`, small JSON files. Never pickle.

`config.json` carries `"format"` (this module's version of the layout), `"kind"` (e.g. "muybridge.model") and whatever
settings, as plain JSON, the caller needs to build the modules again. `NAME.safetensors` holds the tensors of one part.
A network that others have trained and that came with them lies in the folder `pretrained`, as its own program wrote it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from jaxtyping import Shaped
from torch import Tensor, nn

from muybridge.storage.atomic import AnyPath, new_file, new_folder, standing

FORMAT = 1
"""Version of the layout. Raised when an older program could not read what a newer one writes."""

PRETRAINED = "pretrained"
"""The folder inside a checkpoint for a network that others have trained: config.json, *.safetensors."""

_CONFIG, _CARD, _WEIGHTS, _META = "config.json", "README.md", ".safetensors", "muybridge"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

Tensors = Mapping[str, Shaped[Tensor, "..."]]


class Parts(Mapping[str, dict[str, Tensor]]):
    """The tensors of a checkpoint by part; a part is read from disk when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._files = {file.stem: file for file in sorted(folder.glob(f"*{_WEIGHTS}"))}

    def __getitem__(self, part: str) -> dict[str, Tensor]:
        return load_tensors(self._files[part])[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk.

    folder   where it lies
    config   its settings, without "format"
    tensors  part -> name -> tensor, read when asked for
    files    the other JSON files: name -> text
    card     the model card, Markdown
    """

    folder: Path
    config: Mapping[str, Any]
    tensors: Parts = field(repr=False)
    files: Mapping[str, str] = field(repr=False)
    card: str = field(repr=False)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all that decides what the model does: every file but the card, with its name and length."""
        total = hashlib.sha256()
        for file in [*sorted(self.folder.iterdir()), *sorted((self.folder / PRETRAINED).glob("*"))]:
            if file.suffix in (".json", _WEIGHTS):
                name = file.relative_to(self.folder).as_posix()
                total.update(f"{name}\0{file.stat().st_size}\0".encode())
                with file.open("rb") as content:
                    total.update(hashlib.file_digest(content, "sha256").digest())
        return total.hexdigest()

    @property
    def model_hash(self) -> str:
        """The first 12 hex digits of `digest`, as people quote it."""
        return self.digest[:12]


def save(
    folder: AnyPath,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensors],
    card: str,
    files: Mapping[str, str] | None = None,
    pretrained: Callable[[Path], None] | None = None,
) -> None:
    """Write a checkpoint, as a whole: `folder` holds the old one until all of the new one is on the disk.

    config      plain JSON; "kind" is required, "format" is added
    tensors     part -> name -> tensor
    files       further JSON files, e.g. {"tokenizer.json": …}
    pretrained  writes the network that others have trained into the folder it is given

    ValueError if `folder` cannot be written to, or holds anything but a checkpoint of ours.
    """
    files = files or {}
    assert str(config.get("kind", "")).startswith("muybridge."), f"config needs a kind, not {config.get('kind')!r}"
    for name in files:
        assert re.fullmatch(r"(?!config\.json)[\w-][\w.-]*\.json", name), f"{name!r} is no name of a further file"
    for part in tensors:
        assert re.fullmatch(r"[\w-]+", part), f"{part!r} is no name of a part"
    text = json.dumps({"format": FORMAT, **config}, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    with new_folder(folder, replaceable=_is_ours) as temporary:
        for part, content in tensors.items():
            _write_tensors(temporary / f"{part}{_WEIGHTS}", content, {})
        for name, content_text in {_CONFIG: text, _CARD: card, **files}.items():
            (temporary / name).write_text(content_text, encoding="utf-8", newline="\n")
        if pretrained is not None:
            (temporary / PRETRAINED).mkdir()
            pretrained(temporary / PRETRAINED)


def load(path_or_name: AnyPath) -> Checkpoint:
    """Open a checkpoint: the name of a bundled one, a folder, or "org/name" on the Hugging Face hub (fetched once).

    A folder that has the name of a bundled one is "./name", or a Path.

    The weights are checked here (their headers and lengths) and read when asked for. ValueError, with the mend, if
    there is no such checkpoint, it is damaged, of another program, or of a newer format.
    """
    folder = _find(path_or_name)
    config = _config(folder)
    tensors = Parts(folder)
    if not tensors:
        raise ValueError(f"the checkpoint {folder} has no *{_WEIGHTS} files: copy or download it again, whole")
    for part in tensors:
        check_header(folder / f"{part}{_WEIGHTS}")
    for file in sorted((folder / PRETRAINED).glob(f"*{_WEIGHTS}")):
        check_header(file)
    names = sorted(file.name for file in folder.glob("*.json") if file.name != _CONFIG)
    files = {name: _read_text(folder / name) for name in names}
    card = _read_text(folder / _CARD) if (folder / _CARD).exists() else ""
    return Checkpoint(folder, config, tensors, files, card)


def bundled() -> list[str]:
    """Names of the checkpoints that come with the package."""
    weights = Path(str(resources.files("muybridge"))) / "weights"
    return sorted(config.parent.name for config in weights.glob(f"*/{_CONFIG}"))


def is_bundled(path_or_name: AnyPath) -> bool:
    """Whether a bundled checkpoint is meant: its bare name, whatever folders there are."""
    return isinstance(path_or_name, str) and path_or_name in bundled()


def load_into(module: nn.Module, tensors: Tensors, what: str, assign: bool = False) -> None:
    """Give `module` the `tensors`, which must be the ones it has, neither more nor less, of the same shapes.

    what    names the module in the sentence of the ValueError, e.g. "the transformer of runs/a"
    assign  they become its weights as they are, in place of a copy; so a module without data can be filled
    """
    own = module.state_dict()
    shapes = [
        f"{name} ({tuple(tensors[name].shape)} in the file, {tuple(own[name].shape)} in the model)"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    faults = {
        "missing": sorted(own.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - own.keys()),
        "of another shape": shapes,
    }
    if any(faults.values()):
        said = "; ".join(f"{_few(names)} {fault}" for fault, names in faults.items() if names)
        raise ValueError(f"the weights do not fit {what}: {said}: build it with the settings of its own config.json")
    module.load_state_dict(dict(tensors), strict=True, assign=assign)


def save_tensors(path: AnyPath, tensors: Tensors, meta: Mapping[str, str] | None = None) -> None:
    """Write one safetensors file, whole or not at all. `meta` is any mapping of texts. Same content, same bytes."""
    with new_file(path) as temporary:
        _write_tensors(temporary, tensors, meta or {})


def load_tensors(path: AnyPath) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read one safetensors file: tensors on the CPU, and `meta`. ValueError if it is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    check_header(Path(path))
    try:
        with safe_open(str(path), framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error
    return tensors, json.loads(meta[_META]) if _META in meta else dict(meta)


def _write_tensors(file: Path, tensors: Tensors, meta: Mapping[str, str]) -> None:
    """`meta` goes under one key, sorted: safetensors writes several keys in an order that changes from run to run."""
    from safetensors.torch import save_file

    save_file(_apart(tensors), file, {_META: json.dumps(dict(meta), sort_keys=True)})


def _apart(tensors: Tensors) -> dict[str, Tensor]:
    """On the CPU, contiguous, none sharing memory with another (tied weights, views): what safetensors takes."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    seen: set[int] = set()
    for name, tensor in plain.items():
        storage = tensor.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != tensor.numel() * tensor.element_size():
            plain[name] = tensor.clone()
        seen.add(storage.data_ptr())
    return plain


def check_header(file: Path) -> None:
    """ValueError if a safetensors file is missing, cut off or damaged; reads its first bytes only."""
    from safetensors import SafetensorError, safe_open

    if not os.path.isfile(file):
        raise ValueError(f"there is no file {file}: give the path of a {_WEIGHTS} file")
    try:
        with safe_open(str(file), framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise _damaged(file, error) from error


def _damaged(path: AnyPath, error: Exception) -> ValueError:
    return ValueError(f"{path} is damaged or cut off ({error}): copy, download or train it again")


def _find(path_or_name: AnyPath) -> Path:
    """The folder that is meant: bundled, on disk, or fetched from the hub."""
    name = str(path_or_name)
    if is_bundled(path_or_name):
        return Path(str(resources.files("muybridge"))) / "weights" / name
    folder = standing(path_or_name)
    if os.path.isdir(folder):
        return folder
    if os.path.isfile(folder):
        raise ValueError(f"{name} is a file, and a checkpoint is a folder: give the folder it lies in")
    if is_hub_name(name):
        return fetched(name, ["*.json", f"*{_WEIGHTS}", _CARD])
    known = ", ".join(bundled()) or "none"
    raise ValueError(
        f"there is no checkpoint {name[:200]!r}: give a folder, a bundled name ({known}), or org/name on the hub"
    )


def is_hub_name(name: str) -> bool:
    """Whether it has the form org/name."""
    return _HUB_NAME.fullmatch(name) is not None


def fetched(name: str, wanted: Sequence[str], spared: Sequence[str] = ()) -> Path:
    """The folder of a model on the hub, with the files that match one of `wanted` and none of `spared`.

    Downloaded once, then kept.

    ValueError, with the mend, where it cannot be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(name, allow_patterns=list(wanted), ignore_patterns=list(spared)))
    except GatedRepoError as error:
        said = "the hub only gives it to accounts with access: ask for it on its page, then run `hf auth login`"
        raise ValueError(f"cannot fetch {name}: {said}") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        said = "there is neither such a folder here nor such a model on the hub: check the name"
        raise ValueError(f"cannot fetch {name}: {said}") from error
    except LocalEntryNotFoundError as error:
        kept = _kept()
        here = f" or one that was fetched before ({_few(kept)})" if kept else ""
        said = (
            "there is no such folder here, and the hub cannot be reached: connect, or give a folder, a bundled name"
            f"{here or ', or a model that was fetched before (there is none)'}"
        )
        raise ValueError(f"cannot fetch {name}: {said}") from error
    except (HfHubHTTPError, OSError) as error:
        raise ValueError(f"cannot fetch {name}: {error}: try again later, or give a folder") from error


def _kept() -> list[str]:
    """Names of the models that were fetched from the hub before."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        return sorted(kept.repo_id for kept in scan_cache_dir().repos if kept.repo_type == "model")
    except CacheNotFound:
        return []


def _config(folder: Path) -> dict[str, Any]:
    """The settings of a checkpoint of ours, of a format that can be read."""
    config = _our_config(folder)
    version = config.pop("format", None)
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"{folder / _CONFIG} has no readable format number ({version!r}): download it again")
    if version > FORMAT:
        newer = f"format {version}, and this version of Muybridge reads up to {FORMAT}"
        raise ValueError(f"{folder} is of a newer {newer}: update with `pip install -U muybridge`")
    return config


def _our_config(folder: Path) -> dict[str, Any]:
    if (folder / "model_index.json").exists():
        raise ValueError(f"{folder} is a diffusers pipeline, not a checkpoint of Muybridge: give one that it trained")
    if not (folder / _CONFIG).is_file():
        raise ValueError(f"{folder} is no checkpoint: it has no {_CONFIG}: give a folder that `muybridge train` wrote")
    try:
        config = json.loads(_read_text(folder / _CONFIG))
    except json.JSONDecodeError as error:
        raise ValueError(f"{folder / _CONFIG} is damaged ({error}): copy or download the checkpoint again") from error
    if not isinstance(config, dict) or not str(config.get("kind", "")).startswith("muybridge."):
        raise ValueError(f"{folder} is a checkpoint of another program: give a folder that `muybridge train` wrote")
    return config


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise _damaged(file, error) from error


def _is_ours(folder: Path) -> bool:
    """A checkpoint of ours, of any format, and nothing else: safe to replace."""
    try:
        _our_config(folder)
    except ValueError:
        return False
    found = [file for file in folder.iterdir() if file.name != PRETRAINED] + [*(folder / PRETRAINED).glob("*")]
    return all(file.suffix in (".json", _WEIGHTS) or file.name == _CARD for file in found)


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
