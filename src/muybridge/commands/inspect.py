"""`muybridge inspect`: how a clip was made."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from muybridge.storage.provenance import command, from_metadata
from muybridge.storage.video import read_metadata


def run(clip: Path) -> None:
    """Prints the clip's settings (stderr) and the command that makes it again (stdout, so it can be piped to a shell)."""
    try:
        made = from_metadata(read_metadata(clip))
    except ValueError as error:
        raise ValueError(f"{clip}: {error}") from error
    notes = Console(stderr=True, highlight=False)
    notes.print(f"{clip}: Muybridge {made.version}, model {made.model} ({made.model_hash})", markup=False)
    if made.image:
        notes.print(f"Its first frame was given, a still whose pixels have the SHA-256 {made.image}.", markup=False)
    print(command(made, output=f"{clip.stem}-again.mp4"))
