"""Runs the page's modules in Node.js, so that they can be held against Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import muybridge

PAGE = Path(muybridge.__file__).parent / "lab" / "page"


def in_node(code: str, given: Any) -> Any:
    """What `code`, an async function's body that sees `given` and `page` (which imports a module), returns."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    program = f"""
    const given = JSON.parse(await new Response(process.stdin).text());
    const page = (name) => import({json.dumps(PAGE.as_uri())} + "/" + name);
    const found = await (async () => {{ {code} }})();
    process.stdout.write(JSON.stringify(found));
    """
    command = [node, "--input-type=module", "-e", program]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
