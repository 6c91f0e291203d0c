"""The weights of an ONNX graph in fewer bits: smaller files of the same plain operators, which every runtime has.

A weight is kept as float16, or as int8 with a scale for each output channel, and turned back to float32 by a `Cast` and
a `Mul` that runtimes do once, when the graph is loaded. Sums stay in float32. That makes files small, not steps fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int8

if TYPE_CHECKING:
    import onnx

LARGE = 1024
"""Numbers in a weight from which on it is worth storing in fewer bits."""

_OUTPUT_AXIS = {"MatMul": -1, "Conv": 0, "Gather": 0}
"""Which axis of a weight belongs to what comes out; each place along it has a scale of its own."""


def narrowed(model: onnx.ModelProto, precision: str) -> onnx.ModelProto:
    """`model` with its large weights as "fp16" or "int8"; as they are for "fp32". The model itself is changed."""
    if precision == "fp32":
        return model
    from onnx import numpy_helper

    graph = model.graph
    nodes, kept = [], []
    axes = _output_axes(graph)
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < LARGE:
            kept.append(weight)
        elif precision == "int8" and weight.name in axes:
            whole, scale = in_int8(values, axes[weight.name])
            kept += _stored(weight.name, whole, scale)
            nodes += _restored(weight.name, scaled=True)
        else:
            kept += _stored(weight.name, values.astype(np.float16))
            nodes += _restored(weight.name, scaled=False)
    del graph.initializer[:]
    graph.initializer.extend(kept)
    old = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *old])
    return model


def in_int8(values: Float[np.ndarray, "..."], axis: int) -> tuple[Int8[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Whole numbers -127 … 127 and the scale of each place along `axis`; their product is nearest to `values`."""
    others = tuple(i for i in range(values.ndim) if i != axis % values.ndim)
    scale = np.maximum(np.abs(values).max(axis=others, keepdims=True), 1e-12) / 127
    return np.round(values / scale).astype(np.int8), scale.astype(np.float32)


def _output_axes(graph: onnx.GraphProto) -> dict[str, int]:
    """Weights of matrix products, convolutions and tables of words, with the axis that has a scale for each place."""
    places = {"MatMul": 1, "Gemm": 1, "Conv": 1, "Gather": 0}
    axes: dict[str, int] = {}
    for node in graph.node:
        if node.op_type not in places or len(node.input) <= places[node.op_type]:
            continue
        turned = any(found.name == "transB" and found.i for found in node.attribute)
        axes[node.input[places[node.op_type]]] = (
            (0 if turned else -1) if node.op_type == "Gemm" else (_OUTPUT_AXIS[node.op_type])
        )
    return axes


def _stored(name: str, values: np.ndarray, scale: Float[np.ndarray, "..."] | None = None) -> list[onnx.TensorProto]:
    from onnx import numpy_helper

    stored = [numpy_helper.from_array(values, f"{name}.narrow")]
    return stored if scale is None else [*stored, numpy_helper.from_array(scale, f"{name}.scale")]


def _restored(name: str, scaled: bool) -> list[onnx.NodeProto]:
    """The nodes that give the weight in float32 under its old name."""
    from onnx import TensorProto, helper

    if not scaled:
        return [helper.make_node("Cast", [f"{name}.narrow"], [name], to=TensorProto.FLOAT)]
    return [
        helper.make_node("Cast", [f"{name}.narrow"], [f"{name}.whole"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}.whole", f"{name}.scale"], [name]),
    ]
