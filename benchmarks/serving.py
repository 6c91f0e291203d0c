"""What a request costs beside bare FastAPI, on the same machine in the same run.

    python benchmarks/serving.py --clients 50 --requests 20
    python benchmarks/serving.py --database-url postgresql+psycopg://user:password@host/name

Two servers, each a process of its own: `muybridge serve` without a worker, to which `POST /muybridge/v1/clips` for the
test card is sent; and a FastAPI application that reads the same body and answers the same JSON. Both are asked by the
same clients in turn, twice: "paced", where each client asks once in `--pause` seconds, so that times are those of a
server that keeps up; and "at once", where each asks again as soon as it is answered, so that times are the length of
the queue, and what counts is how many are answered in a second. Beside the times that clients see stand the seconds of
processor that each server used for a request, which other programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

BODY = {"model": "testcard", "prompt": "a red ball", "frames": 1, "width": 32, "height": 32}
BARE = """
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

class Wish(BaseModel):
    model: str
    prompt: str
    frames: int
    width: int
    height: int

app = FastAPI()

@app.post("/clips", status_code=202)
def create(body: Wish) -> Wish:
    return body

config = uvicorn.Config(app, port=0, log_level="warning", access_log=False, timeout_keep_alive=75)
listener = config.bind_socket()
listener.listen(2048)
print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
uvicorn.Server(config).run(sockets=[listener])
"""


@contextmanager
def started(command: list[str], last: str, folder: Path) -> Iterator[tuple[int, str]]:
    """A server: its process, and what it printed until a line began with `last`."""
    unlimited = os.environ | {"MUYBRIDGE_REQUESTS_PER_MINUTE": "0", "MUYBRIDGE_MOST_QUEUED": "1000000"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=unlimited) as process:
        try:
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                said += line
                if line.startswith(last):
                    break
            yield process.pid, said
        finally:
            process.kill()


async def ask(url: str, token: str, clients: int, requests: int, pause: float = 0.0) -> list[float]:
    """Seconds that each request took; every client sends one after the other, or one each `pause` seconds."""
    taken: list[float] = []
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(limits=limits, timeout=120, headers=headers) as client:

        async def one(number: int) -> None:
            start = time.perf_counter() + pause * number / clients
            for turn in range(requests):
                await asyncio.sleep(start + turn * pause - time.perf_counter() if pause else 0)
                began = time.perf_counter()
                answer = await client.post(url, json=BODY | {"prompt": f"{number} {turn}"})
                taken.append(time.perf_counter() - began)
                assert answer.status_code == 202, answer.text

        await asyncio.gather(*(one(number) for number in range(clients)))
    return taken


def processor_seconds(pid: int) -> float:
    """What a process has used, all threads (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(pid: int, url: str, token: str, clients: int, requests: int, pause: float = 0.0) -> dict[str, float]:
    asyncio.run(ask(url, token, clients, 2))  # warm: threads, connections, statements
    before, began = processor_seconds(pid), time.perf_counter()
    taken = sorted(asyncio.run(ask(url, token, clients, requests, pause)))
    a_second = len(taken) / (time.perf_counter() - began)
    used = (processor_seconds(pid) - before) / len(taken)
    return {
        "p50_ms": 1e3 * statistics.median(taken),
        "p99_ms": 1e3 * taken[int(0.99 * len(taken))],
        "processor_ms": 1e3 * used,
        "requests": len(taken),
        "a_second": a_second,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between requests of a paced client")
    parser.add_argument("--database-url", default="", help="by default a new SQLite file")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {}

    def both(name: str, pid: int, url: str, token: str) -> None:
        for way, pause in (("paced", options.pause), ("at once", 0.0)):
            figures = measure(pid, url, token, options.clients, options.requests, pause)
            found[f"{name}, {way}"] = figures
            print(f"{name + ', ' + way:20}", "  ".join(f"{word} {value:.2f}" for word, value in figures.items()))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        serve = [sys.executable, "-m", "muybridge.cli", "serve", "--home", name, "--port", "0", "--no-worker"]
        serve += ["--database-url", options.database_url] if options.database_url else []
        with started([sys.executable, "-c", BARE], "http", folder) as (pid, said):
            both("bare", pid, f"{said.strip()}/clips", "none")
        with started(serve, "    curl -o", folder) as (pid, said):
            url, token = re.search(r"http://\S+", said), re.search(r"mb-\S+", said)
            assert url, said
            assert token, said
            both("muybridge", pid, f"{url[0]}/muybridge/v1/clips", token[0])
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
