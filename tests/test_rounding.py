"""Products of whole numbers: how far they are from exact ones, and what is left as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from muybridge.engines.parts import Part
from muybridge.engines.rounding import FEWEST_ROWS, largest, rounded

CHANNELS, LOUD = 32, 200.0

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def openvino() -> Any:
    from muybridge.engines.open_vino import opened

    return opened()


def product(openvino: Any, weights: np.ndarray, rows: int) -> Any:
    """x -> x weights'."""
    op = openvino.opset13
    x = op.parameter([rows, CHANNELS], np.float32, name="x")
    return openvino.Model([op.matmul(x, op.constant(weights), False, True)], [x], "product")


def given(rows: int, seed: int = 0) -> np.ndarray:
    """Rows of which one channel is much louder than the rest."""
    x = np.random.default_rng(seed).standard_normal((rows, CHANNELS)).astype(np.float32)
    x[:, 3] *= LOUD
    return x


def answered(openvino: Any, model: Any, x: np.ndarray) -> np.ndarray:
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    return np.array(openvino.Core().compile_model(model, "CPU", settings)([x])[0])


def test_a_loud_channel_leaves_the_others_their_numbers(openvino: Any) -> None:
    weights = np.random.default_rng(1).standard_normal((24, CHANNELS)).astype(np.float32)
    weights[:, 3] /= LOUD
    x = given(FEWEST_ROWS)
    exact = x @ weights.T
    errors = []
    for noted in (np.abs(x).max(axis=0), np.full(CHANNELS, np.abs(x).max())):
        model = product(openvino, weights, FEWEST_ROWS)
        (name,) = (node.get_friendly_name() for node in model.get_ordered_ops() if node.get_type_name() == "MatMul")
        rounded(openvino, openvino.Core(), model, {name: noted.astype(np.float32)})
        errors.append(np.linalg.norm(answered(openvino, model, x) - exact) / np.linalg.norm(exact))
    assert errors[0] < 0.02
    assert errors[1] > 10 * errors[0], "as if all channels were as loud"


@pytest.mark.parametrize("rows", [1, FEWEST_ROWS - 1])
def test_what_takes_no_time_stays_exact(openvino: Any, rows: int) -> None:
    weights = np.random.default_rng(1).standard_normal((24, CHANNELS)).astype(np.float32)
    model = product(openvino, weights, rows)
    names = {node.get_friendly_name(): np.ones(CHANNELS, np.float32) for node in model.get_ordered_ops()}
    rounded(openvino, openvino.Core(), model, names)
    assert not [node for node in model.get_ordered_ops() if node.get_type_name() == "FakeQuantize"]


def test_the_largest_of_all_that_was_recorded_is_noted(openvino: Any, tmp_path: Any) -> None:
    """Of inputs of several shapes, channel by channel."""

    class Linear(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor]:
            raise AssertionError("the graph is asked")

    part = Part("product", Linear(), {"x": ("rows", CHANNELS)}, {"out": ("rows", 24)})
    model = product(openvino, np.ones((24, CHANNELS), np.float32), FEWEST_ROWS)
    openvino.save_model(model, str(tmp_path / "product.xml"), compress_to_fp16=False)
    recorded = [[torch.from_numpy(given(rows, seed))] for seed, rows in enumerate((FEWEST_ROWS, 100, 100))]
    (noted,) = largest(openvino, openvino.Core(), str(tmp_path / "product.xml"), part, recorded).values()
    wanted = np.max([np.abs(x[0].numpy()).max(axis=0) for x in recorded], axis=0)
    np.testing.assert_allclose(noted, wanted, rtol=1e-6)
