"""`muybridge generate`: a sentence in, an MP4 and a contact sheet out."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from muybridge.commands.progress import Bar
from muybridge.conditioning.vocabulary import LONGEST_PROMPT
from muybridge.generate import Clip, Model, load
from muybridge.sampler.sample import LARGEST_SEED, Settings
from muybridge.storage.atomic import check_writable
from muybridge.storage.stills import fit, read_still
from muybridge.types import TEMPORAL_STRIDE, Condition


@dataclass(frozen=True)
class Wish:
    """The options of the command, as they were typed; None where the model decides."""

    prompt: str
    output: Path | None = None
    image: Path | None = None
    seconds: float | None = None
    size: str = ""
    fps: float | None = None
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    solver: str | None = None
    variants: int = 1
    model: str = "nano"
    negative: str = ""
    overwrite: bool = False


def run(wish: Wish) -> None:
    """Makes the clips and says where they lie. ValueError, before anything is computed, for what cannot be done."""
    began = time.perf_counter()
    notes = Console(stderr=True, highlight=False)
    seeds = seeds_of(wish)
    outputs = outputs_of(wish, len(seeds))
    model = load(wish.model)
    condition = condition_of(wish, model)
    settings = settings_of(wish, model.settings)
    model.check(condition)
    for sentence in warnings(wish, condition, model):
        notes.print(f"note: {sentence}", markup=False, style="yellow")

    clips: list[Clip] = []
    with Bar(notes, steps=settings.steps * len(seeds), model=model) as bar:
        for seed in seeds:
            clips += model.generate(condition, seed, settings, bar.hear)
    for clip, output in zip(clips, outputs, strict=True):
        if wish.image:
            clip = replace(clip, provenance=replace(clip.provenance, image_name=str(wish.image)))
        clip.save(output)
        clip.save_sheet(output.with_suffix(".png"))
        print(f"clip           {output}")
        print(f"contact sheet  {output.with_suffix('.png')}")
    what = f"{condition.frames} frames of {condition.width}x{condition.height} at {condition.fps:g} fps"
    print(f"model          {model.name} ({model.hash}), seed {', '.join(map(str, seeds))}")
    print(f"made           {what}, {settings.steps} steps, in {time.perf_counter() - began:.1f} s")


def seeds_of(wish: Wish) -> list[int]:
    """The clips' seeds: the one asked for, or a new one, and those that follow it."""
    if not 1 <= wish.variants <= 64:
        raise ValueError(f"--variants is {wish.variants}: take 1 to 64")
    first = secrets.randbelow(2**31) if wish.seed is None else wish.seed
    if not 0 <= first <= LARGEST_SEED - wish.variants:
        raise ValueError(f"--seed is {first}: take 0 to {LARGEST_SEED - wish.variants}")
    return [first + i for i in range(wish.variants)]


def outputs_of(wish: Wish, count: int) -> list[Path]:
    """Where the clips go, checked before any work: nothing that exists is replaced unasked."""
    output = wish.output or Path(f"{slug(wish.prompt)}.mp4")
    if output.suffix.lower() != ".mp4":
        raise ValueError(
            f"{output} does not end in .mp4, which is what is written: name it {output.with_suffix('.mp4')}"
        )
    if wish.output is None and not wish.overwrite:
        output = _unused(output, count)
    outputs = _numbered(output, count)
    for path in outputs:
        for file in (path, path.with_suffix(".png")):
            if file.exists() and not wish.overwrite:
                raise ValueError(f"{file} exists: give another name with -o, or --overwrite to replace it")
        check_writable(path)
    return outputs


def slug(prompt: str, longest: int = 60) -> str:
    """A file name made of a prompt."""
    words = re.sub(r"[^\w]+", "-", prompt.lower()).strip("-")
    return words[:longest].rstrip("-").encode("utf-8")[:120].decode("utf-8", "ignore") or "clip"


def _numbered(output: Path, count: int) -> list[Path]:
    if count == 1:
        return [output]
    return [output.with_stem(f"{output.stem}-{i + 1}") for i in range(count)]


def _unused(output: Path, count: int) -> Path:
    number, candidate = 1, output
    while any(path.exists() or path.with_suffix(".png").exists() for path in _numbered(candidate, count)):
        number += 1
        candidate = output.with_stem(f"{output.stem}-take{number}")
    return candidate


def condition_of(wish: Wish, model: Model) -> Condition:
    """The wish as a Condition; what was not said is what the model was trained on."""
    trained = model.config["trained"]
    fps = float(trained["fps"] if wish.fps is None else wish.fps)
    width, height = size_of(wish.size) if wish.size else (trained["width"], trained["height"])
    prefix = None if wish.image is None else fit(read_still(wish.image), height, width)[None]
    frames = trained["frames"] if wish.seconds is None else frames_of(wish.seconds, fps)
    return Condition(wish.prompt, wish.negative, frames, height, width, fps, prefix)


def size_of(text: str) -> tuple[int, int]:
    """ "WIDTHxHEIGHT" as numbers."""
    found = re.fullmatch(r"(\d{1,5})[xX×](\d{1,5})", text.strip())
    if not found:
        raise ValueError(f"--size is {text!r}: write WIDTHxHEIGHT, such as 128x128")
    return int(found[1]), int(found[2])


def frames_of(seconds: float, fps: float) -> int:
    """The number of frames, 1 + 4k, that plays nearest to `seconds`."""
    if not (0 < seconds <= 3600 and 0 < fps <= 1000):
        raise ValueError(
            f"{seconds:g} seconds at {fps:g} fps cannot be made: take more than 0 and at most 3600 seconds"
        )
    return 1 + TEMPORAL_STRIDE * max(0, round((seconds * fps - 1) / TEMPORAL_STRIDE))


def settings_of(wish: Wish, default: Settings) -> Settings:
    """The model's own settings, with what was asked for instead."""
    asked = {"steps": wish.steps, "guidance": wish.guidance, "solver": wish.solver}
    return replace(default, **{name: value for name, value in asked.items() if value is not None})


def warnings(wish: Wish, condition: Condition, model: Model) -> list[str]:
    """What the model will not do as one might expect: each a sentence."""
    found = [*_words(condition.prompt, model), *_words(condition.negative, model)]
    trained = model.config["trained"]
    wanted = (condition.width, condition.height)
    if wanted != (trained["width"], trained["height"]):
        found.append(f"{model.name} learnt from {trained['width']}x{trained['height']} only: this size may look odd")
    if condition.frames > trained["frames"]:
        found.append(f"{model.name} learnt from clips of {trained['frames']} frames: later ones may drift")
    if condition.fps != trained["fps"]:
        found.append(f"{model.name} learnt from {trained['fps']:g} frames a second only: motion may be off")
    if wish.seconds is not None and abs(condition.frames / condition.fps - wish.seconds) > 0.5 / condition.fps:
        playing = condition.frames / condition.fps
        found.append(f"clips have 1 + 4k frames: making {condition.frames}, which play {playing:.2f} s")
    if condition.prefix is not None:
        found += model.doubts(condition.prefix[0])
    return found


def _words(text: str, model: Model) -> Sequence[str]:
    sentences = []
    unknown = model.vocabulary.unknown(text)
    if unknown:
        named = [f"{word!r}" + (f" (nearest: {', '.join(near)})" if near else "") for word, near in unknown.items()]
        shown = ", ".join(named[:8]) + (f" and {len(named) - 8} more" if len(named) > 8 else "")
        sentences.append(f"{model.name} has never seen these words and reads each as 'something unknown': {shown}")
    beyond = model.vocabulary.beyond(text)
    if beyond:
        sentences.append(f"the prompt is long: its last {beyond} words are not read (the first {LONGEST_PROMPT} are)")
    return sentences
