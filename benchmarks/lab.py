"""The lab in Chromium: seconds to the first picture, seconds a step, frames a second, bytes, by threads.

    muybridge lab --no-serve
    python benchmarks/lab.py [--folder runs/lab] [--threads 1 2] [--steps 8] [--frames 33] [--drafts 1] [--json PATH]

Each number of threads gets a browser of its own with nothing kept. Beside the clock's seconds stand those that the
browser's processes spent on a processor, which other programs on the machine disturb less (Linux only). Needs
Playwright (`pip install playwright`) and Chromium on the path.
"""

from __future__ import annotations

import argparse
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

from measuring import machine, report
from playwright.sync_api import Page, sync_playwright
from rich.table import Table

from muybridge.lab.server import listen

NOTES = (
    "first picture: from the click, with everything to be downloaded, to the first preview (or frame)",
    "frames/s: frames of the clip by the seconds from words to the last pixel, model loaded",
)
SET = """(wish) => {
  for (const [id, value] of Object.entries(wish)) {
    document.getElementById(id).value = value;
    document.getElementById(id).dispatchEvent(new Event("input", { bubbles: true }));
  }
  document.getElementById("make").click();
}"""
STATE = """() => ({
  busy: document.getElementById("make").disabled,
  shown: !document.getElementById("canvas").hidden,
  ready: document.getElementById("factrun").textContent !== "not loaded",
  trouble: document.getElementById("trouble").textContent,
})"""
CLIP = """async () => {
  const { clips } = await import("./keep.js");
  const [clip] = await clips();
  const bytes = document.getElementById("factbytes").textContent;
  return { ...clip.took, ran: clip.ran, frames: clip.frames.length, bytes };
}"""


def visit(tab: Page, url: str, wish: dict[str, str]) -> dict[str, Any]:
    """One clip by a browser that has never been here."""
    tab.goto(url)
    tab.wait_for_selector("html[data-ready=yes]")
    began, seconds = time.perf_counter(), {}
    tab.evaluate(SET, wish)
    while True:
        state = tab.evaluate(STATE)
        for name in ("ready", "shown"):
            if state[name] and name not in seconds:
                seconds[name] = time.perf_counter() - began
                seconds[f"{name}_processor"] = processor_seconds()
        if not state["busy"]:
            break
        time.sleep(0.05)
    assert not state["trouble"], state["trouble"]
    spent = processor_seconds() - seconds["ready_processor"]
    return {**tab.evaluate(CLIP), **seconds, "clip_processor": spent}


def processor_seconds() -> float:
    """What this process's descendants have spent on processors so far, the browser's among them."""
    parents, spent = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, rest = int(stat.parent.name), stat.read_text().rpartition(") ")[2].split()
        except OSError:
            continue  # it has just ended
        parents[number], spent[number] = int(rest[1]), int(rest[11]) + int(rest[12])

    def ours(number: int) -> bool:
        while number in parents:
            number = parents[number]
            if number == os.getpid():
                return True
        return False

    return sum(ticks for number, ticks in spent.items() if ours(number)) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/lab"))
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--plan-steps", type=int, help="of a plan; by default as many as the model takes")
    parser.add_argument("--drafts", type=int, help="first frames to choose from; by default as many as the model draws")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser_path is None:
        parser.error("Chromium is not on the path: install it, or put its folder there")
    found: dict[str, Any] = {"machine": machine(), "threads": {}}
    head = ("threads", "first picture, s", "a step, s", "clip, s", "frames/s", "processor: loading, s", "clip, s")
    table = Table(*head, title=f"{options.frames} frames, {options.steps} steps")
    with listen(options.folder, 0) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for threads in options.threads:
            browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
            url = f"http://127.0.0.1:{server.server_address[1]}/?run=wasm&threads={threads}"
            wish = {"frames": str(options.frames), "steps": str(options.steps)}
            wish |= {"drafts": str(options.drafts)} if options.drafts else {}
            wish |= {} if options.plan_steps is None else {"plan_steps": str(options.plan_steps)}
            one = visit(browser.new_context().new_page(), url, wish)
            browser.close()
            found["threads"][threads] = one
            speed = one["frames"] / one["seconds"]
            seconds = (one["shown"], one["secondsAStep"], one["seconds"], speed)
            spent = (one["ready_processor"], one["clip_processor"])
            table.add_row(one["ran"], *(f"{value:.2f}" for value in (*seconds, *spent)))
        server.shutdown()
    notes = (*NOTES, *(f"{number} threads: {one['bytes']}" for number, one in found["threads"].items()))
    report(table, notes, found, options.json)


if __name__ == "__main__":
    main()
