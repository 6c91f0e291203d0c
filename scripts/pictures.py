"""The pictures of README and docs:  python scripts/pictures.py [--model nano] [--folder docs/images]

worlds.png shows the first eight held-out worlds, truth.png what the simulator knows of three of them. The model makes
samples.png of the eight worlds' prompts, not chosen, and hero.webp and still-to-video.png with seed 0.
--only truth.png makes one of them.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

import muybridge
from muybridge import Condition, Model
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.simulation import prompt_and_facts, simulate

HERO = (
    "a small red ball rolls behind a tall blue box while the camera pans right",
    "a large green cylinder falls to the ground next to a small yellow ball",
    "a large orange ball rolls into a small purple box",
    "a pink ball and a teal box while the camera orbits left",
)

Frames = UInt8[np.ndarray, "t h w 3"]


SHOWN, COLUMNS, FRAMES, CAPTION = range(HELD_OUT, HELD_OUT + 8), 2, 4, 44


def worlds(path: Path) -> None:
    """Simulated clips with their captions."""
    clips = [simulate(seed) for seed in SHOWN]
    rows([clip.rgb for clip in clips], [clip.captions[3] for clip in clips]).save(path, optimize=True)


def samples(model: Model, path: Path) -> None:
    """What the model makes of the same worlds' prompts."""
    prompts = [prompt_and_facts(seed)[0] for seed in SHOWN]
    pairs = zip(prompts, SHOWN, strict=True)
    made = [model.generate(like_training(model, prompt), seed)[0].frames for prompt, seed in pairs]
    rows(made, prompts).save(path, optimize=True)


def rows(clips: list[Frames], captions: list[str]) -> Image.Image:
    """Clips as rows of frames with their captions below, in columns."""
    height, width = clips[0].shape[1:3]
    cell = (FRAMES * width, height + CAPTION)
    page = Image.new("RGB", (COLUMNS * (cell[0] + 12) - 12, -(-len(clips) // COLUMNS) * cell[1]), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=13)
    for index, (clip, caption) in enumerate(zip(clips, captions, strict=True)):
        left, top = index % COLUMNS * (cell[0] + 12), index // COLUMNS * cell[1]
        chosen = np.linspace(0, len(clip) - 1, FRAMES).round().astype(int)
        page.paste(Image.fromarray(np.concatenate(list(clip[chosen]), axis=1)), (left, top))
        lines = textwrap.wrap(caption, 76)[:2]
        pen.multiline_text((left, top + height + 5), "\n".join(lines), fill="#333333", font=font)
    return page


def hero(model: Model, path: Path) -> None:
    """Clips side by side, moving, with their captions: WebP, as GIF's 256 colours turn red balls brown."""
    side, font = 192, ImageFont.load_default(size=13)
    made, left = clips(model, HERO), [index * (side + 12) for index in range(len(HERO))]
    ground = Image.new("RGB", (left[-1] + side, side + 60), "white")
    for start, prompt in zip(left, HERO, strict=True):
        lines = "\n".join(textwrap.wrap(prompt, 28))
        ImageDraw.Draw(ground).multiline_text((start, side + 6), lines, fill="#333333", font=font)
    pages = []
    for frames in zip(*made, strict=True):
        pages.append(ground.copy())
        for start, frame in zip(left, frames, strict=True):
            pages[-1].paste(Image.fromarray(frame).resize((side, side), Image.Resampling.BICUBIC), (start, 0))
    each = round(1000 / model.config["trained"]["fps"])
    pages[0].save(path, save_all=True, append_images=pages[1:], duration=each, loop=0, quality=85, method=6)


def still_to_video(model: Model, path: Path) -> None:
    """A held-out still, and what becomes of it."""
    condition = like_training(model, "")
    world = simulate(HELD_OUT + 1, frames=1, height=condition.height, width=condition.width)
    still = torch.from_numpy(world.rgb).permute(0, 3, 1, 2) / 127.5 - 1
    (clip,) = model.generate(replace(condition, prompt=world.captions[-1], prefix=still), seed=0)
    frames = np.concatenate([world.rgb, clip.frames[moments_of(clip.frames, 5)]])
    captions = ["given"] + [f"{i / condition.fps:.2f} s" for i in moments_of(clip.frames, 5)]
    muybridge.contact_sheet(frames, path, columns=6, captions=captions, title=world.captions[-1])


def truth(path: Path) -> None:
    """One moment of worlds in all their modalities: colour, depth, flow, instances, normals."""
    shown, captions = [], []
    for clip in (simulate(HELD_OUT + i) for i in range(3)):
        near = np.clip((6 - np.nan_to_num(clip.depth[8], posinf=6)) / 4.5, 0, 1)
        flow = np.nan_to_num(np.concatenate([clip.flow[8], np.zeros_like(clip.flow[8, ..., :1])], axis=-1))
        labels = np.array([[40, 40, 46], *PALETTE], np.uint8)[clip.instance[8] % (len(PALETTE) + 1)]
        grey = np.repeat(near[..., None], 3, axis=-1)
        planes = [unit(grey), unit(flow / 12 + 0.5), labels, unit(clip.normal[8] / 2 + 0.5)]
        shown += [clip.rgb[8], *planes]
        captions += ["colour", "depth", "optical flow", "instances", "normals"]
    muybridge.contact_sheet(np.stack(shown), path, columns=5, most=len(shown), captions=captions)


PALETTE = ((230, 97, 1), (94, 60, 153), (26, 150, 65), (215, 25, 28), (44, 123, 182), (253, 184, 99))

OF_THE_MODEL: dict[str, Callable[[Model, Path], None]] = {
    "samples.png": samples,
    "hero.webp": hero,
    "still-to-video.png": still_to_video,
}
OF_THE_SIMULATOR: dict[str, Callable[[Path], None]] = {"worlds.png": worlds, "truth.png": truth}


def clips(model: Model, prompts: Sequence[str]) -> list[Frames]:
    return [model.generate(like_training(model, prompt), seed=0)[0].frames for prompt in prompts]


def like_training(model: Model, prompt: str) -> Condition:
    learnt = model.config["trained"]
    return Condition(prompt, frames=learnt["frames"], height=learnt["height"], width=learnt["width"], fps=learnt["fps"])


def moments_of(frames: Frames, count: int) -> list[int]:
    return [int(i) for i in np.unique(np.linspace(0, len(frames) - 1, count).round())]


def unit(values: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    picture: UInt8[np.ndarray, "h w 3"] = (np.clip(values, 0, 1) * 255).astype(np.uint8)
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--folder", type=Path, default=Path("docs/images"))
    parser.add_argument("--only", nargs="*", default=[*OF_THE_SIMULATOR, *OF_THE_MODEL])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    model = muybridge.load(options.model) if set(options.only) & OF_THE_MODEL.keys() else None
    for name in options.only:
        path = options.folder / name
        if name in OF_THE_SIMULATOR:
            OF_THE_SIMULATOR[name](path)
        elif model is not None and name in OF_THE_MODEL:
            OF_THE_MODEL[name](model, path)
        else:
            parser.error(f"there is no picture {name!r}: take {', '.join([*OF_THE_SIMULATOR, *OF_THE_MODEL])}")
        print(path)


if __name__ == "__main__":
    main()
