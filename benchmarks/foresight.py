"""What limits physics, the plan or the picture:  python benchmarks/foresight.py --suite falling --models nano

Each scene twice, from the noise that `muybridge bench physics` has for it: as the model makes it, with a plan of its
own, and told where the simulator has everything. How many pass then is what better plans could come to with these
pictures. Beside it, how far plans are from the truth: of what has a colour and is in the picture, in its own radii,
after the frames that are given. One line a clip, and a summary; several models, trained for longer and longer, are
points of a learning curve.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from measuring import machine
from rich.console import Console
from rich.table import Table
from suites import as_file

from muybridge.data.balls import tracked as tracked_balls
from muybridge.data.material import Shape, Tracked, tracks_of
from muybridge.evaluation.falling import FallingObjects
from muybridge.evaluation.permanence import Permanence
from muybridge.evaluation.phyworld import Phyworld
from muybridge.evaluation.statistics import mean
from muybridge.evaluation.suite import Frames, Suite, Task
from muybridge.generate import Model, load, to_uint8
from muybridge.sampler.plan import plan
from muybridge.sampler.sample import Settings
from muybridge.types import TEMPORAL_STRIDE, Condition, Sampled, Streams, Tracks, latent_frames, of_latents

SUITES: Mapping[str, Suite] = {suite.name: suite for suite in (Permanence(), FallingObjects(), Phyworld())}
OWN, TRUE = "its own plan", "the true tracks"


def true_tracks(suite: Suite, task: Task) -> Tracks:
    """Where the simulator has everything."""
    clip, (count, height, width) = task.truth, task.truth.rgb.shape[:3]
    shape = Shape(count, height, width, clip.fps)
    if isinstance(suite, Phyworld):
        told = tracked_balls(suite.scene(task.split, task.seed), shape)
    else:
        about = clip.states.position, clip.states.quaternion, clip.camera
        told = Tracked(*tracks_of(clip.world, *about, shape), clip.captions)
    kind = torch.from_numpy(told.kind)[None]
    return Tracks(torch.from_numpy(of_latents(told.place, TEMPORAL_STRIDE))[None], kind, kind[..., 0] >= 0)


def off(found: Tracks, true: Tracks, known: int) -> tuple[float, float | None]:
    """How far a plan is from the truth, in radii of each thing: at the median of all frames that are not given, and in
    the last of them (None: all is out of the picture). What has no colour, or is out of it, does not count."""
    place, should = found.place[0, known:], true.place[0, known:]
    counts = true.is_there[0, :-1] & ((should[..., :-1, :2] - 0.5).abs() < 0.5).all(dim=-1)
    radius = should[..., :-1, 2:4].amin(dim=-1).clamp_min(0.02)
    away = (place[..., :-1, :2] - should[..., :-1, :2]).norm(dim=-1) / radius
    last = away[-1, -1][counts[-1, -1]]
    return float(away[counts].median()), float(last.median()) if len(last) else None


def frames_of(model: Model, streams: Streams, negative: Streams | None, settings: Settings, seed: int) -> Frames:
    *_, last = model.steps(streams, negative, settings, [seed])
    assert isinstance(last, Sampled), last
    return to_uint8(model.decode(last.latent).frames[0])


@torch.inference_mode()
def measure(
    model: Model, suite: Suite, numbers: range, say: Callable[[str], None]
) -> dict[str, dict[str, list[float]]]:
    """Of each way of being told where things are: scores, and every error that the suite measures; of plans, `off`."""
    if model.planner is None or not model.settings.plan_steps:
        raise SystemExit(f"{model.name} makes no plans: there is nothing to tell apart")
    found: dict[str, dict[str, list[float]]] = {OWN: defaultdict(list), TRUE: defaultdict(list)}
    for number in numbers:
        task = suite.task("in distribution", number)
        given: Float[np.ndarray, "t h w c"] = task.given.astype(np.float32) / 127.5 - 1
        count, height, width = task.truth.rgb.shape[:3]
        known = rearrange(torch.from_numpy(given), "t h w c -> t c h w")
        condition = Condition(task.prompt, "", count, height, width, task.truth.fps, known)
        model.check(condition)
        how_to = model.settings.of(condition)
        streams, negative = model.streams(condition, guided=how_to.guidance != 1)
        true = true_tracks(suite, task)
        with model._precision():
            own = plan(model.planner, streams, latent_frames(count), how_to.plan_steps, [task.seed])
        middle, last = off(own, true, latent_frames(len(given)))
        found[OWN]["plan, radii"].append(middle)
        if last is not None:
            found[OWN]["plan at the end, radii"].append(last)
        for how, tracks in {OWN: own, TRUE: true}.items():
            told = replace(streams, told=model.transformer.tell(tracks, streams.known))
            verdict = suite.judge(task, as_file(frames_of(model, told, negative, how_to, task.seed), task.truth.fps))
            found[how]["score"].append(verdict.score)
            for name, value in verdict.errors.items():
                found[how][name].append(value)
            say(f"{model.name} {task.name} {dict(task.groups)}, {how}: {verdict.score:.0f} {verdict.why}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=SUITES, default="falling", help="which suite (falling)")
    parser.add_argument("--models", nargs="+", default=["nano"], help="bundled models or checkpoints' folders (nano)")
    parser.add_argument("--first", type=int, default=0, help="number of the first scene (0)")
    parser.add_argument("--count", type=int, default=24, help="how many scenes (24)")
    parser.add_argument("--json", type=Path, help="write all scores and errors here")
    settings = parser.parse_args()
    console, figures = Console(), {}
    table = Table("model", "told", "passes", "errors, medians", title=settings.suite)
    numbers = range(settings.first, settings.first + settings.count)
    for name in settings.models:
        found = measure(load(name), SUITES[settings.suite], numbers, print)
        for how, values in found.items():
            errors = {what: float(np.median(those)) for what, those in values.items() if what != "score"}
            said = ", ".join(f"{what} {value:.3g}" for what, value in errors.items())
            table.add_row(name, how, str(mean(values["score"])), said)
        figures[name] = found
    console.print(table)
    if settings.json:
        kept = {"machine": machine(), **figures}
        settings.json.write_text(json.dumps(kept, indent=1, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
