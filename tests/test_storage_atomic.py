"""Nothing partial under a final name, whatever goes wrong; every refusal is one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from muybridge.storage import atomic
from muybridge.storage.atomic import check_writable, new_file, new_folder, previous, standing


def anything(folder: Path) -> bool:
    return True


def test_a_file_appears_whole_and_alone(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "a.txt"
    with new_file(target) as temporary:
        temporary.write_text("new")
        assert temporary.parent == target.parent
        assert not target.exists()
    assert target.read_text() == "new"
    assert os.listdir(target.parent) == ["a.txt"]


@pytest.mark.parametrize("fault", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_whatever_is_raised_leaves_the_old_file(tmp_path: Path, fault: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(fault):
        write(target, fault)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failing_rename_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def full(source: object, destination: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "replace", full)
    with pytest.raises(ValueError, match=r"cannot write .*a\.txt: the disk is full: free some space"):
        write(target)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def write(target: Path | str, fault: type[BaseException] | None = None) -> None:
    with new_file(target) as temporary:
        temporary.write_text("new")
        if fault is not None:
            raise fault


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, sentence in {
        tmp_path: "it is a folder",
        tmp_path / "file" / "a.txt": "a part of that path is a file",
        tmp_path / "file" / "b" / "a.txt": "a part of that path is a file",
        tmp_path / "pipe": "it is a device or pipe",
        tmp_path / "loop": "loop",
        tmp_path / ("x" * 300): "the name is too long",
        "": "no path",
        "a\0b": "no path",
    }.items():
        for door in (write, check_writable):
            with pytest.raises(ValueError, match=sentence):
                door(path)
    assert sorted(os.listdir(tmp_path)) == ["file", "loop", "pipe"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that takes no files")
def test_a_folder_that_takes_no_files() -> None:
    for door in (write, check_writable):
        with pytest.raises(ValueError, match=r"cannot write /proc/a\.txt: .*choose|cannot write .*: write to"):
            door("/proc/a.txt")


def test_check_writable_leaves_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "a.mp4")
    assert os.listdir(tmp_path) == []


def test_links_are_written_through_and_modes_are_the_users(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "real").stat().st_mode == (tmp_path / "plain").stat().st_mode


def replace_folder(target: Path, replaceable: Callable[[Path], bool] = anything) -> None:
    with new_folder(target, replaceable) as temporary:
        (temporary / "b").write_text("new")


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "run"
    target.mkdir()
    replace_folder(target, lambda _: False)  # empty: nothing to lose
    (target / "a").write_text("old")
    replace_folder(target)
    assert os.listdir(target) == ["b"]
    assert os.listdir(tmp_path) == ["run"]


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "thesis"
    target.mkdir()
    (target / "a").write_text("precious")
    with pytest.raises(ValueError, match=r"will not replace .*thesis: it holds other things"):
        replace_folder(target, lambda _: False)
    with pytest.raises(ValueError, match="it is a file"):
        replace_folder(target / "a")
    assert (target / "a").read_text() == "precious"


@pytest.mark.parametrize("at", [1, 2])
def test_a_failing_swap_gives_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    target = tmp_path / "run"
    replace_folder(target)
    (target / "b").write_text("old")
    renames = []
    rename = os.replace

    def fail_once(source: Path, destination: Path) -> None:
        renames.append(source)
        if len(renames) == at:
            raise KeyboardInterrupt
        rename(source, destination)

    monkeypatch.setattr(atomic.os, "replace", fail_once)
    with pytest.raises(KeyboardInterrupt):
        replace_folder(target)
    assert (target / "b").read_text() == "old"
    assert os.listdir(tmp_path) == ["run"]


def test_a_process_killed_between_the_renames_loses_nothing(tmp_path: Path) -> None:
    """Really killed: after the old folder has been moved aside, and before the new one has its name."""
    program = f"""
import os, signal
from muybridge.storage import atomic
rename = os.replace
def once(source, destination):
    rename(source, destination)
    os.kill(os.getpid(), signal.SIGKILL)
with atomic.new_folder({str(tmp_path / "run")!r}, lambda folder: True) as temporary:
    (temporary / "b").write_text("newer")
    os.replace = once
"""
    target = tmp_path / "run"
    replace_folder(target)
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert not target.exists()
    assert standing(target) == previous(target)
    assert (standing(target) / "b").read_text() == "new"
    replace_folder(target)
    assert standing(target) == target
    assert not previous(target).exists()
