"""Whether a server's memory stays flat: `muybridge serve`, worker included, while it makes jobs.

    python benchmarks/serving_memory.py --jobs 2000

The resident memory of the process is read after each hundred jobs. What counts is the last against that after the first
`--warm` jobs, by when threads, connections, caches and the allocator's pools are there. Between the hundreds a client
also polls, lists and downloads, as clients do.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import httpx
from rich.progress import track
from serving import started

CLIP = {"model": "testcard", "frames": 5, "width": 64, "height": 64}
FINAL = {"succeeded", "failed"}


def resident_bytes(pid: int) -> int:
    """The memory that a process holds just now (Linux)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def make(api: httpx.Client, count: int) -> None:
    """So many clips, each asked for, waited for, looked at and downloaded."""
    body = CLIP | {"grid": {"prompts": ["a red ball"], "variants": count}}
    answer = api.post("/muybridge/v1/batches", json=body).raise_for_status()
    for clip in answer.json()["clips"]:
        address = f"/muybridge/v1/clips/{clip['id']}"
        while api.get(address).json()["state"] not in FINAL:
            time.sleep(0.05)
        assert api.get(f"{address}/content").status_code == 200
    api.get("/muybridge/v1/clips", params={"limit": 100}).raise_for_status()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--warm", type=int, default=500)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[int, int] = {}
    with tempfile.TemporaryDirectory() as home:
        serve = [sys.executable, "-m", "muybridge.cli", "serve", "--home", home, "--port", "0"]
        with started(serve, "    curl -o", Path(home)) as (pid, said):
            url, token = re.search(r"http://\S+", said), re.search(r"mb-\S+", said)
            assert url, said
            assert token, said
            headers = {"Authorization": f"Bearer {token[0]}"}
            with httpx.Client(base_url=url[0], headers=headers, timeout=600) as api:
                for done in track(range(100, options.jobs + 1, 100), "jobs, in hundreds"):
                    make(api, 100)
                    found[done] = resident_bytes(pid)
    for done, held in found.items():
        print(f"{done:6} jobs  {held / 2**20:7.1f} MiB")
    warm, last = found[min(options.warm, max(found))], found[max(found)]
    grown = f"{warm / 2**20:.1f} MiB to {last / 2**20:.1f} MiB, {last / warm - 1:+.1%}"
    print(f"from {min(options.warm, max(found))} to {max(found)} jobs: {grown}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
