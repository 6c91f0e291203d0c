"""Pictures <-> files: a still in, as the model wants it; a contact sheet out, as people like to look at it."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from muybridge.storage.atomic import AnyPath, new_file

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

LARGEST = 64_000_000
"""Pixels of the largest still that is read: 8000x8000, about the largest of today's cameras."""

LONGEST = 2048
"""Pixels of the longer side of what `read_still` returns: more than any model here makes, and 50 MB as floats."""

_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM")
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, KeyError, TypeError)
"""What Pillow's decoders raise on damaged bytes."""

_PAPER, _INK, _FAINT = (24, 24, 27), (228, 228, 231), (146, 146, 156)
_MARGIN, _GAP, _CAPTION, _TITLE = 24, 12, 13, 16
_CELL = (128, 320)


def read_still(path: AnyPath) -> Float[Tensor, "3 h w"]:
    """Read a PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF or PPM as sRGB in [-1, 1], the way up it was taken (EXIF).

    Transparent parts lie over white; CMYK and other colour spaces are converted (by the file's ICC profile if it has
    one); 16-bit greys are rounded to 8 bits; of an animation, the first frame. A still with a side over `LONGEST` is
    reduced to it. Any size from 1x1 on. ValueError if the file is missing, cut off, no picture, over `LARGEST` pixels
    (seen from its header, before any are decoded), or its numbers have no known white (floating point).
    """
    from PIL import ImageOps

    with _opened(path) as image:
        image.draft(image.mode, (LONGEST, LONGEST))  # a JPEG decodes straight to a half, quarter or eighth
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
    pixels = torch.from_numpy(np.array(_rgb(_reduced(_eight_bit(image, path)), path)))
    return rearrange(pixels, "h w c -> c h w").float().div_(127.5).sub_(1)


def fit(still: Float[Tensor, "3 h w"], height: int, width: int) -> Float[Tensor, "3 height width"]:
    """The largest centred part of `still` of these proportions, resized to them (bicubic, antialiased), in [-1, 1]."""
    rows, columns = still.shape[-2:]
    crop_rows = max(1, min(rows, round(columns * height / width)))
    crop_columns = max(1, min(columns, round(rows * width / height)))
    top, left = (rows - crop_rows) // 2, (columns - crop_columns) // 2
    part = still[None, :, top : top + crop_rows, left : left + crop_columns]
    resized = functional.interpolate(part, size=(height, width), mode="bicubic", antialias=True)
    return resized[0].clamp(-1, 1)


def to_uint8(frames: Float[Tensor, "t 3 h w"]) -> UInt8[np.ndarray, "t h w 3"]:
    """[-1, 1] to 0 … 255, rounded."""
    pixels = ((frames.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return rearrange(pixels, "t c h w -> t h w c").cpu().numpy()


def contact_sheet(
    frames: UInt8[np.ndarray, "t h w 3"],
    path: AnyPath,
    *,
    fps: float | None = None,
    columns: int = 4,
    most: int = 12,
    captions: Sequence[str] | None = None,
    title: str = "",
) -> None:
    """Write a PNG of at most `most` frames of a clip, evenly spaced from the first to the last.

    Below each stands its caption (`captions`, one per frame given), or its time where `fps` is known, or its number;
    above all stands `title`, cut after two lines.
    ValueError if there are no frames, or `path` cannot be written to.
    """
    if len(frames) == 0:
        raise ValueError("a contact sheet needs at least one frame: give it frames")
    if captions is not None and len(captions) != len(frames):
        raise ValueError(f"{len(captions)} captions for {len(frames)} frames: give one a frame")
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(most, len(frames))).round().astype(int))
    if captions is None:
        captions = [f"{i / fps:.2f} s" if fps else f"{i}" for i in range(len(frames))]
    sheet = _sheet(frames[chosen], [captions[i] for i in chosen], min(columns, len(chosen)), title)
    png = BytesIO()
    sheet.save(png, format="PNG", optimize=True)
    with new_file(path) as temporary:
        temporary.write_bytes(png.getvalue())


@contextmanager
def _opened(path: AnyPath) -> Iterator[Image]:
    """The still with its header read; whatever goes wrong while it is open becomes one sentence."""
    from PIL import Image, UnidentifiedImageError

    if not os.path.isfile(path):
        found = "is a folder" if os.path.isdir(path) else "does not exist"
        raise ValueError(f"cannot read {path}: it {found}: give the name of a picture")
    Image.init()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of damaged remarks beside the pixels, and of sizes, which are looked at here
            with Image.open(os.fspath(path), formats=[name for name in _FORMATS if name in Image.OPEN]) as image:
                if image.width * image.height > LARGEST:
                    raise Image.DecompressionBombError
                yield image
    except Image.DecompressionBombError as error:
        raise ValueError(f"cannot read {path}: it has over {LARGEST:,} pixels: make it smaller first") from error
    except UnidentifiedImageError as error:
        known = ", ".join(_FORMATS)
        raise ValueError(f"cannot read {path}: it is no picture of a known kind: save it as one of {known}") from error
    except PermissionError as error:
        raise ValueError(f"cannot read {path}: permission denied: change its permissions, or copy it") from error
    except _DAMAGED as error:
        raise ValueError(f"cannot read {path}: it is damaged or cut off ({error}): save it again") from error


def _eight_bit(image: Image, path: AnyPath) -> Image:
    """16-bit greys (Pillow's modes I;16, I;16B, and I for some files) rounded to 8 bits: 257 steps are one."""
    from PIL import Image as pillow

    if image.mode == "F":
        raise ValueError(f"cannot read {path}: floating-point pixels have no known white: save it as an 8-bit PNG")
    if not image.mode.startswith("I"):
        return image
    grey = np.asarray(image).clip(0, 65535).astype(np.uint32)
    grey += 128
    grey //= 257
    return pillow.fromarray(grey.astype(np.uint8))


def _reduced(image: Image) -> Image:
    """At most `LONGEST` pixels long; a palette has to become colours first, which can be averaged."""
    if max(image.size) > LONGEST:
        if image.mode in ("1", "P", "PA"):
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        image.thumbnail((LONGEST, LONGEST))
    return image


def _rgb(image: Image, path: AnyPath) -> Image:
    """Any of Pillow's 8-bit modes as sRGB over white."""
    from PIL import Image as pillow

    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        cut_out = image.convert("RGBA")
        image = pillow.alpha_composite(pillow.new("RGBA", image.size, "white"), cut_out).convert("RGB")
    elif image.mode not in ("L", "CMYK"):
        image = image.convert("RGB")
    return _by_profile(image, profile, path) if profile else image.convert("RGB")


def _by_profile(image: Image, profile: bytes, path: AnyPath) -> Image:
    """Colours of the file's ICC profile as sRGB; where the profile is broken, say so and take them as sRGB."""
    from PIL import ImageCms

    try:
        theirs = ImageCms.ImageCmsProfile(BytesIO(profile))
        transform = ImageCms.buildTransform(theirs, ImageCms.createProfile("sRGB"), image.mode, "RGB")
    except (ImageCms.PyCMSError, OSError):
        warnings.warn(f"the colour profile in {path} cannot be used: its colours are taken as sRGB", stacklevel=2)
        return image.convert("RGB")
    converted: Image = transform.apply(image)
    return converted


def _sheet(frames: UInt8[np.ndarray, "t h w 3"], captions: Sequence[str], columns: int, title: str) -> Image:
    from PIL import Image as pillow
    from PIL import ImageDraw, ImageFont

    cells = [_cell(frame) for frame in frames]
    width, height = cells[0].size
    rows = -(-len(cells) // columns)
    wide = 2 * _MARGIN + columns * width + (columns - 1) * _GAP
    heading = _wrapped(title, ImageFont.load_default(_TITLE), wide - 2 * _MARGIN)
    top = _MARGIN + len(heading) * (_TITLE + 6) + (_GAP if heading else 0)
    pitch = height + _CAPTION + 2 * _GAP
    sheet = pillow.new("RGB", (wide, top + rows * pitch - _GAP + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for line, text in enumerate(heading):
        draw.text((_MARGIN, _MARGIN + line * (_TITLE + 6)), text, _INK, ImageFont.load_default(_TITLE))
    for index, (cell, caption) in enumerate(zip(cells, captions, strict=True)):
        x, y = _MARGIN + index % columns * (width + _GAP), top + index // columns * pitch
        sheet.paste(cell, (x, y))
        small = ImageFont.load_default(_CAPTION)
        draw.text((x, y + height + 5), "".join(_wrapped(caption, small, width)[:1]), _FAINT, small)
    return sheet


def _cell(frame: UInt8[np.ndarray, "h w 3"]) -> Image:
    """A frame at its own size if that can be looked at; tiny ones in whole-number magnification, large ones reduced."""
    from PIL import Image as pillow

    picture = pillow.fromarray(np.ascontiguousarray(frame))
    longest = max(picture.size)
    if longest < _CELL[0]:
        times = -(-_CELL[0] // longest)
        return picture.resize((picture.width * times, picture.height * times), pillow.Resampling.NEAREST)
    picture.thumbnail((_CELL[1], _CELL[1]))
    return picture


def _wrapped(text: str, font: FreeTypeFont | ImageFont, width: int, lines: int = 2) -> list[str]:
    """`text` in at most so many lines of so many pixels; what does not fit is cut with an ellipsis."""
    rest, done = " ".join(text.split()), list[str]()
    while rest and len(done) < lines:
        fits = _fitting(rest, font, width)
        at = fits if fits == len(rest) else max(rest.rfind(" ", 0, fits + 1), 0) or fits
        done.append(rest[:at].strip())
        rest = rest[at:].strip()
    if rest:
        done[-1] = done[-1][: _fitting(done[-1], font, width - round(font.getlength("…")))] + "…"
    return done


def _fitting(text: str, font: FreeTypeFont | ImageFont, width: int) -> int:
    """How many letters of `text` fit in `width` pixels, one at least."""
    few, many = 1, min(len(text), width)  # no letter is narrower than a pixel
    while few < many:
        middle = (few + many + 1) // 2
        few, many = (middle, many) if font.getlength(text[:middle]) <= width else (few, middle - 1)
    return few
