"""The last step before a clip leaves the house: mark the pixels, write the file, sign it."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from muybridge.storage import manifest, watermark
from muybridge.storage.atomic import AnyPath, new_file
from muybridge.storage.credentials import Credentials
from muybridge.storage.provenance import Provenance, digest, to_metadata, to_plain_metadata
from muybridge.storage.video import write_mp4


class Marked(NamedTuple):
    """Frames with the mark in them, if they can carry it, and a provenance that says whether they do."""

    frames: UInt8[np.ndarray, "t h w 3"]
    provenance: Provenance


def publish(
    path: AnyPath,
    frames: UInt8[np.ndarray, "t h w 3"],
    made: Provenance,
    credentials: Credentials | None,
    *,
    mark: bool = True,
    disclose: bool = True,
    still: bytes | None = None,
) -> Marked:
    """Writes a finished clip as an MP4 that carries its provenance twice: in its pixels, and signed in the file.

    credentials  what signs; None leaves the file unsigned
    mark         hide `message_of(made)` in the pixels
    disclose     write prompt and settings into the file, by which `muybridge inspect` makes it again
    still        the file of the first frame, whose own Content Credentials are kept

    The file appears whole or not at all. ValueError where it cannot be written or signed.
    """
    finished = marked(frames, made) if mark else Marked(frames, replace(made, watermark=0))
    texts = to_metadata(finished.provenance) if disclose else to_plain_metadata(finished.provenance)
    with new_file(path) as temporary:
        write_mp4(temporary, finished.frames, made.fps, texts)
        if credentials is not None:
            sign(temporary, finished.provenance, credentials, disclose=disclose, still=still)
    return finished


def sign(
    path: AnyPath, made: Provenance, credentials: Credentials, *, disclose: bool = True, still: bytes | None = None
) -> None:
    """Signs an MP4 or PNG where it lies; see `publish`."""
    with open(path, "rb") as file:
        content = file.read()
    with new_file(path) as temporary:
        temporary.write_bytes(manifest.signed(content, made, credentials, disclose, still))


def marked(frames: UInt8[np.ndarray, "t h w 3"], made: Provenance) -> Marked:
    """The clip with `message_of(made)` in its pixels; as it is, and so called, if its frames are too small."""
    if not watermark.fits(*frames.shape[1:3]):
        return Marked(frames, replace(made, watermark=0))
    return Marked(watermark.embed(frames, message_of(made)), replace(made, watermark=watermark.VERSION))


def message_of(made: Provenance) -> int:
    """What the pixels of a clip say: the first 32 bits of `digest`. The same command hides the same message again.

    Whoever keeps a list of what was made finds the clip in it; one of 2^32 other clips says the same.
    """
    return int.from_bytes(digest(made)[: watermark.MESSAGE // 8], "big")
