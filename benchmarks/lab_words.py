"""What the lab's page makes of held-out prompts, judged as clips of `quality.py` are: does it show all that was asked?

    muybridge lab --no-serve
    python benchmarks/lab_words.py [--folder runs/lab] [--prompts 60] [--plan-steps 4 0] [--threads 2] [--json PATH]

Needs Playwright (`pip install playwright`) and Chromium on the path. No speed is measured.
"""

from __future__ import annotations

import argparse
import base64
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from lab import SET, STATE
from measuring import machine, report
from playwright.sync_api import Page, sync_playwright
from rich.table import Table

from muybridge.evaluation.statistics import HELD_OUT
from muybridge.evaluation.text import text_fidelity
from muybridge.lab.server import listen

PIXELS = """async () => {
  const { clips } = await import("./keep.js");
  const [clip] = await clips();
  document.getElementById("forget").click();
  const bytes = new Uint8Array(clip.frames.length * clip.frames[0].length);
  clip.frames.forEach((frame, i) => bytes.set(frame, i * frame.length));
  let text = "";
  for (let i = 0; i < bytes.length; i += 4096) text += String.fromCharCode(...bytes.subarray(i, i + 4096));
  return { pixels: btoa(text), shape: [clip.frames.length, clip.height, clip.width, 4] };
}"""


def made(tab: Page, prompt: str, seed: int, plan_steps: int) -> UInt8[np.ndarray, "t h w 3"]:
    """The page's clip."""
    tab.evaluate(SET, {"prompt": prompt, "seed": str(seed), "plan_steps": str(plan_steps)})
    while (state := tab.evaluate(STATE))["busy"]:
        time.sleep(0.05)
    assert not state["trouble"], state["trouble"]
    clip = tab.evaluate(PIXELS)
    pixels = np.frombuffer(base64.b64decode(clip["pixels"]), np.uint8)
    return pixels.reshape(clip["shape"])[..., :3]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/lab"))
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--plan-steps", type=int, nargs="*", default=[4, 0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser_path is None:
        parser.error("Chromium is not on the path: install it, or put its folder there")
    found: dict[str, Any] = {"machine": machine(), "plan_steps": {}}
    table = Table("steps of a plan", "every object right", "count right", "both", title=f"{options.prompts} prompts")
    with listen(options.folder, 0) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        tab = browser.new_context().new_page()
        tab.goto(f"http://127.0.0.1:{server.server_address[1]}/?run=wasm&threads={options.threads}")
        tab.wait_for_selector("html[data-ready=yes]")
        for steps in options.plan_steps:

            def generate(
                prompts: Sequence[str], seeds: Sequence[int], steps: int = steps
            ) -> list[UInt8[np.ndarray, "t h w 3"]]:
                return [made(tab, prompt, seed, steps) for prompt, seed in zip(prompts, seeds, strict=True)]

            judged = text_fidelity(generate, range(HELD_OUT, HELD_OUT + options.prompts), batch=1)
            found["plan_steps"][steps] = asdict(judged)
            shares = (judged.objects_right, judged.count_right, judged.right)
            table.add_row(str(steps), *map(str, shares))
        browser.close()
        server.shutdown()
    report(table, (), found, options.json)


if __name__ == "__main__":
    main()
