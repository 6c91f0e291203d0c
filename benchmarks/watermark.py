"""The mark in the pixels: how little it changes, what it survives, and how often it is seen where it is not.

    python benchmarks/watermark.py [--clips 16] [--keys 1000] [--json PATH]

Clips of 33 frames of 128x128: simulated worlds, and half as many of one colour each. Codecs and sizes are applied to
what `muybridge generate` would write (crf 12). False alarms are sought in the same clips without a mark, with many
keys.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import UInt8
from measuring import Spread, machine, report
from PIL import Image
from rich.table import Table

from muybridge.simulation.clip import simulate
from muybridge.storage.video import read_mp4, write_mp4
from muybridge.storage.watermark import FALSE_ALARM, NEEDED, embed, read

Frames = UInt8[np.ndarray, "t h w 3"]
Change = Callable[[Frames], Frames]
SEED = 2**40 + 5_000
"""Of the first world: no model learnt from it."""


def coded(crf: int) -> Change:
    def change(frames: Frames) -> Frames:
        with TemporaryDirectory() as folder:
            write_mp4(f"{folder}/clip.mp4", frames, 15.0, crf=crf)
            return read_mp4(f"{folder}/clip.mp4").frames

    return change


def resized(side: int) -> Change:
    def change(frames: Frames) -> Frames:
        return np.stack([np.asarray(Image.fromarray(f).resize((side, side), Image.Resampling.BICUBIC)) for f in frames])

    return change


def after(*changes: Change) -> Change:
    def change(frames: Frames) -> Frames:
        for one in changes:
            frames = one(frames)
        return frames

    return change


def trimmed(share: float) -> Change:
    """The edges cut off, and what is left at the old size."""

    def change(frames: Frames) -> Frames:
        edge = round(frames.shape[1] * share)
        return resized(frames.shape[1])(frames[:, edge:-edge, edge:-edge])

    return change


CHANGES: Mapping[str, Change] = {
    "as written": lambda frames: frames,
    "H.264 crf 23": coded(23),
    "96x96, crf 23": after(resized(96), coded(23)),
    "192x192, crf 23": after(resized(192), coded(23)),
    "256x256, crf 23": after(resized(256), coded(23)),
    "96x96 and back, crf 23": after(resized(96), resized(128), coded(23)),
    "64x64, crf 23": after(resized(64), coded(23)),
    "H.264 crf 28": coded(28),
    "H.264 crf 33": coded(33),
    "last third, crf 23": lambda frames: coded(23)(frames[-(len(frames) // 3) :]),
    "one frame": lambda frames: frames[:1],
    "20 levels brighter": lambda frames: np.minimum(frames, 235) + np.uint8(20),
    "1 % trimmed off each edge": trimmed(0.01),
    "5 % trimmed off each edge": trimmed(0.05),
    "mirrored": lambda frames: frames[:, :, ::-1],
}


def clips(count: int, side: int, frames: int) -> dict[str, Frames]:
    """Worlds, and flat clips of any colour."""
    rng = np.random.default_rng(0)
    found = {f"world {i}": simulate(SEED + i, frames, side, side).rgb for i in range(count)}
    for i in range(-(-count // 2)):
        colour = rng.integers(0, 256, 3, dtype=np.uint8)
        found[f"flat {i}"] = np.broadcast_to(colour, (frames, side, side, 3))
    return found


def psnr(one: Frames, other: Frames) -> float:
    return float(10 * np.log10(255**2 / np.square(one.astype(np.float64) - other).mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=16, help="worlds; half as many flat clips come on top")
    parser.add_argument("--keys", type=int, default=1000, help="keys with which false alarms are sought, in all")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    rng = np.random.default_rng(1)
    originals = clips(options.clips, options.side, options.frames)
    decibels: dict[str, list[float]] = {"world": [], "flat": []}
    scores: dict[str, list[float]] = {name: [] for name in CHANGES}
    found: dict[str, list[bool]] = {name: [] for name in CHANGES}
    right: dict[str, list[bool]] = {name: [] for name in CHANGES}
    unmarked: list[float] = []
    for i, (name, frames) in enumerate(originals.items()):
        message = int(rng.integers(2**32))
        marked = embed(frames, message)
        decibels[name.split()[0]].append(psnr(frames, marked))
        written = coded(12)(marked)
        for change, apply in CHANGES.items():
            reading = read(apply(written))
            scores[change].append(reading.score)
            found[change].append(reading.found)
            right[change].append(reading.message == message)
        bare = coded(23)(frames)[:: max(1, options.frames // 3)]
        keys = (f"{i} {k}".encode() for k in range(-(-options.keys // len(originals))))
        unmarked += [read(bare, key).score for key in keys]

    table = Table("what became of the clip", "found", "number read", "score (quartiles)", "least")
    for change, values in scores.items():
        shares = f"{np.mean(found[change]):.1%}", f"{np.mean(right[change]):.1%}"
        table.add_row(change, *shares, Spread.of(values).text(1), f"{min(values):.1f}")
    alarms = sum(score >= NEEDED for score in unmarked)
    notes = [f"PSNR, {kind} clips: {Spread.of(of).text(1)} dB, least {min(of):.1f}" for kind, of in decibels.items()]
    notes += [
        f"without a mark: {alarms} of {len(unmarked)} readings found one; the highest score is {max(unmarked):.1f}, "
        f"{NEEDED:.1f} is needed; stated: at most {FALSE_ALARM:g} of them"
    ]
    facts: dict[str, Any] = {"machine": machine(), "psnr": decibels, "scores": scores, "found": found, "right": right}
    report(table, notes, facts | {"unmarked": unmarked, "false_alarms": alarms}, options.json)


if __name__ == "__main__":
    main()
