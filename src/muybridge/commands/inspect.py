"""`muybridge inspect`: how a clip was made."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from muybridge.storage.provenance import carried_on, command, from_metadata
from muybridge.storage.video import read_metadata


def run(clip: Path) -> None:
    """Prints what made the clip (stderr), and the command that makes it again (stdout, to be piped to a shell)."""
    metadata = read_metadata(clip)
    try:
        made = from_metadata(metadata)
        again = command(made, output=f"{clip.stem}-again.mp4")
    except ValueError as error:
        raise ValueError(f"{clip}: {error}") from error
    notes = Console(stderr=True, highlight=False, emoji=False)
    said = [f"{clip}: Muybridge {made.version}, model {made.model} ({made.model_hash})"]
    if carried_on(made):
        said.append("It carries on another clip, which stands before it in the file; the command makes what was added.")
    elif made.image:
        said.append(f"Its first frame was given, a still whose pixels have the SHA-256 {made.image}.")
    for sentence in said:
        notes.print(sentence, markup=False, soft_wrap=True)
    print(again)
