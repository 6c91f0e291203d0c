"""Tasks x contestants -> results, clip by clip: whatever is known already is not done again.

A contestant is a folder of clips, `<task>.mp4`; one that can make what is missing has a function for that. Everybody's
clips are judged as they lie on the disk, the truth's as well, so that the codec's share is in every figure. What cannot
be read, or was not made, has failed, with a sentence that says why; nothing leaves the average.

Results are kept beside each other in a folder of the contestant. One is believed as long as its clip has the same bytes
and the code that makes tasks and verdicts is the same; a clip, as long as it was made of the same words and frames.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from muybridge.data.balls import Balls
from muybridge.evaluation.baselines import PLAIN, NearestClip
from muybridge.evaluation.resume import Watch
from muybridge.evaluation.suite import Frames, Split, Suite, Task, Verdict, fitted
from muybridge.storage.atomic import new_file
from muybridge.storage.video import Footage, read_header, read_metadata, read_mp4, write_mp4
from muybridge.types import Progress

TRUTH = "truth"
CEILING = "truth through the autoencoder"
NEAREST = "nearest training clip"

FASTEST = 120
"""Frames a second of what is handed in, at most: of a clip with more, only the beginning is read."""

FINEST = 16 * 128 * 128
"""Pixels of a picture of what is handed in, about, at most: larger ones are reduced while they are read."""

LONGEST = 600.0
"""Seconds: what plays longer is a film that somebody mistook for a clip."""

_KEY = "muybridge.task"  # metadata of a clip: what it was made of


class NoClip(ValueError):
    """A contestant has no clip for a task. The sentence says why; the task counts as failed."""


@dataclass(frozen=True)
class Entry:
    """A task that need not have been made yet."""

    suite: Suite
    split: Split
    number: int

    @property
    def name(self) -> str:
        """That of the task."""
        return f"{self.suite.name}-{self.split.replace(' ', '-')}-{self.number:04d}"

    def task(self) -> Task:
        """Simulated anew each time."""
        task = self.suite.task(self.split, self.number)
        assert task.name == self.name, (task.name, self.name)
        return task


@dataclass(frozen=True)
class Contestant:
    """Somebody whose clips are judged.

    clips     the folder in which `<task>.mp4` lie, or will
    verdicts  the folder that keeps the results
    key       what decides, beside the task, what it makes: a model's hash and settings; with another, all is done anew
    make      makes the clip of a task: frames of the truth's speed; it may raise NoClip. None: clips are handed in
    """

    name: str
    clips: Path
    verdicts: Path
    key: str = ""
    make: Callable[[Task], Frames] | None = None

    def file(self, entry: Entry) -> Path:
        return self.clips / f"{entry.name}.mp4"


@dataclass(frozen=True)
class Result:
    """What became of one clip.

    scene   SHA-256 of the truth's pixels: results of the same scene can be compared
    clip    SHA-256 of the file that was judged, "" if there was none
    key     that of the contestant
    code    what judged it, see `code`
    read    whether there was something to judge
    fitted  what was done to the clip before that, "" if it was as asked for
    """

    contestant: str
    key: str
    suite: str
    split: str
    number: int
    seed: int
    prompt: str
    known: int
    scene: str
    clip: str
    code: str
    read: bool
    score: float
    why: str
    errors: Mapping[str, float]
    groups: Mapping[str, str]
    fitted: str = ""


def maker(name: str, key: str, make: Callable[[Task], Frames], folder: Path) -> Contestant:
    """A contestant that makes its clips, and keeps them and its results in a folder of its name."""
    own = folder / re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")
    return Contestant(name, own, own, key, make)


def baselines(folder: Path, training: Sequence[int] = range(1000)) -> list[Contestant]:
    """The contestants that stand in every table: the truth, which gives the floor of every error, and the baselines.

    training  numbers of clips among which the nearest training clip is looked for
    """

    def plain(baseline: Callable[[Frames, int], Frames]) -> Callable[[Task], Frames]:
        return lambda task: baseline(task.given, len(task.truth.rgb))

    key = code()
    makes: dict[str, Callable[[Task], Frames]] = {TRUTH: lambda task: task.truth.rgb}
    makes |= {name: plain(baseline) for name, baseline in PLAIN.items()} | {NEAREST: _nearest(training)}
    return [maker(name, key, make, folder) for name, make in makes.items()]


def _nearest(training: Sequence[int]) -> Callable[[Task], Frames]:
    """Each task has its nearest clip in what is trained on for it: balls for phyworld, tabletop worlds for all else."""
    tabletop, balls = NearestClip(training), NearestClip(training, Balls())
    return lambda task: (balls if task.name.startswith("phyworld-") else tabletop)(task)


def run(entries: Sequence[Entry], contestants: Sequence[Contestant], watch: Watch | None = None) -> list[Result]:
    """The result of every contestant in every task, task by task. `watch` is called after each task.

    ValueError if a folder cannot be written to, or holds what is no result.
    """
    began, judge = time.monotonic(), code()
    results = []
    for n, entry in enumerate(entries, 1):
        task = cache(entry.task)
        results += [_result(entry, contestant, judge, task) for contestant in contestants]
        if watch is not None:
            watch(Progress(n, len(entries), time.monotonic() - began))
    return results


def code() -> str:
    """A digest of the code, and of the shapes' weights, by which tasks and verdicts are made."""
    home = Path(__file__).parents[1]
    found = hashlib.sha256()
    rooms = [file for room in ("simulation", "evaluation") for file in (home / room).glob("*.*")]
    others = ("data/worlds.py", "data/balls.py", "data/material.py", "storage/video.py")  # what is held out; files
    for file in sorted([*rooms, *(home / name for name in others)]):
        found.update(file.name.encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:12]


def _result(entry: Entry, contestant: Contestant, judge: str, make_task: Callable[[], Task]) -> Result:
    file, kept = contestant.file(entry), contestant.verdicts / f"{entry.name}.json"
    known = _read(kept) if kept.is_file() else None
    if known is not None and (known.key, known.code, known.clip) == (contestant.key, judge, _digest(file)):
        return replace(known, contestant=contestant.name)  # clips that are handed in may get another name
    task = make_task()
    if known is not None and contestant.make is not None and known.clip != _digest(file):
        file.unlink(missing_ok=True)  # it is not what was made: damaged, perhaps, after its first pages
    try:
        supply(contestant, task, file)
        verdict, read = judged(entry.suite, task, file), True
    except NoClip as error:
        verdict, read = Verdict(0.0, str(error)), False
    result = Result(
        contestant=contestant.name,
        key=contestant.key,
        suite=entry.suite.name,
        split=task.split,
        number=entry.number,
        seed=task.seed,
        prompt=task.prompt,
        known=task.known,
        scene=hashlib.sha256(task.truth.rgb.tobytes()).hexdigest(),
        clip=_digest(file),
        code=judge,
        read=read,
        score=verdict.score,
        why=verdict.why,
        errors=dict(verdict.errors),
        groups=dict(task.groups),
        fitted=adaptation(file, task) if read else "",
    )
    with new_file(kept) as temporary:
        temporary.write_text(json.dumps(asdict(result), allow_nan=False), encoding="utf-8")
    return result


def supply(contestant: Contestant, task: Task, file: Path) -> None:
    """Makes the clip of a task, if somebody can, unless it is there. NoClip if it comes to nothing."""
    made_of = _made_of(contestant, task)
    if contestant.make is None or _holds(file, made_of):
        return
    file.unlink(missing_ok=True)  # what lies there was made of something else
    write_mp4(file, contestant.make(task), task.truth.fps, {_KEY: made_of})


def judged(suite: Suite, task: Task, file: Path) -> Verdict:
    """The verdict on a clip of any speed, size, codec and length. NoClip if it cannot be read, or is too short."""
    if not file.is_file():
        raise NoClip("there is no clip")
    seconds = len(task.truth.rgb) / task.truth.fps
    try:
        footage, plays = read_clip(file, seconds), read_header(file).seconds or 0.0
    except ValueError as error:
        raise NoClip(str(error).replace(str(file), file.name)) from error
    if plays > LONGEST:
        raise NoClip(f"it plays {plays / 60:.0f} minutes, asked for are {seconds:.1f} seconds: cut it to these")
    asked = fitted(footage.frames, footage.fps, task)
    if asked is None:
        played = len(footage.frames) / footage.fps
        raise NoClip(f"the clip is too short: it plays {played:.2f} s of {seconds:.2f} s")
    return _finite(suite.judge(task, *asked))


def adaptation(file: Path, task: Task) -> str:
    """What has to be done to a clip, so that it is like its task; "" if it is. By what the file says of itself."""
    found, (count, height, width), fps = read_header(file), task.truth.rgb.shape[:3], task.truth.fps
    done = []
    if found.fps is not None and abs(found.fps - fps) > 0.01 * fps:
        done.append(f"{found.fps:.4g} frames a second taken as {fps:g}")
    if (found.width, found.height) != (width, height):
        done.append(f"{found.width}x{found.height} brought to {width}x{height}")
    if found.width * height != found.height * width:
        done.append("cropped in the middle")
    if found.seconds is not None and found.seconds > (count + 1) / fps:
        done.append(f"{found.seconds:.1f} s cut to {count / fps:.1f}")
    return ", ".join(done)


def read_clip(file: Path, seconds: float) -> Footage:
    """What can be needed of a clip for a task of so many seconds: a gigabyte at most. ValueError as in `read_mp4`."""
    return read_mp4(file, None, round((seconds + 1) * FASTEST), seconds + 1, FINEST)


def pixels_of(frames: np.ndarray) -> Frames:
    """Frames in [0, 1] as uint8; NoClip if any of them is not a number."""
    bad = ~np.isfinite(frames).reshape(len(frames), -1).all(axis=1)
    if bad.any():
        raise NoClip(f"frame {int(bad.argmax())} holds NaN or infinity, {int(bad.sum())} of {len(frames)} frames do")
    pixels: Frames = np.rint(np.clip(frames, 0, 1) * 255).astype(np.uint8)
    return pixels


def _finite(verdict: Verdict) -> Verdict:
    """Without errors that could not be measured."""
    errors = {name: float(value) for name, value in verdict.errors.items() if np.isfinite(value)}
    return Verdict(float(verdict.score), verdict.why, errors)


def _made_of(contestant: Contestant, task: Task) -> str:
    """A digest of all that decides what a clip shows; of the whole truth, for one of the contestants makes that."""
    asked = [contestant.name, contestant.key, task.name, task.prompt, task.known, task.truth.rgb.shape, task.truth.fps]
    return hashlib.sha256(json.dumps(asked).encode() + task.truth.rgb.tobytes()).hexdigest()


def _holds(file: Path, made_of: str) -> bool:
    """Whether the clip there is whole and was made of this."""
    try:
        return file.is_file() and read_metadata(file).get(_KEY) == made_of
    except ValueError:  # it is damaged
        return False


def _digest(file: Path) -> str:
    if not file.is_file():
        return ""
    with file.open("rb") as content:  # which need not fit into the memory
        return hashlib.file_digest(content, "sha256").hexdigest()


def _read(path: Path) -> Result:
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path} holds no result of a clip: delete it, and it is made again") from error


def parse(record: Any) -> Result:
    """A Result of what JSON says. ValueError if that is none."""
    texts = ("contestant", "key", "suite", "split", "prompt", "scene", "clip", "code", "why", "fitted")
    numbers = ("number", "seed", "known", "score")
    if isinstance(record, dict):
        record = {"fitted": "", **record}  # earlier versions did not tell
    if not isinstance(record, dict) or record.keys() != Result.__dataclass_fields__.keys():
        raise ValueError("not the fields of a result")
    plain = all(isinstance(record[key], str) for key in texts)
    plain = plain and all(isinstance(record[key], int | float) for key in numbers) and isinstance(record["read"], bool)
    errors, groups = record["errors"], record["groups"]
    plain = plain and isinstance(errors, dict) and all(isinstance(value, int | float) for value in errors.values())
    if not plain or not isinstance(groups, dict) or not all(isinstance(value, str) for value in groups.values()):
        raise ValueError("not the fields of a result")
    return Result(**record)
