"""`muybridge models`: what is in the box."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from muybridge.storage import checkpoint


def run() -> None:
    """Prints a table of the bundled models."""
    console = Console(highlight=False)
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
