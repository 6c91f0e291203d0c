"""The distillation journey with a tiny teacher: what comes out, and that an interruption changes nothing of it."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_checkpoint import build_tiny_model, child_environment

from muybridge.cli import obey
from muybridge.data.material import Simulated
from muybridge.distil import distil, guidance_of, sampling_of
from muybridge.generate import Model, load
from muybridge.recipes import find
from muybridge.recipes.student import Halve
from muybridge.recipes.students import STUDENTS, find_student
from muybridge.sampler import Settings
from muybridge.storage.checkpoint import load as load_checkpoint
from muybridge.storage.video import read_mp4
from muybridge.training.parallel import Group
from muybridge.types import Condition, Trained, latent_frames

CLIP = Condition("a red ball", frames=9, height=32, width=48)


def names(steps: Iterator[tuple[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for name, event in steps if isinstance(event, Trained)))


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished distillation: pruned, causal, shortcuts, matched."""
    folder = tmp_path_factory.mktemp("student")
    steps = distil(find_student("tiny"), load(tiny_model, "cpu"), Simulated(), folder, Group(), workers=0)
    assert names(steps) == ["imitation", "shortcuts", "matching"]
    return folder


def test_the_student_is_smaller_causal_and_jumps_unasked(run: Path, tiny_model: Path) -> None:
    student, teacher = load(run / "model"), load(tiny_model)
    config = student.transformer.config
    assert (config.causal, config.spans) == (True, True)
    assert config.window < latent_frames(teacher.config["trained"]["frames"])  # its cache has rolled
    assert (config.expansion, teacher.transformer.config.expansion) == (3, 4)
    assert (student.settings.steps, student.settings.solver, student.settings.guidance) == (2, "jump", 1)
    assert student.config["trained"] == teacher.config["trained"]
    assert student.vocabulary.words == teacher.vocabulary.words
    clip = student.generate(CLIP, seed=1)[0]
    assert clip.frames.shape == (9, 32, 48, 3)
    assert (clip.provenance.steps, clip.provenance.solver) == (2, "jump")
    assert teacher.hash in student.card


def test_it_streams(run: Path) -> None:
    stream = load(run / "model").stream(CLIP, seed=1)
    assert [len(next(stream)) for _ in range(3)] == [1, 4, 4]


def test_pictures_were_drawn_on_the_way(run: Path) -> None:
    for exercise in ("imitation", "shortcuts", "matching"):
        assert (run / exercise / "samples" / "step-0000002.png").exists()


def test_a_finished_distillation_is_not_done_again(run: Path, tiny_model: Path) -> None:
    before = load_checkpoint(run / "model").digest
    assert not names(distil(find_student("tiny"), load(tiny_model, "cpu"), Simulated(), run, Group(), workers=0))
    assert load_checkpoint(run / "model").digest == before


def test_another_teacher_s_folder_is_refused(run: Path, tmp_path: Path) -> None:
    other = build_tiny_model(tmp_path / "other", sampling=Settings(steps=3, guidance=1.5))
    with pytest.raises(ValueError, match="teacher"):
        list(distil(find_student("tiny"), load(other, "cpu"), Simulated(), run, Group(), workers=0))


def test_a_student_that_jumps_teaches_nobody(run: Path, tmp_path: Path) -> None:
    """It never learnt the velocity of a moment, which is what students are taught."""
    with pytest.raises(ValueError, match="take the model that it is a student of as --teacher"):
        next(distil(find_student("tiny"), load(run / "model", "cpu"), Simulated(), tmp_path, Group(), workers=0))
    assert list(tmp_path.iterdir()) == []


def test_halving(tiny_model: Path, tmp_path: Path) -> None:
    """Every round learns from the one before, and the last takes one step of Euler's."""
    command = ["distill", "tiny-halved", "--teacher", str(tiny_model), "-o", str(tmp_path), "--workers", "0"]
    assert obey(command) == 0
    assert [folder.name for folder in sorted(tmp_path.glob("halving-*"))] == ["halving-1", "halving-2"]
    student = load(tmp_path / "model")
    assert (student.settings.steps, student.settings.solver, student.settings.guidance) == (1, "euler", 1)
    rounds = {steps: load(tmp_path / f"halving-{steps}" / "model") for steps in (2, 1)}
    assert {steps: each.settings.steps for steps, each in rounds.items()} == {2: 2, 1: 1}
    assert rounds[1].hash == student.hash != rounds[2].hash
    assert student.transformer.config == load(tiny_model).transformer.config
    out = tmp_path / "a.mp4"
    assert obey(["generate", "a red ball", "--model", str(tmp_path / "model"), "-o", str(out)]) == 0
    assert read_mp4(out).frames.shape == (9, 32, 48, 3)


def test_killed_and_resumed_is_uninterrupted(run: Path, tiny_model: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle, then the same command again: the same checkpoint, byte for byte."""
    command = [sys.executable, "-m", "muybridge.cli", "distill", "tiny", "--teacher", str(tiny_model)]
    command += ["-o", str(tmp_path / "run"), "--workers", "0"]
    with subprocess.Popen(
        command, env=child_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / "run" / "shortcuts" / "state.safetensors").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "run" / "model").exists(), "the kill came too late to test anything"
    subprocess.run(command, check=True, capture_output=True, env=child_environment())
    resumed, whole = load_checkpoint(tmp_path / "run" / "model"), load_checkpoint(run / "model")
    assert resumed.model_hash == whole.model_hash


def test_every_student_recipe_fits_nano() -> None:
    config = find("nano").transformer
    for name, recipe in STUDENTS.items():
        assert recipe.name == name
        assert dataclasses.is_dataclass(recipe)
        assert recipe.steps >= 1
        if name.startswith("nano"):
            assert (recipe.keep.layers or 1) <= config.layers
            assert (recipe.keep.heads or 1) <= config.heads
            assert (recipe.keep.expansion or 1) <= config.expansion
            assert recipe.clips >= max(max(exercise.batch, exercise.firsts) for exercise in recipe.exercises)
        for exercise in recipe.exercises:
            if isinstance(exercise, Halve):
                assert exercise.begin // exercise.end in {2**k for k in range(1, 8)}
                assert recipe.steps == exercise.end


def test_unknown_student_recipe_names_the_known() -> None:
    with pytest.raises(ValueError, match=r"tiny, tiny-halved, nano-fast"):
        find_student("nano-huge")


def test_guidance_is_the_teacher_s_and_not_the_student_s(tiny_model: Path) -> None:
    teacher: Model = load(tiny_model)
    assert guidance_of(teacher.settings).scale == 2
    for recipe in STUDENTS.values():
        settings = sampling_of(recipe, teacher)
        assert (settings.guidance, settings.steps, settings.shift) == (1, recipe.steps, teacher.settings.shift)
