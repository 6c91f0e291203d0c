"""`muybridge train`: a recipe in, a checkpoint out."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from muybridge.recipes import find
from muybridge.train import Step, train
from muybridge.training.parallel import joined
from muybridge.types import Trained


def run(name: str, folder: Path, data: Path | None, device: str | None) -> None:
    """Trains recipe `name` in `folder`, from where it was; on one process or, under torchrun, on several."""
    recipe = find(name)
    with joined(device) as group:
        console = Console(stderr=True, quiet=group.rank != 0, highlight=False)
        with Lines(console) as lines:
            stages = train(recipe, folder, group, data)
            for step in stages:
                lines.hear(step)
        if group.rank == 0:
            print(f"model          {folder / 'model'}")
            print(f'try it         muybridge generate "a red ball and a blue box" --model {folder / "model"}')


class Lines:
    """A bar for each stage; where there is no terminal, a line now and then."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("{task.description:20}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(speed_estimate_period=300),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self.tasks: dict[str, int] = {}
