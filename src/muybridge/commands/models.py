"""`muybridge models`: what is in the box, what else can be opened, and whether it fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from rich.console import Console
from rich.table import Table

from muybridge.backends.families import FAMILIES, Family
from muybridge.backends.placement import Need, Placement, free_memory
from muybridge.storage import checkpoint
from muybridge.types import GIVEN

COLUMNS = ("image", "opening", "ending", "video", "mask", "control", "camera")
GIB = 1 << 30
HEADS = {
    Placement.TOGETHER: "all at once",
    Placement.TILED: "decoded in tiles",
    Placement.PARTS_TILED: "parts in turn",
    Placement.BLOCKS: "blocks in turn",
}
IN_MEMORY = (Placement.TOGETHER, Placement.TILED)
"""Placements that mean something without a GPU."""


def run(words: Sequence[str], base: str = "") -> None:
    """Nothing: the tables. "check NAME": whether that one fits, a single file with `base`. ValueError otherwise."""
    console = Console(highlight=False)
    if not words:
        _bundled(console)
        console.print(table())
        console.print(
            "Models of these families in diffusers' format: --model FOLDER or --model org/name.", markup=False
        )
        console.print("Whether one fits this machine: muybridge models check FOLDER_OR_FILE", markup=False)
        return
    if len(words) != 2 or words[0] != "check":
        raise ValueError(f"`muybridge models {' '.join(words)}` means nothing: write `muybridge models check NAME`")
    check(console, words[1], base)


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


def check(console: Console, name: str, base: str = "") -> None:
    """Reads settings and headers only, and says what a clip takes, where it fits, and which options make it fit."""
    from muybridge.backends.memory import needs, weights
    from muybridge.backends.opening import family
    from muybridge.backends.singles import completed
    from muybridge.storage import pipelines, singles

    if base and not singles.is_single(name):
        raise ValueError(f"--base names the rest of a model in a single file, and {name} is none: leave it out")
    found = pipelines.find(name, allow_pickle=True)
    if singles.is_single(name):
        _, found = completed(singles.read_single(name), base, pickle=True)
    if found is None or found.pipeline == pipelines.OURS:
        if found is None:
            checkpoint.load(name)
        console.print(f"{name} is a model of Muybridge: it runs on any machine.", markup=False)
        return
    known = family(found)
    shape = (known.frames, known.height, known.width)
    console.print(f"{name}: {known.name}, {found.pipeline}", markup=False, soft_wrap=True)
    console.print(f"licence: {known.licence}; what is made may be sold: {known.commerce}", markup=False)
    if found.pickled:
        console.print("its weights are pickled: it is opened with --allow-pickle only", markup=False)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    free, where = free_memory(device), "the GPU" if device.type == "cuda" else "this machine"
    made = f"a clip of {known.frames} frames of {known.width}x{known.height} takes (GiB), {where} has {free / GIB:.1f}"
    table = Table("precision", "weights", *HEADS.values(), title=made)
    try:
        with console.status(f"rehearsing {made.split(' takes')[0]}"):
            wanted = needs(found, *shape)
    except ValueError as error:
        alone = ", ".join(f"{sum(parts.values()) / GIB:.2f} GiB in {name}" for name, parts in weights(found).items())
        console.print(f"its weights take {alone}; {error}", markup=False, soft_wrap=True)
        return
    for precision, wants in wanted.items():
        sizes = [wants.weights, *(wants.takes(one) for one in HEADS)]
        table.add_row(precision, *(f"{size / GIB:.2f}" for size in sizes))
    console.print(table)
    for sentence in advice(wanted, free, device.type):
        console.print(sentence, markup=False)


def advice(wanted: Mapping[str, Need], free: int, device: str) -> list[str]:
    """Which options make it fit into `free` bytes, the best first; a tenth is left to allocators."""
    options = {"float32": "--precision fp32", "bfloat16": "--precision bf16"}
    said = []
    for precision, wants in wanted.items():
        chosen = wants.placement(free)
        if wants.takes(chosen) > 0.9 * free or (device != "cuda" and chosen not in IN_MEMORY):
            continue
        option = options.get(precision, f"--precision {precision}")
        slower = "" if chosen is Placement.TOGETHER else f" ({chosen.value}; that is chosen for you)"
        said.append(f"it fits with {option}{slower if device == 'cuda' else slower.replace(' on the GPU', '')}")
    if said:
        return said
    least = min(wants.takes(one) for wants in wanted.values() for one in (Placement if device == "cuda" else IN_MEMORY))
    return [
        f"it does not fit, the least it takes is {least / GIB:.1f} GiB: make shorter or smaller clips "
        "(--seconds, --size), or take a smaller model"
    ]
