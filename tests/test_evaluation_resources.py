"""Operations, memory and the machine's best, counted."""

from __future__ import annotations

from multiprocessing import get_context

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from muybridge.evaluation.resources import counted, forget_peak, matmul_peak, peak_mebibytes

CPU = torch.device("cpu")


def test_operations_by_hand() -> None:
    q, k = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8)
    with torch.inference_mode():
        assert counted(lambda: torch.randn(4, 5) @ torch.randn(5, 6))[1] == 2 * 4 * 5 * 6
        assert counted(lambda: nn.Linear(16, 8)(torch.randn(4, 16)))[1] == 2 * 4 * 16 * 8
        assert counted(lambda: nn.Conv3d(3, 5, 3, padding=1)(torch.randn(1, 3, 4, 6, 6)))[1] == 2 * 4 * 36 * 5 * 3 * 27
        assert counted(lambda: scaled_dot_product_attention(q, k, k))[1] == 2 * (2 * 2 * 3 * 5 * 7 * 8)
        mask = torch.rand(2, 1, 5, 7) < 0.8
        assert counted(lambda: scaled_dot_product_attention(q, k, k, attn_mask=mask))[1] == 2 * (2 * 2 * 3 * 5 * 7 * 8)


def test_what_is_counted_is_handed_back() -> None:
    found, flops = counted(lambda: "anything")
    assert (found, flops) == ("anything", 0)


def test_peaks_rise_with_what_is_held_and_fall_where_the_system_can_forget() -> None:
    """In a process of its own: where the system cannot forget, what other tests held would hide what is held here."""
    with get_context("spawn").Pool(1) as pool:
        can, before, during, after = pool.apply(_peaks)
    assert during > before + 60
    assert not can or after < during - 30


def _peaks() -> tuple[bool, float, float, float]:
    """Whether the peak can be forgotten; what it is before, with and after 64 MiB."""
    can = forget_peak(CPU)
    before = peak_mebibytes(CPU)
    block = torch.ones(64 * 2**20, dtype=torch.uint8)
    during = peak_mebibytes(CPU)
    del block
    forget_peak(CPU)
    return can, before, during, peak_mebibytes(CPU)


def test_the_peak_of_products_is_a_rate() -> None:
    assert 1e8 < matmul_peak(torch.float32, CPU, side=256, seconds=0.02) < 1e16
