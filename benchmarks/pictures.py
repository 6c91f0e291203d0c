"""The README's pictures:  python benchmarks/pictures.py [--model nano] [--folder docs/images]

worlds.png shows simulated clips with their captions, samples.png what the model makes of held-out prompts, not chosen:
the first eight held-out seeds in both.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

import muybridge
from muybridge.data.worlds import HELD_OUT
from muybridge.simulation import prompt_and_facts, simulate

SHOWN, COLUMNS, FRAMES, CAPTION = 8, 2, 4, 44


@dataclass(frozen=True)
class Options:
    """Where the model is and where the pictures go."""

    model: str = "nano"
    folder: Path = Path("docs/images")


def rows(clips: list[UInt8[np.ndarray, "t h w 3"]], captions: list[str]) -> Image.Image:
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


def main(options: Options) -> None:
    options.folder.mkdir(parents=True, exist_ok=True)
    seeds = range(HELD_OUT, HELD_OUT + SHOWN)
    worlds = [simulate(seed) for seed in seeds]
    captions = [world.captions[3] for world in worlds]
    rows([world.rgb for world in worlds], captions).save(options.folder / "worlds.png", optimize=True)
    model = muybridge.load(options.model)
    prompts = [prompt_and_facts(seed)[0] for seed in seeds]
    pairs = zip(prompts, seeds, strict=True)
    clips = [model.generate(muybridge.Condition(prompt), seed)[0].frames for prompt, seed in pairs]
    rows(clips, prompts).save(options.folder / "samples.png", optimize=True)


if __name__ == "__main__":
    main(tyro.cli(Options))
