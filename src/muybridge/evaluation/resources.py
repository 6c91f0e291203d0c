"""What work costs a machine: operations, memory, and how fast it could be at best."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

Found = TypeVar("Found")

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def counted(work: Callable[[], Found]) -> tuple[Found, int]:
    """What a call gives, and its floating-point operations: matrix products, convolutions, attention; 2 for each a·b+c.

    torch's counter does not know the attention that CPUs have of their own, so it is told of it here.
    """
    known = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}
    with FlopCounterMode(display=False, custom_mapping=known) as counter:
        found = work()
    return found, int(counter.get_total_flops())


def _attention(query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
    """Of q kᵀ and of its product with v; masked places are counted, as they are computed."""
    batch, heads, asked, width = query
    return int(2 * batch * heads * asked * key[2] * (width + value[3]))


def matmul_peak(dtype: torch.dtype, device: torch.device, side: int = 1024, seconds: float = 0.5) -> float:
    """Operations a second of the fastest product of two matrices of `side` rows in about so many seconds."""
    a, b = (torch.randn(side, side, dtype=torch.float32, device=device).to(dtype) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        began = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best


def forget_peak(device: torch.device) -> bool:
    """Peaks are counted from now on; False where the system cannot, and they are the process's since its start.

    Linux can (clear_refs, proc(5)), unless a container forbids it, and so can CUDA.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def peak_mebibytes(device: torch.device) -> float:
    """Most memory held since `forget_peak`: tensors on a CUDA device, else what the process has in memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    unit = 2**20 if sys.platform == "darwin" else 1024  # bytes on macOS, kibibytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
