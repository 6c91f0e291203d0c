"""From what was typed to what is meant: seeds, sizes, file names. No torch here: commands without it stay fast."""

from __future__ import annotations

import os
import re
import secrets
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from muybridge.storage.atomic import check_writable

LARGEST_SEED = 2**64 - 1
MOST_VARIANTS = 64


def seeds_of(seed: int | None, count: int) -> list[int]:
    """`count` seeds: the one asked for, or a new one, and those that follow it."""
    if not 1 <= count <= MOST_VARIANTS:
        raise ValueError(f"--variants is {count}: take 1 to {MOST_VARIANTS}")
    first = secrets.randbelow(2**31) if seed is None else seed
    if not 0 <= first <= LARGEST_SEED - count + 1:
        raise ValueError(f"--seed is {first}: take 0 to {LARGEST_SEED - count + 1}")
    return [first + i for i in range(count)]


def size_of(text: str, option: str = "--size") -> tuple[int, int]:
    """Width and height of "WIDTHxHEIGHT"."""
    found = re.fullmatch(r"([0-9]{1,5})[xX×]([0-9]{1,5})", text.strip())
    if not found:
        raise ValueError(f"{option} is {text[:40]!r}: write WIDTHxHEIGHT, such as 128x128")
    return int(found[1]), int(found[2])


def sizes_of(text: str) -> tuple[tuple[int, int], ...]:
    """Width and height of each of "WIDTHxHEIGHT,WIDTHxHEIGHT,…"; none of an empty text."""
    sizes = tuple(size_of(each, "--sizes") for each in text.split(",")) if text else ()
    for width, height in sizes:
        if sizes.count((width, height)) > 1:
            raise ValueError(f"--sizes names {width}x{height} twice: once is enough")
    return sizes


def outputs_of(
    output: Path | None, prompt: str, count: int, overwrite: bool, given: Iterable[Path | None] = ()
) -> list[Path]:
    """Where the clips go, checked before any work: nothing that exists is replaced unasked, and nothing of what is
    given to make them from.

    Without `output` the names are made of the prompt, and numbered where they are taken.
    """
    if output is None:
        output = Path(f"{slug(prompt)}.mp4")
        output = output if overwrite else _unused(output, count)
    if output.suffix.lower() != ".mp4":
        named = f"{output}.mp4" if output.name else "clip.mp4"
        raise ValueError(f"{str(output)!r} does not end in .mp4, which is what is written: name it {named}")
    try:
        os.fsencode(output)
    except UnicodeEncodeError as error:
        raise ValueError(f"{str(output)!r} is no path that this system can have: give another name with -o") from error
    outputs = _numbered(output, count)
    sources = {os.path.realpath(source) for source in given if source is not None}
    for file in _files(outputs):
        if _taken(file) and not overwrite:
            raise ValueError(f"{file} exists: give another name with -o, or --overwrite to replace it")
        check_writable(file)
        if os.path.realpath(file) in sources:
            raise ValueError(f"{file} is what the clip is made from, and would be replaced: give another name with -o")
    return outputs


def sheet_of(output: Path) -> Path:
    """The contact sheet of a clip lies beside it."""
    return output.with_suffix(".png")


def slug(prompt: str, longest: int = 60) -> str:
    """A file name made of a prompt: its words in lower case, with hyphens; at most `longest` letters and 120 bytes."""
    words = re.sub(r"[^\w]+", "-", unicodedata.normalize("NFC", prompt).lower()).strip("-_")
    return words[:longest].encode("utf-8")[:120].decode("utf-8", "ignore").rstrip("-_") or "clip"


def _numbered(output: Path, count: int) -> list[Path]:
    if count == 1:
        return [output]
    return [output.with_stem(f"{output.stem}-{i + 1}") for i in range(count)]


def _files(outputs: Iterable[Path]) -> list[Path]:
    return [file for output in outputs for file in (output, sheet_of(output))]


def _unused(output: Path, count: int) -> Path:
    take, candidate = 1, output
    while any(_taken(file) for file in _files(_numbered(candidate, count))):
        take += 1
        candidate = output.with_stem(f"{output.stem}-take{take}")
    return candidate


def _taken(file: Path) -> bool:
    """Like Path.exists, but a name that the disk refuses (too long, …) is left to the check that says so."""
    try:
        return file.exists()
    except OSError:
        return False
