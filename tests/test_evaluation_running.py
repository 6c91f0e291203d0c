"""Running: the same results however often it was interrupted; whatever a clip is like, it is judged or counted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tiny_suite import Tiny

from muybridge.data.worlds import HELD_OUT as NEVER_TRAINED
from muybridge.evaluation.coherence import Coherence
from muybridge.evaluation.falling import FallingObjects
from muybridge.evaluation.permanence import Permanence
from muybridge.evaluation.running import (
    FINEST,
    TRUTH,
    Contestant,
    Entry,
    NoClip,
    Result,
    baselines,
    judged,
    maker,
    parse,
    pixels_of,
    read_clip,
    run,
)
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.evaluation.suite import Frames, Split, Suite, Task
from muybridge.simulation import simulate
from muybridge.storage.video import read_mp4, write_mp4
from muybridge.types import Progress

SUITE = Tiny()
ENTRIES = [Entry(SUITE, split, number) for split in SUITE.splits for number in range(3)]


def noisy(task: Task) -> Frames:
    """The truth with a little noise, the same for the same task."""
    noise = np.random.default_rng(task.seed).integers(-3, 4, task.truth.rgb.shape)
    return np.clip(task.truth.rgb + noise, 0, 255).astype(np.uint8)


def counted(make: Callable[[Task], Frames], calls: list[str], stop_at: int | None = None) -> Callable[[Task], Frames]:
    def wrapped(task: Task) -> Frames:
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        calls.append(task.name)
        return make(task)

    return wrapped


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}


def test_everybody_stands_in_the_table(tmp_path: Path) -> None:
    heard: list[Progress] = []
    results = run(ENTRIES[:2], baselines(tmp_path, range(5)), heard.append)
    names = [result.contestant for result in results[:5]]
    assert names == [TRUTH, "static copy", "last-frame repeat", "constant velocity", "nearest training clip"]
    assert [result.score for result in results if result.contestant == TRUTH] == [1.0, 1.0]
    assert all(result.read for result in results)
    assert [(event.step, event.steps) for event in heard] == [(1, 2), (2, 2)]
    for result in results:
        task = SUITE.task("in distribution", result.number)
        assert (result.seed, result.prompt, result.known) == (task.seed, task.prompt, 5)
        assert result.scene == hashlib.sha256(task.truth.rgb.tobytes()).hexdigest()


def test_truth_is_judged_as_a_file_has_it(tmp_path: Path) -> None:
    """The floor: the codec's error is in it."""
    (result,) = run(ENTRIES[:1], [maker("truth", "", lambda task: task.truth.rgb, tmp_path)])
    frames = read_mp4(tmp_path / "truth" / f"{ENTRIES[0].name}.mp4").frames
    assert result.errors["distance, dB"] == SUITE.judge(ENTRIES[0].task(), frames).errors["distance, dB"] < 60


def test_what_is_known_is_not_done_again(tmp_path: Path) -> None:
    calls: list[str] = []
    first = run(ENTRIES, [maker("m", "1", counted(noisy, calls), tmp_path)])
    before = contents(tmp_path)
    again = run(ENTRIES, [maker("m", "1", counted(noisy, calls), tmp_path)])
    assert again == first
    assert calls == [entry.name for entry in ENTRIES]
    assert contents(tmp_path) == before


@pytest.mark.parametrize("stop", [0, 1, 4])
def test_interrupted_is_uninterrupted(tmp_path: Path, stop: int) -> None:
    calls: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run(ENTRIES, [maker("m", "1", counted(noisy, calls, stop), tmp_path / "a")])
    resumed = run(ENTRIES, [maker("m", "1", counted(noisy, calls), tmp_path / "a")])
    assert sorted(calls) == sorted(entry.name for entry in ENTRIES)
    assert resumed == run(ENTRIES, [maker("m", "1", noisy, tmp_path / "b")])
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_clip_without_its_verdict_is_judged_and_not_made_again(tmp_path: Path) -> None:
    calls: list[str] = []
    one = [maker("m", "1", counted(noisy, calls), tmp_path)]
    (first,) = run(ENTRIES[:1], one)
    (tmp_path / "m" / f"{ENTRIES[0].name}.json").unlink()
    assert run(ENTRIES[:1], one) == [first]
    assert len(calls) == 1


def test_other_settings_and_damaged_clips_are_made_again(tmp_path: Path) -> None:
    calls: list[str] = []
    (first,) = run(ENTRIES[:1], [maker("m", "1", counted(noisy, calls), tmp_path)])
    other = run(ENTRIES[:1], [maker("m", "2", counted(lambda task: task.truth.rgb, calls), tmp_path)])
    assert other[0].errors != first.errors
    file = tmp_path / "m" / f"{ENTRIES[0].name}.mp4"
    file.write_bytes(file.read_bytes()[:300])
    (third,) = run(ENTRIES[:1], [maker("m", "2", counted(lambda task: task.truth.rgb, calls), tmp_path)])
    assert third == other[0]
    assert len(calls) == 3


def test_a_clip_that_was_damaged_after_its_header_is_made_again(tmp_path: Path) -> None:
    (first,) = run(ENTRIES[:1], [maker("m", "1", noisy, tmp_path)])
    file = tmp_path / "m" / f"{ENTRIES[0].name}.mp4"
    whole = file.read_bytes()
    file.write_bytes(whole[:-200])
    assert run(ENTRIES[:1], [maker("m", "1", noisy, tmp_path)]) == [first]
    assert file.read_bytes() == whole


def test_a_verdict_of_other_code_is_not_believed(tmp_path: Path) -> None:
    (first,) = run(ENTRIES[:1], [maker("m", "1", noisy, tmp_path)])
    kept = tmp_path / "m" / f"{ENTRIES[0].name}.json"
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"code": "older", "score": 0.25}))
    assert run(ENTRIES[:1], [maker("m", "1", noisy, tmp_path)]) == [first]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"score": 1}', "\0"])
def test_what_is_no_verdict_is_named(tmp_path: Path, text: str) -> None:
    kept = tmp_path / "m" / f"{ENTRIES[0].name}.json"
    kept.parent.mkdir()
    kept.write_text(text)
    with pytest.raises(ValueError, match=f"{kept.name} holds no result of a clip: delete it"):
        run(ENTRIES[:1], [maker("m", "1", noisy, tmp_path)])


def test_results_are_records(tmp_path: Path) -> None:
    (result,) = run(ENTRIES[:1], [maker("m", "1", noisy, tmp_path)])
    record = json.loads((tmp_path / "m" / f"{ENTRIES[0].name}.json").read_text())
    assert parse(record) == result
    for change in ({"score": "1"}, {"read": 1}, {"errors": {"a": "b"}}, {"groups": [1]}, {"more": 1}):
        with pytest.raises(ValueError, match="not the fields"):
            parse(record | change)


def test_nan_is_no_clip_and_is_counted(tmp_path: Path) -> None:
    def broken(task: Task) -> Frames:
        frames = task.truth.rgb / 255.0
        frames[6, 0, 0] = np.nan
        return pixels_of(frames)

    results = run(ENTRIES[:2], [maker("m", "1", broken, tmp_path)])
    assert [(r.score, r.read) for r in results] == [(0.0, False)] * 2
    assert results[0].why == "frame 6 holds NaN or infinity, 1 of 9 frames do"
    assert run(ENTRIES[:2], [maker("m", "1", broken, tmp_path)]) == results
    assert pixels_of(np.array([[0.0, 0.5, 1.0, 7.0]])).tolist() == [[0, 128, 255, 255]]


# --- clips from anywhere ---------------------------------------------------------------------------------------------


def handed_in(tmp_path: Path) -> Contestant:
    return Contestant("they", tmp_path / "clips", tmp_path / "verdicts")


def result_of(tmp_path: Path) -> Result:
    (result,) = run(ENTRIES[:1], [handed_in(tmp_path)])
    return result


def test_what_is_missing_damaged_or_short_has_failed_until_it_is_there(tmp_path: Path) -> None:
    task, file = ENTRIES[0].task(), handed_in(tmp_path).file(ENTRIES[0])
    assert result_of(tmp_path).why == "there is no clip"
    write_mp4(file, task.truth.rgb, 15)
    file.write_bytes(file.read_bytes()[:500])
    damaged = result_of(tmp_path)
    assert damaged.why.startswith(f"cannot read {file.name}: it is no video, or it is damaged")
    write_mp4(file, task.truth.rgb[:6], 15)
    assert result_of(tmp_path).why == "the clip is too short: it plays 0.40 s of 0.60 s"
    write_mp4(file, task.truth.rgb[:4], 8)  # half a second: a tenth may be missing
    assert result_of(tmp_path).read
    file.write_bytes(b"")
    assert not result_of(tmp_path).read
    write_mp4(file, task.truth.rgb, 15)
    whole = result_of(tmp_path)
    assert (whole.score, whole.read, whole.why) == (1.0, True, "")


def scaled(frames: Frames, width: int, height: int) -> Frames:
    return np.stack([np.asarray(Image.fromarray(frame).resize((width, height))) for frame in frames])


def mpeg4(path: Path, frames: Frames, fps: int) -> None:
    """Another codec in another container, under the name that was asked for."""
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(fps), options={"qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode(None))


def test_other_speeds_sizes_codecs_and_lengths_pass(tmp_path: Path) -> None:
    task = ENTRIES[0].task()
    true = task.truth.rgb
    longer = np.concatenate([true, np.zeros_like(true)])
    wide = np.pad(scaled(true, 144, 96), [(0, 0), (0, 0), (30, 30), (0, 0)])
    for n, (frames, fps) in enumerate(
        [(np.repeat(true, 2, axis=0), 30.0), (longer, 15.0), (scaled(true, 192, 128), 15.0), (wide, 15.0)]
    ):
        write_mp4(tmp_path / f"{n}.mp4", frames, fps)
        verdict = judged(SUITE, task, tmp_path / f"{n}.mp4")
        assert verdict.score == 1.0, (n, verdict)
    mpeg4(tmp_path / "other.mp4", true, 15)
    assert judged(SUITE, task, tmp_path / "other.mp4").errors["distance, dB"] > 25


def test_a_film_is_no_clip_and_is_not_read_whole(tmp_path: Path) -> None:
    task, file = ENTRIES[0].task(), tmp_path / "a.mp4"
    write_mp4(file, np.zeros((62, 32, 48, 3), np.uint8), 0.1)  # ten minutes and a bit
    assert len(read_clip(file, 0.6).frames) == 1
    with pytest.raises(NoClip, match=r"plays 10 minutes, asked for are 0\.6 seconds: cut it"):
        judged(SUITE, task, file)
    result, *_ = run([ENTRIES[0]], [Contestant("film", tmp_path, tmp_path / "own")])
    assert (result.read, result.score) == (False, 0.0)


def test_large_pictures_are_reduced_while_they_are_read(tmp_path: Path) -> None:
    """Whatever its size, a clip takes about as much memory as one of sixteen times the task's pixels."""
    task, file = ENTRIES[0].task(), tmp_path / "a.mp4"
    write_mp4(file, scaled(task.truth.rgb, 1440, 960), 15.0, crf=20)
    frames = read_clip(file, 0.6).frames
    assert frames.shape == (9, 418, 627, 3)
    assert frames[0, ..., 0].size == pytest.approx(FINEST, rel=0.01)
    assert judged(SUITE, task, file).score == 1.0


def test_a_still_under_the_name_of_a_clip_is_too_short(tmp_path: Path) -> None:
    task = ENTRIES[0].task()
    Image.fromarray(task.truth.rgb[0]).save(tmp_path / "a.mp4", "PNG")
    with pytest.raises(NoClip, match="too short"):
        judged(SUITE, task, tmp_path / "a.mp4")


# --- the seeds -------------------------------------------------------------------------------------------------------

PHYSICS: tuple[Suite, ...] = (Permanence(), FallingObjects(), Coherence())


@pytest.mark.parametrize("suite", PHYSICS, ids=lambda suite: suite.name)
@pytest.mark.parametrize("split", ["in distribution", "count"])
def test_tasks_are_held_out_from_training(suite: Suite, split: Split) -> None:
    assert HELD_OUT == NEVER_TRAINED
    task = suite.task(split, 1)
    assert task.seed >= HELD_OUT
    assert task.truth.world.seed >= HELD_OUT
    folded = simulate(task.seed % HELD_OUT)  # what a source of training clips would make of that number
    assert not np.array_equal(folded.rgb[0], task.truth.rgb[0])


def test_no_scene_is_a_training_scene_or_comes_twice() -> None:
    suite = FallingObjects()
    tested = {hashlib.sha256(suite.task("in distribution", n).truth.rgb[0].tobytes()).digest() for n in range(8)}
    trained = {hashlib.sha256(simulate(seed, 1).rgb[0].tobytes()).digest() for seed in range(300)}
    assert len(tested) == 8
    assert len(trained) == 300
    assert not tested & trained
