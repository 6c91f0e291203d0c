"""Matrices in eight bits: near what they were, half the size, and read by whoever reads the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_checkpoint import build_planning_model

import muybridge
from muybridge.storage import checkpoint
from muybridge.storage.narrow import LEAST, SCALE, narrowed, widened


@hypothesis.settings(deadline=None, max_examples=25)
@given(rows=st.integers(1, 6), seed=st.integers(0, 99), size=st.floats(1e-6, 1e6))
def test_a_number_is_off_by_half_a_scale_at_most(rows: int, seed: int, size: float) -> None:
    matrix = size * torch.randn(rows, LEAST, generator=torch.Generator().manual_seed(seed))
    back = widened(narrowed({"a": matrix}))["a"]
    scale = matrix.abs().amax(dim=1, keepdim=True) / 127
    assert ((back - matrix).abs() <= 0.501 * scale).all()


def test_what_is_small_or_no_matrix_stays_as_it_is() -> None:
    given = {"few": torch.randn(4, 4), "row": torch.randn(LEAST), "ids": torch.arange(2 * LEAST).view(2, -1)}
    for found in (narrowed(given), widened(narrowed(given))):
        assert found.keys() == given.keys()
        assert all(torch.equal(found[name], given[name]) for name in given)


def test_a_row_of_zeros_stays_one() -> None:
    assert not widened(narrowed({"a": torch.zeros(2, LEAST)}))["a"].any()


def test_a_weight_that_is_called_a_scale_is_none() -> None:
    given = {"norm.scale": torch.randn(3), "other": torch.randn(5)}
    assert widened(given).keys() == given.keys()


def test_kernels_keep_their_shape() -> None:
    kernel = torch.randn(64, 16, 3, 3)
    found = narrowed({"a": kernel})
    assert found["a"].dtype == torch.int8
    assert found["a"].shape == kernel.shape
    assert found["a" + SCALE].shape == (64,)
    assert widened(found)["a"].shape == kernel.shape


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> muybridge.Model:
    return muybridge.load(build_planning_model(tmp_path_factory.mktemp("wide") / "model"), dtype=torch.float32)


def test_a_checkpoint_with_narrow_parts_generates(model: muybridge.Model, tmp_path: Path) -> None:
    muybridge.save_model(
        tmp_path / "model",
        name="tiny",
        autoencoder=model.autoencoder,
        text=model.text,
        transformer=model.transformer,
        vocabulary=model.vocabulary,
        sampling=replace(model.settings, guidance=1.0),
        trained=model.config["trained"],
        learnt_from="nothing at all",
        planner=model.planner,
        narrow=frozenset({"text", "planner"}),
        card="# tiny\n",
    )
    kept = checkpoint.load(tmp_path / "model").tensors
    assert any(tensor.dtype == torch.int8 for tensor in kept["planner"].values())
    assert not any(tensor.dtype == torch.int8 for tensor in kept["transformer"].values())
    found = muybridge.load(tmp_path / "model", dtype=torch.float32)
    for part in ("text", "planner"):
        for name, weights in getattr(model, part).state_dict().items():
            other = getattr(found, part).state_dict()[name]
            torch.testing.assert_close(other, weights, rtol=0, atol=float(weights.abs().max()) / 120)
    condition = muybridge.Condition("a red ball", frames=9, height=32, width=48)
    assert found.generate(condition, 1)[0].frames.shape == (9, 32, 48, 3)
