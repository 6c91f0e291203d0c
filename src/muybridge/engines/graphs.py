"""Parts as graphs: torch.export, ONNX, OpenVINO. Every axis that can vary, varies: one file does clips of any size."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from inspect import signature
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.export import Dim, ExportedProgram

from muybridge.engines.parts import Axes, Part

if TYPE_CHECKING:
    import onnx

OPSET = 18
"""Old enough for every runtime at hand, those in browsers included; newer ones fuse these operators anyway."""


def exported(part: Part) -> ExportedProgram:
    """The part as a graph of PyTorch's operators."""
    varying = tuple(_varying(axes) for axes in part.inputs.values())
    named = [p for p in signature(part.module.forward).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    count, more = len(named), varying[len(named) :]
    shapes = (*varying[:count], more) if more else varying
    with torch.no_grad(), _quietly():  # where gradients are wanted, attention goes another way
        return torch.export.export(part.module.eval(), part.example(), dynamic_shapes=shapes, strict=False)


def to_onnx(part: Part) -> onnx.ModelProto:
    """The part as an ONNX graph in float32, its axes called what `part` calls them."""
    program = exported(part)
    with torch.no_grad(), _quietly():
        found = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(part.inputs),
            output_names=list(part.outputs),
            verbose=False,
        )
    assert found is not None, "torch.onnx.export gave nothing"
    model: onnx.ModelProto = found.model_proto
    _divide(model.graph)
    return _plain(model, part)


def _varying(axes: Axes) -> dict[int, Any]:
    return {place: Dim.DYNAMIC for place, axis in enumerate(axes) if isinstance(axis, str)}


def _divide(graph: onnx.GraphProto) -> None:
    """Writes norms as x / sqrt(mean(x²) + ε) · 1, of which ONNX Runtime makes one kernel, in browsers, too. As
    x · (1 / sqrt(…)), which is what the exporter makes of them, each is six."""
    from onnx import helper, numpy_helper

    makers = {output: node for node in graph.node for output in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    shapes = {value.name: value.type.tensor_type.shape.dim for value in (*graph.value_info, *graph.input)}
    ones: dict[int, str] = {}
    nodes, gone = [], set()
    for node in graph.node:
        inverse = next((name for name in node.input if _is_inverse_root(makers, name) and uses[name] == 1), None)
        if node.op_type != "Mul" or inverse is None:
            nodes.append(node)
            continue
        (x,) = (name for name in node.input if name != inverse)
        width = shapes[x][-1].dim_value
        if width not in ones:
            ones[width] = f"ones_{width}"
            graph.initializer.append(numpy_helper.from_array(np.ones(width, np.float32), ones[width]))
        divided = f"{node.output[0]}_divided"
        nodes.append(helper.make_node("Div", [x, makers[inverse].input[0]], [divided]))
        nodes.append(helper.make_node("Mul", [divided, ones[width]], list(node.output)))
        gone.add(inverse)
    kept = [node for node in nodes if not gone.intersection(node.output)]
    del graph.node[:]
    graph.node.extend(kept)


def _is_inverse_root(makers: Mapping[str, onnx.NodeProto], name: str) -> bool:
    """Whether it is 1 / sqrt(mean(…) + …)."""
    for kind in ("Reciprocal", "Sqrt", "Add", "ReduceMean"):
        node = makers.get(name)
        if node is None or node.op_type != kind:
            return False
        name = node.input[0]
    return True


def _plain(model: onnx.ModelProto, part: Part) -> onnx.ModelProto:
    """Without what the exporter noted of its way through our code, and with our names for the axes."""
    graph = model.graph
    del graph.value_info[:]
    del graph.metadata_props[:]
    del model.metadata_props[:]
    for function in model.functions:
        del function.metadata_props[:]
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for values, named in ((graph.input, part.inputs), (graph.output, part.outputs)):
        for value in values:
            del value.metadata_props[:]
            _name_axes(value, named)
    graph.name = part.name
    return model


def _name_axes(value: onnx.ValueInfoProto, named: Mapping[str, Axes]) -> None:
    for dimension, axis in zip(value.type.tensor_type.shape.dim, named[value.name], strict=True):
        if isinstance(axis, str):
            dimension.dim_param = axis


@contextmanager
def _quietly() -> Iterator[None]:
    """The exporter tells programmers of its own deprecations, and of libraries that are not there."""
    registry = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = registry.level
    registry.setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            registry.setLevel(before)
