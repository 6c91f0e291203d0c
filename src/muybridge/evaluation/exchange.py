"""Tasks for systems that are somewhere else: a folder goes out, MP4s come back, and are judged like everybody's.

    manifest.json            what is asked for: names, words, frames a second, size, seeds
    README.txt               the same in words
    given/<task>.png, .mp4   the first frame, and all known frames; nothing of what comes after them
    clips/<task>.mp4         what is to be filled in
    results/                 what has been found, clip by clip

The truth is not in the folder: it is made again from the seeds, and the given frames are compared with it, so nobody is
judged by another version's truth.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from muybridge.evaluation.running import Contestant, Entry
from muybridge.evaluation.suite import Suite, Task
from muybridge.storage.atomic import check_writable, new_file
from muybridge.storage.video import write_mp4
from muybridge.types import Progress

FORMAT = 1
"""Version of the manifest."""

MANIFEST, README, GIVEN, CLIPS, RESULTS = "manifest.json", "README.txt", "given", "clips", "results"

_FIELDS = {
    "name": str,
    "suite": str,
    "split": str,
    "number": int,
    "seed": int,
    "prompt": str,
    "fps": int | float,
    "frames": int,
    "width": int,
    "height": int,
    "known": int,
    "given": str,
}

_INSTRUCTIONS = """What to do with this folder
===========================

manifest.json lists {count} clips to make. For each of them:

1. Read its "prompt", and its known frames: given/NAME.png is the first frame, given/NAME.mp4 has all "known" frames. A
   system that takes a single picture gets the PNG, one that continues a clip gets the MP4.
2. Make a clip that begins with the known frames and plays "frames" / "fps" seconds in all.
3. Save it as clips/NAME.mp4.

The size, the frame rate and the codec may be others: clips are scaled, cropped in the middle to the right shape, and
read at the right moments. A longer clip is cut. One that is more than a tenth of a second too short has failed, as has
one that is missing or cannot be read; the rest is judged all the same.

Then:  muybridge bench score FOLDER     (this folder; again, whenever clips have been added)
"""


def export(entries: Sequence[Entry], folder: Path, watch: Callable[[Progress], None] = lambda event: None) -> None:
    """Writes the tasks into a folder. What is there already is written again, clips that were filled in stay.

    ValueError if the folder holds another manifest, or cannot be written to.
    """
    manifest = folder / MANIFEST
    check_writable(manifest)
    before = _before(manifest)
    rows = []
    for n, entry in enumerate(entries, 1):
        task = entry.task()
        rows.append(_row(entry, task))
        if before is not None and rows != before[:n]:
            raise ValueError(f"{manifest} is of other tasks: export to a new folder, or delete it")
        _hand_out(task, folder / GIVEN)
        watch(Progress(n, len(entries), 0.0))
    if before is not None and len(before) > len(rows):
        raise ValueError(f"{manifest} is of other tasks: export to a new folder, or delete it")
    text = json.dumps({"format": FORMAT, "tasks": rows}, indent=1) + "\n"
    (folder / CLIPS).mkdir(exist_ok=True)
    for path, content in ((folder / README, _INSTRUCTIONS.format(count=len(rows))), (manifest, text)):
        with new_file(path) as temporary:
            temporary.write_text(content, encoding="utf-8")


def entries_of(folder: Path, suites: Mapping[str, Suite]) -> list[Entry]:
    """The tasks of a folder that was exported. ValueError, saying what is wrong, if its manifest is no list of them."""
    path = folder / MANIFEST
    content = _read(path)
    entries = [_entry(row, n, path, suites) for n, row in enumerate(content)]
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{path} lists {twice} twice: export the folder again")
    for entry, row in zip(entries, content, strict=True):
        _check(entry.task(), row, path)
    return entries


def submission(folder: Path, name: str) -> Contestant:
    """Whoever filled in the clips of a folder."""
    return Contestant(name, folder / CLIPS, folder / RESULTS / "handed-in")


def stray(folder: Path, entries: Sequence[Entry]) -> list[str]:
    """Files among the clips that no task asks for: misspelt names, perhaps."""
    asked = {f"{entry.name}.mp4" for entry in entries}
    return sorted(file.name for file in (folder / CLIPS).glob("*") if file.name not in asked)


def _hand_out(task: Task, folder: Path) -> None:
    with new_file(folder / f"{task.name}.png") as temporary:
        Image.fromarray(task.given[0]).save(temporary, "PNG")
    write_mp4(folder / f"{task.name}.mp4", task.given, task.truth.fps, crf=4)


def _row(entry: Entry, task: Task) -> dict[str, Any]:
    frames, height, width = task.truth.rgb.shape[:3]
    return {
        "name": task.name,
        "suite": entry.suite.name,
        "split": task.split,
        "number": entry.number,
        "seed": task.seed,
        "prompt": task.prompt,
        "fps": task.truth.fps,
        "frames": frames,
        "width": width,
        "height": height,
        "known": task.known,
        "given": _given(task),
    }


def _before(path: Path) -> list[Any] | None:
    """The tasks that a folder holds; None if there are none, or its manifest cannot be read: it is written anew."""
    try:
        return _read(path)
    except ValueError:
        return None


def _given(task: Task) -> str:
    return hashlib.sha256(task.given.tobytes()).hexdigest()


def _read(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(
            f"cannot read {path}: {error.strerror}: give a folder made by muybridge bench export"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path} is damaged: it is no JSON: export the folder again, the clips stay") from error
    if not isinstance(content, dict) or not isinstance(content.get("tasks"), list) or not content["tasks"]:
        raise ValueError(f"{path} lists no tasks: give a folder made by muybridge bench export")
    if content.get("format") != FORMAT:
        raise ValueError(f"{path} is of format {content.get('format')!r}, this program reads {FORMAT}: export it again")
    tasks: list[Any] = content["tasks"]
    return tasks


def _entry(row: Any, n: int, path: Path, suites: Mapping[str, Suite]) -> Entry:
    where = f"{path}, task {n}"
    if not isinstance(row, dict):
        raise ValueError(f"{where} is {str(row)[:40]!r}, not a task: export the folder again")
    for key, kind in _FIELDS.items():
        if not isinstance(row.get(key), kind) or isinstance(row[key], bool):
            raise ValueError(f"{where} has {str(row.get(key))[:40]!r} for its {key}: export the folder again")
    suite = suites.get(row["suite"])
    if suite is None:
        raise ValueError(f"{where} is of the suite {row['suite']!r}: known are {', '.join(suites)}")
    split = next((split for split in suite.splits if split == row["split"]), None)
    if split is None:
        raise ValueError(f"{where} is of the split {row['split']!r}: {suite.name} has {', '.join(suite.splits)}")
    if row["number"] < 0:
        raise ValueError(f"{where} has the number {row['number']}: tasks are numbered from 0")
    return Entry(suite, split, row["number"])


def _check(task: Task, row: Mapping[str, Any], path: Path) -> None:
    """Whether the manifest means this very task."""
    frames, height, width = task.truth.rgb.shape[:3]
    here = (task.name, task.seed, task.prompt, task.truth.fps, frames, width, height, task.known, _given(task))
    keys = ("name", "seed", "prompt", "fps", "frames", "width", "height", "known", "given")
    for key, value in zip(keys, here, strict=True):
        if row[key] != value:
            said = f"{key} {str(row[key])[:40]!r}, here it is {str(value)[:40]!r}"
            raise ValueError(
                f"{path} is of another version, or was changed: {row['name']} has the {said}: export it again"
            )
