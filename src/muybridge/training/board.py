"""Curves and sample sheets, for people to look at: TensorBoard where it is installed, and PNGs in any case."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from muybridge.storage.atomic import new_file
from muybridge.types import Metrics

log = logging.getLogger(__name__)


class Board:
    """Writes below `folder`: `board/` for TensorBoard, `samples/step-….png`. The training (re)starts at `step`."""

    def __init__(self, folder: Path, step: int) -> None:
        self.folder = folder
        self._writer = _tensorboard(folder / "board", step)

    def scalars(self, step: int, metrics: Metrics) -> None:
        if self._writer is not None:
            for name, value in metrics.items():
                self._writer.add_scalar(name, value, step)

    def sheet(self, step: int, image: UInt8[np.ndarray, "h w 3"]) -> None:
        path = self.folder / "samples" / f"step-{step:07d}.png"
        with new_file(path) as temporary:
            Image.fromarray(image).save(temporary, "PNG")
        if self._writer is not None:
            self._writer.add_image("samples", image, step, dataformats="HWC")

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _tensorboard(folder: Path, step: int) -> Any:
    """A SummaryWriter that hides what an interrupted run wrote after `step`; None, with a word, without TensorBoard."""
    if importlib.util.find_spec("tensorboard") is None:
        log.warning("no TensorBoard curves are written: it is not installed (pip install 'muybridge[train]')")
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step)
