"""Every number of a training, in one frozen object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainSettings:
    """How an objective is trained.

    steps               optimiser steps in all; the schedule is a function of step / steps
    lr                  peak learning rate of AdamW
    muon_lr             peak learning rate of Muon, on AdamW's scale (its updates are brought to AdamW's usual RMS);
                        None: AdamW trains everything
    muon_within         names of submodules whose linear layers Muon trains
    betas, weight_decay of AdamW; Muon takes the decay too. Vectors and scalars are never decayed
    warmup              steps of linear warm-up
    schedule, decay     "wsd": constant, then linear to 0 in the last share `decay` of the steps; "cosine"
    clip                largest global norm of the gradient; None: any
    ema                 decay of the averaged weights; None: no average is kept
    bf16                autocast to bfloat16
    compile             torch.compile the objective (an objective may override `compile` to compile only a part of it)
    accumulate          pieces in which a batch is taken, when it does not fit into memory whole
    fsdp                shard weights, gradients and optimiser over the processes (FSDP2) instead of copying them (DDP)
    save_every_seconds, log_every, sample_every   the former in seconds, the others in steps; sample_every=0: never
    seed                of the global generator, for objectives that use it; set anew at every step
    time_limit_seconds  save and stop after that long; another run goes on from there
    """

    steps: int
    lr: float = 1e-3
    muon_lr: float | None = None
    muon_within: tuple[str, ...] = ("blocks",)
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    warmup: int = 100
    schedule: Literal["wsd", "cosine"] = "wsd"
    decay: float = 0.2
    clip: float | None = 1.0
    ema: float | None = 0.999
    bf16: bool = False
    compile: bool = False
    accumulate: int = 1
    fsdp: bool = False
    save_every_seconds: float = 300.0
    log_every: int = 10
    sample_every: int = 0
    seed: int = 0
    time_limit_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} has to be at least 1, not {getattr(self, name)}")
        if self.schedule not in ("wsd", "cosine"):
            raise ValueError(f"schedule is 'wsd' or 'cosine', not {self.schedule!r}")
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay is a share of the steps, from 0 to 1, not {self.decay}")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise ValueError(f"ema is a decay in [0, 1), not {self.ema}")


HOW_NOT_WHAT = frozenset(
    {"compile", "accumulate", "fsdp", "save_every_seconds", "log_every", "sample_every", "time_limit_seconds"}
)
"""Settings that may differ between a run and its continuation: they change how it runs, not what comes out."""
