"""What a finished job leaves: the clip, a thumbnail, a sheet of sprites."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from muybridge.serving.engine import Made
from muybridge.serving.orders import Order
from muybridge.storage.atomic import new_file
from muybridge.storage.credentials import Credentials
from muybridge.storage.publish import publish

VARIANTS = {
    "video": (".mp4", "video/mp4"),
    "thumbnail": (".jpg", "image/jpeg"),
    "spritesheet": (".sprites.jpg", "image/jpeg"),
}
"""What can be downloaded of a job: the end of its file's name, and its media type."""

PREVIEW = ".preview.jpg"
_SPRITE_COLUMNS, _SPRITES, _SPRITE_WIDTH = 5, 25, 160


def result_path(folder: Path, job_id: str, variant: str) -> Path:
    """Where a result lies. Both names are ours by now: a job's id that the database knows, a key of `VARIANTS`."""
    ending = PREVIEW if variant == "preview" else VARIANTS[variant][0]
    return folder / job_id[:2] / f"{job_id}{ending}"


def write_results(
    made: Made, order: Order, folder: Path, job_id: str, credentials: Credentials | None, still: Path | None
) -> None:
    """Writes all variants, the clip last: where it is, everything is. ValueError if the disk does not take them.

    The clip is marked and signed here, and nowhere else.
    """
    frames = np.stack(list(resized(made.frames, order.size)))
    content = None if still is None else still.read_bytes()
    write_jpeg(Image.fromarray(frames[0]), result_path(folder, job_id, "thumbnail"))
    write_jpeg(_sprites(frames), result_path(folder, job_id, "spritesheet"))
    publish(result_path(folder, job_id, "video"), frames, made.provenance, credentials, still=content)


def remove_results(folder: Path, job_id: str) -> None:
    """Removes what is there of a job's files."""
    for variant in (*VARIANTS, "preview"):
        result_path(folder, job_id, variant).unlink(missing_ok=True)


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


def write_jpeg(picture: Image.Image, path: Path) -> None:
    """Writes a JPEG, whole or not at all."""
    with new_file(path) as temporary:
        picture.save(temporary, format="JPEG", quality=88)


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
