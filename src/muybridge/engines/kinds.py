"""The engines there are, and how each is made for a model: what runs its planner, its transformer and its decoder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.numpy import load, save
from torch import nn

from muybridge.conditioning.text import TextEncoder
from muybridge.conditioning.witness import Witness
from muybridge.engines.engine import Engine, Function
from muybridge.engines.parts import Part, parts_of
from muybridge.engines.rounding import Largest
from muybridge.engines.streaming import parts_of_a_stream
from muybridge.sampler.sample import Settings
from muybridge.storage.atomic import new_file
from muybridge.tokenizer.autoencoder import VideoAutoencoder
from muybridge.transformer.model import VideoTransformer
from muybridge.transformer.planner import Planner
from muybridge.types import Condition

TORCH, AUTO = "torch", "auto"
KINDS = {
    "openvino-bf16": "openvino",
    "openvino-f32": "openvino",
    "openvino-int8": "openvino",
    "onnxruntime-f32": "onnxruntime",
}
"""The engines beside PyTorch, each with the package that it needs."""

CLIP, STREAM = ("planner", "transformer", "decoder"), ("planner", "transformer", "advance", "decoder")
"""The parts that take the time of a clip, and of a stream: its first frame is drawn as a clip. Words and stills are
read by PyTorch, once."""

PROMPTS = ("a red ball rolls behind a blue box", "a big yellow cylinder and a small green ball", "a box falls", "")
"""Of the clips that are made to note how large numbers become; what they say hardly matters."""

FEW = 4
"""Steps of such a clip, and drafts."""


class Runnable(Protocol):
    """What is asked of a model: `muybridge.Model` has it."""

    name: str
    hash: str
    device: torch.device
    autoencoder: VideoAutoencoder
    text: TextEncoder
    transformer: VideoTransformer
    witness: Witness | None
    planner: Planner | None
    dtype: torch.dtype
    config: Mapping[str, Any]
    settings: Settings
    engine: Engine | None

    def generate(self, condition: Condition, seed: int, settings: Settings) -> object: ...

    def stream(self, condition: Condition, seed: int, settings: Settings) -> Iterable[object]: ...


def of_a_stream(model: Runnable) -> tuple[str, ...]:
    """The parts that take the time of a model's stream: where frames look ahead, it is made of clips, its windows."""
    return STREAM if model.transformer.config.causal else CLIP


def default_folder() -> Path:
    """Where graphs, what was compiled and what was found fastest are kept: ~/.cache/muybridge/engines."""
    try:
        return Path.home() / ".cache" / "muybridge" / "engines"
    except RuntimeError as error:
        raise ValueError("there is no home folder to keep an engine's graphs in: take --engine torch") from error


def home_of(model: Runnable, folder: Path | None = None) -> Path:
    """Where those of a model are: what another version of the code has made there stays unused beside it."""
    return (folder or default_folder()) / model.hash / _code()


@lru_cache(maxsize=1)
def _code() -> str:
    """A digest of the code that decides what is in a graph."""
    package = Path(__file__).parents[1]
    rooms = (package / room for room in ("conditioning", "engines", "tokenizer", "transformer"))
    files = (file for room in rooms for file in sorted(room.glob("*.py")))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def present(dtype: torch.dtype | None = None) -> list[str]:
    """The engines that are installed, PyTorch apart; for float32 only those that multiply in it."""
    graphs = all(map(find_spec, ("onnx", "onnxscript")))
    fit = [name for name in KINDS if dtype != torch.float32 or name.endswith("f32")]
    return [name for name in fit if graphs and find_spec(KINDS[name]) is not None]


def kind_of(asked: str, dtype: torch.dtype) -> str:
    """The full name of an engine: "openvino" is the one that multiplies in `dtype`, "onnxruntime" that in float32.

    ValueError for what is none, ModuleNotFoundError for what is not installed.
    """
    nearest = "openvino-bf16" if dtype == torch.bfloat16 else "openvino-f32"
    kind = {"openvino": nearest, "onnxruntime": "onnxruntime-f32"}.get(asked, asked)
    if kind not in KINDS:
        raise ValueError(f"--engine is {asked!r}: take one of auto, torch, openvino, onnxruntime, {', '.join(KINDS)}")
    for name in (KINDS[kind], "onnx", "onnxscript"):
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"{name} is not installed", name=name)
    return kind


def make(
    model: Runnable,
    kind: str,
    folder: Path | None = None,
    threads: int | None = None,
    names: Sequence[str] = CLIP + STREAM,
) -> Engine:
    """The engine of that full name for a model. The graphs are made once (about a minute), then read from `folder`.

    names  of the parts that will be asked for

    ValueError for a model on a GPU, where PyTorch is what there is.
    """
    if model.device.type != "cpu":
        raise ValueError(f"the engine {kind} runs on CPUs, the model is on {model.device}: take --engine torch")
    parts, home = {name: part for name, part in _parts(model).items() if name in names}, home_of(model, folder)
    return Engine(
        kind, parts, {name: _blamed(kind, _function(model, part, kind, home, threads)) for name, part in parts.items()}
    )


def _blamed(kind: str, function: Function) -> Function:
    """The same, but what goes wrong in a runtime is a ValueError that names it; each has errors of its own kinds."""

    def run(inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        try:
            return function(inputs)
        except MemoryError:
            raise
        except Exception as error:
            said = next(iter(str(error).splitlines()), type(error).__name__)[:200]
            raise ValueError(f"{kind} failed on this machine ({said}): take --engine torch") from error

    return run


def eager(model: Runnable, dtype: torch.dtype = torch.float32) -> Engine:
    """PyTorch behind the same interface, for comparison; products in `dtype`."""
    parts = _parts(model)
    return Engine(TORCH, parts, {name: _calling(part.module, dtype) for name, part in parts.items()})


def _parts(model: Runnable) -> dict[str, Part]:
    found = parts_of(model.text, model.transformer, model.autoencoder, planner=model.planner, tells=True)
    found |= parts_of_a_stream(model.transformer, model.text.config.queries, tells=True)
    return {name: found[name] for name in STREAM if name in found}


def _function(model: Runnable, part: Part, kind: str, home: Path, threads: int | None) -> Function:
    engine, precision = kind.split("-")
    if engine == "openvino":
        from muybridge.engines import open_vino

        # Of a decoder nobody multiplies the convolutions so, and a plan is places, which are to be exact.
        rounds = precision == "int8" and part.name not in ("decoder", "planner")
        noted = _noted(model, part, home) if rounds else None
        around = open_vino.native() if precision == "int8" else precision
        return open_vino.function(part, _graph(part, home), around, threads, home / "compiled", noted)
    from muybridge.engines import onnx_runtime

    return onnx_runtime.function(part, _graph(part, home), threads)


def _graph(part: Part, home: Path) -> Path:
    """The part's ONNX file, which is written where there is none yet, or a damaged one."""
    file = home / f"{part.name}.onnx"
    if not _is_whole(file):
        from muybridge.engines.graphs import to_onnx

        _keep(to_onnx(part).SerializeToString(), file)
    return file


def _noted(model: Runnable, part: Part, home: Path) -> Largest:
    """How large what the part multiplies becomes: noted once, while clips are made, then read."""
    from muybridge.engines import open_vino

    file = home / f"{part.name}-int8.safetensors"
    if not _is_whole(file):
        _keep(save(dict(open_vino.noted_of(part, _graph(part, home), recorded(model, part.name)))), file)
    return load(file.read_bytes())


def recorded(model: Runnable, name: str) -> list[list[torch.Tensor]]:
    """What a part is given while the model makes some clips in few steps, or if it is causal begins some streams."""
    found: list[list[torch.Tensor]] = []
    whole = eager(model)

    def noting(inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        found.append([x.clone() for x in inputs])
        return whole.functions[name](inputs)

    trained, before = model.config["trained"], model.engine
    shape = Condition(**{side: trained[side] for side in ("frames", "height", "width", "fps")})
    few = {field: min(FEW, getattr(model.settings, field)) for field in ("steps", "drafts", "draft_steps")}
    settings = replace(model.settings, tries=1, **few)
    model.engine = Engine(TORCH, whole.parts, {**whole.functions, name: noting})
    try:
        for seed, prompt in enumerate(PROMPTS):
            condition = replace(shape, prompt=prompt)
            if model.transformer.config.causal:
                list(islice(model.stream(condition, seed, settings), model.transformer.config.window + 1))
            else:
                model.generate(condition, seed, settings)
    finally:
        model.engine = before
    return found


def _keep(content: bytes, file: Path) -> None:
    for path, said in ((file, content), (_sum_of(file), hashlib.sha256(content).hexdigest().encode())):
        with new_file(path) as temporary:
            temporary.write_bytes(said)


def _is_whole(file: Path) -> bool:
    """Whether a graph is there as it was written: runtimes tell a damaged one by errors of many kinds, or never."""
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest() == _sum_of(file).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def _sum_of(file: Path) -> Path:
    return file.with_suffix(".sha256")


def _calling(module: nn.Module, dtype: torch.dtype) -> Function:
    def run(inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            return [out.float() for out in module(*inputs)]

    return run
