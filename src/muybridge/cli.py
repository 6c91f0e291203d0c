"""The command line. Each verb is a function whose parameters are its options; what it imports, it imports itself, so
that `--help` does not wait for torch.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

import muybridge

DESCRIPTION = "Make, train and measure video models on machines of your own. `muybridge --version` says which this is."

_EXTRAS = {"mujoco": "sim", "numba": "sim", "tensorboard": "train", "scipy": "bench"}

app = tyro.extras.SubcommandApp()
bench = tyro.extras.SubcommandApp()


@app.command
def generate(
    prompt: Annotated[Positional[str], arg(metavar="PROMPT")],
    output: Annotated[Path | None, arg(aliases=["-o"])] = None,
    image: Path | None = None,
    seconds: float | None = None,
    size: str = "",
    fps: float | None = None,
    seed: int | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    solver: str | None = None,
    variants: int = 1,
    model: str = "nano",
    negative: str = "",
    overwrite: bool = False,
    shift: float | None = None,
    guidance_low: float | None = None,
    guidance_high: float | None = None,
    rescale: float | None = None,
    context_noise: float | None = None,
) -> None:
    """Turn a sentence, and a still if you have one, into a clip.

    The MP4 carries the prompt, the seed and all settings; `muybridge inspect CLIP` prints the command that makes it
    again, frame for frame. Beside it lies a contact sheet (PNG).

    Example: muybridge generate "a small red ball rolls behind a tall blue box while the camera pans right" -o clip.mp4

    Args:
        prompt: What the clip shows.
        output: Where to write it (.mp4). By default a name made of the prompt, in this folder.
        image: A still that becomes the first frame. It is cropped to the clip's shape.
        seconds: How long the clip plays. By default as long as the clips that the model learnt from.
        size: WIDTHxHEIGHT in pixels, such as 128x128.
        fps: Frames a second.
        seed: The same seed gives the same clip. By default a new one each time, which is printed.
        steps: Steps from noise to clip. More are slower and a little better.
        guidance: How closely to follow the prompt; 1 is off.
        solver: euler, heun or multistep.
        variants: How many clips to make, with seeds that follow each other.
        model: A bundled model's name, a checkpoint's folder, or org/name on the hub.
        negative: What the clip shall not show.
        overwrite: Replace files that exist.
        shift: Above 1, more of the steps go where the noise is strong and the layout is decided.
        guidance_low: Noise level, 0 to 1, from which on guidance is applied.
        guidance_high: Noise level, 0 to 1, up to which guidance is applied.
        rescale: 0 to 1: how far the contrast that guidance adds is taken back.
        context_noise: Noise level, 0 to 1, that given frames are blurred with.
    """
    from muybridge.commands.generate import Wish, run

    run(
        Wish(
            prompt,
            output,
            image,
            seconds,
            size,
            fps,
            seed,
            steps,
            guidance,
            solver,
            variants,
            model,
            negative,
            overwrite,
            shift,
            guidance_low,
            guidance_high,
            rescale,
            context_noise,
        )
    )


@app.command
def inspect(clip: Annotated[Positional[Path], arg(metavar="CLIP")]) -> None:
    """Print how a clip was made, and the command that makes it again.

    Args:
        clip: An MP4 made by Muybridge.
    """
    from muybridge.commands.inspect import run

    run(clip)


@app.command
def models() -> None:
    """List the models that come with Muybridge, with what each can make."""
    from muybridge.commands.models import run

    run()


@app.command
def simulate(
    folder: Annotated[Positional[Path], arg(metavar="FOLDER")],
    clips: int = 8,
    seed: int = 0,
    size: str = "128x128",
    frames: int = 33,
    fps: float = 15.0,
    processes: int = 1,
    truth: bool = True,
) -> None:
    """Make clips of tabletop worlds with ground truth: to look at, to train on, to measure against.

    For each clip: NAME.mp4, NAME.txt (its captions), NAME.json (objects, states, events, camera) and NAME.npz (depth,
    optical flow, instance masks, normals). `muybridge train RECIPE --data FOLDER` reads the folder as it is. Clips that
    are there already are left alone, so an interrupted run goes on.

    Args:
        folder: Where to write them.
        clips: How many.
        seed: Of the first clip; the others follow. The same seed gives the same bytes.
        size: WIDTHxHEIGHT in pixels.
        frames: Frames a clip, 1 + 4k.
        fps: Frames a second.
        processes: Clips made at a time.
        truth: Write the arrays (NAME.npz) too; they are most of the bytes.
    """
    from muybridge.commands.simulate import run

    run(folder, clips, seed, size, frames, fps, processes, truth)


@app.command
def train(
    recipe: Annotated[Positional[str], arg(metavar="RECIPE")],
    folder: Annotated[Path | None, arg(aliases=["-o"])] = None,
    data: Path | None = None,
    device: str | None = None,
    workers: int = 2,
) -> None:
    """Train a model by a recipe: autoencoder, text encoder, transformer, checkpoint.

    Ctrl-C (or a kill) loses nothing that was saved: the same command goes on where it was. With several processes:
    torchrun --nproc-per-node N -m muybridge.cli train RECIPE. TensorBoard: tensorboard --logdir FOLDER.

    Args:
        recipe: tiny (seconds, to try things), nano (two CPU cores), small or base (a GPU).
        folder: Where checkpoints and logs go; by default runs/RECIPE.
        data: A folder of MP4s with captions (NAME.txt beside NAME.mp4); by default worlds are simulated.
        device: cpu or cuda; by default what there is.
        workers: Processes that make clips and batches ahead of time; 0 makes them in the one that trains.
    """
    from muybridge.commands.train import run

    run(recipe, folder or Path("runs") / recipe, data, device, workers)


@bench.command(name="physics")
def bench_physics(
    model: str = "nano",
    output: Annotated[Path | None, arg(aliases=["-o"])] = None,
    suites: tuple[str, ...] = ("permanence", "falling", "coherence"),
    scenes: int | None = None,
    clips: int | None = None,
    others: int | None = None,
    quick: bool = False,
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

    Example: muybridge bench physics --model nano --quick

    Args:
        model: A bundled model's name, a checkpoint's folder, or org/name on the hub.
        output: Folder for the report, clips and verdicts. By default runs/bench/MODEL.
        suites: Some of permanence, falling, coherence, phyworld, control.
        scenes: Scenes of each suite in distribution, 40 by default. Published figures want 200.
        clips: Clips of ten seconds (coherence) in distribution, 10 by default. Published figures want 50.
        others: Scenes in each split that is out of distribution, 4 by default; a quarter as many clips of ten seconds.
        quick: A first impression in three minutes: 5 scenes a suite and one clip of ten seconds.
        seed: Of the noise. The same seed gives the same clips and verdicts.
        steps: As in muybridge generate; by default the model's own.
        guidance: As in muybridge generate; by default the model's own.
        device: cpu or cuda; by default what there is.
        json: Write the figures here, too.
    """
    from muybridge.commands.bench import amount, continued

    asked = amount(scenes, clips, others, quick)
    continued(model, output, suites, asked, seed, {"steps": steps, "guidance": guidance}, device, json)


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
    from muybridge.commands.bench import amount, continued

    folder = output or Path("runs") / "bench" / Path(model).name / "control"
    asked, changes = amount(scenes, None, 0, quick), {"steps": steps, "guidance": guidance}
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
        inception: inception-2015-12-05.pt, for FID; likewise.
        json: Write the figures here, too.
    """
    from muybridge.commands.bench_fidelity import fidelity

    fidelity(model, output, clips, seed, steps, guidance, device, i3d, inception, json)


@bench.command(name="speed")
def bench_speed(
    model: str = "nano",
    rounds: int = 3,
    steps: int | None = None,
    device: str | None = None,
    json: Path | None = None,
) -> None:
    """Measure what a clip costs: seconds, memory and arithmetic of every stage, and how well the machine is used.

    Args:
        model: A bundled model's name, a checkpoint's folder, or org/name on the hub.
        rounds: Clips that are timed; one more warms up, another counts operations.
        steps: As in muybridge generate; by default the model's own.
        device: cpu or cuda; by default what there is.
        json: Write the figures here; real_time_factor is seconds of work per second of clip.
    """
    from muybridge.commands.bench_speed import speed

    speed(model, rounds, steps, device, json)


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
    from muybridge.commands.bench import PHYSICS, amount, continued
    from muybridge.commands.bench_fidelity import LEAST, fidelity
    from muybridge.commands.bench_speed import speed

    tables = ("physics", "control", "fidelity", "speed")
    to = {name: None if json is None else json / f"{name}.json" for name in tables}
    asked, folder = amount(None, None, None, quick), output or Path("runs") / "bench" / Path(model).name
    continued(model, folder, PHYSICS, asked, 0, {}, device, to["physics"])
    continued(model, folder / "control", ("control",), asked, 0, {}, device, to["control"])
    fidelity(model, output, LEAST if quick else 32, 0, None, None, device, None, None, to["fidelity"])
    speed(model, 1 if quick else 3, None, device, to["speed"])


@bench.command(name="export")
def bench_export(
    folder: Annotated[Positional[Path], arg(metavar="FOLDER")],
    suites: tuple[str, ...] = ("permanence", "falling", "coherence"),
    scenes: int | None = None,
    clips: int | None = None,
    others: int | None = None,
    quick: bool = False,
    json: Path | None = None,
) -> None:
    """Write tasks for any other system: stills, first frames, words; MP4s come back, and `bench score` judges them.

    FOLDER/README.txt says what to do with it. The truth is not in the folder.

    Args:
        folder: Where to write them: a new folder.
        suites: Some of permanence, falling, coherence, phyworld, control.
        scenes: Scenes of each suite in distribution, 40 by default.
        clips: Clips of ten seconds (coherence) in distribution, 10 by default.
        others: Scenes in each split that is out of distribution, 4 by default; a quarter as many clips of ten seconds.
        quick: 5 scenes a suite and one clip of ten seconds.
        json: Write the manifest here, too.
    """
    from muybridge.commands.bench import amount, export

    export(folder, suites, amount(scenes, clips, others, quick), json)


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


app.command(bench, name="bench", help="Measure models, and clips from anywhere: `muybridge bench physics` and others.")


def main() -> None:
    """Entry point of the command `muybridge`: what goes wrong is one sentence on stderr, never a traceback."""
    if not sys.warnoptions:  # those of libraries are for programmers; ours are for users
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", module="muybridge")
        warnings.showwarning = lambda message, *rest, **more: print(f"note: {message}", file=sys.stderr)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(obey(sys.argv[1:]))


def obey(words: Sequence[str]) -> int:
    """Does what `words` say. The exit code: 0, 2 for what cannot be done, 130 after Ctrl-C, 141 if nobody listens."""
    try:
        if list(words) == ["--version"]:
            print(f"muybridge {muybridge.__version__}")
        else:
            app.cli(prog="muybridge", description=DESCRIPTION, args=words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _stopped(130, "stopped")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
        return 141
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in _EXTRAS:
            raise
        return _stopped(2, f"{error.name} is not installed: pip install 'muybridge[{_EXTRAS[error.name or '']}]'")
    except (ValueError, OSError, MemoryError) as error:
        return _stopped(2, f"{error}" if not isinstance(error, MemoryError) else "out of memory: make it smaller")
    return 0


def _stopped(code: int, sentence: str) -> int:
    sys.stderr.write(f"muybridge: {sentence}\n")
    return code


if __name__ == "__main__":
    main()
