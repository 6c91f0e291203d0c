"""How far the physics suites can be trusted:  python benchmarks/suites.py --suite permanence --first 300 --count 200

Scenes that nothing was tuned on: the simulator's own clip, written as MP4 and read back, has to pass, and the same clip
broken on purpose (`--breaks`) must not. With `--model` the model makes the clips. One line a clip that is not judged as
it should be, and a summary; `--sheets` keeps a contact sheet of each such clip (of every clip with `--model`), the
truth in the upper row.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from PIL import Image

from muybridge.evaluation import coherence, falling, permanence
from muybridge.evaluation.baselines import PLAIN
from muybridge.evaluation.statistics import mean
from muybridge.evaluation.suite import Frames, Suite, Task, Verdict
from muybridge.generate import load
from muybridge.storage.video import read_mp4, write_mp4
from muybridge.types import Condition

PASSES, FAILS = 0.99, 0.05
"""Share that truth has to reach, and a broken clip must not exceed."""

Broken = Callable[[Task], Iterator[tuple[str, Frames]]]
Made = Iterator[tuple[str, Frames]]

SUITES: Mapping[str, tuple[Suite, Broken]] = {
    "permanence": (permanence.Permanence(), permanence.broken),
    "falling": (falling.FallingObjects(), falling.broken),
    "coherence": (coherence.Coherence(), coherence.broken),
}


def as_file(frames: Frames, fps: float) -> Frames:
    """Through H.264 and back."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_mp4(path, frames, fps)
        return read_mp4(path).frames


def made_by(name: str) -> Callable[[Task], Made]:
    """The clip that a bundled or saved model makes of a task."""
    model = load(name)

    def make(task: Task) -> Made:
        given = torch.from_numpy(task.given.astype(np.float32) / 127.5 - 1)
        count, height, width = task.truth.rgb.shape[:3]
        known = rearrange(given, "t h w c -> t c h w")
        condition = Condition(task.prompt, "", count, height, width, task.truth.fps, known)
        yield name, as_file(model.generate(condition, seed=task.seed % 2**31)[0].frames, task.truth.fps)

    return make


def simulated(breaks: Broken | None, *, baselines: bool) -> Callable[[Task], Made]:
    """The truth as a file, the ways of breaking it, and clips that need no model."""

    def make(task: Task) -> Made:
        yield "truth", as_file(task.truth.rgb, task.truth.fps)
        yield from breaks(task) if breaks else ()
        for name, baseline in PLAIN.items() if baselines else ():
            yield f"baseline: {name}", baseline(task.given, len(task.truth.rgb))

    return make


@dataclass
class Row:
    """What the verdicts on one kind of clip were."""

    scores: list[float] = field(default_factory=list)
    groups: list[Mapping[str, str]] = field(default_factory=list)
    errors: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, task: Task, verdict: Verdict) -> None:
        self.scores.append(verdict.score)
        self.groups.append(task.groups)
        for name, value in verdict.errors.items():
            self.errors[name].append(value)

    def by_group(self) -> dict[str, tuple[float, int]]:
        """Mean score and number of clips of each group."""
        scores: dict[str, list[float]] = defaultdict(list)
        for score, groups in zip(self.scores, self.groups, strict=True):
            for group in groups.items():
                scores[": ".join(group)].append(score)
        return {name: (float(np.mean(values)), len(values)) for name, values in sorted(scores.items())}


def sheet(task: Task, frames: Frames, path: Path) -> None:
    """Sixteen moments of the truth above those of the clip."""
    shown = np.unique(np.linspace(0, len(frames) - 1, 16).round().astype(int))
    rows = [rearrange(clip[shown], "t h w c -> h (t w) c") for clip in (task.truth.rgb, frames)]
    Image.fromarray(np.concatenate(rows)).save(path)


def is_as_expected(kind: str, score: float) -> bool:
    """Of a model's or a baseline's clip nothing is expected."""
    if kind == "truth":
        return score >= PASSES
    return score <= FAILS


def measure(settings: argparse.Namespace) -> dict[str, Row]:
    suite, breaks = SUITES[settings.suite]
    numbers = range(settings.first, settings.first + settings.count)
    if settings.model:
        make = made_by(settings.model)
    else:
        make = simulated(breaks if settings.breaks else None, baselines=settings.baselines)
    rows: dict[str, Row] = defaultdict(Row)
    for number in numbers:
        began = time.perf_counter()
        task = suite.task(settings.split, number)
        for kind, frames in make(task):
            verdict = suite.judge(task, frames)
            rows[kind].add(task, verdict)
            seen = bool(settings.model) or kind.startswith("baseline") or is_as_expected(kind, verdict.score)
            if settings.model or not seen:
                print(f"  {task.name} {kind} {dict(task.groups)}: {verdict.score:.3f} {verdict.why}")
                if settings.sheets:
                    sheet(task, frames, settings.sheets / f"{task.name}-{kind.replace(' ', '-')}.png")
        print(f"{task.name}: {time.perf_counter() - began:.1f} s", file=sys.stderr)
    return rows


def show(rows: Mapping[str, Row]) -> None:
    for kind, row in rows.items():
        print(f"{kind:<28}{mean(row.scores)}")
    first = next(iter(rows.values()))
    for name, (score, count) in first.by_group().items():
        print(f"  {name:<26}{score:.3f} of {count}")
    for name, values in first.errors.items():
        low, high, most = np.quantile(values, (0.5, 0.95, 1))
        print(f"  {name:<26}median {low:.3f}, 95 % below {high:.3f}, at most {most:.3f} of {len(values)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=SUITES, default="permanence", help="which suite (permanence)")
    parser.add_argument("--split", default="in distribution", help="which of its splits (in distribution)")
    parser.add_argument("--first", type=int, default=300, help="number of the first scene (300)")
    parser.add_argument("--count", type=int, default=40, help="how many scenes (40)")
    parser.add_argument("--breaks", action="store_true", help="judge broken clips, too")
    parser.add_argument("--baselines", action="store_true", help="judge clips that need no model, too")
    parser.add_argument("--model", help="judge the clips of this model instead")
    parser.add_argument("--sheets", type=Path, help="keep contact sheets in this folder")
    parser.add_argument("--json", type=Path, help="write all scores and errors here")
    settings = parser.parse_args()
    splits = SUITES[settings.suite][0].splits
    if settings.split not in splits:
        parser.error(f"{settings.suite} has no split {settings.split!r}: take one of {', '.join(splits)}")
    if settings.sheets:
        settings.sheets.mkdir(parents=True, exist_ok=True)
    rows = measure(settings)
    show(rows)
    if settings.json:
        found = {kind: {"scores": row.scores, "groups": row.groups, "errors": row.errors} for kind, row in rows.items()}
        settings.json.write_text(json.dumps(found, indent=1, default=dict) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
