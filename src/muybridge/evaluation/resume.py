"""Go through clips one by one, with progress, and without doing again what an interrupted run has done."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from muybridge.storage.atomic import new_file
from muybridge.types import Progress

Watch: TypeAlias = Callable[[Progress], None]
Record: TypeAlias = dict[str, Any]
"""What is kept of one clip: anything that JSON can say."""


def go_through(
    seeds: Sequence[int],
    evaluate: Callable[[Sequence[int]], Sequence[Record]],
    *,
    batch: int = 1,
    folder: Path | None = None,
    watch: Watch | None = None,
) -> list[Record]:
    """The record of every seed, in order; `evaluate` makes them, at most `batch` at a time.

    folder  keeps each record as `<seed>.json` as soon as it is known, and is asked first. It belongs to one model, one
            measure and one set of settings: give every run of something else a folder of its own
    watch   is called after each batch, with the clips done so far

    ValueError if a record in the folder cannot be read, or the folder cannot be written to.
    """
    if len(set(seeds)) < len(seeds):
        raise ValueError("a seed stands twice among the clips to evaluate: give each once")
    known = {seed: _read(path) for seed in seeds if folder is not None and (path := _path(folder, seed)).is_file()}
    missing = [seed for seed in seeds if seed not in known]
    started = time.monotonic()
    for start in range(0, len(missing), batch):
        picked = missing[start : start + batch]
        for seed, record in zip(picked, evaluate(picked), strict=True):
            known[seed] = record
            if folder is not None:
                _write(_path(folder, seed), record)
        if watch is not None:
            watch(Progress(start + len(picked), len(missing), time.monotonic() - started))
    return [known[seed] for seed in seeds]


def _path(folder: Path, seed: int) -> Path:
    return folder / f"{seed}.json"


def _read(path: Path) -> Record:
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read the result {path} of an earlier run: delete it, and it is made again") from error
    if not isinstance(record, dict):
        raise ValueError(f"{path} holds no result of an evaluation: delete it, and it is made again")
    return record


def _write(path: Path, record: Record) -> None:
    with new_file(path) as temporary:
        temporary.write_text(json.dumps(record))
