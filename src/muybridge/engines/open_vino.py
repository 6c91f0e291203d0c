"""OpenVINO: the fastest way through a CPU that we have measured. Reads the same graphs as ONNX Runtime."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from muybridge.engines.engine import Function
from muybridge.engines.parts import Part
from muybridge.engines.rounding import Largest, largest, rounded

TELEMETRY = "openvino_telemetry"
TURNED = ("Sin", "Cos")
MOST_SHAPES = 4
"""Shapes of a part that are kept compiled: of a clip, and of a stream's first and further chunks."""


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


@lru_cache(maxsize=1)
def core() -> Any:
    """The process's one core, which is never let go.

    On processors with AMX a core gives the thread that first compiles with it another stack for signals, and puts the
    earlier one back when it goes. Of two cores the second puts back that of the first, which may be gone; then the
    next signal, a Ctrl-C or the end of a child, is a segmentation fault.
    """
    return opened().Core()


def native() -> str:
    """What the processor multiplies fastest in, whole numbers apart: "bf16" or "f32"."""
    return "bf16" if "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def write(graph: bytes, file: Path) -> None:
    """An ONNX graph as OpenVINO's own: `file` (.xml) and the weights beside it (.bin)."""
    opened().save_model(core().read_model(graph), str(file), compress_to_fp16=False)


def function(
    part: Part,
    graph: bytes | Path,
    precision: str = "f32",
    threads: int | None = None,
    cache: Path | None = None,
    noted: Largest | None = None,
) -> Function:
    """The part of that graph, ready to run. It is compiled for a shape when that is first asked for.

    precision  of matrix products and convolutions: "f32" or "bf16"
    noted      products of which something is noted are of whole numbers (see `rounding`)
    threads    as torch has them unless said
    cache      a folder where what was compiled is kept
    """
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads or torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": precision,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
        "ENABLE_CPU_PINNING": False,
    }
    if cache is not None:
        settings["CACHE_DIR"] = str(cache)
    source = str(graph) if isinstance(graph, Path) else graph

    @lru_cache(maxsize=MOST_SHAPES)
    def requests(shapes: tuple[tuple[int, ...], ...]) -> list[Any]:
        fixed = dict(zip(part.inputs, map(list, shapes), strict=True))  # fixed shapes are planned best
        models = [core().read_model(source), core().read_model(source)]
        for model in models:
            model.reshape(fixed)
        if noted is not None:
            rounded(opened(), core(), models[1], noted)
        angles = _cut(opened(), *models)
        exact = settings | {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = [core().compile_model(angles, "CPU", exact)] if angles is not None else []
        return [one.create_infer_request() for one in (*compiled, core().compile_model(models[1], "CPU", settings))]

    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        given: list[Any] = [x.contiguous().numpy() for x in inputs]
        *before, last = requests(tuple(tuple(x.shape) for x in inputs))
        for request in before:
            given += request.infer(dict(enumerate(given)), share_inputs=True).to_tuple()
        found = last.infer(dict(enumerate(given)), share_inputs=True)
        return [torch.from_numpy(found[i].copy()) for i in range(len(part.outputs))]

    return run


def noted_of(part: Part, graph: Path, recorded: Sequence[Sequence[Tensor]]) -> Largest:
    """What `function` has to know to round products, from inputs that the part was given."""
    return largest(opened(), core(), str(graph), part, recorded)


def _cut(openvino: Any, whole: Any, rest: Any) -> Any | None:
    """A model of all sines and cosines of `whole`; `rest`, the same graph, then takes them as further inputs.

    So they are computed in float32 whatever the rest is: in bfloat16 a level times a thousand is off by whole turns,
    and the velocity by 16 % (measured; 1 % with this cut). None where there are none.
    """
    turned = {node.get_friendly_name(): node for node in whole.get_ordered_ops() if node.get_type_name() in TURNED}
    if not turned:
        return None
    for node in rest.get_ordered_ops():
        if node.get_friendly_name() in turned:
            taken = openvino.op.Parameter(openvino.Type.f32, node.get_output_partial_shape(0))
            for place in node.output(0).get_target_inputs():
                place.replace_source_output(taken.output(0))
            rest.add_parameters([taken])
    return openvino.Model([node.output(0) for node in turned.values()], whole.get_parameters(), "angles")
