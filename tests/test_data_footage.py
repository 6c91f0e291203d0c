"""Footage: the frames asked for, in proportion; buckets; and a sentence for whatever is wrong with a folder."""

from __future__ import annotations

import json
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from muybridge.data.footage import Bucket, Footage, _entry
from muybridge.data.window import probe, read_window
from muybridge.storage.video import write_mp4


def letters(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def film(path: Path, frames: int, height: int = 48, width: int = 64, fps: float = 10.0) -> Path:
    """Frame k is grey 4k, brighter by 60 in the left half and by 30 in its upper half."""
    picture = np.zeros((height, width), np.int64)
    picture[:, : width // 2] += 60
    picture[: height // 2] += 30
    grey = (4 * np.arange(frames)[:, None, None] + picture).clip(0, 255).astype(np.uint8)
    write_mp4(path, np.repeat(grey[..., None], 3, axis=-1), fps, crf=1)
    return path


def numbers(window: np.ndarray) -> list[int]:
    """Which frames of `film` these are, read off the dark corner."""
    dark = window[:, -window.shape[1] // 4 :, -window.shape[2] // 4 :]
    return [round(float(value) / 4) for value in dark.mean(axis=(1, 2, 3))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, frames, height, width in (("a", 40, 48, 64), ("b", 12, 48, 64), ("c", 30, 64, 48), ("d", 3, 48, 64)):
        film(tmp_path / f"{name}.mp4", frames, height, width)
        (tmp_path / f"{name}.txt").write_text(f"{name} one\n\n{name} two\n")
    return tmp_path


def test_any_window_is_found_exactly(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 45)
    about = probe(path)
    assert (about.frames, about.fps, about.height, about.width) == (45, 10.0, 48, 64)
    for first, stride in ((0, 1), (7, 1), (11, 3), (40, 1), (44, 1)):
        wanted = np.arange(first, 45, stride)[:5]
        assert numbers(read_window(path, about, wanted / 10, 48, 64)) == wanted.tolist()


def test_windows_are_scaled_and_cropped_at_the_centre(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 1, 48, 96)
    picture = read_window(path, probe(path), np.zeros(1), 24, 24)[0].astype(int)
    assert picture.shape == (24, 24, 3)
    corners = picture[3, 3, 0], picture[3, -4, 0], picture[-4, 3, 0], picture[-4, -4, 0]
    np.testing.assert_allclose(corners, (90, 30, 60, 0), atol=3)


def test_a_file_that_breaks_off_is_named(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 45)
    about = probe(path)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(ValueError, match=r"a\.mp4"):
        read_window(path, about, np.arange(40, 45) / 10, 48, 64)


def test_batches_come_from_one_bucket_and_every_file_from_its_own(folder: Path) -> None:
    buckets = [Bucket(9, 24, 32), Bucket(9, 32, 24), Bucket(17, 24, 32)]
    source = Footage(folder, buckets, batch=1, encode_text=letters, text_length=8)
    assert [path.name for path in source.skipped] == ["d.mp4"]
    assert len(source) == 3
    met = set()
    for step in range(4):
        batch = source.batch(step)
        assert batch.video is not None
        assert batch.text is not None
        caption = "".join(chr(letter) for letter in batch.text[0].tolist() if letter)
        met.add((caption[0], tuple(batch.video.shape[1:])))
        seen = numbers(batch.video[0].permute(0, 2, 3, 1).numpy())
        assert seen == list(range(seen[0], seen[0] + len(seen)))
    assert met == {
        ("a", (9, 3, 24, 32)),
        ("b", (9, 3, 24, 32)),
        ("c", (9, 3, 32, 24)),
        ("a", (17, 3, 24, 32)),
    }


def test_windows_move_and_repeat_themselves(folder: Path) -> None:
    one, other = (Footage(folder, [Bucket(5, 24, 32)], batch=2) for _ in range(2))
    starts = set()
    for step in range(8):
        video = one.batch(step).video
        assert video is not None
        assert torch.equal(video, other.batch(step).video)  # type: ignore[arg-type]
        halves = [other.batch(step, rank, 2).video for rank in range(2)]
        assert torch.equal(video, torch.cat(halves))  # type: ignore[arg-type]
        starts |= {numbers(clip.permute(0, 2, 3, 1).numpy())[0] for clip in video}
    assert len(starts) > 4


def test_faster_files_are_thinned_out(folder: Path) -> None:
    batch = Footage(folder, [Bucket(5, 24, 32)], batch=1, fps=4.0).batch(0)
    assert batch.video is not None
    assert batch.fps is not None
    assert batch.fps.item() == 5.0
    assert np.diff(numbers(batch.video[0].permute(0, 2, 3, 1).numpy())).tolist() == [2, 2, 2, 2]


def test_captions_from_a_list(folder: Path) -> None:
    for text in folder.glob("*.txt"):
        text.unlink()
    rows = [{"file": f"{name}.mp4", "captions": [name]} for name in "abcd"]
    (folder / "captions.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    text = Footage(folder, [Bucket(5, 24, 32)], batch=3, encode_text=letters).batch(0).text
    assert text is not None
    assert set(text[:, 0].tolist()) <= {ord(name) for name in "abc"}


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("e.mp4", b"no film", r"cannot read .*e\.mp4"),
        ("a.txt", b"\n", r"1 videos lack captions .*a\.mp4"),
        ("a.txt", b"\xff\xfe", r"a\.txt is not UTF-8"),
        ("captions.jsonl", b"{", r"line 1 is not JSON"),
        ("captions.jsonl", b'\n{"file": "a.mp4", "captions": 3}', r"line 2 is not of the form"),
        ("captions.jsonl", b'{"file": "z.mp4", "captions": []}', r"there is no .*z\.mp4"),
        ("a.txt", b"x" * 99, r"99 tokens, but text_length is 64"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(folder: Path, file: str, content: bytes, sentence: str) -> None:
    (folder / file).write_bytes(content)
    if file == "e.mp4":
        (folder / "e.txt").write_text("e")
    with pytest.raises(ValueError, match=sentence):
        Footage(folder, [Bucket(5, 24, 32)], batch=1, encode_text=letters)


def test_folders_without_a_single_clip(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(ValueError, match="shorter than their buckets: the longest has 40 frames"):
        Footage(folder, [Bucket(101, 24, 32)], batch=1)
    with pytest.raises(ValueError, match="no MP4 files"):
        Footage(tmp_path_factory.mktemp("empty"), [Bucket(5, 24, 32)], batch=1)
    with pytest.raises(ValueError, match=r"1 \+ 4k frames"):
        Bucket(6, 24, 32)


@hypothesis.settings(deadline=None)
@given(
    st.text()
    | st.builds(
        json.dumps,
        st.recursive(
            st.none() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["file", "captions"]), inner),
        ),
    )
)
def test_a_line_of_captions_is_read_or_refused(line: str) -> None:
    try:
        file, captions = _entry(line, "here")
    except ValueError as error:
        assert str(error).startswith("here")  # noqa: PT017 (either outcome is right)
    else:
        assert isinstance(file, str)
        assert all(caption.strip() for caption in captions)
