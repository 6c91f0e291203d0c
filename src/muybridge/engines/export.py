"""A model as a folder of graphs for other runtimes, with all that is needed to run them and how near they come."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from muybridge.data.naming import COLOUR_OF, PROPS, SHAPE_OF
from muybridge.engines.engine import Engine, Function
from muybridge.engines.kinds import Runnable
from muybridge.engines.parts import BEFORE, Part, Sizes, parts_of
from muybridge.engines.readme import readme
from muybridge.engines.streaming import parts_of_a_stream
from muybridge.sampler.plan import SALT, SHIFT
from muybridge.storage.atomic import new_folder
from muybridge.storage.checkpoint import PRETRAINED
from muybridge.transformer.dynamics import MIDDLE, SPREAD
from muybridge.types import latent_frames

KIND = "muybridge.export"
FORMAT = 1
PRECISIONS = {"onnx": ("fp32", "fp16", "int8"), "openvino": ("fp32", "fp16", "int8"), "torch-export": ("fp32",)}
"""What weights can be stored in, by format."""
ENDINGS = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2"}


NEEDED = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino"),
    "torch-export": (),
}


@dataclass(frozen=True)
class Difference:
    """How far a part's graph is from the part itself: of all its outputs, the largest and the relative error."""

    part: str
    largest: float
    relative: float


def check_target(target: str, precision: str) -> None:
    """ValueError for what cannot be written, ModuleNotFoundError for what is not installed to write it with."""
    if target not in PRECISIONS:
        raise ValueError(f"--format is {target!r}: take one of {', '.join(PRECISIONS)}, diffusers")
    if precision not in PRECISIONS[target]:
        raise ValueError(f"--precision is {precision!r}: {target} takes {', '.join(PRECISIONS[target])}")
    for name in NEEDED[target]:
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"{name} is not installed", name=name)


def check_words(name: str, config: Mapping[str, Any]) -> None:
    """ValueError for a model that reads prompts with a network of others, which nobody but `transformers` runs.

    config  the model's own
    """
    if PRETRAINED in config:
        raise ValueError(
            f"{name} cannot be written for other runtimes: it reads prompts with a text encoder of others, which only "
            "transformers runs: use it here (`muybridge generate --engine openvino` runs the rest by OpenVINO), or "
            "train one without --text"
        )


def export(
    model: Runnable, vocabulary: str, folder: Path, target: str, precision: str, sizes: Sizes
) -> tuple[Engine, list[Difference]]:
    """Writes the folder, as a whole; returns what runs from the files that were written, and how near they come.

    vocabulary  the JSON of the model's words
    sizes       those that the comparison is made at; the graphs take any

    ValueError if it cannot be written, or holds anything but an export; see `check_words`, too.
    """
    check_target(target, precision)
    check_words(model.name, model.config)
    parts = parts_of(model.text, model.transformer, model.autoencoder, model.witness, model.planner)
    parts |= parts_of_a_stream(model.transformer, model.text.config.queries, model.planner)
    with new_folder(folder, replaceable=_is_export) as temporary:
        functions = {name: _write(part, temporary, target, precision) for name, part in parts.items()}
        differences = [difference(part, functions[name], sizes) for name, part in parts.items()]
        config = config_of(model, parts, target, precision, sizes, differences)
        for file in temporary.iterdir():
            config["files"][file.name] = {"bytes": file.stat().st_size, "sha256": _digest(file)}
        (temporary / "config.json").write_text(
            json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        (temporary / "vocabulary.json").write_text(vocabulary, encoding="utf-8")
        (temporary / "README.md").write_text(readme(config), encoding="utf-8")
    return Engine(f"{target}-{precision}", parts, functions), differences


def difference(part: Part, function: Function, sizes: Sizes) -> Difference:
    """Compares a function with the part that it stands for, on drawn inputs."""
    inputs = part.example(sizes)
    with torch.inference_mode():
        wanted, found = part.module(*inputs), function(inputs)
    pairs = list(zip(wanted, found, strict=True))
    largest = max(float((a - b).abs().max()) for a, b in pairs)
    relative = max(float((a - b).norm() / a.norm().clamp_min(1e-12)) for a, b in pairs)
    return Difference(part.name, largest, relative)


def config_of(
    model: Runnable,
    parts: Mapping[str, Part],
    target: str,
    precision: str,
    sizes: Sizes,
    differences: list[Difference],
) -> dict[str, Any]:
    """All that a program has to know to run the graphs."""
    return {
        "format": FORMAT,
        "kind": KIND,
        "name": Path(model.name).name,
        "model_hash": model.hash,
        "target": target,
        "precision": precision,
        "learnt_from": model.config["learnt_from"],
        "trained": dict(model.config["trained"]),
        "sampling": asdict(model.settings),
        "spatial_stride": model.autoencoder.config.spatial_stride,
        "patch": model.transformer.config.patch,
        "channels": model.autoencoder.config.channels,
        "spans": model.transformer.config.spans,
        "causal": model.transformer.config.causal,
        "window": model.transformer.config.window,
        "sink": model.transformer.config.sink,
        "planner": _of_plans(model),
        "parts": {
            name: {
                "file": name + ENDINGS[target],
                "inputs": {key: list(axes) for key, axes in part.inputs.items()},
                "outputs": {key: list(axes) for key, axes in part.outputs.items()},
                "carry": [key.removeprefix(BEFORE) for key in part.inputs if key.startswith(BEFORE)],
            }
            for name, part in parts.items()
        },
        "compared_at": dict(sizes),
        "differences": {found.part: {"largest": found.largest, "relative": found.relative} for found in differences},
        "files": {},
    }


def _of_plans(model: Runnable) -> dict[str, Any] | None:
    """What a program has to know to make plans; None where there are none."""
    if model.planner is None:
        return None
    config = model.planner.config
    return {
        "things": config.things,
        "kinds": list(config.kinds),
        "numbers": config.numbers,
        "window": latent_frames(int(model.config["trained"]["frames"])),
        "shift": SHIFT,
        "salt": SALT,
        "props": list(PROPS),
        "colours": COLOUR_OF,
        "shapes": list(SHAPE_OF),
        "middle": list(MIDDLE[:2]),
        "spread": list(SPREAD[:2]),
    }


def _write(part: Part, folder: Path, target: str, precision: str) -> Function:
    """Writes the part's graph and opens what was written."""
    file = folder / (part.name + ENDINGS[target])
    if target == "torch-export":
        from muybridge.engines.graphs import exported

        torch.export.save(exported(part), file)
        return _module(torch.export.load(file).module())
    from muybridge.engines.graphs import to_onnx
    from muybridge.engines.weights import narrowed

    graph = narrowed(to_onnx(part), precision).SerializeToString()
    if target == "onnx":
        from muybridge.engines.onnx_runtime import function

        file.write_bytes(graph)
        return function(part, file)
    from muybridge.engines import open_vino

    open_vino.write(graph, file)
    return open_vino.function(part, file)


def _module(module: torch.nn.Module) -> Function:
    def run(inputs: Any) -> list[Tensor]:
        with torch.inference_mode():
            return list(module(*inputs))

    return run


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _is_export(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("kind") == KIND)
    except (OSError, ValueError, AttributeError):
        return False
