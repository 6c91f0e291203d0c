"""From a folder in diffusers' format to a pipeline that is ready: the right class, precision, and place in memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from muybridge.backends.families import FAMILIES, Family, family_of
from muybridge.storage.pipelines import PipelineFolder


def family(found: PipelineFolder) -> Family:
    """The family of a folder; ValueError, naming those there are, if it is of none."""
    known = family_of(found.pipeline)
    if known is None:
        names = ", ".join(one.name for one in FAMILIES)
        raise ValueError(f"{found.folder} is a {found.pipeline}, which no family here knows: there are {names}")
    return known


def open_pipeline(
    found: PipelineFolder, device: torch.device, dtype: torch.dtype, parts: Mapping[str, Any] | None = None
) -> Any:
    """The pipeline of a folder, its weights read. ValueError, with the mend, where diffusers cannot open it.

    parts  networks that take the place of those in the folder
    """
    import diffusers

    known = family(found)
    own = [way.pipeline for way in known.ways if way.pipeline == found.pipeline]
    name = (own or [way.pipeline for way in known.ways if found.pipeline in way.weights])[0]
    if not hasattr(diffusers, name):
        raise ValueError(f"diffusers {diffusers.__version__} has no {name}: pip install -U diffusers")
    precision = {"default": dtype, **({"vae": torch.float32} if known.vae_float32 else {})}
    with quietly():
        try:
            pipe = getattr(diffusers, name).from_pretrained(
                str(found.folder),
                torch_dtype=precision,
                use_safetensors=None if found.pickled else True,
                local_files_only=True,
                **dict.fromkeys(found.absent),
                **(parts or {}),
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, ImportError) as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            needs = f" ({known.name} {known.without})" if known.without else ""
            raise ValueError(
                f"{found.folder} cannot be opened{needs} ({said}): download it again, or update diffusers"
            ) from error
    _place(pipe, found, known, device, dtype)
    return pipe


def _place(pipe: Any, found: PipelineFolder, known: Family, device: torch.device, dtype: torch.dtype) -> None:
    """Everything on the GPU if there is room for it and a clip; else a part at a time, and the decoder in tiles."""
    if device.type != "cuda":
        pipe.to(device)
        return
    from muybridge.backends.memory import needs

    precision = "float32" if dtype == torch.float32 else "bfloat16"
    wants = needs(found, known.frames, known.height, known.width)[precision]
    free = torch.cuda.mem_get_info(device)[0]
    if wants.resident <= free:
        pipe.to(device)
        return
    pipe.enable_model_cpu_offload(device=device)
    if wants.offloaded > free and hasattr(pipe.vae, "enable_tiling"):
        pipe.vae.enable_tiling()


@contextmanager
def quietly() -> Iterator[None]:
    """Without the bars and the advice to programmers of diffusers and transformers."""
    import diffusers
    import transformers

    logs = (diffusers.utils.logging, transformers.utils.logging)
    levels = [log.get_verbosity() for log in logs]
    bars = transformers.utils.logging.is_progress_bar_enabled()
    for log in logs:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.set_verbosity(level)
            if bars:
                log.enable_progress_bar()
