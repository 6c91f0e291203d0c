"""A bar with the time left, and a small picture of what is becoming of the noise."""

from __future__ import annotations

from types import TracebackType

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress as RichProgress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from muybridge.generate import Model, to_uint8
from muybridge.types import Event, Latent, Progress, Sampled

PICTURE = (64, 36)
"""Largest preview in characters across and half characters down."""


class Bar:
    """Listens to events. In a terminal it draws; elsewhere it is silent, so logs stay logs."""

    def __init__(self, console: Console, steps: int, model: Model) -> None:
        self.model, self.drawn = model, console.is_terminal
        self.bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self.task = self.bar.add_task("sampling", total=steps)
        self.live = Live(self.bar, console=console, transient=True)

    def __enter__(self) -> Bar:
        if self.drawn:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.drawn:
            self.live.stop()

    def hear(self, event: Event) -> None:
        """Advances the bar; a preview becomes a picture above it."""
        if not self.drawn:
            return
        if isinstance(event, Progress):
            self.bar.advance(self.task)
            if event.preview is not None:
                self.live.update(Group(picture(self._frames(event.preview)), self.bar))
        elif isinstance(event, Sampled):
            self.bar.update(self.task, description="writing")

    def _frames(self, latent: Latent) -> UInt8[np.ndarray, "h w 3"]:
        """First, middle and last frame side by side."""
        frames = to_uint8(self.model.decode(Latent(latent.frames[:1], latent.fps)).frames[0])
        return np.concatenate([frames[0], frames[len(frames) // 2], frames[-1]], axis=1)


def picture(pixels: UInt8[np.ndarray, "h w 3"]) -> Text:
    """Pixels as half blocks: each character shows two, one above the other."""
    height, width = pixels.shape[:2]
    scale = min(PICTURE[0] / width, PICTURE[1] / height)
    size = (max(1, round(width * scale)), max(2, round(height * scale) // 2 * 2))
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
    text = Text()
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        for above, below in zip(upper, lower, strict=True):
            text.append("▀", style=f"rgb({','.join(map(str, above))}) on rgb({','.join(map(str, below))})")
        text.append("\n")
    return text
