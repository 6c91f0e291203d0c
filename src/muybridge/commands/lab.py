"""`muybridge lab`: the model in a browser tab of this machine."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from rich.console import Console

from muybridge.lab.server import listen
from muybridge.lab.site import build


def run(model: str, folder: Path, port: int, show: bool, serve: bool) -> None:
    """Builds the folder where that is needed, says what is in it, and serves it until Ctrl-C."""
    notes = Console(stderr=True, highlight=False, emoji=False)
    with notes.status("opening the lab") as status:
        lab = build(folder, model, lambda doing: status.update(doing))
    weights = sum(lab["files"][file] for file in lab["graphs"].values())
    print(f"model        {lab['model']['name']} ({lab['model']['hash']}), {weights / 1e6:.1f} MB for the browser")
    print(f"folder       {folder}: any web server can give it out (docs/lab.md)")
    if not serve:
        return
    with listen(folder, port) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        print(f"lab          {url}  (Ctrl-C stops)", flush=True)
        if show:
            webbrowser.open(url)
        server.serve_forever()
