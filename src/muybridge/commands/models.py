"""`muybridge models`: what is in the box, what else can be opened, and whether it fits."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from muybridge.backends.families import FAMILIES, Family
from muybridge.storage import checkpoint
from muybridge.types import GIVEN

COLUMNS = ("image", "opening", "ending", "video", "mask", "control", "camera")
GIB = 1 << 30


def run(words: Sequence[str]) -> None:
    """Nothing: the tables. "check NAME": whether that one fits. ValueError for anything else."""
    console = Console(highlight=False)
    if not words:
        _bundled(console)
        console.print(table())
        console.print(
            "Models of these families in diffusers' format: --model FOLDER or --model org/name.", markup=False
        )
        console.print("Whether one fits this machine: muybridge models check FOLDER", markup=False)
        return
    if len(words) != 2 or words[0] != "check":
        raise ValueError(f"`muybridge models {' '.join(words)}` means nothing: write `muybridge models check NAME`")
    check(console, words[1])


def _bundled(console: Console) -> None:
    names = checkpoint.bundled()
    if not names:
        console.print("No models are bundled here: `muybridge train nano` makes one.", markup=False)
        return
    table = Table("model", "parameters", "clips", "learnt from", "hash")
    for name in names:
        found = checkpoint.load(name)
        count = sum(tensor.numel() for part in found.tensors.values() for tensor in part.values())
        trained = found.config.get("trained", {})
        clips = "{frames} frames of {width}x{height} at {fps:g} fps".format(**trained) if trained else ""
        table.add_row(name, f"{count / 1e6:.1f} M", clips, str(found.config.get("learnt_from", "")), found.model_hash)
    console.print(table)


def table() -> Table:
    """The families, and what each can take beside words; narrow enough for any terminal."""
    made = Table("family", "takes, beside words", "licence; may what is made be sold?", title="open models of others")
    for family in FAMILIES:
        taken = ", ".join(name for name in COLUMNS if name in family.takes)
        words = "" if "prompt" in family.takes else " (no words)"
        made.add_row(f"{family.name}{words}", taken or "-", f"{family.licence}; {family.commerce}")
    return made


def marks(family: Family) -> list[str]:
    """ "yes" for each column that one of its pipelines takes."""
    return ["yes" if name in family.takes else "" for name in COLUMNS]


def markdown() -> str:
    """The same for docs/open-models.md, with what a call is by default."""
    heads = ["family", *COLUMNS, "frames", "best at", "steps", "guidance", "licence", "may it be sold?", "for example"]
    rows = [heads, ["---"] * len(heads)]
    for one in FAMILIES:
        rule = f"{one.first} + {one.stride}k" if one.stride > 1 else "any"
        best = f"{one.frames} of {one.width}x{one.height}, {one.fps:g} fps"
        told = [rule, best, str(one.steps), f"{one.guidance:g}", one.licence, one.commerce, f"`{one.example}`"]
        rows.append([one.name, *marks(one), *told])
    explained = "".join(f"- **{name}**: {GIVEN[name]}\n" for name in COLUMNS)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + f"\n\n{explained}"


def check(console: Console, name: str) -> None:
    """Reads settings and headers only, and says what a clip takes, where it fits, and which options make it fit."""
    from muybridge.backends.memory import needs
    from muybridge.backends.opening import family
    from muybridge.storage import pipelines

    found = pipelines.find(name, allow_pickle=True)
    if found is None:
        checkpoint.load(name)
        console.print(f"{name} is a model of Muybridge: it runs on any machine.", markup=False)
        return
    known = family(found)
    shape = (known.frames, known.height, known.width)
    console.print(f"{name}: {known.name}, {found.pipeline}", markup=False)
    console.print(f"licence: {known.licence}; what is made may be sold: {known.commerce}", markup=False)
    if found.pickled:
        console.print("its weights are pickled: it is opened with --allow-pickle only", markup=False)
    free, where = _free()
    made = f"a clip of {known.frames} frames of {known.width}x{known.height} takes (GiB), {where} has {free / GIB:.1f}"
    table = Table("precision", "weights", "sampling", "decoding", "all at once", "a part at a time", title=made)
    advice = []
    for precision, wants in needs(found, *shape).items():
        sizes = (sum(wants.parts.values()), wants.sampling, wants.decoding, wants.resident, wants.offloaded)
        table.add_row(precision, *(f"{size / GIB:.2f}" for size in sizes))
        if precision in ("float32", "bfloat16"):
            if wants.resident <= free:
                advice.append(f"it fits with --dtype {precision}")
            elif wants.offloaded <= free and where == "the GPU":
                advice.append(
                    f"with --dtype {precision} it fits a part at a time, which is slower; that is chosen for you"
                )
    console.print(table)
    smaller = "it does not fit: make shorter or smaller clips (--seconds, --size), or take a smaller model"
    console.print("; ".join(advice) or smaller, markup=False)
    console.print("libraries take scratch space beside this: leave room", markup=False)


def _free() -> tuple[int, str]:
    """Bytes that are free where models run, and where that is."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0], "the GPU"
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "this machine"
    except (ValueError, OSError):  # not every system tells
        return 0, "this machine"
