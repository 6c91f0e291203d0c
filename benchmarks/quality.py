"""What a model is worth: text fidelity, the autoencoder's fidelity, how well a given first frame is kept.

    python benchmarks/quality.py --model nano --json quality.json
    python benchmarks/quality.py --model nano --prompts 16 --clips 16 --stills 8     (a first impression)

Everything is held out: worlds with seeds from 2^40 on. With --folder, results are kept clip by clip and an interrupted
run goes on where it was.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import tyro
from einops import rearrange, reduce
from jaxtyping import UInt8
from rich.console import Console
from rich.progress import Progress as Bar
from rich.table import Table
from torch import Tensor

from muybridge.evaluation.fidelity import autoencoder_fidelity, first_frame_fidelity
from muybridge.evaluation.statistics import HELD_OUT, Mean, to_json
from muybridge.evaluation.text import text_fidelity
from muybridge.generate import Model, load, to_uint8
from muybridge.sampler.sample import Settings
from muybridge.simulation import Clip, simulate
from muybridge.types import Condition, Latent, Progress, latent_frames

Frames = UInt8[np.ndarray, "t h w 3"]


@dataclass(frozen=True)
class Options:
    """Scores of a model, with 95 % intervals.

    Args:
        model: A bundled name, a folder, or org/name.
        prompts: Held-out prompts that are generated and judged; 0 leaves the test out, as for the next two.
        clips: Held-out clips that go through the autoencoder and back.
        stills: Held-out stills that become first frames.
        first: Number of the first world: of others than the first ones, nothing was chosen by them.
        frames: Of the clips generated; by default what the model learnt from.
        times: As wide and high as what the model learnt from; for prompts, clips are judged when made small again.
        stream: Clips are the first frames of streams.
        steps: As in `muybridge generate`; by default the model's own.
        solver, guidance, shift, drafts, draft_steps, plan_steps, tries: Likewise.
        engine: What runs it, as in `muybridge generate`.
        folder: Keeps results clip by clip; one for each model and its settings.
        json: Where to write all figures.
    """

    model: str = "nano"
    prompts: int = 200
    clips: int = 500
    stills: int = 50
    first: int = 0
    frames: int | None = None
    times: int = 1
    stream: bool = False
    steps: int | None = None
    solver: str | None = None
    guidance: float | None = None
    shift: float | None = None
    drafts: int | None = None
    draft_steps: int | None = None
    plan_steps: int | None = None
    tries: int | None = None
    engine: str = "torch"
    folder: Path | None = None
    json: Path | None = None


@dataclass(frozen=True)
class Subject:
    """The model under test, as the plain functions that `muybridge.evaluation` takes."""

    model: Model
    settings: Settings
    shape: Condition
    times: int = 1
    stream: bool = False

    def world(self, seed: int, frames: int | None = None) -> Clip:
        """A simulated clip as the model would make one."""
        shape = self.shape
        return simulate(seed, frames or shape.frames, shape.height, shape.width, shape.fps)

    def still(self, seed: int) -> UInt8[np.ndarray, "h w 3"]:
        frame: UInt8[np.ndarray, "h w 3"] = self.world(seed, frames=1).rgb[0]
        return frame

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> UInt8[np.ndarray, "b t h w 3"]:
        clips = np.stack([self._clip(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)])
        small = reduce(clips.astype(np.float32), "b t (h y) (w x) c -> b t h w c", "mean", y=self.times, x=self.times)
        return small.round().astype(np.uint8)

    def animate(
        self, stills: UInt8[np.ndarray, "b h w 3"], prompts: Sequence[str], seeds: Sequence[int]
    ) -> UInt8[np.ndarray, "b t h w 3"]:
        given = zip(prompts, seeds, stills, strict=True)
        return np.stack([self._clip(prompt, seed, pixels(still[None])) for prompt, seed, still in given])

    def encode_decode(self, frames: Frames) -> Frames:
        with torch.inference_mode():
            latent, _ = self.model.autoencoder.encode(pixels(frames)[None].to(self.model.device))
        return to_uint8(self.model.decode(Latent(latent, self.shape.fps)).frames[0])

    def _clip(self, prompt: str, seed: int, prefix: Tensor | None = None) -> Frames:
        condition = dataclasses.replace(self.shape, prompt=prompt, prefix=prefix)
        if self.stream:
            running = self.model.stream(condition, seed, self.settings)
            return np.concatenate(list(islice(running, latent_frames(condition.frames))))
        return self.model.generate(condition, seed, self.settings)[0].frames


def pixels(frames: Frames) -> Tensor:
    """uint8 to [-1, 1]."""
    return rearrange(torch.from_numpy(frames).float() / 127.5 - 1, "t h w c -> t c h w")


def subject(options: Options) -> Subject:
    model = load(options.model, engine=options.engine)
    trained = model.config["trained"]
    names = ("steps", "solver", "guidance", "shift", "drafts", "draft_steps", "plan_steps", "tries")
    asked = {name: getattr(options, name) for name in names}
    asked["given_guidance"] = options.guidance
    settings = dataclasses.replace(model.settings, **{k: v for k, v in asked.items() if v is not None})
    frames = options.frames or trained["frames"]
    height, width = options.times * trained["height"], options.times * trained["width"]
    shape = Condition(frames=frames, height=height, width=width, fps=trained["fps"])
    return Subject(model, settings, shape, options.times, options.stream)


def main(options: Options) -> None:
    tested = subject(options)
    found: dict[str, object] = {"model": options.model, "hash": tested.model.hash, "settings": vars(tested.settings)}
    table = Table("measure", "mean", "95 % interval")
    with Bar(console=Console(stderr=True)) as bar:

        def part(name: str, count: int) -> tuple[range, Path | None, Callable[[Progress], None]]:
            task = bar.add_task(name, total=count)
            folder = options.folder / name if options.folder else None
            seeds = range(HELD_OUT + options.first, HELD_OUT + options.first + count)
            return seeds, folder, lambda event: bar.update(task, completed=event.step)

        if options.clips:
            seeds, folder, watch = part("autoencoder", options.clips)
            ae = autoencoder_fidelity(tested.encode_decode, seeds, clip=tested.world, folder=folder, watch=watch)
            found["autoencoder"] = json.loads(to_json(ae))
            _rows(table, {"autoencoder PSNR, dB": ae.whole, "… inside objects, dB": ae.objects, "… SSIM": ae.ssim})
        if options.stills:
            seeds, folder, watch = part("first frame", options.stills)
            still = first_frame_fidelity(
                tested.animate, tested.encode_decode, seeds, still=tested.still, folder=folder, watch=watch
            )
            found["first_frame"] = json.loads(to_json(still))
            _rows(table, {"first frame PSNR, dB": still.generated, "… lost against the autoencoder, dB": still.lost})
        if options.prompts:
            seeds, folder, watch = part("text", options.prompts)
            text = text_fidelity(tested.generate, seeds, batch=1, folder=folder, watch=watch)
            found["text"] = json.loads(to_json(text))
            _rows(
                table, {"every object right": text.objects_right, "count right": text.count_right, "both": text.right}
            )
            kinds = {"count": text.by_count, "pairs": text.by_pairs, "colour": text.by_colour, "shape": text.by_shape}
            for kind, groups in kinds.items():
                _rows(table, {f"  {kind} {name}": value for name, value in groups.items()})
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _rows(table: Table, means: dict[str, Mean]) -> None:
    for name, value in means.items():
        table.add_row(name, f"{value.value:.3f}", f"{value.low:.3f} … {value.high:.3f}")


if __name__ == "__main__":
    main(tyro.cli(Options))
