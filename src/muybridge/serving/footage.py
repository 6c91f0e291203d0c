"""Videos that clients hand in, to be carried on or made over: seen to be whole and small enough, kept as they are."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from muybridge.serving.errors import invalid
from muybridge.serving.fetching import given
from muybridge.serving.settings import ServerSettings
from muybridge.serving.shelves import Shelf
from muybridge.storage.video import measure, read_mp4

SHELF = Shelf("footage", ".video")
MOST_SAMPLES = 1 << 30
"""Bytes of all frames of a video when they are decoded: 26 s of 1280x720 at 15 frames a second."""

_LOOKED_AT, _LOOKED_AT_PIXELS = 16, 512 * 512
_HEADS = ((4, b"ftyp"), (0, b"\x1a\x45\xdf\xa3"), (0, b"GIF8"))
"""MP4 and MOV, WebM and Matroska, GIF. FFmpeg would read much more, among it lists of other files of this machine."""

_decoding = threading.BoundedSemaphore(2)


class Footage(NamedTuple):
    """A video that is kept: its name, seconds that it plays, pixels of a frame."""

    name: str
    seconds: float
    width: int
    height: int

    def frames_at(self, fps: float) -> int:
        """Frames of it when it is read at so many a second."""
        return max(1, round(self.seconds * fps))


def is_video(content: bytes) -> bool:
    """Whether it begins as a video does that is read here."""
    return any(content[at : at + len(magic)] == magic for at, magic in _HEADS)


def keep_footage(content: bytes, settings: ServerSettings, param: str | None = None) -> Footage:
    """A video, kept. Refusal (400) if it is none, damaged, or more than can be read; see `MOST_SAMPLES`."""
    if not 0 < len(content) <= settings.max_video_bytes:
        raise invalid(
            f"the video has {len(content):,} bytes: take 1 to {settings.max_video_bytes:,}", param, "invalid_video"
        )
    if not is_video(content):
        raise invalid("the video is no MP4, MOV, WebM or GIF: give one of these", param, "invalid_video")
    name = hashlib.sha256(content).hexdigest()
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "video"
        raw.write_bytes(content)
        found = _measured(name, raw, param)
        if not SHELF.path(name, settings).exists():
            SHELF.place(name, raw, settings)
    return found


def kept_footage(name: str, settings: ServerSettings) -> Footage:
    """A video that was kept earlier."""
    return _measured(name, SHELF.local(name, settings), None)


def local_footage(name: str, settings: ServerSettings) -> Path:
    """Where a video lies on this machine, fetched from the store if it was handed in elsewhere."""
    return SHELF.local(name, settings)


def footage_of(reference: str, settings: ServerSettings, param: str | None = None) -> Footage:
    """The video that a data: URI or a URL holds, kept. Refusal (400) if there is none."""
    return keep_footage(given(reference, "video", settings.max_video_bytes, settings, param), settings, param)


def looked_at(name: str, settings: ServerSettings) -> UInt8[np.ndarray, "t h w 3"]:
    """Some frames of a video, evenly spaced and not too large, for checks to look at."""
    with _decoding:
        frames = read_mp4(SHELF.local(name, settings), max_pixels=_LOOKED_AT_PIXELS).frames
    chosen = np.unique(np.linspace(0, len(frames) - 1, _LOOKED_AT).round().astype(int))
    some: UInt8[np.ndarray, "t h w 3"] = frames[chosen]
    return some


def _measured(name: str, path: Path, param: str | None) -> Footage:
    try:
        with _decoding:
            found = measure(path, MOST_SAMPLES)
    except ValueError as error:
        said = str(error).replace(f"cannot read {path}: ", "")
        raise invalid(f"the video cannot be read: {said}", param, "invalid_video") from error
    return Footage(name, found.seconds, found.width, found.height)
