"""The one training loop. What is learnt is the objective's business, from what is the source's.

Step k is a function of the weights after step k - 1 and of k: the batch, the learning rates and all random numbers
follow from k. So a training that is interrupted, at any moment and in any way, ends with the same bits as any other.
"""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from muybridge.data.source import Source, draw
from muybridge.training import optim, state
from muybridge.training.board import Board
from muybridge.training.ema import Ema
from muybridge.training.metrics import Meter
from muybridge.training.parallel import Group, replicated, sharded, synchronised
from muybridge.training.settings import HOW_NOT_WHAT, TrainSettings
from muybridge.types import Batch, Trained

Sheet: TypeAlias = Callable[[int], UInt8[np.ndarray, "h w 3"] | None]


@runtime_checkable
class Objective(Protocol):
    """What an `nn.Module` has to be to be trained: batch in, mean loss over its clips and numbers worth watching out.

    Randomness is drawn from `Batch.seed` clip by clip, from `Batch.common` for a whole step, or from torch's global
    generator where it need not be the same in one process and in several.
    """

    def __call__(self, batch: Batch) -> tuple[Float[Tensor, ""], Mapping[str, Tensor | float]]: ...


class Trainer:
    """Trains `objective` on `source` and keeps its state in `folder`, from which it goes on if there is one already.

    recipe     what else identifies this training (JSON values: model, data): a folder with another one is refused
    group      the processes that share the work, see `parallel.joined`
    on_sample  called by every process every `sample_every` steps while the module has its averaged weights; gives a
               picture or None
    """

    def __init__(
        self,
        objective: nn.Module,
        source: Source,
        settings: TrainSettings,
        folder: Path | str,
        *,
        recipe: Mapping[str, Any] | None = None,
        group: Group | None = None,
        on_sample: Sheet | None = None,
    ) -> None:
        self.objective, self.source, self.settings = objective, source, settings
        self.folder, self.group, self.on_sample = Path(folder), group or Group(), on_sample
        self.recipe = _recipe(settings, recipe or {})
        objective.to(self.group.device).train()
        if settings.fsdp:
            sharded(objective, self.group, settings.muon_within)
        self.optimizers = optim.build(objective, settings)
        self.ema = None if settings.ema is None else Ema(objective, settings.ema)
        self._trainee = state.Trainee(objective, self.optimizers, self.ema)
        before = state.restore(self.folder, self._trainee, self.recipe)
        self.step, self._seconds = (before.step, before.seconds) if before else (0, 0.0)
        if settings.compile:
            objective.compile()
        self._parallel = replicated(objective, self.group)

    def run(self) -> Iterator[Trained]:
        """Trains to the last step; an event every `log_every` steps with means over them.

        The state is saved now and then, at the end, at the time limit, when the iterator is closed, and on SIGINT and
        SIGTERM, which wait for the step to end and then raise KeyboardInterrupt or SystemExit. ValueError when the loss
        or the gradient is no longer a number. A training that has had its steps yields nothing.
        """
        board = Board(self.folder, self.step) if self.group.rank == 0 else None
        with _signals() as pending, _closing(board):
            yield from self._run(pending, board)

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the objective's module has the averaged weights (its own if no average is kept)."""
        return nullcontext() if self.ema is None else self.ema.swapped_in()

    def save(self) -> None:
        """Writes the state to `folder`. Collective."""
        progress = state.Progress(self.step, self._seconds, self.recipe)
        state.save(self.folder, self._trainee, progress, write=self.group.rank == 0)

    def _run(self, pending: Callable[[], int], board: Board | None) -> Iterator[Trained]:
        settings, began, meter = self.settings, time.monotonic(), Meter()
        earlier, saved, kept = self._seconds, began, self.step
        limit = math.inf if settings.time_limit_seconds is None else settings.time_limit_seconds
        while self.step < settings.steps:
            meter.join(self._update())
            self.step += 1
            now = time.monotonic()
            self._seconds = earlier + now - began
            ends, saves, stop = self.group.largest(
                now - began >= limit, now - saved >= settings.save_every_seconds, pending()
            )
            ends = ends or self.step == settings.steps or stop
            logs = self.step % settings.log_every == 0
            if logs or saves or ends:
                metrics = meter.means(self.group)
                self._check(metrics, kept)
            if saves or ends:
                self.save()
                saved, kept = now, self.step
            if logs or ends:
                meter = Meter()
                if board:
                    board.scalars(self.step, metrics)
                yield from self._event(metrics)
            self._sample(board)
            if stop:
                raise KeyboardInterrupt if stop == signal.SIGINT else SystemExit(128 + int(stop))
            if ends:
                return

    def _update(self) -> Meter:
        """One step of the optimisers; returns its metrics."""
        settings, group = self.settings, self.group
        batch = self.source.batch(self.step, group.rank, group.world).to(group.device)
        torch.manual_seed(draw(settings.seed, self.step, group.rank))
        found = Meter()
        for piece, weight, last in _pieces(batch, settings.accumulate):
            with synchronised(self._parallel, now=last):
                with torch.autocast(group.device.type, torch.bfloat16, enabled=settings.bf16):
                    loss, metrics = self._parallel(piece)
                (loss * weight).backward()
            found.add({"loss": loss, **metrics}, len(piece))
        norm = optim.clip_gradient(self.objective.parameters(), settings.clip)
        factor = optim.rate(self.step, settings)
        optim.advance(self.optimizers, factor)
        if self.ema is not None:
            self.ema.update(self.step + 1)
        found.add({"gradient_norm": norm, "lr": settings.lr * factor}, len(batch))
        return found

    def _event(self, metrics: dict[str, float]) -> Iterator[Trained]:
        try:
            yield Trained(self.step, self.settings.steps, self._seconds, metrics)
        except GeneratorExit:
            self.save()
            raise

    def _check(self, metrics: Mapping[str, float], kept: int) -> None:
        for what, value in (("loss", metrics["loss"]), ("gradient", metrics["gradient_norm"])):
            if not math.isfinite(value):
                raise ValueError(
                    f"the {what} became {value} before step {self.step}: lower the learning rate or the clip norm; "
                    f"{self.folder} still holds the state of step {kept}"
                )

    def _sample(self, board: Board | None) -> None:
        if self.on_sample is None or not self.settings.sample_every or self.step % self.settings.sample_every:
            return
        with self.averaged(), torch.no_grad():
            image = self.on_sample(self.step)
        self.objective.train()
        if board and image is not None:
            board.sheet(self.step, image)


def _pieces(batch: Batch, count: int) -> Iterator[tuple[Batch, float, bool]]:
    """`batch` in `count` pieces: each with its share of the clips, and whether it is the last."""
    if len(batch) < count:
        raise ValueError(f"a batch of {len(batch)} clips cannot be taken in accumulate={count} pieces")
    fields = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    rows = torch.arange(len(batch)).tensor_split(count)
    for index, part in enumerate(rows):
        cut = slice(int(part[0]), int(part[-1]) + 1)
        piece = Batch(**{name: None if value is None else value[cut] for name, value in fields.items()})
        yield piece, len(part) / len(batch), index == count - 1


def _recipe(settings: TrainSettings, more: Mapping[str, Any]) -> dict[str, Any]:
    """What two runs must have in common to be one training, as JSON gives it back."""
    own = {name: value for name, value in dataclasses.asdict(settings).items() if name not in HOW_NOT_WHAT}
    recipe: dict[str, Any] = json.loads(json.dumps({**own, **more}))
    return recipe


@contextmanager
def _closing(board: Board | None) -> Iterator[None]:
    try:
        yield
    finally:
        if board is not None:
            board.close()


@contextmanager
def _signals() -> Iterator[Callable[[], int]]:
    """Inside, SIGINT and SIGTERM wait: the callable gives the one that came, or 0. A second one interrupts at once."""
    came: list[int] = []

    def note(number: int, frame: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield lambda: 0
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: came[0] if came else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
