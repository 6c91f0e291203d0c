"""Small changes to large models: LoRA files, several at a time, each at a scale of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muybridge.storage.checkpoint import check_header

_DOWN = (".lora_A.weight", ".lora_down.weight")


@dataclass(frozen=True)
class Lora:
    """A LoRA file (.safetensors) and how much of it is added."""

    path: Path
    scale: float = 1.0

    @property
    def digest(self) -> str:
        """SHA-256 of the file, and the scale."""
        with self.path.open("rb") as content:
            return f"{hashlib.file_digest(content, 'sha256').hexdigest()}:{self.scale!r}"


def read(text: str) -> Lora:
    """ "path" or "path:scale". ValueError, with the mend, if there is no such file or the scale is no number."""
    path, colon, scale = text.rpartition(":")
    if not colon or Path(text).is_file():
        path, scale = text, "1"
    try:
        found = Lora(Path(path), float(scale))
    except ValueError as error:
        raise ValueError(f"--lora is {text!r}: write a file, or a file:scale such as style.safetensors:0.8") from error
    if not -10 <= found.scale <= 10:
        raise ValueError(f"the scale of --lora {text!r} is {found.scale:g}: take -10 to 10, 1 is as it was trained")
    if found.path.suffix != ".safetensors":
        raise ValueError(f"{found.path} is no .safetensors file, which is what LoRAs are read from: give one")
    check_header(found.path)
    return found


def add(pipe: Any, name: str, loras: Sequence[Lora]) -> None:
    """Adds them all to the pipeline's networks. ValueError, naming the mismatch, for a LoRA of another model."""
    if not loras:
        return
    if not hasattr(pipe, "load_lora_weights"):
        raise ValueError(f"{name} ({type(pipe).__name__}) takes no LoRA: leave --lora out")
    adapters = [f"lora{i}" for i in range(len(loras))]
    for lora, adapter in zip(loras, adapters, strict=True):
        _check(pipe, name, lora)
        try:
            pipe.load_lora_weights(str(lora.path), adapter_name=adapter)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            said = " ".join(str(error).split())[:200]
            raise ValueError(f"{lora.path} is no LoRA for {name} ({said}): take one that was made for it") from error
        if adapter not in {one for found in pipe.get_list_adapters().values() for one in found}:
            raise ValueError(f"{lora.path} changes nothing in {name}, it is for another model: take one made for it")
    pipe.set_adapters(adapters, [lora.scale for lora in loras])


def _check(pipe: Any, name: str, lora: Lora) -> None:
    """The layers it changes have to be there, and as wide as it takes them to be."""
    from safetensors import safe_open

    with safe_open(str(lora.path), framework="pt") as file:
        shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118 (not a mapping)
    if not any(key.endswith((*_DOWN, ".lora.down.weight")) or "lora" in key for key in shapes):
        raise ValueError(f"{lora.path} is no LoRA (no lora_A, lora_down in it): give a LoRA file")
    for key, shape in shapes.items():
        ending = next((ending for ending in _DOWN if key.endswith(ending)), None)
        part, _, layer = key.removesuffix(ending or "").partition(".")
        network = getattr(pipe, part, None) if ending and part in pipe.components else None
        if network is None:
            continue
        layers = dict(network.named_modules())
        if layer not in layers:
            raise ValueError(f"{lora.path} is for another model: it changes {layer}, which {name} does not have")
        wide = getattr(getattr(layers[layer], "base_layer", layers[layer]), "in_features", shape[1])
        if wide != shape[1]:
            raise ValueError(
                f"{lora.path} is for another model: its {layer} takes {shape[1]} features, that of {name} {wide}"
            )
