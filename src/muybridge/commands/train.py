"""`muybridge train`: a recipe in, a checkpoint out."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from muybridge.data.material import Filmed, Material, Shape
from muybridge.recipes import find
from muybridge.train import Step, train
from muybridge.training.parallel import joined
from muybridge.types import Trained


def run(name: str, folder: Path, data: Path | None, device: str | None, workers: int) -> None:
    """Trains recipe `name` in `folder`, from where it was; on one process or, under torchrun, on several."""
    recipe = find(name)
    material = recipe.material if data is None else Filmed(data)
    with joined(device) as group:
        console = Console(stderr=True, quiet=group.rank != 0, highlight=False)
        longest = max(recipe.learn_autoencoder.clip_frames, *(stage.frames for stage in recipe.flow))
        tell(console, material, recipe.shape(longest))
        with Lines(console) as lines:
            stages = train(recipe, material, folder, group, workers)
            for step in stages:
                lines.hear(step)
        if group.rank == 0:
            print(f"model          {folder / 'model'}")
            print(f'try it         muybridge generate "a red ball and a blue box" --model {folder / "model"}')


def tell(console: Console, material: Material, shape: Shape) -> None:
    """Names what of a folder of films is not learnt from."""
    if isinstance(material, Filmed) and not console.quiet:
        for note in material.notes(shape):
            console.print(f"note: {note}", markup=False, style="yellow", soft_wrap=True)


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
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            speed_estimate_period=300,
            disable=not console.is_terminal,
        )
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Lines:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def hear(self, step: Step) -> None:
        """Shows how far a stage is."""
        stage, event = step
        note = ", ".join(f"{k} {v:.4g}" for k, v in event.metrics.items()) if isinstance(event, Trained) else ""
        if stage not in self.tasks:
            self.tasks[stage] = self.progress.add_task(stage, total=event.steps, note=note)
        self.progress.update(self.tasks[stage], completed=event.step, note=note)
        if self.progress.disable and (event.step == event.steps or event.step % 100 == 0):
            self.console.print(f"{stage} {event.step}/{event.steps} {event.seconds:.0f} s {note}", markup=False)
