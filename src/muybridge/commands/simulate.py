"""`muybridge simulate`: seeds in, clips with their truth out, each a handful of files.

Of a clip, the MP4 is written last, so where an MP4 lies, everything beside it is whole: an interrupted run goes on, and
a training that reads the folder meanwhile never meets half a clip.
"""

from __future__ import annotations

import functools
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from rich.console import Console

from muybridge.commands.options import size_of
from muybridge.commands.progress import meter
from muybridge.data.processes import interrupts_ignored, pool_of
from muybridge.simulation import Clip, Mesh, read_meshes, simulate
from muybridge.simulation.meshes import digest
from muybridge.storage.atomic import check_writable, new_file
from muybridge.storage.video import read_mp4, write_mp4

SHEET = "contact-sheet.png"
SHOWN, MOMENTS = 6, 4
"""Clips on the contact sheet, and frames of each."""


@dataclass(frozen=True)
class Job:
    """One clip to be made: `truth` asks for the arrays too, `meshes` names a folder of them."""

    folder: Path
    seed: int
    frames: int
    height: int
    width: int
    fps: float
    truth: bool
    meshes: Path | None = None

    def file(self, suffix: str) -> Path:
        """The clip's file of one kind: .mp4, .txt, .json or .npz."""
        return self.folder / f"world-{self.seed:08d}{suffix}"


def run(
    folder: Path,
    clips: int,
    seed: int,
    size: str,
    frames: int,
    fps: float,
    processes: int,
    with_truth: bool,
    meshes: Path | None = None,
) -> None:
    """Makes the clips that are not there yet. ValueError for what cannot be made or written."""
    width, height = size_of(size)
    jobs = jobs_of(Job(folder, seed, frames, height, width, fps, with_truth, meshes), clips)
    if not 1 <= processes <= 4 * (os.cpu_count() or 1):
        raise ValueError(f"--processes is {processes}: take 1 to {4 * (os.cpu_count() or 1)}")
    meshes_in(meshes)
    check_writable(folder / SHEET)
    missing = [job for job in jobs if not is_whole(job)]
    notes = Console(stderr=True, highlight=False, emoji=False)
    with meter(notes) as bar:
        task = bar.add_task("simulating", total=len(jobs), completed=len(jobs) - len(missing))
        for _ in _made(missing, min(processes, len(missing))):
            bar.advance(task)
    sheet(jobs[:SHOWN], folder / SHEET)
    there = f", {len(jobs) - len(missing)} already there" if len(missing) < len(jobs) else ""
    print(f"clips          {folder} ({len(missing)} made{there})")
    print(f"contact sheet  {folder / SHEET}")


def jobs_of(first: Job, clips: int) -> list[Job]:
    """Jobs for `clips` seeds from the first on; ValueError for what cannot be made."""
    if not 1 <= clips <= 1_000_000:
        raise ValueError(f"--clips is {clips}: take 1 to 1,000,000")
    if not 0 <= first.seed < 2**63 - clips:
        raise ValueError(f"--seed is {first.seed}: take 0 to {2**63 - clips - 1}")
    if not (first.frames >= 1 and (first.frames - 1) % 4 == 0):
        low = max(1, first.frames - (first.frames - 1) % 4)
        raise ValueError(f"--frames is {first.frames}, and a clip has 1 + 4k: take {low} or {low + 4}")
    if first.frames > 1001:
        raise ValueError(f"--frames is {first.frames}: take at most 1001, the worlds come to rest long before")
    if not (1 <= first.fps <= 120):
        raise ValueError(f"--fps is {first.fps:g}: take 1 to 120")
    for side in (first.width, first.height):
        if not 16 <= side <= 2048 or side % 2:
            nearest = min(2048, max(16, side + side % 2))
            raise ValueError(f"--size has a side of {side}: take even ones from 16 to 2048, the nearest is {nearest}")
    return [replace(first, seed=seed) for seed in range(first.seed, first.seed + clips)]


def is_whole(job: Job) -> bool:
    """Whether the clip lies there already. ValueError if one with other settings does."""
    if not all(job.file(suffix).is_file() for suffix in (".mp4", ".txt", ".json")):
        return False
    try:
        found = json.loads(job.file(".json").read_text(encoding="utf-8"))
        same = all(found[key] == value for key, value in _identity(job).items() if key != "meshes")
        other = found.get("meshes") != _identity(job).get("meshes")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{job.file('.json')} is damaged or not ours: remove it, or choose another folder") from error
    if not same:
        made = f"{found['frames']} frames of {found['width']}x{found['height']} at {found['fps']:g} fps"
        raise ValueError(f"{job.file('.mp4')} exists and has {made}: choose another folder, or the same settings")
    if other:
        raise ValueError(f"{job.file('.mp4')} exists and has other meshes: choose another folder, or the same meshes")
    return job.file(".npz").is_file() or not job.truth


def make(job: Job) -> None:
    """Simulates a clip and writes its files, each of them whole or not at all."""
    clip = simulate(job.seed, job.frames, job.height, job.width, job.fps, meshes=meshes_in(job.meshes))
    if job.truth:
        arrays = {"depth": clip.depth, "flow": clip.flow, "instance": clip.instance, "normal": clip.normal}
        write_arrays(job.file(".npz"), arrays)
    _write_text(job.file(".json"), to_json({**_identity(job), **truth(clip)}))
    _write_text(job.file(".txt"), "".join(f"{caption}\n" for caption in clip.captions))
    write_mp4(job.file(".mp4"), clip.rgb, clip.fps, {"title": clip.captions[-1]})


def truth(clip: Clip) -> dict[str, Any]:
    """All but pixels that is true of a clip, as plain JSON: metres, seconds, radians, rounded to a micrometre.

    objects   in the order of the instance masks, where object i is i + 1; props come after
    states    per frame and object: position, quaternion (w, x, y, z), velocity, spin, visible share of its outline
    events    contact (first, second: indices of objects, then props), landed, hidden (by: object or prop)
    camera    its move; per frame the pose (camera to world, 4x4, OpenCV axes) and the intrinsics (3x3, pixels)
    """
    return {
        "captions": clip.captions,
        "objects": [asdict(thing) for thing in clip.objects],
        "events": [{"kind": type(event).__name__.lower(), **asdict(event)} for event in clip.events],
        "move": clip.world.move.kind,
        "states": {name: _rounded(array) for name, array in vars(clip.states).items()},
        "camera": {name: _rounded(array) for name, array in vars(clip.camera).items()},
    }


def to_json(content: Mapping[str, Any]) -> str:
    """One line a key: compact, and still something to read."""
    lines = [f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in content.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def write_arrays(path: Path, arrays: Mapping[str, Shaped[np.ndarray, "..."]]) -> None:
    """A .npz that numpy.load reads, at zlib's fastest level: numpy's own takes several times as long for 9 % less."""
    with new_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.ascontiguousarray(array), allow_pickle=False)


def sheet(jobs: list[Job], path: Path) -> None:
    """A PNG with a row for each clip: moments from first to last."""
    from muybridge.storage.stills import contact_sheet

    pictures, captions = [], []
    for job in jobs:
        frames = read_mp4(job.file(".mp4")).frames
        shown = np.linspace(0, len(frames) - 1, min(MOMENTS, len(frames))).round().astype(int)
        pictures.append(frames[shown])
        captions += [f"seed {job.seed}, {i / job.fps:.2f} s" for i in shown]
    title = f"Simulated worlds of seeds {jobs[0].seed} to {jobs[-1].seed}"
    frames = np.concatenate(pictures)
    contact_sheet(frames, path, columns=len(pictures[0]), most=len(frames), captions=captions, title=title)


def _identity(job: Job) -> dict[str, Any]:
    """What decides a clip's bytes."""
    asked = {"seed": job.seed, "frames": job.frames, "height": job.height, "width": job.width, "fps": float(job.fps)}
    digests = [[mesh.name, digest(mesh)] for mesh in meshes_in(job.meshes)]
    return {**asked, "meshes": digests} if digests else asked


@functools.cache
def meshes_in(folder: Path | None) -> tuple[Mesh, ...]:
    """The meshes of a folder, read once in each process. ValueError for what cannot be used."""
    return read_meshes(folder) if folder else ()


def _made(jobs: list[Job], processes: int) -> Iterator[None]:
    """Makes the clips, one after the other or several at a time; yields as each is done."""
    if processes <= 1:
        for job in jobs:
            make(job)
            yield
        return
    with pool_of(processes, "--processes") as pool:
        with interrupts_ignored():
            futures = [pool.submit(make, job) for job in jobs]
        for done in as_completed(futures):
            yield done.result()


def _write_text(path: Path, text: str) -> None:
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _rounded(array: Shaped[np.ndarray, "..."]) -> Any:
    return (np.round(array, 6) + 0.0).tolist()  # + 0.0: no -0.0
