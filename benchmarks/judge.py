"""How far the judge of text fidelity can be trusted:  python benchmarks/judge.py [--clips 200] [--json PATH]

Held-out simulated clips and what is true of them: the judge has to say yes to the truth, compressed and blurred as it
may be, and no to every clip whose words are not its own, to noise and to flat colour.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from random import Random

import numpy as np
import torch
from jaxtyping import UInt8
from scipy.ndimage import gaussian_filter

from muybridge.evaluation.judge import Judge, compare
from muybridge.evaluation.pictures import psnr
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.evaluation.text import JudgedPrompt, TextFidelity, summary
from muybridge.simulation.captions import Fact, prompt_and_facts
from muybridge.simulation.clip import simulate
from muybridge.simulation.palette import COLOURS
from muybridge.storage.video import read_mp4, write_mp4

Frames = UInt8[np.ndarray, "t h w 3"]


def compressed(frames: Frames, crf: int) -> Frames:
    """Through H.264 and back."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_mp4(path, frames, 7.5, crf=crf)
        return read_mp4(path).frames


def blurred(frames: Frames, radius: float, seed: int) -> Frames:
    """Soft as a model's clips are, with a grain of three levels."""
    grain = 3 * np.random.default_rng(seed).standard_normal(frames.shape, np.float32)
    soft = gaussian_filter(frames.astype(np.float32), (0, radius, radius, 0)) + grain
    made: Frames = np.rint(soft).clip(0, 255).astype(np.uint8)
    return made


def views(frames: Frames, seed: int) -> Iterator[tuple[str, Frames]]:
    """The same clip, more and more degraded."""
    yield "as rendered", frames
    yield "MP4, crf 18", compressed(frames, 18)
    yield "MP4, crf 23", compressed(frames, 23)
    for radius in (0.8, 1.5, 2.5):
        yield f"blurred, {radius} pixels", blurred(frames, radius, seed)


def nonsense(shape: tuple[int, ...], seed: int) -> Iterator[tuple[str, Frames]]:
    """Clips that show nothing."""
    rng = np.random.default_rng(seed)
    yield "white noise", rng.integers(0, 256, shape, np.uint8)
    clouds = gaussian_filter(rng.standard_normal(shape, np.float32), (1, 4, 4, 0))
    yield "coloured clouds", (128 + 60 * clouds / clouds.std()).clip(0, 255).astype(np.uint8)
    colour = np.array([int(rng.choice(list(COLOURS.values()))[i : i + 2], 16) for i in (1, 3, 5)], np.uint8)
    yield "one flat colour", np.broadcast_to(colour, shape).copy()
    yield "one flat grey", np.full(shape, 128, np.uint8)


def falsehoods(facts: tuple[Fact, ...], other: tuple[Fact, ...], seed: int) -> Iterator[tuple[str, tuple[Fact, ...]]]:
    """Words that are not true of a clip of which `facts` are, most of them nearly true."""
    rng = Random(f"falsehoods {seed}")
    i = rng.randrange(len(facts))
    shape = rng.choice([s for s in ("ball", "box", "cylinder") if s != facts[i].shape])
    colour = rng.choice([c for c in COLOURS if c not in [fact.colour for fact in facts]])
    yield "another prompt", other
    yield "one shape changed", (*facts[:i], replace(facts[i], shape=shape), *facts[i + 1 :])
    yield "one colour changed", (*facts[:i], replace(facts[i], colour=colour), *facts[i + 1 :])
    yield "one object too many", (*facts, Fact(colour, shape))
    if len(facts) > 1:
        yield "one object too few", facts[1:]


def table(clips: int) -> dict[str, tuple[float | None, TextFidelity]]:
    """For every kind of clip and words, the mean PSNR against the rendered clip and what the judge says."""
    judge, rows, decibel = Judge(), defaultdict(list), defaultdict(list)
    for seed in range(HELD_OUT, HELD_OUT + clips):
        prompt, facts = prompt_and_facts(seed)
        truth = simulate(seed, frames=17, fps=7.5).rgb  # the pictures that the judge picks from 33 at 15 fps
        for name, frames in views(truth, seed):
            seen = judge.see(frames)
            rows[name].append(JudgedPrompt(seed, prompt, compare(seen, facts)))
            decibel[name].append(psnr(frames, truth))
            if name == "MP4, crf 23":
                for kind, words in falsehoods(facts, prompt_and_facts(seed + 1)[1], seed):
                    rows[kind].append(JudgedPrompt(seed, prompt, compare(seen, words)))
        for name, frames in nonsense(truth.shape, seed) if seed % 4 == 0 else ():
            rows[name].append(JudgedPrompt(seed, prompt, judge.judge(frames, facts)))
    means = {name: float(np.mean(values)) for name, values in decibel.items()}
    return {name: (means.get(name), summary(row)) for name, row in rows.items()}


def show(found: dict[str, tuple[float | None, TextFidelity]]) -> None:
    print(f"{'':<22}{'PSNR':>6}  {'objects right':<30}{'count right':<30}both right")
    for name, (decibel, f) in found.items():
        level = "" if decibel is None else f"{decibel:.1f}"
        print(f"{name:<22}{level:>6}  {f.objects_right!s:<30}{f.count_right!s:<30}{f.right}")
    truth = found["MP4, crf 23"][1]
    print("\nObjects found, MP4 at crf 23:")
    for groups in (truth.by_colour, truth.by_shape):
        print("  " + ", ".join(f"{name} {m.value:.3f} of {m.n}" for name, m in groups.items()))
    print("Clips right by number of objects:")
    print("  " + ", ".join(f"{name}: {m.value:.3f} of {m.n}" for name, m in truth.by_count.items()))
    print(f"Sizes right: {truth.sizes_right}")
    for clip in truth.clips:
        if not clip.verdict.right:
            asked = [(f.colour, f.shape) for f in clip.verdict.facts]
            print(f"  missed: seed {clip.seed}, asked {asked}, seen {[(s.colour, s.shape) for s in clip.verdict.seen]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200, help="how many held-out clips (200)")
    parser.add_argument("--json", type=Path, help="write the whole table here")
    settings = parser.parse_args()
    torch.set_num_threads(1)
    found = table(settings.clips)
    show(found)
    if settings.json:
        rows = {name: {"psnr": decibel, **asdict(fidelity)} for name, (decibel, fidelity) in found.items()}
        settings.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
