"""The JavaScript libraries as shipped, newest and older, in node: `tests/js` against a server in another process.

`npm ci --prefix tests/js` installs them (./check does); without node or npm these tests are skipped.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from serving_server import Live, png

SCRIPTS = Path(__file__).parent / "js"
LIBRARIES = {
    "openai": "openai.js",
    "openai-6": "openai.js",
    "@runwayml/sdk": "runway.js",
    "runwayml-3": "runway.js",
    "lumaai": "luma.js",
    "lumaai-1.0": "luma.js",
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_as_shipped(live: Live, library: str) -> None:
    node = shutil.which("node")
    if node is None or not (SCRIPTS / "node_modules" / library).is_dir():
        pytest.skip("the JavaScript libraries are not installed: npm ci --prefix tests/js (needs node and npm)")
    port = free_port()
    key, webhook_token = live.new_key(webhook_url=f"http://127.0.0.1:{port}/told")
    told = {"WEBHOOK_PORT": str(port), "WEBHOOK_SECRET": key.webhook_secret, "WEBHOOK_TOKEN": webhook_token}
    picture = {"PICTURE": base64.b64encode(png()).decode()}
    _, token = live.new_key()
    environment = os.environ | told | picture | {"SERVER": live.url, "TOKEN": token, "LIBRARY": library}
    run = subprocess.run(
        [node, "--test", "--test-reporter=tap", LIBRARIES[library]],
        cwd=SCRIPTS,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    said = run.stdout + run.stderr
    assert run.returncode == 0, said
    passed = re.search(r"^# pass (\d+)$", run.stdout, re.MULTILINE)
    assert passed, said
    assert int(passed[1]) >= 7, said


def test_the_lock_file_names_no_registry() -> None:
    lock = (SCRIPTS / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    assert lock.count('"integrity"') == lock.count('"node_modules/')
