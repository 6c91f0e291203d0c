"""Batches computed ahead by worker processes: the same batches, sooner."""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from muybridge.data.source import Source
from muybridge.types import Batch


class _Steps(Dataset[Batch | ValueError]):
    """A source, indexed by the step. A ValueError is handed on: raised here, it would come out with two tracebacks."""

    def __init__(self, source: Source, rank: int, world: int) -> None:
        self.source, self.rank, self.world = source, rank, world

    def __getitem__(self, step: int) -> Batch | ValueError:
        try:
            return self.source.batch(step, self.rank, self.world)
        except ValueError as error:
            return ValueError(str(error))  # one that surely goes from process to process


class _From:
    """The steps first, first + 1, … without end."""

    def __init__(self, first: int) -> None:
        self.first = first

    def __iter__(self) -> Iterator[int]:
        step = self.first
        while True:
            yield step
            step += 1


def _as_is(batch: Any) -> Any:
    return batch


def _begin(worker: int) -> None:
    """What a worker does first.

    Ctrl-C, torchrun and batch systems signal the whole process group; the trainer still needs the batch that it is
    waiting for to end its step. Then it ends the workers by their queues. Another thread may still be handing on a
    batch when the interpreter is taken down, and dies inside of torch: the process aborts, and the trainer with it. So
    a worker leaves as forked ones do, without taking down anything.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    atexit.register(os._exit, 0)


class Prefetch:
    """`source`, with the next batches under way in `workers` processes, `depth` of them each.

    Steps are expected in order (one rank of one world); any other step is right too, but starts the workers anew. The
    workers have one torch thread each, end with this object (`with`, `close`) and, should this process be killed,
    by themselves. What goes wrong in one of them is raised here, with its traceback unless it is a ValueError, which
    says all itself. `workers=0` computes inline.

    Processes are spawned: `source` has to be picklable, and a script needs its `if __name__ == "__main__"`.
    """

    def __init__(self, source: Source, workers: int = 1, depth: int = 2) -> None:
        if workers < 0 or depth < 1:
            raise ValueError(f"prefetching takes workers >= 0 and depth >= 1, not workers={workers}, depth={depth}")
        self.source, self.workers, self.depth = source, workers, depth
        self._batches: Iterator[Batch | ValueError] | None = None
        self._next: tuple[int, int, int] | None = None

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        if self.workers == 0:
            return self.source.batch(step, rank, world)
        if self._batches is None or self._next != (step, rank, world):
            self.close()
            self._batches = self._start(step, rank, world)
        self._next = (step + 1, rank, world)
        batch = next(self._batches)
        if isinstance(batch, ValueError):
            raise batch
        return batch

    def close(self) -> None:
        """Ends the workers."""
        if self._batches is not None:
            # Dropping the iterator would end them too, but an error's traceback may hold on to it.
            self._batches._shutdown_workers()  # type: ignore[attr-defined]
        self._batches = self._next = None

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, step: int, rank: int, world: int) -> Iterator[Batch | ValueError]:
        return iter(
            DataLoader(
                _Steps(self.source, rank, world),
                batch_size=None,
                sampler=_From(step),
                num_workers=self.workers,
                prefetch_factor=self.depth,
                multiprocessing_context="spawn",
                collate_fn=_as_is,
                worker_init_fn=_begin,
                generator=torch.Generator(),  # or the loader would advance the global one
            )
        )
