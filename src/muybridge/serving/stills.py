"""Stills that clients hand in: looked at once, kept as clean PNGs under the name of their content."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

from PIL import Image

from muybridge.generate import to_uint8
from muybridge.serving.errors import invalid
from muybridge.serving.fetching import decode_data, fetch
from muybridge.serving.settings import ServerSettings
from muybridge.serving.stores import store_of
from muybridge.storage.atomic import new_file
from muybridge.storage.stills import read_still

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
    target = still_path(name, settings)
    if target.exists():
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
        if settings.store:
            shared = Path(folder) / "shared.png"
            shutil.copyfile(cleaned, shared)
            store_of(settings).put(f"stills/{target.name}", shared)
        _place(cleaned.read_bytes(), target)
    return name


def local_still(name: str, settings: ServerSettings) -> Path:
    """Where a still lies on this machine, fetched from the store if it was handed in elsewhere."""
    path = still_path(name, settings)
    if not path.exists():
        found = store_of(settings).read(f"stills/{path.name}")
        if found is None:
            raise OSError(f"the still {path.name} is gone from the store")
        _place(found[1], path)
    return path


def _place(content: bytes, target: Path) -> None:
    try:
        with new_file(target) as temporary:
            temporary.write_bytes(content)
    except ValueError as error:  # a full disk is no fault of the image
        raise OSError(str(error)) from error


def still_path(name: str, settings: ServerSettings) -> Path:
    """Where a still lies. The name is a digest that we made; anything else is a programmer's mistake."""
    assert len(name) == 64, name
    assert not set(name) - set("0123456789abcdef"), name
    return settings.stills / f"{name}.png"


def still_of(reference: str, settings: ServerSettings, param: str | None = None) -> str:
    """The name of the still that a data: URI or a URL holds, kept. Refusal (400) if there is none."""
    if reference[:5].lower() == "data:":
        content = decode_data(reference, settings.max_image_bytes)
    elif reference[:8].lower().startswith(("http://", "https://")):
        content = fetch(reference, settings.max_image_bytes, settings.fetch_seconds, settings.fetch_private)
    else:
        known = "a data: URI or an https URL"
        raise invalid(f"the image {reference[:40]!r} is neither uploaded here nor {known}: give one of these", param)
    return keep_still(content, settings, param)


def is_image_field(value: Any) -> bool:
    """Whether a form's field is a file that holds something."""
    return hasattr(value, "file") and bool(getattr(value, "filename", ""))
