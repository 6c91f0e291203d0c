"""A server as users start it, in a process of its own; and one without a network, for what needs no worker."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
from PIL import Image
from tiny_checkpoint import child_environment

from muybridge.serving.database import Database, Key
from muybridge.serving.keys import create_key
from muybridge.serving.settings import ServerSettings
from muybridge.storage.credentials import load_or_create
from muybridge.storage.video import write_mp4

T = TypeVar("T")

TABLE = """
[models.tiny]
checkpoint = "{tiny}"
credits_per_second = 10
longest_seconds = 8.5

[models.testcard]
checkpoint = "testcard"
credits_per_second = 2
longest_seconds = 60

[names]
"sora-2" = "testcard"
"gen4.5" = "testcard"
"gen4_turbo" = "tiny"
"gen4_image" = "testcard"
"ray-2" = "testcard"
"ray-flash-2" = "tiny"
"""


@dataclass
class Live:
    """A server that runs: where, with which key, from which folder."""

    url: str
    token: str
    home: Path
    process: subprocess.Popen[str]

    @property
    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=60)

    def admin(self, *words: str) -> str:
        """What `muybridge admin …` prints for this server."""
        command = [sys.executable, "-m", "muybridge.cli", "admin", *words, "--home", str(self.home)]
        return subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=True).stdout

    def new_key(self, **options: Any) -> tuple[Key, str]:
        """Another key and its token, written into the database beside the running server."""
        with Database(ServerSettings(home=self.home).database).write() as session:
            return create_key(session, "another", **options)


def prepare(home: Path, tiny: Path) -> None:
    """The server's folder, with a table of models that tests can afford."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "models.toml").write_text(TABLE.format(tiny=tiny), encoding="utf-8")
    load_or_create(home / "signing.pem")


@contextmanager
def process(verb: str, home: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """`muybridge serve` or `work`, and what it has said by the time it is ready."""
    command = [sys.executable, "-m", "muybridge.cli", verb, "--home", str(home), *words]
    command += ["--signing-key", str(home / "signing.pem"), "--fetch-private"]
    with (home / f"{verb}.log").open("a") as log:
        running = subprocess.Popen(
            command, env=child_environment(), stdout=subprocess.PIPE, stderr=log, text=True, cwd=home
        )
    said: list[str] = []
    try:
        assert running.stdout is not None
        for line in running.stdout:
            said.append(line)
            if line.startswith(("    curl -o", "API keys", "working")):
                break
        assert said, (home / f"{verb}.log").read_text()
        yield running, said
    finally:
        running.kill()
        running.wait()
        if running.stdout:
            running.stdout.close()


@contextmanager
def serving(home: Path, *words: str, token: str = "", port: str = "0") -> Iterator[Live]:
    with process("serve", home, "--port", port, *words) as (running, said):
        text = "".join(said)
        url = re.search(r"http://\S+", text)
        found = re.search(r"mb-\S+", text)
        assert url, text
        yield Live(url[0], found[0] if found else token, home, running)


def until(look: Callable[[], T], wanted: Callable[[T], bool], seconds: float = 600) -> T:
    """What `look` sees as soon as it is what is wanted."""
    end = time.monotonic() + seconds
    while True:
        seen = look()
        if wanted(seen):
            return seen
        assert time.monotonic() < end, f"after {seconds} s: {seen}"
        time.sleep(0.05)


def png(width: int = 48, height: int = 32, **options: Any) -> bytes:
    """A still."""
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", **options)
    return file.getvalue()


def film(count: int = 9, height: int = 48, width: int = 64, fps: float = 15.0) -> bytes:
    """A video: a bright bar that wanders over grey."""
    frames = np.full((count, height, width, 3), 90, np.uint8)
    for i, frame in enumerate(frames):
        frame[:, (4 * i) % width :][:, :8] = (200, 180, 40)
    with tempfile.TemporaryDirectory() as folder:
        write_mp4(Path(folder) / "film.mp4", frames, fps)
        return (Path(folder) / "film.mp4").read_bytes()
