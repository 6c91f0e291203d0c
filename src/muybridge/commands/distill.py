"""`muybridge distill`: a teacher and a recipe in, a student's checkpoint out."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from muybridge.commands.train import Lines, tell
from muybridge.data.material import Filmed, Simulated
from muybridge.distil import distil, shape_of
from muybridge.generate import load
from muybridge.recipes.students import find_student
from muybridge.training.parallel import joined


def run(name: str, teacher: str, folder: Path, data: Path | None, device: str | None, workers: int) -> None:
    """Distils `teacher` by recipe `name` in `folder`, from where it was; on one process or, under torchrun, several."""
    recipe = find_student(name)
    material = Simulated() if data is None else Filmed(data)
    with joined(device) as group:
        model = load(teacher, str(group.device))
        console = Console(stderr=True, quiet=group.rank != 0, highlight=False)
        tell(console, material, shape_of(model), model.vocabulary)
        with Lines(console) as lines:
            for step in distil(recipe, model, material, folder, group, workers):
                lines.hear(step)
        if group.rank == 0:
            print(f"model          {folder / 'model'}")
            print(f'try it         muybridge generate "a red ball and a blue box" --model {folder / "model"}')
