"""Write, then rename: a path holds either what it held before or all of what is new, never a part.

The new content is written under a temporary name in the same folder (so that the rename does not cross file systems),
flushed to the disk, and moved over the final name in one step. Whatever goes wrong before that step, Ctrl-C included,
removes the temporary and leaves the final name as it was. Every writer of this room goes through here.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

AnyPath: TypeAlias = str | os.PathLike[str]

_MENDS = {
    errno.ENOSPC: "the disk is full: free some space, or write to another disk",
    errno.EDQUOT: "the disk quota is used up: free some space, or write to another disk",
    errno.EFBIG: "the file would be larger than this disk or account allows: write to another disk",
    errno.EROFS: "the disk is read-only: write to another folder",
    errno.EACCES: "permission denied: write to a folder of your own, or change its permissions",
    errno.EPERM: "permission denied: write to a folder of your own, or change its permissions",
    errno.ENOTDIR: "a part of that path is a file, not a folder: choose another path",
    errno.EEXIST: "a part of that path is a file, not a folder: choose another path",
    errno.ENOENT: "its folder does not exist and cannot be made: choose another path",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
    errno.ELOOP: "the path is a loop of symbolic links: choose another path",
}


@contextmanager
def new_file(path: AnyPath) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, what was written there becomes `path`.

    Missing parent folders are made; a symbolic link is written through. ValueError if `path` cannot be written to.
    """
    target = _resolved(path)
    temporary = _beside(target)
    with _in_a_sentence(target):
        try:
            _refuse_unless_file(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _flush(temporary)
            os.replace(temporary, target)
        finally:
            with suppress(OSError):  # it is gone after the rename, and was never there if its folder is not
                temporary.unlink()


@contextmanager
def new_folder(path: AnyPath, replaceable: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; when the block ends well, that folder becomes `path`, as a whole.

    A folder that is there already is only replaced where it is empty or `replaceable(folder)` says so; else ValueError.
    No file system swaps folders in one portable step: the old one is first moved to `previous(path)`. A process killed
    between the two renames leaves it there, which is where `standing` finds it.
    """
    target = _resolved(path)
    temporary = _beside(target)
    with _in_a_sentence(target):
        try:
            _refuse_unless_folder(target, replaceable)
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    _flush(file)
            _swap(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def previous(folder: AnyPath) -> Path:
    """Where the old content of `folder` waits while the new one takes its name."""
    target = _resolved(folder)
    return target.with_name(f".{target.name}.previous")


def standing(folder: AnyPath) -> Path:
    """The folder to read: `folder`, or its old content if a process was killed while replacing it."""
    target = _resolved(folder)
    return previous(target) if not os.path.exists(target) and os.path.isdir(previous(target)) else target


def check_writable(path: AnyPath) -> None:
    """ValueError unless a file could be written at `path`: ask before hours of work, not after."""
    target = _resolved(path)
    probe = _beside(target)
    with _in_a_sentence(target):
        _refuse_unless_file(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        probe.touch(exist_ok=False)
        probe.unlink()


def _swap(new: Path, target: Path) -> None:
    """Give `new` the name `target`; if that fails, the old folder gets its name back."""
    old = previous(target)
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(target, old)
    try:
        os.replace(new, target)
    except BaseException:
        if old.exists():
            os.replace(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _resolved(path: AnyPath) -> Path:
    """`path` as absolute, symbolic links followed, so that a link is written through instead of replaced."""
    if "\0" in str(path) or not str(path):
        raise ValueError(f"{str(path)!r} is no path: give a file name")
    return Path(os.path.realpath(path))


def _beside(target: Path) -> Path:
    return target.with_name(f".{secrets.token_hex(8)}.part")


def _refuse_unless_file(target: Path) -> None:
    if target.is_dir():
        raise ValueError(f"cannot write {target}: it is a folder: give the name of a file in it")
    if _exists(target) and not target.is_file():
        raise ValueError(f"cannot write {target}: it is a device or pipe, not a file: choose another path")
    if _exists(target) and not os.access(target, os.W_OK):
        raise ValueError(f"cannot write {target}: the file there is read-only: choose another path, or chmod u+w it")


def _refuse_unless_folder(target: Path, replaceable: Callable[[Path], bool]) -> None:
    if _exists(target) and not target.is_dir():
        raise ValueError(f"cannot write the folder {target}: it is a file: choose another path")
    if target.is_dir() and any(target.iterdir()) and not replaceable(target):
        raise ValueError(f"will not replace {target}: it holds other things: choose a new or empty folder")


def _exists(path: Path) -> bool:
    """Like Path.exists, which takes a name that is too long or a loop of links for a missing file."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _flush(file: Path) -> None:
    """Wait until the disk has it: a rename may reach the disk before the content does."""
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


@contextmanager
def _in_a_sentence(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        mend = _MENDS.get(error.errno or 0, f"{error.strerror or error}: choose another path")
        raise ValueError(f"cannot write {target}: {mend}") from error
