"""`muybridge models`: what is in the box."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from muybridge.storage import checkpoint


def run() -> None:
    """Prints a table of the bundled models."""
    table = Table("model", "parameters", "learnt from", "hash")
    for name in checkpoint.bundled():
        found = checkpoint.load(name)
        count = sum(tensor.numel() for part in found.tensors.values() for tensor in part.values())
        table.add_row(name, f"{count / 1e6:.1f} M", str(found.config.get("learnt_from", "")), found.model_hash)
    Console().print(table)
