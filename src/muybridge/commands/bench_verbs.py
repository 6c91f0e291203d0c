"""The verbs of `muybridge bench`: functions whose parameters are options, as in `cli.py`; what one imports, it imports
itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

bench = tyro.extras.SubcommandApp()


@bench.command(name="physics")
def bench_physics(
    model: str = "nano",
    output: Annotated[Path | None, arg(aliases=["-o"])] = None,
    suites: tuple[str, ...] = ("permanence", "falling", "coherence"),
    scenes: int | None = None,
    clips: int | None = None,
    others: int | None = None,
    quick: bool = False,
    full: bool = False,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    device: str | None = None,
    json: Path | None = None,
) -> None:
    """Score how well a model continues clips: is what is hidden still there, does it fall right, does it stay itself?

    Every task is a simulated scene that no training has seen: the model gets its first frames and the words, and its
    clip is followed by its pixels and held against what the simulator says comes next. Beside the model stand the truth
    (the floor of every error), the truth through the model's autoencoder (its ceiling), and four baselines.

    Writes report.html (tables, plots, clips beside the truth) and report.json. Clips and verdicts are kept in the
    folder: stop it, and the same command goes on where it was.

    By default it takes half an hour of two cores for a model that makes a clip of 33 frames in seven seconds.

    Example: muybridge bench physics --model nano --quick

    Args:
        model: A bundled model's name, a checkpoint's folder, or org/name on the hub.
        output: Folder for the report, clips and verdicts. By default runs/bench/MODEL.
        suites: Some of permanence, falling, coherence, phyworld, control.
        scenes: Scenes of each suite in distribution, 40 by default.
        clips: Clips of ten seconds (coherence) in distribution, 10 by default.
        others: Scenes in each split that is out of distribution, 3 by default; a quarter as many clips of ten seconds.
        quick: A first impression in three minutes: 5 scenes a suite and one clip of ten seconds.
        full: What published figures want, in hours: 200 scenes a suite, 50 clips of ten seconds, 20 of other splits.
        seed: Of the noise. The same seed gives the same clips and verdicts.
        steps: As in muybridge generate; by default the model's own.
        guidance: As in muybridge generate; by default the model's own.
        device: cpu or cuda; by default what there is.
        json: Write the figures here, too.
    """
    from muybridge.commands.bench import amount, continued

    asked = amount(scenes, clips, others, quick, full)
    changes = {"steps": steps, "guidance": guidance, "given_guidance": guidance}
    continued(model, output, suites, asked, seed, changes, device, json)


@bench.command(name="control")
def bench_control(
    model: str = "nano",
    output: Annotated[Path | None, arg(aliases=["-o"])] = None,
    scenes: int | None = None,
    quick: bool = False,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    device: str | None = None,
    json: Path | None = None,
) -> None:
    """Score whether a model does what words ask: of the camera (pan, tilt, dolly, truck, orbit, zoom), and of ways.

    The model gets a still of a held-out scene and its words. What is at rest has to move in the picture as the camera's
    move makes it, what rolls, slides or flies has to go to the side that is said. Truth and baselines stand beside it.

    Args:
        model: A bundled model's name, a checkpoint's folder, or org/name on the hub.
        output: Folder for the report, clips and verdicts. By default runs/bench/MODEL/control.
        scenes: How many, 40 by default: every second one is about the camera.
        quick: A first impression: 5 scenes.
        seed: Of the noise. The same seed gives the same clips and verdicts.
        steps: As in muybridge generate; by default the model's own.
        guidance: As in muybridge generate; by default the model's own.
        device: cpu or cuda; by default what there is.
        json: Write the figures here, too.
    """
    from muybridge.commands.bench import amount, continued, folder_of

    folder = output or folder_of(model) / "control"
    asked, changes = amount(scenes, None, 0, quick), {"steps": steps, "guidance": guidance, "given_guidance": guidance}
    continued(model, folder, ("control",), asked, seed, changes, device, json)


@bench.command(name="fidelity")
def bench_fidelity(
    model: str = "nano",
    output: Annotated[Path | None, arg(aliases=["-o"])] = None,
    clips: int = 32,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    device: str | None = None,
    i3d: Path | None = None,
    inception: Path | None = None,
    json: Path | None = None,
    metric: Path | None = None,
) -> None:
    """Measure how near a model's clips are to real ones: PSNR, SSIM, flicker, warping, Fréchet distances.

    The model continues the first five frames of held-out worlds; beside it stand the truth as a file has it, the truth
    through the model's autoencoder, and the baselines. Clips are kept, so a second run measures without making them.

    Args:
        model: A bundled model's name, a checkpoint's folder, or org/name on the hub.
        output: Folder for fidelity.json and the clips. By default runs/bench/MODEL.
        clips: How many. Distances of sets want hundreds.
        seed: Of the noise.
        steps: As in muybridge generate; by default the model's own.
        guidance: As in muybridge generate; by default the model's own.
        device: cpu or cuda; by default what there is.
        i3d: i3d_torchscript.pt, for the FVD of the literature. Such a file can run any code: name only what you trust.
        inception: inception-2015-12-05.pt, for FID and the inception score; likewise.
        json: Write the figures here, too.
        metric: A Python file of your own, which is run: what its metrics() returns is measured besides.
    """
    from muybridge.commands.bench_fidelity import fidelity

    fidelity(model, output, clips, seed, steps, guidance, device, i3d, inception, json, metric)


@bench.command(name="speed")
def bench_speed(
    model: str = "nano",
    rounds: int = 3,
    steps: int | None = None,
    device: str | None = None,
    json: Path | None = None,
    engine: str = "torch",
) -> None:
    """Measure what a clip costs: seconds, memory and arithmetic of every stage, and how well the machine is used.

    Args:
        model: A bundled model's name, a checkpoint's folder, or org/name on the hub.
        rounds: Clips that are timed; one more warms up, another counts operations.
        steps: As in muybridge generate; by default the model's own.
        device: cpu or cuda; by default what there is.
        json: Write the figures here; real_time_factor is seconds of work per second of clip.
        engine: What runs the model, as in muybridge generate.
    """
    from muybridge.commands.bench_speed import speed

    speed(model, rounds, steps, device, json, engine)


@bench.command(name="all")
def bench_all(
    model: str = "nano",
    output: Annotated[Path | None, arg(aliases=["-o"])] = None,
    quick: bool = False,
    device: str | None = None,
    json: Annotated[Path | None, arg(metavar="FOLDER")] = None,
) -> None:
    """Physics, control, fidelity and speed, one after the other, each with its usual amount.

    Args:
        model: A bundled model's name, a checkpoint's folder, or org/name on the hub.
        output: Folder for reports, clips and verdicts. By default runs/bench/MODEL.
        quick: A first impression of each.
        device: cpu or cuda; by default what there is.
        json: A folder for the figures of each: physics.json, control.json, fidelity.json, speed.json.
    """
    from muybridge.commands.bench import PHYSICS, amount, continued, folder_of
    from muybridge.commands.bench_fidelity import LEAST, fidelity
    from muybridge.commands.bench_speed import speed

    tables = ("physics", "control", "fidelity", "speed")
    to = {name: None if json is None else json / f"{name}.json" for name in tables}
    asked, folder = amount(None, None, None, quick), output or folder_of(model)
    continued(model, folder, PHYSICS, asked, 0, {}, device, to["physics"])
    continued(model, folder / "control", ("control",), asked, 0, {}, device, to["control"])
    fidelity(model, folder, LEAST if quick else 32, 0, None, None, device, None, None, to["fidelity"])
    speed(model, 1 if quick else 3, None, device, to["speed"])


@bench.command(name="export")
def bench_export(
    folder: Annotated[Positional[Path], arg(metavar="FOLDER")],
    suites: tuple[str, ...] = ("permanence", "falling", "coherence"),
    scenes: int | None = None,
    clips: int | None = None,
    others: int | None = None,
    quick: bool = False,
    full: bool = False,
    json: Path | None = None,
) -> None:
    """Write tasks for any other system: stills, first frames, words; MP4s come back, and `bench score` judges them.

    FOLDER/README.txt says what to do with it. The truth is not in the folder.

    Args:
        folder: Where to write them: a new folder.
        suites: Some of permanence, falling, coherence, phyworld, control.
        scenes: Scenes of each suite in distribution, 40 by default.
        clips: Clips of ten seconds (coherence) in distribution, 10 by default.
        others: Scenes in each split that is out of distribution, 3 by default; a quarter as many clips of ten seconds.
        quick: 5 scenes a suite and one clip of ten seconds.
        full: 200 scenes a suite, 50 clips of ten seconds, 20 of each other split.
        json: Write the manifest here, too.
    """
    from muybridge.commands.bench import amount, export

    export(folder, suites, amount(scenes, clips, others, quick, full), json)


@bench.command(name="score")
def bench_score(
    folder: Annotated[Positional[Path], arg(metavar="FOLDER")],
    name: str = "handed in",
    json: Path | None = None,
) -> None:
    """Score the clips that were filled into a folder of `bench export`, whoever made them.

    Other frame rates, sizes and codecs are fine. What is missing, damaged or too short has failed, and a line says so;
    the rest is scored. The report lies in FOLDER/results.

    Args:
        folder: The folder that was exported, with MP4s in its clips/.
        name: What to call their maker in the report.
        json: Write the figures here, too.
    """
    from muybridge.commands.bench import score

    score(folder, name, json)


@bench.command(name="compare")
def bench_compare(
    first: Annotated[Positional[Path], arg(metavar="FIRST")],
    second: Annotated[Positional[Path], arg(metavar="SECOND")],
    json: Path | None = None,
) -> None:
    """Say how one report differs from another, scene by scene, with 95 % intervals.

    Example: muybridge bench compare runs/bench/before runs/bench/after

    Args:
        first: A report.json, or its folder.
        second: Another.
        json: Write the differences here, too.
    """
    from muybridge.commands.bench import compare

    compare(first, second, json)
