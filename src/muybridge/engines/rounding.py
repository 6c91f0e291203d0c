"""Products in whole numbers: an OpenVINO graph whose matrix products take both their factors in eight bits.

Weights have a scale for each place of what comes out, what they are multiplied by has one in all. A few channels of it
are much larger than the rest and would leave these a few of the 256 numbers; so each channel is divided by a factor,
which its weights are multiplied by, such that both are as hard to round (SmoothQuant, Xiao et al. 2211.10438, equation
4 with alpha = 0.5). How large channels become is noted while the model makes clips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from muybridge.engines.parts import Part

FEWEST_ROWS = 64
"""Products of fewer rows, of words and levels, take no time, and stay as they are."""

_AROUND = ("Convert", "Transpose", "Reshape")
"""What may stand between a constant and the product that it is a factor of."""

Largest = Mapping[str, Float[np.ndarray, " c"]]
"""By the name of each product: the largest magnitude of each channel of what its weights are multiplied by."""


def largest(openvino: Any, core: Any, graph: str, part: Part, recorded: Sequence[Sequence[Tensor]]) -> Largest:
    """What `rounded` has to know, from inputs that the part was given."""
    found: dict[str, Float[np.ndarray, " c"]] = {}
    shapes = {tuple(tuple(x.shape) for x in inputs) for inputs in recorded}
    for shape in sorted(shapes):
        model = core.read_model(graph)
        model.reshape(dict(zip(part.inputs, map(list, shape), strict=True)))
        names = []
        for product in _products(model):
            axes = list(range(len(product.get_input_shape(0)) - 1))
            magnitude = openvino.opset13.abs(product.input_value(0))
            model.add_results([openvino.opset13.result(openvino.opset13.reduce_max(magnitude, axes))])
            names.append(product.get_friendly_name())
        request = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
        for inputs in recorded:
            if tuple(tuple(x.shape) for x in inputs) == shape:
                noted = request.infer([x.contiguous().numpy() for x in inputs]).to_tuple()[len(part.outputs) :]
                for name, values in zip(names, noted, strict=True):
                    found[name] = np.maximum(found.get(name, 0), values)
    return found


def rounded(openvino: Any, core: Any, model: Any, noted: Largest) -> None:
    """Rounds both factors of every product that something was noted of. The model is changed."""
    op = openvino.opset13
    for product in _products(model):
        channels = noted.get(product.get_friendly_name())
        if channels is None:
            continue
        weights = _weights(openvino, core, product)
        factor = np.sqrt(np.maximum(channels, 1e-5) / np.maximum(np.abs(weights).max(axis=0), 1e-5))
        weights, most = weights * factor, np.float32((channels / factor).max())
        rows = np.abs(weights).max(axis=1, keepdims=True)
        given = op.multiply(product.input_value(0), op.constant(1 / factor))
        given = _in_eight_bits(op, given, -most * np.float32(128 / 127), most, 256)
        whole = _in_eight_bits(op, op.constant(weights), -rows, rows, 255)
        found = op.matmul(given, whole, False, True)
        found.set_friendly_name(product.get_friendly_name())
        for place in product.output(0).get_target_inputs():
            place.replace_source_output(found.output(0))


def _in_eight_bits(op: Any, x: Any, least: Any, most: Any, numbers: int) -> Any:
    low, high = op.constant(least), op.constant(most)
    return op.fake_quantize(x, low, high, low, high, numbers)


def _products(model: Any) -> list[Any]:
    """Products of weights with many rows."""
    found = []
    for node in model.get_ordered_ops():
        if node.get_type_name() == "MatMul" and np.prod(list(node.get_input_shape(0))[:-1]) >= FEWEST_ROWS:
            factor = node.input_value(1).get_node()
            while factor.get_type_name() in _AROUND:
                factor = factor.input_value(0).get_node()
            if factor.get_type_name() == "Constant":
                found.append(node)
    return found


def _weights(openvino: Any, core: Any, product: Any) -> Float[np.ndarray, "d c"]:
    """Those of a product, a row for each place of what comes out."""
    model = openvino.Model([product.input_value(1)], [], "weights")
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    (values,) = core.compile_model(model, "CPU", settings).create_infer_request().infer([]).to_tuple()
    turned = product.get_attributes().get("transpose_b", False)
    return np.array(values if turned else values.T, dtype=np.float32)
