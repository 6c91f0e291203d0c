"""A window of a video file: the few frames that a training clip needs, without decoding the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

_SLACK = 0.1
"""Share of a frame by which times may be rounded in the container (WebM: to a millisecond)."""


@dataclass(frozen=True)
class Probe:
    """What a file is: frames, frames a second, pixels when upright, seconds before the first frame."""

    frames: int
    fps: float
    height: int
    width: int
    start: float


def probe(path: Path) -> Probe:
    """Looks into a video file. ValueError if it is none or its first frame cannot be decoded."""
    with _opened(path) as (container, stream):
        first = next(container.decode(stream), None)
        if first is None or first.time is None or not stream.average_rate:
            raise ValueError(f"cannot read {path}: there is no video in it that plays at a known rate")
        count = stream.frames or _count(container, stream)
        upright = (first.width, first.height) if first.rotation % 180 else (first.height, first.width)
        return Probe(count, float(stream.average_rate), *upright, first.time)


def read_window(
    path: Path, about: Probe, moments: Float[np.ndarray, " t"], height: int, width: int
) -> UInt8[np.ndarray, "t h w 3"]:
    """The frames on screen at `moments` (seconds after the first frame, rising), scaled and cropped at the centre to
    `height` x `width`, upright. ValueError if the file is damaged or ends before."""
    slack = _SLACK / about.fps
    pictures: list[UInt8[np.ndarray, "h w 3"]] = []
    with _opened(path) as (container, stream):
        assert stream.time_base is not None
        container.seek(int((about.start + moments[0]) / stream.time_base), stream=stream)
        shown: VideoFrame | None = None
        for frame in chain(container.decode(stream), [None]):
            until = np.inf if frame is None else _time(path, frame) - about.start
            while shown is not None and len(pictures) < len(moments) and moments[len(pictures)] + slack < until:
                late = moments[len(pictures)] - (_time(path, shown) - about.start)
                if frame is None and late > 1.5 / about.fps:
                    raise ValueError(f"{path} ends {late:.2f} s early: it is cut off; fetch it again or take it out")
                pictures.append(_fitted(shown, height, width))
            if len(pictures) == len(moments):
                return np.stack(pictures)
            shown = frame
    raise ValueError(
        f"{path} has no frames from second {moments[0]:.2f} on: it is cut off; fetch it again or take it out"
    )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    import av

    try:
        with av.open(str(path), options={"protocol_whitelist": "file"}, metadata_errors="replace") as container:
            if not container.streams.video:
                raise ValueError(f"cannot read {path}: there is no picture in it; take it out of the folder")
            stream = container.streams.video[0]
            stream.thread_type = "NONE"  # sources run in several processes at a time
            yield container, stream
    except (av.FFmpegError, OSError) as error:
        raise ValueError(
            f"cannot read {path} ({error.strerror}): fetch it again or take it out of the folder"
        ) from error


def _count(container: InputContainer, stream: VideoStream) -> int:
    container.seek(0)
    return sum(packet.size > 0 for packet in container.demux(stream))


def _time(path: Path, frame: VideoFrame) -> float:
    if frame.time is None:
        raise ValueError(
            f"cannot read {path}: its frames carry no times; convert it to MP4 or take it out of the folder"
        )
    return frame.time


def _fitted(frame: VideoFrame, height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """sRGB of `frame`, covering `height` x `width`, cut off evenly. Untagged colours: BT.709 from 720 lines."""
    from av.video.reformatter import Colorspace, Interpolation

    high, wide = (width, height) if frame.rotation % 180 else (height, width)
    scale = max(high / frame.height, wide / frame.width)
    rows, columns = max(high, round(frame.height * scale)), max(wide, round(frame.width * scale))
    untagged = Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601
    pixels = frame.to_ndarray(
        format="rgb24",
        height=rows,
        width=columns,
        src_colorspace=untagged if frame.colorspace == 2 else frame.colorspace,  # 2: unspecified (ITU-T H.273)
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
    )
    top, left = (rows - high) // 2, (columns - wide) // 2
    return np.rot90(pixels[top : top + high, left : left + wide], frame.rotation // 90)
