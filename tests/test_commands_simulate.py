"""`muybridge simulate`: files that say what the simulator says, whole or not at all, the same whoever makes them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_checkpoint import child_environment

from muybridge.cli import obey
from muybridge.commands.simulate import Job, is_whole, make, to_json, truth
from muybridge.data.footage import Bucket, Footage
from muybridge.simulation import simulate
from muybridge.storage.video import read_mp4, write_mp4

SMALL = ("--size", "48x32", "--frames", "5")


def job(folder: Path, seed: int = 0) -> Job:
    return Job(folder, seed, frames=5, height=32, width=48, fps=15.0, truth=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips; look at them, don't touch them."""
    folder = tmp_path_factory.mktemp("worlds") / "new" / "folder"
    assert obey(["simulate", str(folder), "--clips", "3", "--seed", "7", *SMALL]) == 0
    return folder


def test_each_clip_is_four_files(made: Path) -> None:
    kinds = ("json", "mp4", "npz", "txt")
    assert sorted(contents(made)) == [
        "contact-sheet.png",
        *(f"world-0000000{seed}.{kind}" for seed in (7, 8, 9) for kind in kinds),
    ]
    with Image.open(made / "contact-sheet.png") as sheet:
        assert sheet.width > 4 * 128, "four moments a clip"


def test_the_files_say_what_the_simulator_says(made: Path) -> None:
    clip = simulate(7, 5, 32, 48, 15.0)
    with np.load(made / "world-00000007.npz") as arrays:
        assert sorted(arrays) == ["depth", "flow", "instance", "normal"]
        for name in arrays:
            expected = getattr(clip, name)
            assert arrays[name].dtype == expected.dtype
            np.testing.assert_array_equal(arrays[name], expected)
    said = json.loads((made / "world-00000007.json").read_text(encoding="utf-8"))
    assert (said["seed"], said["frames"], said["height"], said["width"], said["fps"]) == (7, 5, 32, 48, 15)
    np.testing.assert_allclose(said["camera"]["pose"], clip.camera.pose, atol=1e-6)
    np.testing.assert_allclose(said["camera"]["intrinsics"], clip.camera.intrinsics, atol=1e-6)
    for name, array in vars(clip.states).items():
        np.testing.assert_allclose(said["states"][name], array, atol=1e-6)
    assert [thing["name"] for thing in said["objects"]] == [thing.name for thing in clip.objects]
    assert len(said["events"]) == len(clip.events)
    assert (made / "world-00000007.txt").read_text(encoding="utf-8").splitlines() == list(clip.captions)
    frames, fps, _ = read_mp4(made / "world-00000007.mp4")
    assert fps == 15
    assert np.abs(frames.astype(float) - clip.rgb).mean() < 4


def test_events_say_their_kind() -> None:
    kinds = {event["kind"] for seed in range(12) for event in truth(simulate(seed, 33, 16, 16))["events"]}
    assert {"contact", "landed"} <= kinds <= {"contact", "landed", "hidden"}


def test_training_reads_the_folder_as_it_is(made: Path) -> None:
    source = Footage(made, [Bucket(5, 32, 48)], batch=3, encode_text=lambda text: [len(text)])
    batch = source.batch(0)
    assert batch.video is not None
    assert batch.video.shape == (3, 5, 3, 32, 48)
    assert len(source) == 3


def test_the_same_seed_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    make(job(tmp_path, 8))
    assert contents(tmp_path) == {name: data for name, data in contents(made).items() if "08." in name}


def test_whole_clips_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["simulate", str(tmp_path), "--clips", "3", *SMALL]
    assert obey(words) == 0
    before = contents(tmp_path)
    (tmp_path / "world-00000000.mp4").unlink()
    (tmp_path / "world-00000001.npz").unlink()
    written = {file.name: file.stat().st_mtime_ns for file in tmp_path.glob("*02.*")}
    capsys.readouterr()
    assert obey(words) == 0
    assert "(2 made, 1 already there)" in capsys.readouterr().out
    assert contents(tmp_path) == before
    assert {file.name: file.stat().st_mtime_ns for file in tmp_path.glob("*02.*")} == written


def test_without_truth_there_are_no_arrays(tmp_path: Path) -> None:
    words = ["simulate", str(tmp_path), "--clips", "1", *SMALL]
    assert obey([*words, "--no-truth"]) == 0
    assert not list(tmp_path.glob("*.npz"))
    assert obey(words) == 0
    assert len(list(tmp_path.glob("*.npz"))) == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--size", "33x32"], "take even ones from 16 to 2048, the nearest is 34"),
        (["--size", "8x32"], "the nearest is 16"),
        (["--size", "4000x32"], "the nearest is 2048"),
        (["--size", "wide"], "write WIDTHxHEIGHT"),
        (["--frames", "6"], "take 5 or 9"),
        (["--frames", "0"], "take 1 or 5"),
        (["--frames", "100001"], "take at most 1001"),
        (["--fps", "0"], "take 1 to 120"),
        (["--fps", "nan"], "take 1 to 120"),
        (["--clips", "0"], "take 1 to 1,000,000"),
        (["--seed=-1"], "--seed is -1"),
        (["--processes", "0"], "--processes is 0"),
    ],
)
def test_what_cannot_be_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    assert obey(["simulate", str(tmp_path / "new"), "--clips", "1", *options]) == 2
    out, err = capsys.readouterr()
    assert sentence in err
    assert out == ""
    assert not (tmp_path / "new").exists()


def test_other_clips_are_not_mixed_in(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert obey(["simulate", str(made), "--seed", "7", "--size", "32x32", "--frames", "5"]) == 2
    assert "has 5 frames of 48x32 at 15 fps: choose another folder" in capsys.readouterr().err
    write_mp4(tmp_path / "world-00000000.mp4", np.zeros((5, 32, 48, 3), np.uint8), 15)
    (tmp_path / "world-00000000.txt").write_text("mine")
    assert not is_whole(job(tmp_path))
    for text in ("{", "[]", "{}"):
        (tmp_path / "world-00000000.json").write_text(text)
        with pytest.raises(ValueError, match="damaged or not ours"):
            is_whole(job(tmp_path))


def test_places_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert obey(["simulate", str(tmp_path / "file"), *SMALL]) == 2
    assert "a part of that path is a file" in capsys.readouterr().err


def test_json_is_a_line_a_key() -> None:
    text = to_json({"a": [1, 2], "b": {"c": "×"}})
    assert json.loads(text) == {"a": [1, 2], "b": {"c": "×"}}
    assert len(text.splitlines()) == 4
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"a": float("nan")})


def test_several_processes_stopped_and_resumed(made: Path, tmp_path: Path) -> None:
    """Ctrl-C, as a terminal sends it, to all processes: what was begun is finished, nothing is half there."""
    words = ["simulate", str(tmp_path), "--clips", "5000", "--seed", "7", "--processes", "2", *SMALL]
    with subprocess.Popen(
        [sys.executable, "-m", "muybridge.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment(),
        start_new_session=True,
    ) as process:
        end = time.monotonic() + 300
        while len(list(tmp_path.glob("*.mp4"))) < 3:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (130, "", "muybridge: stopped\n")
    clips = list(tmp_path.glob("*.mp4"))
    assert 3 <= len(clips) < 5000
    assert len(contents(tmp_path)) == 4 * len(clips)
    for clip in clips:
        assert is_whole(replace(job(tmp_path), seed=int(clip.stem.removeprefix("world-"))))
    assert contents(tmp_path)["world-00000007.npz"] == contents(made)["world-00000007.npz"]
