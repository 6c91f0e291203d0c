"""Frames <-> video files: H.264 in MP4 out, whatever PyAV decodes in.

What is written plays everywhere: H.264 High, yuv420p, index at the front (faststart), tagged BT.709 with limited range
and really converted with that matrix (ITU-R BT.709-6, section 3), so that a player which honours the tags shows the
pixels that went in. The same frames and metadata give the same bytes: no creation time, no version of the muxer, one
encoder thread (x264's decisions depend on the number of threads, and its default on the machine).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int, UInt8

from muybridge.storage.atomic import AnyPath, new_file

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

Append: TypeAlias = Callable[[UInt8[np.ndarray, "h w 3"]], None]

_BT709, _LIMITED, _UNSPECIFIED = 1, 1, 2  # ITU-T H.273 codes, which FFmpeg uses
_OF_THE_CONTAINER = {"major_brand", "minor_version", "compatible_brands", "encoder", "creation_time"}
_ART_OF_LETTERS = {"tty", "bin", "xbin", "adf", "idf"}  # FFmpeg plays text files, as the terminals of old showed them


class Footage(NamedTuple):
    """A video file, read: frames in sRGB, shown at a constant `fps`, and what the file says of itself."""

    frames: UInt8[np.ndarray, "t h w 3"]
    fps: float
    metadata: dict[str, str]


def write_mp4(
    path: AnyPath,
    frames: UInt8[np.ndarray, "t h w 3"],
    fps: float,
    metadata: Mapping[str, str] | None = None,
    crf: int = 12,
) -> None:
    """Write `frames` to `path` as MP4; see `mp4_writer`."""
    if frames.ndim != 4 or len(frames) == 0:
        raise ValueError(f"a clip is at least one frame of shape (t, h, w, 3), not {frames.shape}: give it frames")
    with mp4_writer(path, frames.shape[1], frames.shape[2], fps, metadata, crf) as append:
        for frame in frames:
            append(frame)


@contextmanager
def mp4_writer(
    path: AnyPath, height: int, width: int, fps: float, metadata: Mapping[str, str] | None = None, crf: int = 12
) -> Iterator[Append]:
    """Yield a function that appends one frame, uint8 (h, w, 3); `path` appears, whole, when the block ends well.

    metadata  any keys and texts; `title` and `comment` are the ones that players show
    crf       x264's constant rate factor: 0 loses only colour resolution, 12 is visually lossless, 51 is the worst

    ValueError if a side is odd: yuv420p halves the colour planes, and padding or cropping would change the clip behind
    the caller's back. ValueError as well for a frame of another shape, an impossible `fps`, no frames, or a path that
    cannot be written to; in all these cases nothing is left behind and an older file at `path` stays as it was.
    """
    import av

    _check(height, width, fps, crf)
    texts = _checked_metadata(metadata or {})
    rate = Fraction(fps).limit_denominator(1001)  # 30000/1001 is the largest denominator that broadcasting knows
    count = 0
    with new_file(path) as temporary:
        options = {"movflags": "faststart+use_metadata_tags", "fflags": "+bitexact"}
        with av.open(str(temporary), "w", format="mp4", options=options) as container:
            container.metadata.update(texts)
            # x264's macroblock tree gives other bytes for the same frames now and then.
            how = {"crf": str(crf), "preset": "medium", "x264-params": "mbtree=0"}
            stream = container.add_stream("libx264", rate=rate, options=how)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            context = stream.codec_context
            context.thread_count = 1
            context.color_primaries = context.color_trc = context.colorspace = _BT709
            context.color_range = _LIMITED

            def append(frame: UInt8[np.ndarray, "h w 3"]) -> None:
                nonlocal count
                if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
                    raise ValueError(f"frame {count} is {frame.dtype} {frame.shape}, not uint8 {(height, width, 3)}")
                picture = _to_yuv(frame)
                picture.pts, picture.time_base = count, 1 / rate
                container.mux(stream.encode(picture))
                count += 1

            yield append
            if count == 0:
                raise ValueError(f"no frames were given for {path}: a clip has at least one")
            container.mux(stream.encode(None))


class Measured(NamedTuple):
    """What a video file was seen to hold: its frames, the seconds that they play, pixels of a frame as it is shown."""

    frames: int
    seconds: float
    width: int
    height: int


def measure(path: AnyPath, most_samples: float = math.inf) -> Measured:
    """Decodes a video to its end, a frame at a time, and keeps none: what is found is what `read_mp4` will read.

    most_samples  numbers (3 a pixel) of all frames together that are too many to be read

    ValueError if the file is missing, cut off, no video, or larger than that; of a picture that alone is too large,
    only the header is read.
    """
    with _opened(path) as container:
        stream = container.streams.video[0]
        limit = min(most_samples / 3, 2**31 - 1)
        stream.codec_context.options = {"max_pixels": str(int(limit))}  # a stream may change its size on the way
        if stream.width * stream.height > limit:
            raise ValueError(f"cannot read {path}: {_much(1, stream.width, stream.height)}: make it smaller")
        times: list[float] = []
        width = height = 0
        for picture in container.decode(stream):
            if not times:
                turned = picture.rotation // 90 % 2
                width, height = (picture.height, picture.width) if turned else (picture.width, picture.height)
            times.append(picture.time if picture.pts is not None else math.nan)
            if 3 * len(times) * width * height > most_samples:
                much = _much(len(times), width, height)
                raise ValueError(f"cannot read {path}: {much} or more: make it shorter or smaller")
        stated = stream.average_rate
    if not times:
        raise ValueError(f"cannot read {path}: there is not one whole frame in it: give another file")
    shown = np.array(times) - times[0]
    rate = _even_rate(shown, float(stated) if stated else None)
    seconds = len(times) / rate if rate is not None else float(shown[-1]) + 1 / _mean_rate(shown)
    return Measured(len(times), seconds if len(times) > 1 else 0.0, width, height)


def read_mp4(
    path: AnyPath,
    fps: float | None = None,
    max_frames: int | None = None,
    max_seconds: float = math.inf,
    max_pixels: float = math.inf,
) -> Footage:
    """Read a video: MP4, WebM, GIF, or whatever else this FFmpeg decodes. The first video stream; sound is left out.

    fps         frames a second wanted: each moment shows the frame that a player would. None keeps the file's own rate;
                if its frames are not evenly spaced, they are shown on an even grid of the mean rate
    max_frames  stop after so many (frames of the file, before `fps` is applied), to bound the memory
    max_seconds stop at the first frame that is shown later than that, if the file says when its frames are shown
    max_pixels  pictures of more pixels are reduced to about so many while they are read

    Rotation flags are applied, colours converted by the file's own tags (untagged: BT.709 from 720 lines up, else
    BT.601), transparency laid over white. Non-square pixels and interlacing are left as they are. ValueError if the
    file is missing, truncated or no video. A GIF or WebM that breaks off is read as far as it goes: these formats do
    not say how many frames there should be.
    """
    with _opened(path) as container:
        pictures, times = _decoded(container, max_frames, max_seconds, max_pixels)
        stated = container.streams.video[0].average_rate
        metadata = _own(container.metadata)
    if not pictures:
        raise ValueError(f"cannot read {path}: there is not one whole frame in it: give another file")
    frames = np.stack(pictures)
    even = _even_rate(times, float(stated) if stated else None)
    if even is not None:
        times = np.arange(len(frames)) / even
        if fps is None or fps == even:
            return Footage(frames, even, metadata)
    wanted = fps or _mean_rate(times)
    return Footage(frames[_shown_at(times, wanted)], wanted, metadata)


def read_metadata(path: AnyPath) -> dict[str, str]:
    """What the file says of itself (`title`, `comment`, …) without decoding it. ValueError as in `read_mp4`."""
    with _opened(path) as container:
        return _own(container.metadata)


class Stated(NamedTuple):
    """What a video file says that it is, without being decoded to its end; None where it does not say."""

    fps: float | None
    seconds: float | None
    width: int
    height: int


def read_header(path: AnyPath) -> Stated:
    """What the file says of its first video stream; its size is that of the picture upright, by the first frame's flag.
    ValueError as in `read_mp4`."""
    with _opened(path) as container:
        stream, duration = container.streams.video[0], container.duration
        fps = float(stream.average_rate) if stream.average_rate else None
        first = next(container.decode(stream), None)
        size = stream.width, stream.height
        width, height = size[::-1] if first is not None and first.rotation // 90 % 2 else size
        return Stated(fps, None if duration is None else duration / 1_000_000, width, height)


def _much(frames: int, width: int, height: int) -> str:
    return f"it holds {frames} frame{'' if frames == 1 else 's'} of {width}x{height}, too much to be read"


def _check(height: int, width: int, fps: float, crf: int) -> None:
    if height % 2 or width % 2 or height < 2 or width < 2:
        even = f"{max(2, width - width % 2)}x{max(2, height - height % 2)}"
        raise ValueError(f"H.264 needs even sides, not {width}x{height} (width x height): crop the frames to {even}")
    if not (math.isfinite(fps) and 0.1 <= fps <= 1000):
        raise ValueError(f"{fps} frames a second cannot be written: choose between 0.1 and 1000")
    if not 0 <= crf <= 51:
        raise ValueError(f"crf is between 0 (best) and 51 (smallest), not {crf}")


def _checked_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    for key, text in metadata.items():
        if not key or any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in key + text):
            raise ValueError(f"metadata {key!r} cannot be written: MP4 takes no NUL, no lone surrogate, no empty key")
    return dict(metadata)


def _to_yuv(frame: UInt8[np.ndarray, "h w 3"]) -> VideoFrame:
    """sRGB to limited-range BT.709 yuv420p; colour planes are the mean of 2x2 pixels."""
    from av import VideoFrame
    from av.video.reformatter import Interpolation

    exact = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP | Interpolation.BITEXACT
    return VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24").reformat(
        format="yuv420p",
        dst_colorspace=_BT709,
        dst_color_range=_LIMITED,
        interpolation=Interpolation.AREA | exact,
    )


def _to_rgb(picture: VideoFrame, height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """By the frame's own colour tags, at the size of the clip's first frame, upright, over white."""
    from av.video.reformatter import Interpolation

    matrix = picture.colorspace
    if matrix == _UNSPECIFIED:
        matrix = _BT709 if picture.height >= 720 else 5  # BT.470BG, the matrix of BT.601
    transparent = any(component.is_alpha for component in picture.format.components)
    pixels = picture.to_ndarray(
        format="rgba" if transparent else "rgb24",
        width=width,
        height=height,
        src_colorspace=matrix,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
    )
    return np.rot90(_over_white(pixels) if transparent else pixels, picture.rotation // 90)


def _over_white(pixels: UInt8[np.ndarray, "h w 4"]) -> UInt8[np.ndarray, "h w 3"]:
    alpha = pixels[..., 3:].astype(np.float32) / 255
    return np.rint(pixels[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


def _decoded(
    container: InputContainer, max_frames: int | None, max_seconds: float, max_pixels: float
) -> tuple[list[UInt8[np.ndarray, "h w 3"]], Float[np.ndarray, " t"]]:
    """The frames, and the seconds at which they are shown, the first at 0."""
    pictures: list[UInt8[np.ndarray, "h w 3"]] = []
    times: list[float] = []
    size: tuple[int, int] | None = None
    for picture in container.decode(video=0):
        time = picture.time if picture.pts is not None else math.nan
        if times and time - times[0] > max_seconds:
            break
        size = size or _reduced(picture.height, picture.width, max_pixels)
        pictures.append(_to_rgb(picture, *size))
        times.append(time)
        if len(pictures) == max_frames:
            break
    seconds = np.array(times)
    return pictures, seconds - seconds[:1]


def _reduced(height: int, width: int, max_pixels: float) -> tuple[int, int]:
    """A size of the same proportions and at most about so many pixels."""
    scale = min(1.0, math.sqrt(max_pixels / (height * width)))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _even_rate(times: Float[np.ndarray, " t"], stated: float | None) -> float | None:
    """The rate of evenly spaced frames (none is half a frame off), the stated one if it holds; None if they are not."""
    if np.isnan(times).any() or len(times) == 1:  # raw streams carry no times, one frame no rate
        return stated or 25.0
    for rate in (stated, _mean_rate(times)):
        if rate is not None and np.abs(times * rate - np.arange(len(times))).max() < 0.5:
            return rate
    return None


def _mean_rate(times: Float[np.ndarray, " t"]) -> float:
    return float((len(times) - 1) / times[-1])


def _shown_at(times: Float[np.ndarray, " t"], fps: float) -> Int[np.ndarray, " n"]:
    """Which frame is on screen at k / fps, for every k until the last frame has been shown for as long as the mean one.

    A tenth of a frame of slack, for containers round their times (WebM to 1 ms, GIF to 10 ms).
    """
    end = times[-1] + (1 / _mean_rate(times) if len(times) > 1 else 0.0)
    moments = np.arange(max(1, round(end * fps))) / fps
    return np.searchsorted(times, moments + 0.1 / fps, side="right") - 1


def _own(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: text for key, text in metadata.items() if key not in _OF_THE_CONTAINER}


@contextmanager
def _opened(path: AnyPath) -> Iterator[InputContainer]:
    """The file, open, with a video stream in it. Only local files are opened: a playlist in it cannot reach further."""
    import av

    if not os.path.isfile(path):
        found = "is a folder" if os.path.isdir(path) else "does not exist"
        raise ValueError(f"cannot read {path}: it {found}: give the name of a video file")
    if not os.access(path, os.R_OK):
        raise ValueError(f"cannot read {path}: permission denied: change its permissions, or copy it")
    try:
        local = os.path.abspath(path)  # or FFmpeg takes what stands before a colon for a protocol
        with av.open(local, options={"protocol_whitelist": "file"}, metadata_errors="replace") as container:
            if not container.streams.video or container.format.name in _ART_OF_LETTERS:
                raise ValueError(f"cannot read {path}: there is no picture in it, only sound or text: give a video")
            yield container
    except av.FFmpegError as error:
        raise ValueError(
            f"cannot read {path}: it is no video, or it is damaged or cut off ({error.strerror}): "
            "fetch or export it again, or give another file"
        ) from error
