"""A folder of MP4s with captions, as clips of a few sizes and lengths.

Captions stand in `name.txt` beside `name.mp4`, one a line, or in the folder's `captions.jsonl`, a line a file:
{"file": "name.mp4", "captions": ["…", "…"]}.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import UInt8

from muybridge.data.epochs import Epochs
from muybridge.data.source import Encode, choose, clip_seeds, draw, share, token_ids
from muybridge.data.window import Probe, probe, read_window
from muybridge.types import Batch, latent_frames


@dataclass(frozen=True)
class Bucket:
    """A shape that clips are brought to: 1 + 4k frames, pixels. All clips of a batch are from one bucket."""

    frames: int
    height: int
    width: int

    def __post_init__(self) -> None:
        latent_frames(self.frames)
        if min(self.height, self.width) < 1:
            raise ValueError(f"a bucket is at least a pixel high and wide, not {self.height}x{self.width}")


@dataclass(frozen=True)
class File:
    """A video of the folder: what it says and what is known of it; every `stride`-th frame is used."""

    path: Path
    captions: tuple[str, ...]
    about: Probe
    stride: int

    @property
    def fps(self) -> float:
        return self.about.fps / self.stride

    def starts(self, frames: int) -> int:
        """Frames at which a window of `frames` can start."""
        return self.about.frames - (frames - 1) * self.stride


class Footage:
    """A source of clips from the MP4s below `folder`: each time another window of a file, in its bucket's shape.

    A file goes to the buckets nearest to its aspect ratio, of every length that it is long enough for. In an epoch each
    bucket meets each of its files once. Files too short for these are left out and named in `skipped`.

    fps                        frames a second wanted: of faster files every second, third, … frame is used, so that
                               the rate is near it; None leaves them as they are. `Batch.fps` is what it became
    encode_text, text_length   captions to ids, and the length they are padded to; without the former, no text

    ValueError for a folder without MP4s, files that cannot be read or lack captions (all of them named), captions
    that are too long.
    """

    def __init__(
        self,
        folder: Path | str,
        buckets: Sequence[Bucket],
        batch: int,
        seed: int = 0,
        fps: float | None = None,
        encode_text: Encode | None = None,
        text_length: int = 64,
    ) -> None:
        self.folder, self.clips, self.seed = Path(folder), batch, seed
        self.encode_text, self.text_length = encode_text, text_length
        files = _files(self.folder, fps, captioned=encode_text is not None)
        members = {bucket: [file for file in files if bucket in _fitting(file, buckets)] for bucket in buckets}
        used = {file.path for row in members.values() for file in row}
        self.skipped = tuple(file.path for file in files if file.path not in used)
        if not used:
            longest = max(file.starts(1) // file.stride for file in files)
            raise ValueError(
                f"all {len(files)} videos in {folder} are shorter than their buckets: the longest has {longest} frames"
            )
        if encode_text is not None:
            for file in files:
                token_ids(file.captions, encode_text, text_length)  # one that is too long is better found now than then
        self._members = {bucket: row for bucket, row in members.items() if row}
        self._epochs = Epochs(tuple(len(row) for row in self._members.values()), batch, seed)

    def __len__(self) -> int:
        return len({file.path for row in self._members.values() for file in row})

    @property
    def files(self) -> list[File]:
        """The files in use, each once for every bucket it fits."""
        return [file for row in self._members.values() for file in row]

    def check(self, bucket: Bucket) -> None:
        """ValueError if none of the files goes to this bucket."""
        if bucket not in self._members:
            others = ", ".join(f"{other.width}x{other.height}" for other in self._members)
            raise ValueError(
                f"of the videos in {self.folder} none of {bucket.frames} frames or more is nearest to "
                f"{bucket.width}x{bucket.height}, they are to {others}: leave that size out, or add such videos"
            )

    def window(self, number: int, bucket: Bucket) -> tuple[UInt8[np.ndarray, "t h w 3"], File]:
        """Window `number` of an endless row in which the bucket's files take turns, and the file it is of."""
        self.check(bucket)
        row = self._members[bucket]
        file = row[number % len(row)]
        return _window(file, bucket, draw(self.seed, number, 3)), file

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        places = share(self.clips, rank, world)
        group, members = self._epochs.at(step)
        bucket, row = list(self._members.items())[group]
        files = [row[int(members[place])] for place in places]
        seeds = clip_seeds(self.seed, step, places)
        pairs = list(zip(files, seeds.tolist(), strict=True))
        video = torch.from_numpy(np.stack([_window(file, bucket, seed) for file, seed in pairs]))
        captions = [choose(file.captions, seed) for file, seed in pairs]
        return Batch(
            video=rearrange(video, "b t h w c -> b t c h w").contiguous(),
            text=token_ids(captions, self.encode_text, self.text_length) if self.encode_text else None,
            fps=torch.tensor([file.fps for file in files]),
            seed=seeds,
        )


def _window(file: File, bucket: Bucket, seed: int) -> UInt8[np.ndarray, "t h w 3"]:
    first = draw(seed, 2) % file.starts(bucket.frames)
    moments = (first + file.stride * np.arange(bucket.frames)) / file.about.fps
    return read_window(file.path, file.about, moments, bucket.height, bucket.width)


def _fitting(file: File, buckets: Sequence[Bucket]) -> set[Bucket]:
    """The buckets of a file: those nearest to its aspect ratio, if it is long enough for them."""

    def distance(bucket: Bucket) -> float:
        return round(abs(math.log(bucket.width / bucket.height * file.about.height / file.about.width)), 6)

    nearest = min(map(distance, buckets))
    return {bucket for bucket in buckets if distance(bucket) == nearest and file.starts(bucket.frames) >= 1}


def _files(folder: Path, fps: float | None, captioned: bool) -> list[File]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".mp4")
    if not paths:
        raise ValueError(f"there are no MP4 files in {folder}")
    listed = _listed(folder)
    captions = {path: listed.get(path) or _beside(path) for path in paths}
    if captioned:
        _refuse(
            "lack captions (a .txt beside each, or a line in captions.jsonl)", [p for p in paths if not captions[p]]
        )
    probes: dict[Path, Probe] = {}
    damaged: list[str] = []
    for path in paths:
        try:
            probes[path] = probe(path)
        except ValueError as error:
            damaged.append(str(error))
    if damaged:
        raise ValueError("; ".join(damaged[:5]) + (f"; and {len(damaged) - 5} more" if len(damaged) > 5 else ""))
    return [File(p, captions[p], probes[p], max(1, round(probes[p].fps / fps)) if fps else 1) for p in paths]


def _refuse(what: str, paths: Sequence[Path]) -> None:
    if paths:
        names = ", ".join(str(path) for path in paths[:5]) + (", …" if len(paths) > 5 else "")
        raise ValueError(f"{len(paths)} videos {what}: {names}")


def _beside(path: Path) -> tuple[str, ...]:
    text = path.with_suffix(".txt")
    return _clean(_read(text).splitlines()) if text.exists() else ()


def _listed(folder: Path) -> Mapping[Path, tuple[str, ...]]:
    """`captions.jsonl`, if there is one. ValueError names the line that is wrong."""
    path = folder / "captions.jsonl"
    found: dict[Path, tuple[str, ...]] = {}
    for number, line in enumerate(_read(path).splitlines() if path.exists() else (), 1):
        if line.strip():
            file, captions = _entry(line, f"{path}, line {number}")
            if not (folder / file).is_file():
                raise ValueError(f"{path}, line {number}: there is no {folder / file}")
            found[folder / file] = captions
    return found


def _entry(line: str, where: str) -> tuple[str, tuple[str, ...]]:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not JSON: {error}") from error
    if isinstance(entry, dict) and isinstance(entry.get("file"), str) and isinstance(entry.get("captions"), list):
        captions = entry["captions"]
        if all(isinstance(caption, str) for caption in captions):
            return entry["file"], _clean(captions)
    raise ValueError(f'{where} is not of the form {{"file": "name.mp4", "captions": ["…"]}}')


def _clean(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(line.strip() for line in lines if line.strip())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: save it as UTF-8") from error
