"""What fewer steps cost, by each way of distilling: curves of text fidelity and of physics.

    python benchmarks/steps.py --models nano:1,2,4,8,16,32 nano-fast:1,2,4,8,16 --folder runs/steps
    python benchmarks/steps.py --models nano-fast:2,4 --prompts 8 --scenes 2               (a first impression)

A model is followed by the steps that it takes, each of them a point; halving has another student for each
(`nano-halved=runs/nano-halved/halving-4/model:4`; points of the same NAME= are one curve). First frames are drafted
in as many steps, a plan is made as ever, and each clip is drawn once. All have the same prompts, scenes and noise.
With --folder, what is done is kept, clip by clip. Scores are means with 95 % intervals; --picture draws them
(`pip install -e ".[compare]"`).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import tyro
from measuring import machine
from quality import Subject
from rich.console import Console
from rich.progress import Progress as Bar
from rich.table import Table

from muybridge.commands.bench import called
from muybridge.commands.bench_models import of_model
from muybridge.evaluation.falling import FallingObjects
from muybridge.evaluation.permanence import Permanence
from muybridge.evaluation.running import Entry, run
from muybridge.evaluation.statistics import HELD_OUT, Mean, mean
from muybridge.evaluation.text import text_fidelity
from muybridge.generate import load
from muybridge.types import Condition

SUITES = (Permanence(), FallingObjects())


@dataclass(frozen=True)
class Options:
    """Curves over steps.

    Args:
        models: Each as MODEL:STEPS or NAME=MODEL:STEPS, its steps with commas between them.
        prompts: Held-out prompts that are generated and judged.
        scenes: Of each physics suite, in distribution.
        folder: Keeps clips and results; an interrupted run goes on where it was.
        json: Where to write all figures.
        picture: Where to draw the curves.
    """

    models: tuple[str, ...] = ("nano:1,2,4,8,16,32", "nano-fast:1,2,4,8,16")
    prompts: int = 100
    scenes: int = 40
    folder: Path | None = None
    json: Path | None = None
    picture: Path | None = None


@dataclass(frozen=True)
class Point:
    """A model that is sampled in so many steps, on the curve of a name."""

    name: str
    model: str
    steps: int


def points(models: tuple[str, ...]) -> Iterator[Point]:
    """What is to be measured. ValueError for what has no steps."""
    for given in models:
        named, colon, steps = given.rpartition(":")
        if not colon or not all(each.isdecimal() and int(each) for each in steps.split(",")):
            raise ValueError(f"--models has {given!r}: say the steps, too, like nano-fast:1,2,4")
        name, equals, model = named.partition("=")
        for each in steps.split(","):
            yield Point(name if equals else called(name), model if equals else name, int(each))


def measure(point: Point, options: Options, folder: Path, bar: Bar) -> dict[str, Mean]:
    """The scores of a point by what they are of."""
    model = load(point.model)
    settings = replace(model.settings, steps=point.steps, draft_steps=point.steps, tries=1)
    trained = model.config["trained"]
    shape = Condition(frames=trained["frames"], height=trained["height"], width=trained["width"], fps=trained["fps"])
    place = folder / f"{point.name}-{model.hash}-{point.steps}"
    found = {}
    if options.prompts:
        task = bar.add_task(f"{point.name}, {point.steps}: prompts", total=options.prompts)
        text = text_fidelity(
            Subject(model, settings, shape).generate,
            range(HELD_OUT, HELD_OUT + options.prompts),
            batch=1,
            folder=place / "text",
            watch=lambda event: bar.update(task, completed=event.step),
        )
        found = {"objects right": text.objects_right, "count right": text.count_right}
    if options.scenes:
        task = bar.add_task(f"{point.name}, {point.steps}: scenes", total=options.scenes * len(SUITES))
        contestant, *_ = of_model(model, point.name, settings, 0, place)
        entries = [Entry(suite, "in distribution", n) for suite in SUITES for n in range(options.scenes)]
        scores = defaultdict(list)
        for result in run(entries, [contestant], lambda event: bar.update(task, completed=event.step)):
            scores[result.suite].append(result.score)
        found |= {suite: mean(values) for suite, values in scores.items()}
    return found


def draw(scores: Mapping[Point, Mapping[str, Mean]], picture: Path) -> None:
    """A panel for each score: a curve for each name over the steps, with its intervals."""
    import matplotlib.pyplot as plt

    measures = list(next(iter(scores.values())))
    figure, panels = plt.subplots(1, len(measures), figsize=(3.4 * len(measures), 3.4), sharey=True, squeeze=False)
    for panel, measure in zip(panels[0], measures, strict=True):
        for name in dict.fromkeys(point.name for point in scores):
            curve = sorted((point.steps, those[measure]) for point, those in scores.items() if point.name == name)
            steps = [each for each, _ in curve]
            panel.fill_between(
                steps, *([100 * getattr(at, end) for _, at in curve] for end in ("low", "high")), alpha=0.1
            )
            panel.plot(steps, [100 * at.value for _, at in curve], marker="o", markersize=3, label=name)
        panel.set_xscale("log", base=2)
        panel.set_xticks([2**power for power in range(6)], [str(2**power) for power in range(6)])
        panel.set(title=measure, xlabel="steps", ylim=(0, 100))
        panel.grid(alpha=0.2)
    panels[0][0].set_ylabel("%")
    panels[0][0].legend(frameon=False, fontsize="small")
    figure.tight_layout()
    figure.savefig(picture, dpi=110)


def percent(score: Mean) -> str:
    return f"{score.value:.0%} [{100 * score.low:.0f}, {100 * score.high:.0f}]"


def main(options: Options) -> None:
    asked = list(points(options.models))
    scores: dict[Point, dict[str, Mean]] = {}
    with TemporaryDirectory() as nowhere, Bar(console=Console(stderr=True)) as bar:
        for point in asked:
            scores[point] = measure(point, options, options.folder or Path(nowhere), bar)
    table = Table("model", "steps", *next(iter(scores.values())))
    for point, found in scores.items():
        table.add_row(point.name, str(point.steps), *(percent(value) for value in found.values()))
    Console().print(table)
    if options.json:
        rows = [vars(point) | {name: vars(value) for name, value in found.items()} for point, found in scores.items()]
        kept = {"machine": machine(), "points": rows}
        options.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    if options.picture:
        draw(scores, options.picture)


if __name__ == "__main__":
    main(tyro.cli(Options))
