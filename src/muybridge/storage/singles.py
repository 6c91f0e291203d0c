"""Single files of open models, as ComfyUI and the models' makers have them: what is in one, told by its header alone.

A name says which layer of which network it is: each make has its own, and names that no other has. Programs differ in
what they put before them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from muybridge.storage.atomic import AnyPath
from muybridge.storage.checkpoint import check_header, load_tensors
from muybridge.storage.pipelines import PICKLED, ends

_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "")
_VAE = "vae."
_SCALE = (".scale_weight", ".weight_scale")
"""Endings of what a float8 weight has to be multiplied with, as older and newer files of ComfyUI have it."""

_ASIDE = (*_SCALE, ".scale_input", ".input_scale", "scaled_fp8")
"""Endings of what is no layer: those, and what programs for float8 arithmetic want to know."""

_HALF = re.compile(r"(high|low)(?=[-_ ]?noise)", re.IGNORECASE)
"""Wan 2.2 A14B: which of its two transformers a file is, its name says."""


_READ = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})


@dataclass(frozen=True)
class Make:
    """Transformers of one make, by the names of their layers.

    network  the class of diffusers that runs it
    told     names that it has, in the layout of its makers or that of diffusers
    first    the layer that reads the latent, in either layout: (width, channels, …)
    """

    network: str
    told: tuple[tuple[str, ...], ...]
    first: tuple[str, ...]


MAKES = (
    Make(
        "WanVACETransformer3DModel",
        (("vace_blocks.0.after_proj.bias",), ("vace_blocks.0.proj_out.bias", "condition_embedder.time_proj.weight")),
        ("patch_embedding.weight",),
    ),
    Make(
        "WanTransformer3DModel",
        (
            ("patch_embedding.weight", "head.modulation", "blocks.0.self_attn.q.weight"),
            ("patch_embedding.weight", "condition_embedder.time_proj.weight", "blocks.0.attn1.to_q.weight"),
        ),
        ("patch_embedding.weight",),
    ),
    Make(
        "LTXVideoTransformer3DModel",
        (
            ("patchify_proj.weight", "adaln_single.linear.weight", "caption_projection.linear_1.weight"),
            ("proj_in.weight", "time_embed.linear.weight", "caption_projection.linear_1.weight"),
        ),
        ("patchify_proj.weight", "proj_in.weight"),
    ),
)
_OTHERS = {
    "audio_patchify_proj.weight": "a transformer of LTX-2",
    "motion_encoder.dec.direction.weight": "a transformer of Wan Animate",
    "decoder.middle.0.residual.0.gamma": "the autoencoder of a Wan",
    "double_stream_blocks.0.img_attn_qkv.weight": "a transformer of HunyuanVideo",
    "token_embedding.weight": "a text encoder",
    "shared.weight": "a text encoder",
}
"""What people have lying beside such files, and is none."""


@dataclass(frozen=True)
class SingleFile:
    """A transformer in one file, and the autoencoder where it is in it, too.

    shapes  name, as the file has it -> shape
    make    of the transformer
    prefix  what stands before the names of its layers
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]] = field(repr=False)
    make: Make = field(repr=False)
    prefix: str

    @property
    def has_vae(self) -> bool:
        """Whether the autoencoder is there."""
        return any(name.startswith(_VAE) for name in self.shapes)

    @property
    def width(self) -> int:
        """Features of a token."""
        return self._first[0]

    @property
    def channels(self) -> int:
        """Of what the transformer reads, each a number of a place of the latent."""
        return self._first[1]

    @property
    def _first(self) -> tuple[int, ...]:
        return next(self.shapes[self.prefix + name] for name in self.make.first if self.prefix + name in self.shapes)

    @property
    def digest(self) -> str:
        """SHA-256 of its length and, where it is larger than 64 MiB, of its ends."""
        return hashlib.sha256(f"{self.path.stat().st_size}\0".encode() + ends(self.path)).hexdigest()


def is_single(path_or_name: AnyPath) -> bool:
    """Whether a file is meant, not a folder or the name of a model."""
    return os.path.isfile(path_or_name)


def read_single(path: AnyPath) -> SingleFile:
    """What a file holds; its weights are not read. ValueError, with the mend, if it is no transformer that is known."""
    file = Path(path)
    if file.suffix in PICKLED:
        raise ValueError(
            f"{file} is pickled, and a pickled file can run any program when it is opened: take its .safetensors"
        )
    if file.suffix != ".safetensors":
        raise ValueError(f"{file} is no .safetensors file, which is what single models are read from: give one")
    check_header(file)
    with file.open("rb") as content:
        header = json.loads(content.read(int.from_bytes(content.read(8), "little")))
    shapes = {name: tuple(said["shape"]) for name, said in header.items() if name != "__metadata__"}
    if any("lora_" in name for name in shapes):
        raise ValueError(f"{file} is a LoRA, which changes a model and is none: give it with --lora")
    kinds = {said["dtype"] for name, said in header.items() if name.endswith(".weight")}
    if not kinds <= _READ:
        others = ", ".join(sorted(kinds - _READ))
        raise ValueError(f"the weights of {file} are {others}: take a file of floats, of 8 bits or more")
    shapes = {name: shape for name, shape in shapes.items() if not name.endswith(_ASIDE)}
    for prefix in _PREFIXES:
        for name, what in _OTHERS.items():
            if prefix + name in shapes:
                raise ValueError(f"{file} is {what}: give the file with the transformer of a Wan or an LTX-Video")
        for make in MAKES:
            if any(all(prefix + name in shapes for name in told) for told in make.told):
                return SingleFile(file, shapes, make, prefix)
    raise ValueError(f"{file} holds no transformer that is known: files of Wan and LTX-Video are")


def pair_of(single: SingleFile) -> dict[str, SingleFile]:
    """The file as the part of a pipeline that it is; of Wan 2.2 A14B its other half as well, which lies beside it.

    ValueError, naming the file, if it does not.
    """
    half = _HALF.search(single.path.name)
    if half is None:
        return {"transformer": single}
    other = {"high": "low", "low": "high"}[half[0].lower()]
    other = other.upper() if half[0].isupper() else other.capitalize() if half[0][0].isupper() else other
    beside = single.path.with_name(single.path.name[: half.start()] + other + single.path.name[half.end() :])
    if not beside.is_file():
        raise ValueError(f"{single.path} is one of two transformers, and {beside.name} is not beside it: put it there")
    files = [single, read_single(beside)]
    return dict(zip(("transformer", "transformer_2"), files if other.lower() == "low" else files[::-1], strict=True))


def read_weights(single: SingleFile, dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights of a file; those in float8 as they are meant, at their scales, in `dtype`."""
    tensors, _ = load_tensors(single.path)
    for ending in _SCALE:
        for name in [name for name in tensors if name.endswith(ending)]:
            weight = name.removesuffix(ending) + ".weight"
            tensors[weight] = (tensors[weight].float() * tensors[name].float()).to(dtype)
    return {name: value for name, value in tensors.items() if not name.endswith(_ASIDE)}
