"""Who trains what, how the rate moves, and what the average of the weights is."""

from __future__ import annotations

import inspect
import math
from itertools import pairwise

import hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_training import Denoise, settings
from torch import nn
from torch.optim import AdamW, Muon

from muybridge.training.ema import Ema, decay_at
from muybridge.training.optim import advance, build, clip_gradient, cosine, rate, split, wsd
from muybridge.training.settings import TrainSettings


def names(module: nn.Module, parameters: list[nn.Parameter]) -> set[str]:
    return {name for name, p in module.named_parameters() if any(p is other for other in parameters)}


def test_hidden_matrices_go_to_muon_and_vectors_are_not_decayed() -> None:
    module = Denoise()
    parts = split(module, settings(1))
    assert names(module, parts.muon) == {"blocks.0.weight", "blocks.1.weight"}
    assert names(module, parts.decayed) == {"embed.weight", "out.weight"}
    assert names(module, parts.plain) == {"embed.bias", "blocks.0.bias", "norm.weight", "norm.bias", "out.bias"}


def test_children_may_learn_at_rates_of_their_own() -> None:
    module = nn.ModuleDict({"slow": Denoise(), "fast": Denoise()})
    module.rates = {"slow": 0.25, "fast": 1.0}  # type: ignore[assignment]
    optimizers = build(module, settings(1, lr=4e-3, muon_lr=8e-3))
    assert [group["initial_lr"] for one in optimizers for group in one.param_groups] == [
        2e-3,
        1e-3,
        1e-3,
        8e-3,
        4e-3,
        4e-3,
    ]
    trained = [id(p) for one in optimizers for group in one.param_groups for p in group["params"]]
    assert sorted(trained) == sorted(id(p) for p in module.parameters() if p.requires_grad)


def test_without_a_rate_for_muon_adamw_trains_everything() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    (only,) = build(module, settings(1, muon_lr=None))
    assert isinstance(only, AdamW)
    assert [(len(g["params"]), g["weight_decay"]) for g in only.param_groups] == [(1, 0.01), (3, 0.0)]


def test_a_gain_is_a_vector_whatever_its_axes() -> None:
    module = nn.ParameterDict({"gain": torch.ones(3, 1, 1), "table": torch.ones(3, 2), "scale": torch.ones(())})
    parts = split(module, settings(1))
    assert names(module, parts.plain) == {"gain", "scale"}
    assert names(module, parts.decayed) == {"table"}


def test_muons_update_has_the_size_of_adamws() -> None:
    """Liu et al. 2025, §2.2: an orthogonal m x n matrix times 0.2 sqrt(max(m, n)) has RMS 0.2, like AdamW's."""
    torch.manual_seed(0)
    module = nn.ModuleDict({"blocks": nn.Linear(256, 64, bias=False)})
    (muon,) = build(module, TrainSettings(1, muon_lr=1e-2, weight_decay=0.0))
    assert isinstance(muon, Muon)
    weight = module["blocks"].weight
    before = weight.detach().clone()
    weight.grad = torch.randn_like(weight)
    advance([muon], 0.5)
    rms = (weight.detach() - before).square().mean().sqrt().item()
    assert rms == pytest.approx(0.2 * 1e-2 * 0.5, rel=0.15)  # Newton-Schulz leaves singular values in about 0.7 to 1.2
    assert weight.grad is None


@hypothesis.settings(deadline=None)
@given(steps=st.integers(1, 500), warmup=st.integers(0, 600), decay=st.floats(0, 1))
def test_schedules_rise_stay_and_fall(steps: int, warmup: int, decay: float) -> None:
    for row in ([wsd(k, steps, warmup, decay) for k in range(steps)], [cosine(k, steps, warmup) for k in range(steps)]):
        assert all(0 < factor <= 1 for factor in row)
        peak = row.index(max(row))
        assert all(a <= b for a, b in pairwise(row[: peak + 1]))
        assert all(a >= b for a, b in pairwise(row[peak:]))


def test_schedules_at_known_places() -> None:
    assert [wsd(k, 100, 10, 0.2) for k in (0, 4, 9, 50, 80, 90, 99)] == pytest.approx([0.1, 0.5, 1, 1, 1, 0.5, 0.05])
    assert [cosine(k, 110, 10) for k in (0, 9, 10, 60, 85)] == pytest.approx([0.1, 1, 1, 0.5, 0.5 - math.sqrt(0.125)])
    assert rate(60, TrainSettings(110, warmup=10, schedule="cosine")) == pytest.approx(0.5)


def test_clipping_returns_the_norm_and_keeps_the_direction() -> None:
    weight = nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    assert clip_gradient([weight], 1.0).item() == pytest.approx(5)
    torch.testing.assert_close(weight.grad, torch.tensor([0.6, 0.8]), rtol=1e-5, atol=1e-5)
    assert clip_gradient([weight], None).item() == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(weight.grad, torch.tensor([0.6, 0.8]), rtol=1e-5, atol=1e-5)


def test_the_young_average_forgets_the_start_and_spans_a_tenth() -> None:
    """Weights that grow as k average to n (g + 1) / (g + 2) + O(1), g = 6.94 (Karras et al. 2024, §3.1)."""
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(1e6)
    ema = Ema(module, decay=0.99999)
    for step in range(1, 2001):
        with torch.no_grad():
            module.weight.fill_(step)
        ema.update(step)
    assert ema.weights["weight"].item() == pytest.approx(2000 * 7.94 / 8.94, rel=1e-3)


def test_the_old_average_is_exponential() -> None:
    assert decay_at(1, 0.9) == 0
    assert decay_at(10**6, 0.9) == 0.9
    assert all(decay_at(step, 0.99) <= decay_at(step + 1, 0.99) for step in range(1, 2000))


def test_swapping_in_and_out() -> None:
    module = Denoise()
    ema = Ema(module, 0.5)
    assert not any("frozen" in name for name in ema.weights)
    ema.weights["out.bias"].fill_(7.0)
    before = module.out.bias.detach().clone()
    with pytest.raises(RuntimeError, match="stop"), ema.swapped_in():  # noqa: PT012
        assert module.out.bias.tolist() == [7.0] * 8
        raise RuntimeError("stop")
    assert torch.equal(module.out.bias, before)
    assert ema.weights["out.bias"].tolist() == [7.0] * 8


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": 0}, "steps has to be at least 1"),
        ({"schedule": "step"}, "'wsd' or 'cosine', not 'step'"),
        ({"decay": 1.5}, "decay is a share"),
        ({"ema": 1.0}, "ema is a decay"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):  # as it is without the type checks of tests
        inspect.unwrap(TrainSettings.__init__)(object.__new__(TrainSettings), **{"steps": 1, **changes})
