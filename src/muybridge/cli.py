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
from tyro.conf import Positional, UseAppendAction, arg

import muybridge
from muybridge.commands.admin_verbs import admin
from muybridge.commands.bench_verbs import bench

DESCRIPTION = "Make, train and measure video models on machines of your own. `muybridge --version` says which this is."

_EXTRAS = {
    "mujoco": "sim",
    "numba": "sim",
    "tensorboard": "train",
    **dict.fromkeys(("scipy", "skimage"), "bench"),
    **dict.fromkeys(("dbos", "fastapi", "httpcore", "prometheus_client", "pydantic_settings"), "serve"),
    "fastapi_offline": "serve",
    "sqlalchemy": "serve",
    "uvicorn": "serve",
    "ray": "cluster",
    "psycopg": "postgres",
    "obstore": "s3",
    "opentelemetry": "telemetry",
    **dict.fromkeys(("onnx", "onnxruntime", "onnxscript", "openvino"), "fast-cpu"),
    **dict.fromkeys(("accelerate", "diffusers", "ftfy", "peft", "sentencepiece", "transformers"), "open-models"),
}

OUT_OF_MEMORY = "out of memory: make it smaller"

_OF_TORCH = {
    "out of memory": OUT_OF_MEMORY,
    "can't allocate memory": OUT_OF_MEMORY,
    "DataLoader worker": "one of the processes that make batches was killed, perhaps for lack of memory: the same "
    "command goes on where it stopped; --workers 0 makes them in the one that trains",
}
"""Signs by which PyTorch's RuntimeErrors are told that no program could have avoided, and what they mean."""

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
    model: str | None = None,
    negative: str = "",
    overwrite: bool = False,
    shift: float | None = None,
    guidance_low: float | None = None,
    guidance_high: float | None = None,
    rescale: float | None = None,
    context_noise: float | None = None,
    drafts: int | None = None,
    draft_steps: int | None = None,
    plan_steps: int | None = None,
    tries: int | None = None,
    stream: bool = False,
    watermark: bool = True,
    sign: bool = True,
    disclose: bool = True,
    key: Path | None = None,
    last_image: Path | None = None,
    video: Path | None = None,
    strength: float | None = None,
    mask: Path | None = None,
    control: Path | None = None,
    camera: Path | None = None,
    move: Annotated[tuple[str, ...], UseAppendAction] = (),
    lora: Annotated[tuple[str, ...], UseAppendAction] = (),
    dtype: str | None = None,
    allow_pickle: bool = False,
    engine: str | None = None,
    fast: bool = False,
    base: str = "",
    precision: str | None = None,
    cache: str | None = None,
) -> None:
    """Turn a sentence, and a still if you have one, into a clip.

    The MP4 carries the prompt, the seed and all settings; `muybridge inspect CLIP` prints the command that makes it
    again, frame for frame. Beside it lies a contact sheet (PNG). Both are marked and signed as made by a model, which
    `muybridge verify` reads.

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
        solver: euler, heun or multistep; jump with a distilled model that does. Models of others have their own.
        variants: How many clips to make, with seeds that follow each other.
        model: A bundled model's name, a folder (./nano for one that has such a name), or org/name on the hub: of ours,
            or in diffusers' format. A single .safetensors file of Wan or LTX-Video, too. By default nano, or on a CPU
            nano-fast, its student, unless something is asked for that students have built in (guidance, a solver).
        negative: What the clip shall not show.
        overwrite: Replace files that exist.
        shift: Above 1, more of the steps go where the noise is strong and the layout is decided.
        guidance_low: Noise level, 0 to 1, from which on guidance is applied.
        guidance_high: Noise level, 0 to 1, up to which guidance is applied.
        rescale: 0 to 1: how far the contrast that guidance adds is taken back.
        context_noise: Noise level, 0 to 1, that given frames are blurred with.
        drafts: First frames to draw at most, until one shows what was asked; the clip goes on from it. 0 is none.
        draft_steps: Steps from noise to such a first frame.
        plan_steps: Steps from noise to a plan of where things go, which the clip then follows. 0 is none.
        tries: Times to draw the clip at most, until one shows what was asked all along; the best is kept.
        stream: Show frames while they are made and go on until Ctrl-C, or for so many seconds. A line that is typed
            meanwhile, or comes through a pipe, is the prompt from then on: what is seen, what moves, the camera. One
            like `--steps 2` turns a dial, one like `--move "red ball: 0.2,0.5 0.8,0.5"` moves a thing.
        watermark: Hide in the pixels that Muybridge made them; invisible, and it survives compression.
        sign: Sign the files (Content Credentials, C2PA).
        disclose: Write the prompt and the settings into the files.
        key: A PEM file with your signing key and its certificates. By default ~/.config/muybridge/signing.pem, made
            the first time.
        last_image: A still that becomes the last frame, with a model that takes one (`muybridge models` tells).
        video: A clip to make over, at least as long as the new one.
        strength: How far from it, 0 to 1; by default 0.8.
        mask: A still that is white where the video is made anew; the rest is kept.
        control: A clip of depth, edges or poses to keep to, as the model learnt to read them.
        camera: JSON with a camera pose for each frame.
        move: Where a thing goes, 'red ball: 0.2,0.5 0.8,0.5': x,y of its middle, 0 to 1 from the upper left corner,
            evenly spaced in time. More than one may be given; the prompt names the thing as well. In a stream it is on
            its way for a window, about two seconds.
        lora: A LoRA for the model, FILE or FILE:SCALE; more than one may be given.
        dtype: float32, bfloat16 or float16; by default what this machine does best. For models of others, too.
        allow_pickle: Open pickled weights. They can run any program: only for files whose makers you trust.
        engine: What runs the model: torch, openvino, onnxruntime; auto tries all that are installed, once, and takes
            the fastest that is exact enough. By default what auto found here earlier, else torch; with --fast, auto.
        fast: Take the model's distilled student, which needs few steps, and the fastest engine that is installed; with
            a model of others, --cache first-block.
        base: Where the rest of a single file is: a folder, or org/name on the hub. By default told by its shape.
        precision: Of the weights of models of others: bf16, fp16, fp32, fp8, int8, or a .gguf file of a transformer.
        cache: first-block or taylorseer: models of others leave out what changes little from step to step, and their
            pixels change a little. first-block:0.05 is more careful, taylorseer:5 faster.
    """
    from muybridge.commands.generate import Opening, Wish, run
    from muybridge.commands.given import Given
    from muybridge.commands.stream import run as run_on

    (run_on if stream else run)(
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
            drafts,
            draft_steps,
            plan_steps,
            tries,
            watermark,
            sign,
            disclose,
            key,
            Given(last_image, video, strength, mask, control, camera, move, lora, dtype, base or None, precision),
            Opening(dtype, allow_pickle, lora, base, precision, cache),
            engine,
            fast,
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
def verify(
    clip: Annotated[Positional[Path], arg(metavar="CLIP")],
    trust: Path | None = None,
    key: Path | None = None,
    json: Path | None = None,
) -> None:
    """Say what a clip or picture proves about where it comes from: its signature, and the mark in its pixels.

    Args:
        clip: A video or picture, from anywhere.
        trust: Certificates that you trust, a PEM file.
        key: Your own signing key, to be told from others'. By default ~/.config/muybridge/signing.pem.
        json: Write all that was found here, too.
    """
    from muybridge.commands.verify import run

    run(clip, trust, key, json)


@app.command
def models(words: Annotated[Positional[tuple[str, ...]], arg(metavar="[WORDS ...]")] = (), base: str = "") -> None:
    """List the models that come with Muybridge, and the families of open models with what each can be given.

    `muybridge models check NAME` says, before anything is loaded, how much memory a clip takes and whether it fits.

    Args:
        words: Nothing, or: check and a folder, org/name, or a single .safetensors file.
        base: Where the rest of a single file is: a folder, or org/name on the hub. By default told by its shape.
    """
    from muybridge.commands.models import run

    run(words, base)


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
    meshes: Path | None = None,
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
        meshes: A folder of OBJ and STL files: they stand in for the loose boxes and are called what the files are.
    """
    from muybridge.commands.simulate import run

    run(folder, clips, seed, size, frames, fps, processes, truth, meshes)


@app.command
def train(
    recipe: Annotated[Positional[str], arg(metavar="RECIPE")],
    folder: Annotated[Path | None, arg(aliases=["-o"])] = None,
    data: Path | None = None,
    device: str | None = None,
    workers: int = 2,
    rehearse: bool = False,
    sizes: str = "",
    fsdp: bool = False,
    text: str | None = None,
    effort: float = 1.0,
) -> None:
    """Train a model by a recipe: autoencoder, text encoder, transformer, checkpoint.

    Ctrl-C (or a kill) loses nothing that was saved: the same command goes on where it was. With several processes:
    torchrun --nproc-per-node N -m muybridge.cli train RECIPE. TensorBoard: tensorboard --logdir FOLDER.

    Example: muybridge train small --device cuda --rehearse

    Args:
        recipe: tiny (seconds, to try things), nano (two CPU cores), small or base (a GPU), phyworld (two CPU cores;
            its balls).
        folder: Where checkpoints and logs go; by default runs/RECIPE. Clips of another kind need another folder.
        data: A folder of MP4s with captions (NAME.txt beside NAME.mp4); by default what the recipe simulates.
        device: cpu or cuda; by default what there is.
        workers: Processes that make clips and batches ahead of time; 0 makes them in the one that trains.
        rehearse: Take a few steps of every stage and keep nothing: does it fit here, and how long will all of it take?
        sizes: WIDTHxHEIGHT,WIDTHxHEIGHT,…: the transformer learns from clips of each in turns; the first is what the
            model makes unasked. Footage goes to the nearest to its proportions. By default the recipe's one.
        fsdp: Spread weights, gradients and optimisers over the processes that torchrun starts, where each of them has
            too little memory for all.
        text: A text encoder that others have trained (T5, UMT5, CLIP, Qwen), which prompts are read with: a folder, or
            org/name on the hub. It learns nothing, and the checkpoint holds a copy. By default words are learnt.
        effort: So many times the recipe's steps, in every stage: 2 where a night is there, 0.1 for a look.
    """
    from muybridge.commands.train import rehearse as rehearsal
    from muybridge.commands.train import run

    if rehearse:
        rehearsal(recipe, data, device, workers, sizes, fsdp, text, effort)
        return
    run(recipe, folder or Path("runs") / recipe, data, device, workers, sizes, fsdp, text, effort)


@app.command
def finetune(
    model: str,
    data: Path,
    folder: Annotated[Path, arg(aliases=["-o"])] = Path("runs/finetune"),
    steps: int = 1000,
    rank: int = 16,
    lr: float = 1e-4,
    size: str = "",
    frames: int = 33,
    batch: int = 1,
    device: str | None = None,
) -> None:
    """Teach an open model from a folder of clips: a LoRA, which `muybridge generate --lora` and other programs read.

    Ctrl-C (or a kill) loses nothing that was saved: the same command goes on where it was.

    Args:
        model: A Wan that makes clips from words: a folder, or org/name on the hub.
        data: A folder of MP4s with captions (NAME.txt beside NAME.mp4).
        folder: Where state, logs and lora.safetensors go.
        steps: Steps in all.
        rank: Of the LoRA: how much it can learn.
        lr: Learning rate.
        size: WIDTHxHEIGHT in pixels; by default what the family does best.
        frames: Frames a clip, 1 + 4k.
        batch: Clips a step.
        device: cpu or cuda; by default what there is.
    """
    from muybridge.commands.finetune import run

    run(model, data, folder, steps, rank, lr, size, frames, batch, device)


@app.command
def distill(
    recipe: Annotated[Positional[str], arg(metavar="RECIPE")],
    teacher: str = "nano",
    folder: Annotated[Path | None, arg(aliases=["-o"])] = None,
    data: Path | None = None,
    device: str | None = None,
    workers: int = 2,
) -> None:
    """Make a student of a model: one that needs few steps and no guidance, that streams, that is smaller.

    Ctrl-C (or a kill) loses nothing that was saved: the same command goes on where it was. With several processes:
    torchrun --nproc-per-node N -m muybridge.cli distill RECIPE.

    Example: muybridge distill nano-fast --teacher nano

    Args:
        recipe: nano-fast (2 steps), nano-stream (causal, 2 steps), nano-small (pruned, 4 steps), nano-halved (1 step
            by halving), tiny or tiny-halved (seconds, to try things). All take teachers of any size.
        teacher: A bundled model's name, a checkpoint's folder, or org/name on the hub.
        folder: Where checkpoints and logs go; by default runs/RECIPE.
        data: A folder of MP4s with captions (NAME.txt beside NAME.mp4); by default worlds are simulated.
        device: cpu or cuda; by default what there is.
        workers: Processes that make clips and batches ahead of time; 0 makes them in the one that distils.
    """
    from muybridge.commands.distill import run

    run(recipe, teacher, folder or Path("runs") / recipe, data, device, workers)


@app.command
def export(
    model: Annotated[Positional[str], arg(metavar="MODEL")],
    folder: Annotated[Path, arg(aliases=["-o"])],
    format: str = "onnx",  # noqa: A002 (what the option is called)
    precision: str = "fp32",
    size: str = "",
    seconds: float | None = None,
) -> None:
    """Write a model as graphs for other runtimes, and a README that says how to make clips with them.

    The graphs take any size and length. What was written is run and compared with the original, part by part and over
    a whole clip, and the differences are printed. --format diffusers writes a folder that diffusers opens instead.

    Example: muybridge export nano --precision fp16 -o nano-onnx

    Args:
        model: A bundled model's name, a checkpoint's folder, or org/name on the hub.
        folder: Where to write them. An older export there is replaced.
        format: onnx, openvino, torch-export or diffusers.
        precision: What weights are stored in: fp32; fp16, half the size; int8, a quarter. Sums are float32 in any case.
        size: WIDTHxHEIGHT in pixels to compare at; by default what the model learnt from.
        seconds: Length of the clip to compare; by default what the model learnt from.
    """
    from muybridge.commands.export import run

    run(model, folder, format, precision, size, seconds)


@app.command
def lab(
    model: str = "nano-fast",
    folder: Annotated[Path | None, arg(aliases=["-o"])] = None,
    port: int = 8643,
    open: bool = False,  # noqa: A002 (what the option is called)
    serve: bool = True,
) -> None:
    """Run a model inside a browser tab: nothing that is typed or shown to it leaves the machine, not even offline.

    Makes a folder of plain files, once: the page, the model as graphs, and the runtime, which npm fetches. It serves
    that folder to this machine; any web server can serve it to others, as docs/lab.md says.

    Example: muybridge lab --open

    Args:
        model: A bundled model's name, a checkpoint's folder, or org/name on the hub.
        folder: Where the files go; by default runs/lab.
        port: By default 8643; 0 takes a free one.
        open: Open the page in the browser.
        serve: Serve the folder; --no-serve writes it and ends.
    """
    from muybridge.commands.lab import run

    run(model, folder or Path("runs") / "lab", port, open, serve)


@app.command
def serve(
    home: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    database_url: str | None = None,
    public_url: str | None = None,
    devices: tuple[str, ...] | None = None,
    worker: bool = True,
    worker_name: str | None = None,
    fetch_private: bool = False,
    signing_key: Path | None = None,
) -> None:
    """Serve models over HTTP: to the libraries of Runway, OpenAI videos and Luma, and to programs of your own.

    At the first start it makes an API key and prints it, once. Whatever is not said here comes from variables such as
    MUYBRIDGE_PORT, or is as docs/serving.md says. Models, prices and other services' names: HOME/models.toml.

    Args:
        home: Folder of database, stills, results; by default runs/server.
        host: Address to listen at; by default 127.0.0.1, which only this machine reaches.
        port: By default 8642; 0 takes a free one.
        database_url: postgresql+psycopg://...; by default a SQLite file in HOME.
        public_url: How clients reach the server, for the links it gives out.
        devices: cpu, cuda:0, ...; one job at a time on each. By default the best there is.
        worker: Make clips in this process, too.
        worker_name: Unique among workers of one database.
        fetch_private: Fetch stills from, and send webhooks to, private addresses and plain http.
        signing_key: PEM file that signs what is made; by default ~/.config/muybridge/signing.pem.
    """
    said = dict(locals())
    from muybridge.commands.serve import run
    from muybridge.serving.settings import settings_of

    run(settings_of(**said))


@app.command
def work(
    home: Path | None = None,
    database_url: str | None = None,
    devices: tuple[str, ...] | None = None,
    worker_name: str | None = None,
    fetch_private: bool = False,
    signing_key: Path | None = None,
) -> None:
    """Make the clips that a server has accepted, in a process of its own (`muybridge serve --no-worker` beside it).

    Args:
        home: The server's folder.
        database_url: The server's database, if it is not in HOME.
        devices: cpu, cuda:0, ...; one job at a time on each. By default the best there is.
        worker_name: Unique among workers of one database.
        fetch_private: Send webhooks to private addresses and plain http.
        signing_key: PEM file that signs what is made; by default ~/.config/muybridge/signing.pem.
    """
    said = dict(locals())
    from muybridge.commands.serve import work as run
    from muybridge.serving.settings import settings_of

    run(settings_of(**said))


@app.command
def cluster(
    home: Path | None = None,
    database_url: str | None = None,
    address: str | None = None,
    fewest: int = 1,
    most: int = 4,
    gpus: float = 1.0,
    cpus: float = 1.0,
    fetch_private: bool = False,
    signing_key: Path | None = None,
) -> None:
    """Make the clips that a server has accepted on many machines: Ray Serve adds and removes engines as jobs come in.

    Servers are started beside it with `muybridge serve --no-worker`. docs/deploy.md has the whole picture.

    Args:
        home: The server's folder, which all machines reach under this name.
        database_url: The server's database; by default a SQLite file in HOME, which is for one machine.
        address: Of a Ray cluster: auto for the one that this machine is part of. By default one of this machine alone.
        fewest: Replicas that are kept while there is nothing to do.
        most: Replicas when there is much to do.
        gpus: Of each replica: 0 for none, 0.5 for two replicas on one GPU, 2 for two jobs at a time.
        cpus: Of each replica, as Ray counts them.
        fetch_private: Send webhooks to private addresses and plain http.
        signing_key: PEM file that signs what is made, which all machines reach; by default one that is made in HOME.
    """
    from muybridge.commands.cluster import run
    from muybridge.serving.cluster import Replicas
    from muybridge.serving.settings import settings_of

    said = {"home": home, "database_url": database_url, "fetch_private": fetch_private, "signing_key": signing_key}
    run(settings_of(**said), Replicas(fewest, most, gpus, cpus), address)


app.command(bench, name="bench", help="Measure models, and clips from anywhere: `muybridge bench physics` and others.")
app.command(admin, name="admin", help="Look after a server: `muybridge admin keys`, `credits`, `usage`, `audit`.")


def main() -> None:
    """Entry point of the command `muybridge`: what goes wrong is one sentence on stderr, never a traceback."""
    if not sys.warnoptions:  # those of libraries are for programmers; ours are for users
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", module="muybridge")
        warnings.showwarning = lambda message, *rest, **more: print(f"note: {message}", file=sys.stderr)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # Threads that spin for long take the cores from those that work; those that sleep at once are woken too late.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
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
        package = (error.name or "").split(".")[0]
        if package not in _EXTRAS:
            raise
        return _stopped(2, f"{error.name} is not installed: pip install 'muybridge[{_EXTRAS[package]}]'")
    except MemoryError:
        return _stopped(2, OUT_OF_MEMORY)
    except (ValueError, OSError) as error:
        return _stopped(2, f"{error}")
    except RuntimeError as error:
        sentence = next((said for sign, said in _OF_TORCH.items() if sign in str(error)), None)
        if sentence is None:
            raise
        return _stopped(2, sentence)
    return 0


def _stopped(code: int, sentence: str) -> int:
    sys.stderr.write(f"muybridge: {sentence}\n")
    return code


if __name__ == "__main__":
    main()
