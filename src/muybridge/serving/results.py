"""What a finished job leaves: the clip, a thumbnail, a sheet of sprites."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from muybridge.serving.engine import Files, Made
from muybridge.serving.orders import Order
from muybridge.serving.stores import Store
from muybridge.storage.credentials import Credentials
from muybridge.storage.provenance import Provenance
from muybridge.storage.publish import publish
from muybridge.storage.video import read_mp4

VARIANTS = {
    "video": (".mp4", "video/mp4"),
    "thumbnail": (".jpg", "image/jpeg"),
    "spritesheet": (".sprites.jpg", "image/jpeg"),
}
"""What can be downloaded of a job: the end of its file's name, and its media type."""

PREVIEW = ".preview.jpg"
_SPRITE_COLUMNS, _SPRITES, _SPRITE_WIDTH = 5, 25, 160


def result_name(job_id: str, variant: str) -> str:
    """A result's name in the store. Both words are ours by now: an id that the database knows, a key of `VARIANTS`."""
    ending = PREVIEW if variant == "preview" else VARIANTS[variant][0]
    return f"results/{job_id[:2]}/{job_id}{ending}"


def write_results(
    made: Made,
    order: Order,
    store: Store,
    making: Path,
    job_id: str,
    credentials: Credentials | None,
    files: Files,
) -> None:
    """Writes all variants, the clip last: where it is, everything is. OSError if disk or store do not take them.

    The clip is marked and signed here, and nowhere else. `making` is a folder for what is not whole yet.
    """
    frames = np.stack(list(resized(made.frames, order.size))[order.known :])
    if "extend" in files:
        before = read_mp4(files["extend"], fps=order.fps).frames
        frames = np.concatenate([*(one[None] for one in resized(before, order.size)), frames])
    source = files.get("still") or files.get("extend") or files.get("video")
    for variant, picture in (("thumbnail", Image.fromarray(frames[0])), ("spritesheet", _sprites(frames))):
        write_jpeg(picture, store, making, job_id, variant)
    clip = making / f"{job_id}.mp4"
    content = None if source is None else source.read_bytes()
    publish(clip, frames, provenance_of(made, order), credentials, still=content)
    store.put(result_name(job_id, "video"), clip)


def provenance_of(made: Made, order: Order) -> Provenance:
    """How the clip was made, with what it was made from under names to be put into a command.

    A clip that is carried on is in its file with what stands before it, which no command of ours does in one.
    """
    options = {
        "--last-image": order.last and "LAST.png",
        "--video": order.video and "VIDEO.mp4",
        "--strength": order.strength and f"{order.strength:g}",
        "--mask": order.mask and "MASK.png",
        "--control": order.control and "CONTROL.mp4",
        "--camera": order.camera and "CAMERA.json",
    }
    said = [(name, value) for name, value in options.items() if value] + [("--move", move) for move in order.moves]
    words = [word for name, value in said for word in (name, value)]
    found = replace(made.provenance, options=json.dumps(words) if words else made.provenance.options)
    if order.extend is None:
        return found
    given = json.loads(found.given or "{}") | {"extend": order.extend.name, "known": order.known}
    return replace(found, given=json.dumps(given, sort_keys=True))


def remove_results(store: Store, job_id: str) -> None:
    """Removes what is there of a job's files."""
    for variant in (*VARIANTS, "preview"):
        store.remove(result_name(job_id, variant))


def resized(
    frames: UInt8[np.ndarray, "t h w 3"], size: tuple[int, int]
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Frames at (width, height): the largest centred part of these proportions, bicubic. Untouched if they have it."""
    height, width = frames.shape[1:3]
    if (width, height) == size:
        yield from frames
        return
    scale = min(width / size[0], height / size[1])
    part_width, part_height = size[0] * scale, size[1] * scale
    left, top = (width - part_width) / 2, (height - part_height) / 2
    box = (left, top, left + part_width, top + part_height)
    for frame in frames:
        yield np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC, box=box))


def strip(frames: UInt8[np.ndarray, "t h w 3"]) -> Image.Image:
    """Frames side by side."""
    return Image.fromarray(np.concatenate(list(frames), axis=1))


def write_jpeg(picture: Image.Image, store: Store, making: Path, job_id: str, variant: str) -> None:
    """Puts a JPEG into the store, whole or not at all."""
    file = making / f"{job_id}.{variant}.jpg"
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file, format="JPEG", quality=88)
    store.put(result_name(job_id, variant), file)


def _sprites(frames: UInt8[np.ndarray, "t h w 3"]) -> Image.Image:
    """At most 25 frames, evenly spaced, in rows of five."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, _SPRITES).round().astype(int))
    height, width = frames[0].shape[:2]
    cell = (min(width, _SPRITE_WIDTH), max(1, round(height * min(1.0, _SPRITE_WIDTH / width))))
    rows = -(-len(chosen) // _SPRITE_COLUMNS)
    sheet = Image.new("RGB", (cell[0] * min(len(chosen), _SPRITE_COLUMNS), cell[1] * rows))
    for place, index in enumerate(chosen):
        row, column = divmod(place, _SPRITE_COLUMNS)
        sheet.paste(Image.fromarray(frames[index]).resize(cell), (column * cell[0], row * cell[1]))
    return sheet
