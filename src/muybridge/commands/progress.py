"""A bar with the time left, and a small picture of what is becoming of the noise."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Meter
from rich.text import Text

from muybridge.types import Event, Latent, Progress, Sampled

if TYPE_CHECKING:
    from muybridge.generate import Model

WIDEST = 96
"""Most characters across that a preview takes; two pixels stand above each other in one."""


def meter(console: Console) -> Meter:
    """What has been done of what, for how long, and for how long still."""
    return Meter(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=False,
    )


class Bar:
    """Listens to the sampler's events. In a terminal it draws; elsewhere it is silent, so logs stay logs."""

    def __init__(self, console: Console, clips: int, model: Model) -> None:
        self.console, self.model = console, model
        self.before, self.step, self.clips = 0, 0, clips
        self.meter = meter(console)
        self.task = self.meter.add_task("sampling", total=1)
        self.live = Live(self.meter, console=console, transient=True, redirect_stdout=False)

    def __enter__(self) -> Bar:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def hear(self, event: Event) -> None:
        """Advances the bar; a preview becomes a picture above it. Clips come one after the other."""
        if isinstance(event, Sampled):
            self.before, self.clips = self.before + self.step, self.clips - 1
        elif self.console.is_terminal and isinstance(event, Progress):
            self.step = event.step
            total = self.before + event.steps * self.clips
            self.meter.update(self.task, completed=self.before + event.step, total=total)
            if event.preview is not None:
                self.live.update(Group(picture(self._frames(event.preview), self._width()), self.meter))

    def _width(self) -> int:
        return min(WIDEST, self.console.width - 1)

    def _frames(self, latent: Latent) -> UInt8[np.ndarray, "h w 3"]:
        """The first, the middle and the last frame side by side, each decoded by itself: rough, but little work."""
        from muybridge.generate import to_uint8

        last = latent.frames.shape[1] - 1
        shown = latent.frames[0, [0, last // 2, last]][:, None]
        return np.concatenate(to_uint8(self.model.decode(Latent(shown, latent.fps)).frames[:, 0]), axis=1)


def picture(pixels: UInt8[np.ndarray, "h w 3"], width: int) -> Text:
    """Pixels as half blocks, `width` characters across: each shows two, one above the other."""
    height = max(2, round(width * pixels.shape[0] / pixels.shape[1]) // 2 * 2)
    small = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))
    text = Text(no_wrap=True)
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        for above, below in zip(upper, lower, strict=True):
            text.append("▀", style=f"rgb({','.join(map(str, above))}) on rgb({','.join(map(str, below))})")
        text.append("\n")
    return text
