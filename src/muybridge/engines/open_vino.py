"""OpenVINO: the fastest way through a CPU that we have measured. Reads the same graphs as ONNX Runtime."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from muybridge.engines.engine import Function
from muybridge.engines.parts import Part

TELEMETRY = "openvino_telemetry"


@contextmanager
def _unreported() -> Iterator[None]:
    """Inside, OpenVINO finds no telemetry package and takes its own stub: whoever runs our models tells nobody."""
    before = sys.modules.get(TELEMETRY, "")
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if before == "":
            del sys.modules[TELEMETRY]
        else:
            sys.modules[TELEMETRY] = before  # type: ignore[assignment]


def opened() -> Any:
    """The package, imported without the reporter that it would otherwise start."""
    with _unreported():
        import openvino

    return openvino


def write(graph: bytes, file: Path) -> None:
    """An ONNX graph as OpenVINO's own: `file` (.xml) and the weights beside it (.bin)."""
    openvino = opened()
    openvino.save_model(openvino.Core().read_model(graph), str(file), compress_to_fp16=False)


def function(
    part: Part, graph: bytes | Path, precision: str = "f32", threads: int | None = None, cache: Path | None = None
) -> Function:
    """The part of that graph, ready to run.

    precision  of matrix products and convolutions: "f32" or "bf16"
    threads    as torch has them unless said
    cache      a folder where what was compiled is kept
    """
    openvino = opened()
    core = openvino.Core()
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads or torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": precision,
        "ENABLE_CPU_PINNING": False,
    }
    if cache is not None:
        settings["CACHE_DIR"] = str(cache)
    model = core.read_model(str(graph) if isinstance(graph, Path) else graph)
    return _running(core.compile_model(model, "CPU", settings), part)


def _running(compiled: Any, part: Part) -> Function:
    request = compiled.create_infer_request()

    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        given = {name: x.contiguous().numpy() for name, x in zip(part.inputs, inputs, strict=True)}
        found = request.infer(given, share_inputs=True)
        return [torch.from_numpy(found[name].copy()) for name in part.outputs]

    return run
