"""Stills that clients hand in: looked at once, kept as clean PNGs under the name of their content."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from pathlib import Path

from PIL import Image

from muybridge.generate import to_uint8
from muybridge.serving.errors import invalid
from muybridge.serving.fetching import given
from muybridge.serving.settings import ServerSettings
from muybridge.serving.shelves import Shelf
from muybridge.storage.stills import read_still

SHELF = Shelf("stills", ".png")

_decoding = threading.BoundedSemaphore(2)
"""A picture that is within all limits may take half a gigabyte while it is decoded."""


def keep_still(content: bytes, settings: ServerSettings, param: str | None = None) -> str:
    """The name of a still, kept. What is stored is new: 8-bit RGB, at most 2048 pixels long, no metadata.

    Refusal (400) if it is too large, damaged or no picture; its header is read before any pixel is decoded.
    """
    if not 0 < len(content) <= settings.max_image_bytes:
        raise invalid(
            f"the image has {len(content):,} bytes: take 1 to {settings.max_image_bytes:,}", param, "invalid_image"
        )
    name = hashlib.sha256(content).hexdigest()
    if SHELF.path(name, settings).exists():
        return name
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "still"
        raw.write_bytes(content)
        try:
            with _decoding:
                still = read_still(raw)
        except ValueError as error:
            said = str(error).replace(f"cannot read {raw}: ", "")
            raise invalid(f"the image cannot be read: {said}", param, "invalid_image") from error
        cleaned = Path(folder) / "clean.png"
        Image.fromarray(to_uint8(still[None])[0]).save(cleaned, format="PNG", compress_level=1)
        SHELF.place(name, cleaned, settings)
    return name


def local_still(name: str, settings: ServerSettings) -> Path:
    """Where a still lies on this machine, fetched from the store if it was handed in elsewhere."""
    return SHELF.local(name, settings)


def still_of(reference: str, settings: ServerSettings, param: str | None = None) -> str:
    """The name of the still that a data: URI or a URL holds, kept. Refusal (400) if there is none."""
    return keep_still(given(reference, "image", settings.max_image_bytes, settings, param), settings, param)
