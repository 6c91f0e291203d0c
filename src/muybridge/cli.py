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
        recipe: tiny (seconds, to try things), nano (two CPU cores), nano-long (nano trained on), small or base (a GPU).
        folder: Where checkpoints and logs go; by default runs/RECIPE.
        data: A folder of MP4s with captions (NAME.txt beside NAME.mp4); by default worlds are simulated.
        device: cpu or cuda; by default what there is.
        workers: Processes that make clips and batches ahead of time; 0 makes them in the one that trains.
    """
    from muybridge.commands.train import run

    run(recipe, folder or Path("runs") / recipe, data, device, workers)


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
