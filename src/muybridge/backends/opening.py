"""From a folder in diffusers' format to a pipeline that is ready: the right class, precision, and place in memory."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from muybridge.backends.families import FAMILIES, Family, family_of
from muybridge.backends.placement import Need, free_memory
from muybridge.backends.tuning import EIGHT_BITS, PLAIN, Tuning, hasten, place, quantise, replaced
from muybridge.storage.pipelines import PipelineFolder


def family(found: PipelineFolder) -> Family:
    """The family of a folder; ValueError, naming those there are, if it is of none."""
    known = family_of(found.pipeline)
    if known is None:
        names = ", ".join(one.name for one in FAMILIES)
        raise ValueError(f"{found.folder} is a {found.pipeline}, which no family here knows: there are {names}")
    return known


def pipeline_class(found: PipelineFolder) -> Any:
    """The pipeline of diffusers that opens a folder: the one it was saved by, or another that takes its weights."""
    import diffusers

    known = family(found)
    own = [way.pipeline for way in known.ways if way.pipeline == found.pipeline]
    name = (own or [way.pipeline for way in known.ways if found.pipeline in way.weights])[0]
    if not hasattr(diffusers, name):
        raise ValueError(f"diffusers {diffusers.__version__} has no {name}: pip install -U diffusers")
    return getattr(diffusers, name)


def precision_of(found: PipelineFolder, dtype: torch.dtype) -> dict[str, torch.dtype]:
    """The precision of each part, "default" for those that are not named."""
    return {"default": dtype, **({"vae": torch.float32} if family(found).vae_float32 else {})}


def open_pipeline(
    found: PipelineFolder,
    device: torch.device,
    dtype: torch.dtype,
    parts: Mapping[str, Any] | None = None,
    tuning: Tuning = PLAIN,
) -> tuple[Any, tuple[str, ...]]:
    """The pipeline of a folder, its weights read, placed and tuned; and what was done for that, in words.

    ValueError, with the mend, where diffusers cannot open it.

    parts  networks that take the place of those in the folder
    """
    known, kind = family(found), pipeline_class(found)
    tuning.check(known)
    parts = dict(parts or {})
    with quietly():
        if tuning.precision.endswith(".gguf"):
            parts["transformer"] = _from_gguf(found, tuning, dtype)
        try:
            pipe = kind.from_pretrained(
                str(found.folder),
                torch_dtype=precision_of(found, dtype),
                use_safetensors=None if found.pickled else True,
                local_files_only=True,
                **dict.fromkeys(found.absent),
                **parts,
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, ImportError) as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            needs = f" ({known.name} {known.without})" if known.without else ""
            raise ValueError(
                f"{found.folder} cannot be opened{needs} ({said}): download it again, or update diffusers"
            ) from error
    if tuning.precision in EIGHT_BITS:
        with quietly():
            quantise(pipe, tuning.precision, dtype)
    free = free_memory(device)
    need = _need(found, known, dtype, tuning) if _is_close(found, device, free) else None
    return pipe, (*place(pipe, need, device, free), *hasten(pipe, device, tuning))


def _from_gguf(found: PipelineFolder, tuning: Tuning, dtype: torch.dtype) -> Any:
    import diffusers

    if "transformer" not in found.classes:
        raise ValueError(f"{found.folder} has no transformer that {tuning.precision} could stand for: leave it out")
    return replaced(tuning, found.folder / "transformer", dtype, getattr(diffusers, found.classes["transformer"]))


def _is_close(found: PipelineFolder, device: torch.device, free: int) -> bool:
    """Whether it is worth a rehearsal to know if a model fits; on a GPU always."""
    stored = sum(file.stat().st_size for files in found.weights.values() for file in files)
    return device.type == "cuda" or 4 * stored > free > 0


def _need(found: PipelineFolder, known: Family, dtype: torch.dtype, tuning: Tuning) -> Need | None:
    """What a clip of the family's own shape takes; None where that cannot be told."""
    from muybridge.backends.memory import needs

    precision = tuning.precision if tuning.precision in EIGHT_BITS else "float32" if dtype.itemsize == 4 else "bfloat16"
    try:
        return needs(found, known.frames, known.height, known.width)[precision]
    except ValueError:
        return None


@contextmanager
def quietly() -> Iterator[None]:
    """Without the bars and the advice to programmers of diffusers and transformers."""
    import diffusers
    import transformers

    logs = (diffusers.utils.logging, transformers.utils.logging)
    levels, muted = [log.get_verbosity() for log in logs], logging.root.manager.disable
    bars = transformers.utils.logging.is_progress_bar_enabled()
    for log in logs:
        log.set_verbosity_error()
        log.disable_progress_bar()
    logging.disable(max(muted, logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(muted)
        for log, level in zip(logs, levels, strict=True):
            log.set_verbosity(level)
            if bars:
                log.enable_progress_bar()
