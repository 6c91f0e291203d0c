"""`muybridge bench fidelity`: how near a model's clips are to real ones, one by one and as a set."""

from __future__ import annotations

import json as json_
import runpy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from muybridge.commands.bench import called, circumstances, folder_of, notes_console, progress_bar
from muybridge.commands.bench_models import of_model
from muybridge.data.worlds import HELD_OUT_PAIRS
from muybridge.evaluation.features import clip_features, frame_features, subjects
from muybridge.evaluation.flicker import flicker_whole
from muybridge.evaluation.foreign_features import CLASSES, I3D, INCEPTION, foreign_features
from muybridge.evaluation.frechet import Frechet, InceptionScore
from muybridge.evaluation.metric import Metric, Sample, psnr_objects, psnr_whole, ssim_whole
from muybridge.evaluation.multiscale import ms_ssim_whole
from muybridge.evaluation.running import Contestant, Entry, NoClip, baselines, supply
from muybridge.evaluation.statistics import HELD_OUT, Mean
from muybridge.evaluation.suite import Frames, Split, Task, Times, Verdict
from muybridge.evaluation.vbench import dynamic_degree_whole, motion_smoothness_whole, temporal_flickering_whole
from muybridge.evaluation.warping import warping
from muybridge.generate import load
from muybridge.simulation import simulate
from muybridge.storage.atomic import check_writable, new_file
from muybridge.storage.video import read_mp4

FIRST_SEED = HELD_OUT + 700_000_000
LEAST = 4
"""Clips from which on a distance of sets has an interval."""


@dataclass(frozen=True)
class Continued:
    """Held-out worlds whose first frames are given. There is nothing to pass: clips are measured, not judged."""

    name: str = "fidelity"
    splits: tuple[Split, ...] = ("in distribution",)

    def task(self, split: Split, number: int) -> Task:
        clip = simulate(FIRST_SEED + number, without=HELD_OUT_PAIRS)
        return Task(f"fidelity-in-distribution-{number:04d}", clip.seed, split, clip.captions[-1], 5, clip)

    def judge(self, task: Task, frames: Frames, times: Times | None = None) -> Verdict:
        return Verdict(1.0)


def metrics(fps: float, i3d: Path | None, inception: Path | None, own: Path | None = None) -> list[Metric]:
    """Fresh ones, all that there are; distances of sets and the inception score by a network of ours, and those by
    other people's where their file is named; then those that a file of one's `own` gives."""
    found: list[Metric] = [psnr_whole(), psnr_objects(), ssim_whole(), ms_ssim_whole(), flicker_whole(), warping()]
    found += [temporal_flickering_whole(), motion_smoothness_whole(), dynamic_degree_whole(fps)]
    found += [Frechet("frechet_distance", clip_features()), Frechet("frechet_distance_frames", frame_features())]
    found.append(InceptionScore("inception_score", subjects()))
    if i3d is not None:
        found.append(Frechet("fvd", foreign_features(i3d, I3D)))
    if inception is not None:
        found.append(Frechet("fid", foreign_features(inception, INCEPTION)))
        found.append(InceptionScore("is", foreign_features(inception, CLASSES)))
    return found if own is None else found + written_in(own)


def written_in(path: Path) -> list[Metric]:
    """What `metrics()` in a Python file gives. ValueError, with the mend, for a file that does not give any."""
    try:
        found = list(runpy.run_path(str(path))["metrics"]())
    except Exception as error:  # whatever somebody's own code may raise
        why = f"there is no {error} in it" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} gives no metrics ({why}): let its metrics() return a list of them") from error
    wrong = [one for one in found if not isinstance(one, Metric)]
    if wrong or not found:
        told = type(wrong[0]).__name__ if wrong else "an empty list"
        raise ValueError(f"metrics() in {path} gives {told}: a metric has what ClipMean has, see docs/measuring.md")
    return found


def fidelity(
    model: str,
    output: Path | None,
    clips: int,
    seed: int,
    steps: int | None,
    guidance: float | None,
    device: str | None,
    i3d: Path | None,
    inception: Path | None,
    json: Path | None,
    metric: Path | None = None,
) -> None:
    """Measures a model, the truth, and the baselines on the same clips; writes fidelity.json."""
    if clips < LEAST:
        raise ValueError(f"--clips is {clips}: take {LEAST} or more, fewer are no set")
    if metric is not None:
        written_in(metric)  # what is wrong with it is said before hours of work
    opened = load(model, device)
    asked = {"steps": steps, "guidance": guidance, "given_guidance": guidance}
    changes = {key: value for key, value in asked.items() if value is not None}
    settings = replace(opened.settings, **changes)  # type: ignore[arg-type]
    name, folder = called(opened.name), output or folder_of(opened.name)
    outputs = [path for path in (folder / "fidelity.json", json) if path is not None]
    for path in outputs:
        check_writable(path)
    entries = [Entry(Continued(), "in distribution", number) for number in range(clips)]
    about = {"model": opened.name, "model_hash": opened.hash, "settings": asdict(settings), "seed": seed}
    fresh = partial(metrics, float(entries[0].task().truth.fps), i3d, inception, metric)
    contestants = [*of_model(opened, name, settings, seed, folder), *baselines(folder)]
    measured = {contestant.name: fresh() for contestant in contestants}
    unread, tell = _measure(entries, contestants, measured), circumstances()
    found = {who: {metric.name: _mean(metric) for metric in own} for who, own in measured.items()}
    content = {
        "contestant": name,
        "about": about | tell,
        "unreadable": unread,
        "metrics": _about(fresh()),
        "found": found,
    }
    for path in outputs:
        with new_file(path) as temporary:
            temporary.write_text(json_.dumps(content, indent=1) + "\n", encoding="utf-8")
    _print(found, fresh())
    print(f"figures        {outputs[0]}")


def _measure(
    entries: Sequence[Entry], contestants: Sequence[Contestant], measured: dict[str, list[Metric]]
) -> dict[str, int]:
    """Feeds every metric with every clip; how many clips of each contestant there were not."""
    unread = {contestant.name: 0 for contestant in contestants}
    with progress_bar(notes_console(), entries) as advance:
        for entry in entries:
            task = entry.task()
            for contestant in contestants:
                try:
                    supply(contestant, task, contestant.file(entry))
                except NoClip:
                    unread[contestant.name] += 1
                    continue
                try:
                    frames = read_mp4(contestant.file(entry)).frames
                except ValueError:  # damaged since it was made
                    unread[contestant.name] += 1
                    continue
                feed(measured[contestant.name], task, frames)
            advance(entry)
    return unread


def feed(metrics: Sequence[Metric], task: Task, frames: Frames) -> None:
    """The frames that were made, beside the true ones."""
    made = slice(task.known, None)
    truth = task.truth.rgb[made]
    objects = (task.truth.instance[made] > 0) & (task.truth.instance[made] <= len(task.truth.objects))
    for metric in metrics:
        metric.update(Sample(frames[made], truth, objects))


def _mean(metric: Metric) -> dict[str, Any] | None:
    """None where too few clips could be measured."""
    try:
        return asdict(metric.compute())
    except ValueError:
        return None


def _about(metrics: Sequence[Metric]) -> dict[str, Any]:
    return {metric.name: {"direction": metric.direction, "needs": list(metric.needs)} for metric in metrics}


def _print(found: dict[str, dict[str, dict[str, Any] | None]], metrics: Sequence[Metric]) -> None:
    table = Table("metric", *found)
    for metric in metrics:
        arrow = "higher" if metric.direction == "higher" else "lower"
        values = [own[metric.name] for own in found.values()]
        cells = ["" if value is None else _cell(Mean(**value)) for value in values]
        table.add_row(f"{metric.name} ({arrow} is better)", *cells)
    Console(highlight=False).print(table)


def _cell(value: Mean) -> str:
    return f"{value.value:.4g} ± {(value.high - value.low) / 2:.2g}"
