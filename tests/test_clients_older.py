"""Older major versions of the Python libraries, in a folder of their own: they are fetched, which takes a minute.

pytest -m slow tests/test_clients_older.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from serving_server import Live
from tiny_checkpoint import child_environment

TESTS = Path(__file__).parent
WANTED = ("openai==2.2.0", "lumaai==1.0.2", "runwayml==4.18.0", "runway-robotics-sdk==0.1.0")
BESIDE = ("httpx==0.27.2", "sniffio", "imageio", "imageio-ffmpeg", "tqdm")
"""What they need and newer ones do not; all else comes from this environment."""


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("older")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", "--target", str(folder)]
    run = subprocess.run([*install, *WANTED, *BESIDE], capture_output=True, text=True)
    if run.returncode:
        pytest.skip(f"the older libraries cannot be fetched: {run.stderr.strip().splitlines()[-1]}")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("library", ["openai", "lumaai", "runwayml", "robotics"])
def test_an_older_library_as_shipped(live: Live, older: Path, library: str) -> None:
    environment = child_environment()
    environment["PYTHONPATH"] = os.pathsep.join([str(older), str(TESTS), environment["PYTHONPATH"]])
    _, token = live.new_key()
    command = [sys.executable, str(TESTS / "older_clients.py"), library, live.url, token]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200)
    assert run.returncode == 0, run.stdout + run.stderr
