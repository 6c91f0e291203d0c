"""Real files: encoded and decoded by PyAV, damaged on disk, written to a disk that is full."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muybridge.storage.video import (
    Footage,
    measure,
    mp4_writer,
    read_header,
    read_metadata,
    read_mp4,
    write_mp4,
)

SATURATED = [
    (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255),
    (255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 30, 60), (20, 140, 90),
]  # fmt: skip


def flat(colours: list[tuple[int, int, int]], side: int = 32) -> np.ndarray:
    return np.stack([np.full((side, side, 3), colour, np.uint8) for colour in colours])


def rolling(count: int = 9, height: int = 48, width: int = 64) -> np.ndarray:
    """Smooth, moving, coloured: what codecs are made for."""
    y, x = np.mgrid[:height, :width]
    waves = [
        np.sin((x + 3 * t) / 9)[..., None] * np.cos(y / 7)[..., None] * np.array([1, 0.5, -1]) for t in range(count)
    ]
    return np.rint(127.5 + 100 * np.stack(waves)).astype(np.uint8)


def encode(path: Path, frames: np.ndarray, codec: str, pixels: str, times: list[int], rate: int = 1000) -> None:
    """Any codec, any times (in 1/rate s), any tags: the footage that other programs write."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"cpu-used": "8", "crf": "4", "b:v": "0"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        stream.time_base = stream.codec_context.time_base = Fraction(1, rate)
        for frame, time in zip(frames, times, strict=True):
            picture = av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format=pixels)
            picture.pts, picture.time_base = time, Fraction(1, rate)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    frames = rolling()
    write_mp4(tmp_path / "a.mp4", frames, 15.0, {"comment": "hi", "title": "näme", "muybridge": '{"a": "\n😀"}'})
    back, fps, metadata = read_mp4(tmp_path / "a.mp4")
    assert fps == 15
    assert metadata == {"comment": "hi", "title": "näme", "muybridge": '{"a": "\n😀"}'}
    assert read_metadata(tmp_path / "a.mp4") == metadata
    assert back.shape == frames.shape
    assert np.abs(back.astype(float) - frames).mean() < 2
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_saturated_colours_survive_within_two_steps(tmp_path: Path) -> None:
    frames = flat(SATURATED)
    write_mp4(tmp_path / "a.mp4", frames, 15.0)
    off = np.abs(read_mp4(tmp_path / "a.mp4").frames.astype(float) - frames).mean((1, 2))
    assert off.max() <= 2, off
    assert off.mean() <= 0.75, off


def test_planes_hold_the_numbers_of_bt709(tmp_path: Path) -> None:
    """Y = 16 + 219 (0.2126 R + 0.7152 G + 0.0722 B), Cb and Cr likewise (ITU-R BT.709-6, 3.2-3.5)."""
    write_mp4(tmp_path / "a.mp4", flat(SATURATED), 15.0)
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace, context.color_range) == (1, 1, 1, 1)
        assert (context.pix_fmt, context.profile) == ("yuv420p", "High")
        for frame, colour in zip(container.decode(video=0), SATURATED, strict=True):
            r, g, b = np.array(colour) / 255
            luma = 0.2126 * r + 0.7152 * g + 0.0722 * b
            expected = 16 + 219 * luma, 128 + 224 * (b - luma) / 1.8556, 128 + 224 * (r - luma) / 1.5748
            planes = [np.frombuffer(plane, np.uint8)[0] for plane in frame.planes]
            assert planes == pytest.approx(expected, abs=1.01)


def test_the_index_comes_first_and_the_bytes_repeat(tmp_path: Path) -> None:
    frames = rolling()
    write_mp4(tmp_path / "a.mp4", frames, 15.0, {"b": "1", "a": "2"})
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert b"nclx" in content
    write_mp4(tmp_path / "b.mp4", frames[:, ::1].copy(order="F"), 15.0, {"b": "1", "a": "2"})
    assert (tmp_path / "b.mp4").read_bytes() == content


@pytest.mark.parametrize("fps", [15.0, 24.0, 29.97, 30000 / 1001, 7.3, 0.5, 120.0])
@pytest.mark.parametrize("count", [1, 2, 17])
def test_rates_are_kept(tmp_path: Path, fps: float, count: int) -> None:
    write_mp4(tmp_path / "a.mp4", np.zeros((count, 16, 16, 3), np.uint8), fps)
    back = read_mp4(tmp_path / "a.mp4")
    assert len(back.frames) == count
    assert back.fps == pytest.approx(fps, rel=1e-6)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts)
def test_any_text_is_kept_as_metadata(tmp_path: Path, text: str) -> None:
    write_mp4(tmp_path / "a.mp4", np.zeros((1, 16, 16, 3), np.uint8), 15.0, {"muybridge": text, "comment": text})
    assert read_metadata(tmp_path / "a.mp4") == {"muybridge": text, "comment": text}


def test_long_metadata_is_kept(tmp_path: Path) -> None:
    write_mp4(tmp_path / "a.mp4", np.zeros((1, 16, 16, 3), np.uint8), 15.0, {"muybridge": "é\\u1234" * 20_000})
    assert read_metadata(tmp_path / "a.mp4") == {"muybridge": "é\\u1234" * 20_000}


def stream(path: Path, frames: Iterable[np.ndarray]) -> None:
    with mp4_writer(path, 16, 16, 15.0) as append:
        for frame in frames:
            append(frame)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    black = np.zeros((2, 16, 16, 3), np.uint8)
    path = tmp_path / "a.mp4"
    with pytest.raises(ValueError, match=r"even sides, not 17x16 \(width x height\): crop the frames to 16x16"):
        write_mp4(path, np.zeros((2, 16, 17, 3), np.uint8), 15.0)
    for fps in (0.0, -1.0, float("nan"), float("inf"), 1e9):
        with pytest.raises(ValueError, match="frames a second cannot be written"):
            write_mp4(path, black, fps)
    with pytest.raises(ValueError, match="at least one"):
        write_mp4(path, black[:0], 15.0)
    with pytest.raises(ValueError, match="crf is between"):
        write_mp4(path, black, 15.0, crf=99)
    for metadata in ({"a": "b\0c"}, {"": "b"}, {"a": "\ud800"}):
        with pytest.raises(ValueError, match="cannot be written: MP4 takes no"):
            write_mp4(path, black, 15.0, metadata)
    with pytest.raises(ValueError, match=r"frame 1 is uint8 \(18, 16, 3\)"):
        stream(path, [black[0], np.zeros((18, 16, 3), np.uint8)])
    with pytest.raises(ValueError, match="no frames were given"):
        stream(path, [])
    assert os.listdir(tmp_path) == []


def test_an_interrupted_clip_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_mp4(path, rolling(), 15.0)
    before = path.read_bytes()

    def interrupted() -> Iterator[np.ndarray]:
        yield np.zeros((16, 16, 3), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream(path, interrupted())
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_folders_that_take_no_clip(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="a part of that path is a file"):
        write_mp4(tmp_path / "file" / "a.mp4", rolling(), 15.0)
    with pytest.raises(ValueError, match="it is a folder"):
        write_mp4(tmp_path, rolling(), 15.0)


@pytest.fixture
def room_for_10_kb() -> Iterator[None]:
    """Writing fails after 10 kB, as it does on a disk that runs full: the kernel's limit on the size of files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("room_for_10_kb")
@pytest.mark.parametrize("count", [1, 8])
def test_a_disk_that_runs_full_leaves_the_old_clip(tmp_path: Path, count: int) -> None:
    """It breaks while frames are appended (8), or not until the end (1, still in a buffer then)."""
    path = tmp_path / "a.mp4"
    path.write_text("old")
    noise = np.random.default_rng(0).integers(0, 256, (count, 96, 96, 3), np.uint8)
    with pytest.raises(ValueError, match=r"cannot write .*a\.mp4: the file would be larger"):
        write_mp4(path, noise, 15.0, crf=0)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize(("name", "codec", "pixels"), [("a.webm", "libvpx-vp9", "yuv420p"), ("a.mkv", "ffv1", "bgr0")])
def test_other_formats_are_read(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    frames = rolling()
    encode(tmp_path / name, frames, codec, pixels, [round(i * 1000 / 15) for i in range(len(frames))])
    back = read_mp4(tmp_path / name)
    assert back.frames.shape == frames.shape
    assert np.abs(back.frames.astype(float) - frames).mean() < 3
    assert back.fps == pytest.approx(15, rel=0.01)


def test_gif_is_read_over_white(tmp_path: Path) -> None:
    from PIL import Image

    pictures = [Image.new("RGBA", (20, 10), (255, 0, 0, 0)) for _ in range(4)]
    for index, picture in enumerate(pictures):
        picture.paste((0, 0, 255, 255), (index, 0, index + 5, 10))
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=100, disposal=2)
    back = read_mp4(tmp_path / "a.gif")
    assert back.frames.shape == (4, 10, 20, 3)
    assert back.fps == pytest.approx(10, rel=0.01)
    for index, frame in enumerate(back.frames):
        assert frame[5, index + 2].tolist() == [0, 0, 255]
        assert frame[5, 15].tolist() == [255, 255, 255]


def test_uneven_frames_are_shown_when_a_player_would(tmp_path: Path) -> None:
    """Frames at 0, 100, 200, 700, 800 ms: at 10 a second, the third is on screen for half a second."""
    grey = flat([(20 + 50 * i,) * 3 for i in range(5)])
    encode(tmp_path / "a.mkv", grey, "ffv1", "bgr0", [0, 100, 200, 700, 800])
    back = read_mp4(tmp_path / "a.mkv", fps=10.0)
    assert back.fps == 10
    assert (back.frames[:9, 0, 0, 0] == [20, 70, 120, 120, 120, 120, 120, 170, 220]).all()
    assert read_mp4(tmp_path / "a.mkv").fps == pytest.approx(4 / 0.8)


def test_another_rate_and_fewer_frames(tmp_path: Path) -> None:
    write_mp4(tmp_path / "a.mp4", rolling(12), 24.0)
    whole = read_mp4(tmp_path / "a.mp4").frames
    half = read_mp4(tmp_path / "a.mp4", fps=12.0)
    assert np.array_equal(half.frames, whole[::2])
    assert np.array_equal(read_mp4(tmp_path / "a.mp4", fps=48.0).frames, whole.repeat(2, 0))
    assert np.array_equal(read_mp4(tmp_path / "a.mp4", max_frames=5).frames, whole[:5])


def test_only_so_many_seconds_and_pixels(tmp_path: Path) -> None:
    write_mp4(tmp_path / "a.mp4", rolling(12), 24.0)
    whole = read_mp4(tmp_path / "a.mp4")
    height, width = whole.frames.shape[1:3]
    early = read_mp4(tmp_path / "a.mp4", max_seconds=5 / 24)
    assert early.fps == whole.fps
    assert np.array_equal(early.frames, whole.frames[:6])
    small = read_mp4(tmp_path / "a.mp4", max_pixels=height * width / 4).frames
    assert small.shape == (12, height // 2, width // 2, 3)
    assert np.array_equal(read_mp4(tmp_path / "a.mp4", max_pixels=height * width).frames, whole.frames)
    assert read_header(tmp_path / "a.mp4").seconds == pytest.approx(0.5)


def test_what_is_measured_is_what_is_read(tmp_path: Path) -> None:
    write_mp4(tmp_path / "even.mp4", rolling(12), 30000 / 1001)
    encode(
        tmp_path / "uneven.mkv", flat([(20 + 50 * i,) * 3 for i in range(5)]), "ffv1", "bgr0", [0, 100, 200, 700, 800]
    )
    for name in ("even.mp4", "uneven.mkv"):
        found, whole = measure(tmp_path / name), read_mp4(tmp_path / name).frames
        assert (found.frames, found.height, found.width) == whole.shape[:3]
        for fps in (7.0, 10.0, 25.0, 30000 / 1001):
            assert len(read_mp4(tmp_path / name, fps=fps).frames) == max(1, round(found.seconds * fps))


def test_what_is_too_much_is_not_read(tmp_path: Path) -> None:
    write_mp4(tmp_path / "a.mp4", rolling(12), 24.0)
    height, width = rolling(1).shape[1:3]
    one = 3 * height * width
    assert measure(tmp_path / "a.mp4", 12 * one).frames == 12
    for most, said in ((12 * one - 1, "12 frames"), (one - 1, "1 frame of")):
        with pytest.raises(ValueError, match=said):
            measure(tmp_path / "a.mp4", most)


def test_rotated_footage_is_turned_upright(tmp_path: Path) -> None:
    frame = np.zeros((16, 32, 3), np.uint8)
    frame[:, :8] = 255  # the left edge of what the sensor saw …
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = 16, 32, "yuv420p"
        stream.set_display_rotation(-90)  # … is on top when a player turns it clockwise
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode(None))
    back = read_mp4(tmp_path / "a.mp4").frames[0]
    assert back.shape == (32, 16, 3)
    assert read_header(tmp_path / "a.mp4")[2:] == (16, 32)
    assert measure(tmp_path / "a.mp4")[2:] == (16, 32)
    assert back[:7].min() > 230
    assert back[9:].max() < 25


# ITU-T H.273: matrix code -> weights of red and blue in the luma
LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}


def ycbcr(colour: tuple[int, int, int], matrix: int, full: bool) -> list[int]:
    """The closed form of H.273, 8.3: what any encoder has to store."""
    (kr, kb), (r, g, b) = LUMA[matrix], np.array(colour) / 255
    luma = kr * r + (1 - kr - kb) * g + kb * b
    low, span, chroma = (0, 255, 255) if full else (16, 219, 224)
    cb, cr = (b - luma) / (2 - 2 * kb), (r - luma) / (2 - 2 * kr)
    return [min(255, round(value)) for value in (low + span * luma, 128 + chroma * cb, 128 + chroma * cr)]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("matrix", "height"), [*((code, 16) for code in LUMA), (2, 16), (2, 720)])
def test_colours_are_read_by_their_tags(tmp_path: Path, matrix: int, full: bool, height: int) -> None:
    """Code 2 says nothing: then footage of 720 lines and more is BT.709, smaller is BT.601."""
    meant = matrix if matrix != 2 else (1 if height >= 720 else 5)
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = height, 16, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 2 if full else 1
        for index, colour in enumerate(SATURATED):
            picture = av.VideoFrame(16, height, "yuv444p")
            picture.colorspace, picture.color_range, picture.pts = matrix, 2 if full else 1, index
            for plane, value in zip(picture.planes, ycbcr(colour, meant, full), strict=True):
                plane.update(bytes([value]) * plane.buffer_size)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    frames = read_mp4(tmp_path / "a.mkv").frames
    assert np.abs(frames.astype(int) - np.array(SATURATED)[:, None, None]).max() <= 3


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clip") / "a.mp4"
    write_mp4(path, rolling(17), 15.0, {"muybridge": "{}"})
    return path.read_bytes()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_clip_cut_off_anywhere_is_refused(tmp_path: Path, clip: bytes, data: st.DataObject) -> None:
    (tmp_path / "a.mp4").write_bytes(clip[: data.draw(st.integers(0, len(clip) - 1))])
    with pytest.raises(ValueError, match=r"cannot read .*a\.mp4: .*:"):
        read_mp4(tmp_path / "a.mp4")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_clips_are_read_or_refused(tmp_path: Path, clip: bytes, data: st.DataObject) -> None:
    content = bytearray(clip)
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.mp4").write_bytes(content)
    read, refused = attempt(tmp_path / "a.mp4")
    assert refused.startswith(f"cannot read {tmp_path / 'a.mp4'}: ") if read is None else len(read.frames) > 0


def attempt(path: Path) -> tuple[Footage | None, str]:
    try:
        return read_mp4(path, max_frames=100), ""
    except ValueError as error:
        return None, str(error)


def test_files_that_are_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a video, they said\n" * 100)
    (tmp_path / "empty.mp4").write_bytes(b"")
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    for path, sentence in {
        tmp_path: "it is a folder: give the name of a video file",
        tmp_path / "none.mp4": "it does not exist",
        tmp_path / "a.txt": "there is no picture in it",
        tmp_path / "empty.mp4": "it is no video, or it is damaged or cut off",
        tmp_path / "sound.wav": "there is no picture in it",
    }.items():
        for door in (read_mp4, read_metadata):
            with pytest.raises(ValueError, match=sentence):
                door(path)
