"""From a single file to the parts of a pipeline: diffusers renames the layers, and here it is seen that all fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from muybridge.storage.pipelines import PipelineFolder, find
from muybridge.storage.singles import SingleFile, pair_of, read_weights

BASES = {
    ("WanTransformer3DModel", 1536, 16): "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    ("WanTransformer3DModel", 5120, 16): "Wan-AI/Wan2.1-T2V-14B-Diffusers",
    ("WanTransformer3DModel", 5120, 36): "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers",
    ("WanTransformer3DModel", 3072, 48): "Wan-AI/Wan2.2-TI2V-5B-Diffusers",
    ("WanVACETransformer3DModel", 1536, 16): "Wan-AI/Wan2.1-VACE-1.3B-diffusers",
    ("WanVACETransformer3DModel", 5120, 16): "Wan-AI/Wan2.1-VACE-14B-diffusers",
    ("LTXVideoTransformer3DModel", 2048, 128): "Lightricks/LTX-Video-0.9.5",
    ("LTXVideoTransformer3DModel", 4096, 128): "Lightricks/LTX-Video-0.9.7-dev",
}
"""Class, width and channels of a transformer -> the model whose other parts and settings it goes with."""

TOLD = {
    "img_emb.emb_pos": "Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers",
    "vae.decoder.up_blocks.9.res_blocks.0.conv1.conv.weight": "diffusers/LTX-Video-0.9.0",
}
"""Layers that only one of several models of that shape has: it reads two stills, or has this autoencoder beside it."""

PAIRS = {
    ("WanTransformer3DModel", 5120, 16): "Wan-AI/Wan2.2-T2V-A14B-Diffusers",
    ("WanTransformer3DModel", 5120, 36): "Wan-AI/Wan2.2-I2V-A14B-Diffusers",
}
"""The same where there are two, one for strong noise and one for the rest."""


def completed(single: SingleFile, base: str, pickle: bool) -> tuple[dict[str, SingleFile], PipelineFolder]:
    """The transformers of a model, of which `single` is one, and its pipeline, these in the place of its own.

    base    folder or repository of the rest; "" for that of a model of this shape
    pickle  its weights may be pickled

    ValueError, with the mend, where they do not go together.
    """
    files = pair_of(single)
    name, replaced = base or base_of(files), (*files, *(("vae",) if single.has_vae else ()))
    found = find(name, pickle, without=replaced)
    if found is None:
        raise ValueError(f"--base is {name!r}, and no pipeline of diffusers: give a folder, or org/name on the hub")
    check_base(files, found)
    return files, replace(found, weights={**found.weights, **{part: [one.path] for part, one in files.items()}})


def base_of(files: Mapping[str, SingleFile]) -> str:
    """The model that the files belong to, told by their shape. ValueError if none has it."""
    single = files["transformer"]
    found = (BASES if len(files) == 1 else PAIRS).get((single.make.network, single.width, single.channels))
    names = {name.removeprefix(single.prefix) for name in single.shapes}
    found = next((name for layer, name in TOLD.items() if found and layer in names), found)
    if found is None:
        raise ValueError(
            f"{single.path} holds a {single.make.network} of width {single.width} and {single.channels} channels, and "
            "no model with that shape is known here: name the folder or repository of the rest with --base"
        )
    return found


def check_base(files: Mapping[str, SingleFile], base: PipelineFolder) -> None:
    """ValueError, with the mend, if the files are not the transformers of such a pipeline."""
    for part, single in files.items():
        wanted = base.classes.get(part)
        if wanted != single.make.network:
            has = f"a {wanted}" if wanted else f"no {part}"
            raise ValueError(
                f"{single.path} holds a {single.make.network}, and the pipeline of {base.folder} has {has}: name "
                "another with --base"
            )
    if "transformer_2" in base.classes and len(files) == 1:
        raise ValueError(
            f"{base.folder} has two transformers: call their files alike but for high_noise and low_noise, side by side"
        )


def parts_of(
    files: Mapping[str, SingleFile], base: PipelineFolder, dtype: torch.dtype, vae_dtype: torch.dtype
) -> dict[str, Any]:
    """The networks in the files, by their names in the pipeline. ValueError if they are not those of the base."""
    parts = {}
    for part, single in files.items():
        tensors = read_weights(single, dtype)
        vae = {name: tensors.pop(name) for name in [*tensors] if name.startswith("vae.")}
        network = {name.removeprefix(single.prefix): value for name, value in tensors.items()}
        parts[part] = _loaded(single, base, part, network, dtype)
        if vae and base.classes.get("vae") == "AutoencoderKLLTXVideo":
            parts["vae"] = _loaded(single, base, "vae", vae, vae_dtype)
    return parts


def _loaded(
    single: SingleFile, base: PipelineFolder, part: str, tensors: dict[str, torch.Tensor], dtype: torch.dtype
) -> Any:
    """One network with the settings of the base and the weights of the file; neither more nor less than it has."""
    import diffusers

    given = len(tensors)
    try:
        made = getattr(diffusers, base.classes[part]).from_single_file(
            tensors, config=str(base.folder), subfolder=part, local_files_only=True
        )
    except NotImplementedError as error:  # what PyTorch says of weights that nobody gave
        raise ValueError(
            f"the {part} in {single.path} lacks layers that {base.folder} has: download the file again, or name its "
            "own model with --base"
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ValueError(
            f"the {part} in {single.path} is not that of {base.folder} ({said}): name its own model with --base"
        ) from error
    known = len(made.state_dict())
    if part != "vae" and given > known:  # diffusers leaves out what it does not know, without a word
        raise ValueError(
            f"the {part} in {single.path} holds {given} tensors, that of {base.folder} {known}: name its own model "
            "with --base"
        )
    _narrow(made, dtype)
    return made


def _narrow(made: Any, dtype: torch.dtype) -> None:
    """As diffusers' own loading of folders does it: all in `dtype` but the layers that lose too much in it."""
    stored, exact = made.state_dict().keys(), made._keep_in_fp32_modules or []
    for name, value in [*made.named_parameters(), *made.named_buffers()]:
        if name in stored:
            value.data = value.data.to(torch.float32 if {*name.split(".")} & {*exact} else dtype)
