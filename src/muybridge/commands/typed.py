"""Lines that somebody types, or a program sends, while something else goes on."""

from __future__ import annotations

import os
import select
import signal
import stat
import sys

MOST = 65536
"""Bytes that are read at a time, as many as a pipe holds; of a line that never ends so many are kept."""


class Typed:
    """What comes through a file of the system, such as `source` tells; to ask for it never waits."""

    def __init__(self, file: int | None) -> None:
        self._file, self._rest = file, b""

    def __bool__(self) -> bool:
        """Whether more may come."""
        return self._file is not None

    def newest(self) -> str:
        """The last line that came since this was asked before; "" if none did, or only empty ones."""
        return next((line.strip() for line in reversed(self._lines()) if line.strip()), "")

    def _lines(self) -> list[str]:
        if self._file is None or not select.select([self._file], [], [], 0)[0]:
            return []
        # A job in the background that reads from its terminal is stopped; with the signal blocked it gets an error.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTIN})
        try:
            came = os.read(self._file, MOST)
        except OSError:
            return []
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        *lines, self._rest = (self._rest + came).split(b"\n")
        if not came:  # the end; what stands there without a newline is a line, too
            lines, self._file = [self._rest], None
        self._rest = self._rest[:MOST]
        return [line.decode("utf-8", "surrogateescape") for line in lines]


def source() -> int | None:
    """Standard input if it is a terminal or a pipe; None of a file, which is no place to wait for more."""
    try:
        file = sys.stdin.fileno()
        pipe = stat.S_ISFIFO(os.fstat(file).st_mode)
    except (AttributeError, OSError, ValueError):  # there is none, or it is closed, or a program's own
        return None
    return file if pipe or os.isatty(file) else None
