"""`muybridge train`: a recipe in, a checkpoint out."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from muybridge.commands.options import sizes_of
from muybridge.conditioning.borrowed import tokens_of
from muybridge.conditioning.pretrained import PretrainedText
from muybridge.conditioning.vocabulary import Vocabulary
from muybridge.data.material import Filmed, Material, Shape
from muybridge.recipes import find
from muybridge.recipes.recipe import Recipe
from muybridge.recipes.rehearsal import amounts, rehearsed
from muybridge.train import Step, train
from muybridge.training.parallel import joined
from muybridge.types import Progress as Done
from muybridge.types import Trained

Event: TypeAlias = Trained | Done


def run(
    name: str,
    folder: Path,
    data: Path | None,
    device: str | None,
    workers: int,
    sizes: str = "",
    fsdp: bool = False,
    text: str | None = None,
    effort: float = 1.0,
) -> None:
    """Trains recipe `name` in `folder`, from where it was; on one process or, under torchrun, on several.

    text    a pretrained text encoder that prompts are read with: a folder, or org/name on the hub
    effort  so many times the recipe's steps in every stage
    """
    recipe = recipe_of(name, sizes, effort)
    material = recipe.material if data is None else Filmed(data)
    pretrained = None if text is None else opened(text)
    with joined(device) as group:
        if fsdp:
            if group.world == 1:
                raise ValueError(
                    "--fsdp spreads the weights over several processes, and there is one: start them with torchrun "
                    f"--nproc-per-node 2 -m muybridge.cli train {name} --fsdp, or leave --fsdp out"
                )
            recipe = recipe.sharded()
        console = Console(stderr=True, quiet=group.rank != 0, highlight=False)
        longest = max(recipe.learn_autoencoder.clip_frames, *(stage.frames for stage in recipe.flow))
        tell(console, material, recipe.shapes(longest)[0], None if pretrained is None else tokens_of(pretrained))
        with Lines(console) as lines:
            stages = train(recipe, material, folder, group, workers, pretrained)
            for step in stages:
                lines.hear(step)
        if group.rank == 0:
            print(f"model          {folder / 'model'}")
            print(f'try it         muybridge generate "a red ball and a blue box" --model {folder / "model"}')


def recipe_of(name: str, sizes: str, effort: float) -> Recipe:
    """The recipe of a name, in these sizes if any are named, `effort` times as long."""
    recipe = find(name).longer(effort)
    return replace(recipe, sizes=sizes_of(sizes)) if sizes else recipe


def rehearse(
    name: str,
    data: Path | None,
    device: str | None,
    workers: int,
    sizes: str = "",
    fsdp: bool = False,
    text: str | None = None,
    effort: float = 1.0,
) -> None:
    """Takes a few steps of every stage of recipe `name` and keeps nothing; prints how long each stage would take."""
    if fsdp:
        raise ValueError("a rehearsal is of one process, and --fsdp is for several: leave one of the two out")
    recipe = recipe_of(name, sizes, effort)
    material = recipe.material if data is None else Filmed(data)
    pretrained = None if text is None else opened(text)
    heard: dict[str, list[Event]] = {}
    with (
        joined(device) as group,
        tempfile.TemporaryDirectory(prefix="muybridge-") as folder,
        Lines(Console(stderr=True, highlight=False)) as lines,
    ):
        if group.world > 1:
            raise ValueError("a rehearsal is of one process: leave torchrun out")
        for step in train(rehearsed(recipe), material, Path(folder), group, workers, pretrained):
            lines.hear(step)
            heard.setdefault(step[0], []).append(step[1])
    table = Table("stage", "seconds each", "to do", "hours")
    hours = 0.0
    for stage, count in amounts(recipe).items():
        if stage in heard:  # words are not learnt of films
            seconds = seconds_each(heard[stage])
            hours += seconds * count / 3600
            table.add_row(stage, f"{seconds:.3g}", f"{count:,}", f"{seconds * count / 3600:.2f}")
    Console(highlight=False).print(table)
    print(f"all of it      about {hours:.2f} hours here, by a few steps of each stage that were not compiled")
    if group.device.type == "cuda":
        print(f"memory         {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB of the GPU at most")


def opened(text: str) -> PretrainedText:
    """A pretrained text encoder, its weights as they are stored. ValueError, with the mend, for what cannot be read."""
    pretrained = PretrainedText.load(text, dtype=None)
    try:  # networks of other senses have tokenizers, too
        pretrained(["a red ball"])
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError) as error:
        said = next(iter(str(error).splitlines()), "")[:200]
        raise ValueError(
            f"{text} cannot read a sentence ({type(error).__name__}: {said}): give a text encoder such as T5, UMT5, "
            "CLIP or Qwen"
        ) from error
    return pretrained


def seconds_each(events: Sequence[Event]) -> float:
    """Of a step, a file or a clip. What came first does not count where there is more: it waits for what starts."""
    rises = [
        (after.step - before.step, after.seconds - before.seconds)
        for before, after in pairwise(events)
        if after.step > before.step and after.seconds >= before.seconds  # else a cache is gone on with, by a new clock
    ]
    if not isinstance(events[-1], Trained):
        rises = rises[1:] or rises or [(max(1, events[-1].step), events[-1].seconds)]
    elif not rises:
        return events[-1].seconds
    return sum(seconds for _, seconds in rises) / sum(steps for steps, _ in rises)


def tell(console: Console, material: Material, shape: Shape, vocabulary: Vocabulary | None) -> None:
    """Names what of a folder of films is not learnt from. `vocabulary`: see `Filmed.notes`."""
    if isinstance(material, Filmed) and not console.quiet:
        for note in material.notes(shape, vocabulary):
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
