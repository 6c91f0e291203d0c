"""Models of others as models: opened, and behind the same interface as ours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import torch

from muybridge.backends import lora
from muybridge.backends.opening import family, open_pipeline, quietly
from muybridge.backends.pipelines import Pipeline
from muybridge.backends.singles import completed, parts_of
from muybridge.backends.tuning import PLAIN, TUNED, Tuning
from muybridge.generate import Model, Stream, check_text, fast_dtype
from muybridge.sampler.sample import Settings
from muybridge.storage.pipelines import OURS, PipelineFolder
from muybridge.storage.singles import SingleFile
from muybridge.types import Condition, Event, Latent, Video


class OpenModel(Model):
    """A model of others, in diffusers' format, behind the same interface: its pipeline is tokenizer, text encoder,
    transformer and sampler in one. What only models of ours have is refused with a sentence.

    tuned  what was done to run it well here, in words
    """

    def __init__(
        self,
        pipeline: Pipeline,
        known_by: str,
        device: torch.device,
        dtype: torch.dtype,
        tuned: tuple[str, ...] = (),
    ) -> None:
        self.tuned = tuned
        self.pipeline, self.name, self.hash = pipeline, pipeline.name, known_by
        self.device, self.dtype, self.settings = device, dtype, pipeline.settings
        family = pipeline.family
        trained = {"frames": family.frames, "height": family.height, "width": family.width, "fps": family.fps}
        self.config = {"kind": "diffusers", "trained": trained, "learnt_from": f"what its makers say ({family.name})"}
        self.card = f"{family.name}: {family.licence}. What is made may be sold: {family.commerce}."
        self.familiarity = self.engine = None
        self.takes = frozenset().union(*(way.takes for way in pipeline.ways))

    def __getattr__(self, name: str) -> NoReturn:
        if name in ("autoencoder", "text", "transformer", "vocabulary"):
            raise ValueError(f"{self.name} is a model of others and has no {name} of ours: give a model of Muybridge")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def sample(self, condition: Condition, seeds: Sequence[int], settings: Settings) -> Iterator[Event]:
        """The events of its pipeline; the last one's latent is the frames themselves. Stop iterating to cancel."""
        yield from self.pipeline.sample(condition, seeds, settings)

    def decode(self, latent: Latent) -> Video:
        """Its pipeline has decoded them already."""
        return Video(latent.frames, latent.fps)

    def check(self, condition: Condition) -> None:
        """ValueError, naming what would do or which families can, for what this model cannot make."""
        check_text(condition)
        self.pipeline.check(condition)

    def check_shape(self, condition: Condition) -> None:
        """ValueError, naming the nearest that would do, for a length, size or speed that it cannot make."""
        check_text(condition)
        self.pipeline.check_shape(condition)

    def check_solver(self, settings: Settings) -> None:
        """ValueError for a setting that its pipeline would ignore."""
        self.pipeline.check_settings(settings)

    def stream(
        self, condition: Condition, seed: int = 0, settings: Settings | None = None, pipelined: bool = False
    ) -> Stream:
        """Models of others make whole clips."""
        raise ValueError(
            f"{self.name} cannot stream, it makes whole clips: leave streaming off, or take a causal model"
        )

    def frames_near(self, count: float) -> int:
        """The possible length in frames that is nearest to `count`."""
        return self.pipeline.family.frames_near(count)


def open_model(
    found: PipelineFolder,
    name: str,
    device: torch.device,
    dtype: torch.dtype | None,
    loras: Sequence[str],
    tuning: Tuning = PLAIN,
) -> Model:
    """The model of a folder, with the LoRAs asked for. ValueError, with the mend, for what cannot be opened."""
    if found.pipeline == OURS:
        if tuning != PLAIN:
            raise ValueError(f"{TUNED} are for models of others, and {name} is one of Muybridge: leave them out")
        return _ours(found, name, device, dtype, loras)
    chosen, dtype = [lora.read(text) for text in loras], dtype or _dtype(device)
    pipe, said = open_pipeline(found, device, dtype, tuning=tuning)
    return _finished(pipe, name, [found.digest, *tuning.changes], chosen, device, dtype, said)


def open_single(
    single: SingleFile,
    base: str,
    device: torch.device,
    dtype: torch.dtype | None,
    loras: Sequence[str],
    pickle: bool,
    tuning: Tuning = PLAIN,
) -> OpenModel:
    """The model of a single file, with what it lacks from `base`: a folder or repository, "" for that of its shape.

    Where a model has two transformers, their files lie side by side, and either is given.

    pickle  the weights of the base may be pickled
    """
    files, found = completed(single, base, pickle)
    chosen, dtype = [lora.read(text) for text in loras], dtype or _dtype(device)
    with quietly():
        parts = parts_of(files, found, dtype, torch.float32 if family(found).vae_float32 else dtype)
    pipe, said = open_pipeline(found, device, dtype, parts, tuning)
    digests = [found.digest, *(one.digest for one in files.values()), *tuning.changes]
    return _finished(pipe, str(single.path), digests, chosen, device, dtype, said)


def _dtype(device: torch.device) -> torch.dtype:
    return fast_dtype(device) if device.type == "cuda" else torch.float32


def _finished(
    pipe: Any,
    name: str,
    digests: Sequence[str],
    loras: Sequence[lora.Lora],
    device: torch.device,
    dtype: torch.dtype,
    said: tuple[str, ...],
) -> OpenModel:
    """With its LoRAs, known by all the files that make it and by what else changes its pixels."""
    if loras and "int8 weights" in said:
        raise ValueError(f"LoRAs cannot be added to {name} in int8: leave them out, or take --precision fp8")
    lora.add(pipe, name, loras)
    digests = [*digests, *(one.digest for one in loras)]
    known = hashlib.sha256("\0".join(digests).encode()).hexdigest() if len(digests) > 1 else digests[0]
    return OpenModel(Pipeline(pipe, name), known[:12], device, dtype, said)


def _ours(
    found: PipelineFolder, name: str, device: torch.device, dtype: torch.dtype | None, loras: Sequence[str]
) -> Model:
    """A model of ours that was written for diffusers, as itself again."""
    from muybridge.backends.native import MuybridgePipeline

    if loras:
        raise ValueError(f"LoRAs are for models of others, and {name} is one of Muybridge: leave them out")
    with quietly():
        try:
            pipe = MuybridgePipeline.from_pretrained(str(found.folder), local_files_only=True).to(device)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise ValueError(f"{found.folder} cannot be opened ({said}): export it again") from error
    opened: Model = pipe.model(name, found.digest[:12], dtype)
    return opened
