"""`muybridge generate`, `inspect` and `models` from end to end, on a tiny model that is real in every part."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import UInt8
from PIL import Image
from rich.text import Text
from tiny_checkpoint import build_tiny_model, child_environment

import muybridge
from muybridge.cli import obey
from muybridge.commands.progress import picture
from muybridge.conditioning.familiarity import Familiarity
from muybridge.storage.provenance import from_metadata

PROMPT = "a small red ball rolls behind a tall blue box"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line with which a command is refused."""
    assert obey(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1, err
    assert lines[0].startswith("muybridge: ")
    return lines[0]


def same(one: str, other: str) -> bool:
    """Whether two clips have the same frames and say the same of themselves; no two signatures are the same."""
    (frames, *texts), (others, *said) = muybridge.read_mp4(one), muybridge.read_mp4(other)
    return bool((frames == others).all()) and texts == said


def generate(model: Path, *words: str) -> tuple[str, ...]:
    return ("generate", *words, "--model", str(model))


def test_a_sentence_becomes_a_clip_and_a_sheet(
    here: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert obey(generate(tiny_model, PROMPT, "--seed", "7")) == 0
    out, err = capsys.readouterr()
    name = "a-small-red-ball-rolls-behind-a-tall-blue-box"
    assert names(here) == [f"{name}.mp4", f"{name}.png"]
    assert err == "", "what is no terminal hears nothing but the result"
    lines = [line.split(maxsplit=1)[0] for line in out.splitlines()]
    assert lines == ["clip", "contact", "model", "provenance", "made"]
    assert f"{name}.mp4" in out
    assert "seed 7" in out
    assert "9 frames of 48x32 at 15 fps, 2 steps" in out
    frames, fps, metadata = muybridge.read_mp4(here / f"{name}.mp4")
    assert frames.shape == (9, 32, 48, 3)
    assert fps == 15
    made = from_metadata(metadata)
    assert (made.prompt, made.seed, made.model_hash) == (PROMPT, 7, muybridge.load(tiny_model).hash)
    with Image.open(here / f"{name}.png") as sheet:
        assert sheet.format == "PNG"
    assert obey(generate(tiny_model, PROMPT, "--seed", "7")) == 0
    assert f"{name}-take2.mp4" in names(here), "nothing is replaced unasked"


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        (PROMPT, ["--steps", "3", "--guidance", "1.5", "--solver", "heun", "--seconds", "1", "--fps", "12.5"]),
        (PROMPT, ["--shift", "2.5", "--guidance-low", "0.2", "--guidance-high", "0.9", "--rescale", "0.5"]),
        ('-- it\'s "a" $HOME `ball`\n!*', ["--size", "64x32", "--negative", "-a blue box"]),
        ("--seed 5", ["--fps", "29.97", "--guidance", "1"]),
        ("", []),
        ("Ein roter Würfel 🔥 球", ["--seed", str(2**64 - 1)]),
    ],
)
def test_inspect_prints_what_makes_the_same_frames(
    here: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str], prompt: str, options: list[str]
) -> None:
    options = [f"{a}={b}" for a, b in zip(options[::2], options[1::2], strict=True)]
    assert obey([*generate(tiny_model, *options), "-o", "a.mp4", "--", prompt]) == 0
    capsys.readouterr()
    assert obey(["inspect", "a.mp4"]) == 0
    out, err = capsys.readouterr()
    assert muybridge.load(tiny_model).hash in err
    words = shlex.split(out)
    assert words[0] == "muybridge"
    assert obey(words[1:]) == 0
    assert same("a.mp4", "a-again.mp4")


def test_a_still_becomes_the_first_frame(here: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(gradient(40, 70)).save("still.png")
    assert obey(generate(tiny_model, PROMPT, "--image", "still.png", "--seed", "1", "-o", "a.mp4")) == 0
    model = muybridge.load(tiny_model, dtype=torch.float32)
    still = muybridge.fit(muybridge.read_still("still.png"), 32, 48)
    condition = muybridge.Condition(PROMPT, frames=9, height=32, width=48, prefix=still[None])
    (clip,) = model.generate(condition, seed=1)
    kept, _ = model.autoencoder.encode(still[None, None])
    first = muybridge.to_uint8(model.decode(muybridge.Latent(kept, 15)).frames[0])[0]
    assert np.abs(clip.frames[0].astype(int) - first).max() <= 1
    capsys.readouterr()
    assert obey(["inspect", "a.mp4"]) == 0
    again = shlex.split(capsys.readouterr().out)
    assert again[again.index("--image") + 1] == "still.png"
    assert obey(again[1:]) == 0
    assert same("a.mp4", "a-again.mp4")


def gradient(height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1).astype(np.uint8)


def test_variants_are_clips_of_seeds_that_follow(here: Path, tiny_model: Path) -> None:
    assert obey(generate(tiny_model, PROMPT, "--seed", "5", "--variants", "3", "-o", "v.mp4")) == 0
    assert names(here) == ["v-1.mp4", "v-1.png", "v-2.mp4", "v-2.png", "v-3.mp4", "v-3.png"]
    assert [from_metadata(muybridge.read_mp4(f"v-{i}.mp4").metadata).seed for i in (1, 2, 3)] == [5, 6, 7]
    assert obey(generate(tiny_model, PROMPT, "--seed", "6", "-o", "one.mp4")) == 0
    assert same("one.mp4", "v-2.mp4")
    assert not same("v-1.mp4", "v-2.mp4")


def test_every_option_matters(here: Path, tiny_model: Path) -> None:
    changes = [[], ["--negative", "a red ball"], ["--steps", "4"], ["--guidance", "3"], ["--solver", "euler"]]
    changes += [["--fps", "30"], ["--seed", "9"], ["--shift", "3"], ["--rescale", "0.7"], ["--guidance-low", "0.6"]]
    clips = []
    for change in changes:
        rest = [] if "--seed" in change else ["--seed", "8"]
        assert obey(generate(tiny_model, PROMPT, *change, *rest, "-o", "a.mp4", "--overwrite")) == 0
        clips.append(muybridge.read_mp4("a.mp4").frames.tobytes())
    assert len(set(clips)) == len(clips)


def test_what_is_not_understood_is_said(here: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def notes(prompt: str, *options: str) -> str:
        assert obey([*generate(tiny_model, *options), "-o", "a.mp4", "--overwrite", "--", prompt]) == 0
        return capsys.readouterr().err

    assert notes(PROMPT) == ""
    assert "'zebra'" in notes("a red zebra")
    assert "'bal' (nearest: ball" in notes("a red bal")
    assert "is empty: the clip may show anything" in notes("")
    assert "is empty" in notes(" \n\t")
    assert "holds no word, only '!?'" in notes("!?")
    assert "never seen these words and reads each as 'something unknown': '🔥', '🐉'" in notes("🔥🐉")
    assert "'шар', '球'" in notes("шар 球")
    assert "its last 36 words are not read (the first 64 are)" in notes("red ball " * 50)
    assert "the negative prompt is long" in notes(PROMPT, "--negative", "ball " * 65)
    assert "'zebra'" in notes(PROMPT, "--negative", "zebra")
    ten_thousand = notes(" ".join(f"word{i}" for i in range(1200))[:10_000])
    assert re.search(r"and \d+ more", ten_thousand)
    assert len(ten_thousand) < 1000
    assert len(notes("x" * 10_000)) < 1000
    assert "learnt from 48x32 only" in notes(PROMPT, "--size", "64x64")
    assert "later ones may drift" in notes(PROMPT, "--seconds", "1.1333")
    assert "making 13, which play 0.87 s" in notes(PROMPT, "--seconds", "0.95")
    assert "learnt from 15 frames a second only" in notes(PROMPT, "--fps", "30")


def test_a_still_of_another_kind_is_doubted(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(gradient(32, 48)).save("still.png")
    others = Familiarity.fit(
        torch.randn(60, 4, 4, 6, generator=torch.Generator().manual_seed(0)), torch.full((60,), 90.0)
    )
    anything = replace(others, limit=torch.tensor(1e9), least_psnr=torch.tensor(-90.0))
    for known, doubted in ((others, True), (anything, False)):
        model = build_tiny_model(tmp_path / f"model{doubted}", known)
        assert obey(generate(model, PROMPT, "--image", "still.png", "-o", f"{doubted}.mp4")) == 0
        err = capsys.readouterr().err
        assert ("the still is unlike what" in err) is doubted
        assert ("it suits nothing at all" in err) is doubted


def test_impossible_sizes_and_lengths_name_the_nearest(
    here: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*options: str) -> str:
        return refusal(capsys, *generate(tiny_model, PROMPT, *options))

    assert "multiples of 16 from 32 on, the nearest size is 96x48" in refused("--size", "100x50")
    assert "the nearest size is 32x32" in refused("--size", "1x1")
    assert "the longest at this size is 5 frames" in refused("--size", "2048x2048")
    assert "the largest still of about these proportions is 2896x2896" in refused("--size", "20000x20000")
    assert "the longest at this size is 21841 frames" in refused("--seconds", "3600")
    assert "--seconds is 0" in refused("--seconds", "0")
    assert "fps is 0: take 1 to 120" in refused("--fps", "0")
    assert "fps is nan" in refused("--fps", "nan")
    assert "write WIDTHxHEIGHT" in refused("--size", "big")
    assert "--variants is 0" in refused("--variants", "0")
    assert "--seed is -1" in refused("--seed=-1")
    assert "steps is 0" in refused("--steps", "0")
    assert "guidance is -1" in refused("--guidance=-1")
    assert "take one of euler, heun, multistep" in refused("--solver", "magic")
    assert "name it a.gif.mp4" in refused("-o", "a.gif")
    assert names(here) == []


def test_what_is_named_as_nearest_can_be_made(tiny_model: Path) -> None:
    model = muybridge.load(tiny_model)
    model.check(muybridge.Condition(frames=1, height=2896, width=2896))
    model.check(muybridge.Condition(frames=21841, height=32, width=48))
    for text in ("\udcff", "a\0b"):
        with pytest.raises(ValueError, match="holds what is no text"):
            model.check(muybridge.Condition(text, frames=9, height=32, width=48))


def test_bad_stills(here: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(gradient(50, 50)).save("whole.png")
    whole = Path("whole.png").read_bytes()
    Path("cut.png").write_bytes(whole[: len(whole) // 2])
    Path("text.png").write_text("not a picture")
    Path("empty.png").touch()
    Path("folder.png").mkdir()
    Image.new("1", (20_000, 20_000)).save("huge.png")
    before = names(here)
    for name in ("missing.png", "cut.png", "text.png", "empty.png", "folder.png", "huge.png"):
        assert f"cannot read {name}" in refusal(capsys, *generate(tiny_model, PROMPT, "--image", name, "-o", "a.mp4"))
    assert names(here) == before


@pytest.mark.parametrize(
    ("mode", "size"),
    [("RGB", (1, 1)), ("CMYK", (9, 300)), ("RGBA", (300, 20)), ("I;16", (20, 20)), ("L", (30, 1)), ("P", (1, 30))],
)
def test_any_sound_still_is_taken(here: Path, tiny_model: Path, mode: str, size: tuple[int, int]) -> None:
    if mode == "I;16":
        still = Image.fromarray(np.full(size[::-1], 40_000, dtype=np.uint16))
    else:
        still = Image.fromarray(gradient(*size[::-1])).convert(mode)
    still.save("still.tif")
    assert obey(generate(tiny_model, PROMPT, "--image", "still.tif", "-o", "a.mp4", "--steps", "1")) == 0
    assert names(here) == ["a.mp4", "a.png", "still.tif"]


@pytest.mark.parametrize("option", ["--image", "--last-image", "--video", "--mask", "--control", "--camera"])
def test_no_option_s_file_is_replaced(
    here: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    (here / "ball.png").write_text("mine")
    said = refusal(capsys, *generate(tiny_model, PROMPT, option, "ball.png", "-o", "ball.mp4", "--overwrite"))
    assert "ball.png is what the clip is made from, and would be replaced" in said
    assert (here / "ball.png").read_text() == "mine"


@pytest.fixture
def spoilt(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to be damaged."""
    return Path(shutil.copytree(tiny_model, tmp_path / "spoilt"))


def test_damaged_and_foreign_checkpoints(here: Path, spoilt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused() -> str:
        return refusal(capsys, *generate(spoilt, PROMPT))

    config = json.loads((spoilt / "config.json").read_text())
    weights, words = (spoilt / "text.safetensors").read_bytes(), (spoilt / "vocabulary.json").read_text()

    def written(**changes: object) -> None:
        (spoilt / "config.json").write_text(json.dumps({**config, **changes}))

    written(format=99)
    assert "newer format 99" in refused()
    written(kind="llama")
    assert "a checkpoint of another program" in refused()
    written(kind="muybridge.other")
    assert "holds a muybridge.other, not a muybridge.model" in refused()
    written(trained={"frames": 9})
    assert "lacks the number 'fps' in config.json" in refused()
    written(trained=[])
    assert "lacks the number 'fps' in config.json" in refused()
    written(text={**config["text"], "colour": "red"})
    assert "damaged or of another version" in refused()
    written(sampling={"steps": 0})
    assert "damaged or of another version" in refused()
    written(autoencoder={**config["autoencoder"], "coarse": "wide"})
    assert "damaged or of another version" in refused()
    written(transformer={**config["transformer"], "width": 64})
    assert "the weights do not fit the transformer" in refused()
    written()
    (spoilt / "vocabulary.json").write_text("{}")
    assert "damaged or of another version" in refused()
    (spoilt / "vocabulary.json").unlink()
    assert "lacks vocabulary.json" in refused()
    (spoilt / "vocabulary.json").write_text(words)
    (spoilt / "text.safetensors").write_bytes(weights[: len(weights) // 2])
    assert "text.safetensors is damaged or cut off" in refused()
    (spoilt / "text.safetensors").unlink()
    assert "lacks text.safetensors" in refused()
    (spoilt / "config.json").write_text("{")
    assert "config.json is damaged" in refused()
    assert "there is no checkpoint 'nowhere'" in refusal(capsys, *generate(Path("nowhere"), PROMPT))
    assert names(here) == []


@contextlib.contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file may grow over `size` bytes: as when the disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_nothing(here: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with disk_of(500):
        assert obey(generate(tiny_model, PROMPT, "-o", "a.mp4")) == 2
    assert names(here) == []
    assert "cannot write" in capsys.readouterr().err


def test_places_that_cannot_be_written(here: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "file").touch()
    for output in ("file/a.mp4", f"{'a' * 300}.mp4", "/proc/nowhere/a.mp4", ""):
        sentence = refusal(capsys, *generate(tiny_model, PROMPT, "-o", output))
        assert "cannot write" in sentence or "does not end in .mp4" in sentence
    if os.geteuid():
        here.chmod(0o500)
        assert "permission denied" in refusal(capsys, *generate(tiny_model, PROMPT))
        here.chmod(0o700)
    assert names(here) == ["file"]


def test_inspect_of_other_files(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("text.mp4").write_text("no video")
    muybridge.write_mp4("foreign.mp4", np.zeros((3, 16, 16, 3), np.uint8), 15)
    muybridge.write_mp4("newer.mp4", np.zeros((3, 16, 16, 3), np.uint8), 15, {"muybridge": '{"format": 9}'})
    assert "cannot read missing.mp4" in refusal(capsys, "inspect", "missing.mp4")
    assert "it is no video" in refusal(capsys, "inspect", "text.mp4")
    assert "foreign.mp4: the file does not say how it was made" in refusal(capsys, "inspect", "foreign.mp4")
    assert "newer Muybridge" in refusal(capsys, "inspect", "newer.mp4")


def test_models_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert obey(["models"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in muybridge.bundled()) if muybridge.bundled() else "No models" in out
    assert obey(["--version"]) == 0
    assert capsys.readouterr().out == f"muybridge {muybridge.__version__}\n"


def test_a_picture_of_half_blocks() -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:2] = (255, 0, 0)
    pixels[2:] = (0, 0, 255)
    text = picture(pixels, width=3)
    assert isinstance(text, Text)
    assert text.plain == "▀▀▀\n"
    assert {str(span.style) for span in text.spans} == {"rgb(255,0,0) on rgb(0,0,255)"}


def test_watched_in_a_terminal_and_stopped(here: Path, tiny_model: Path) -> None:
    """A bar with the time left and a picture; then Ctrl-C, which leaves nothing behind."""
    words = [*generate(tiny_model, PROMPT), "--steps", "1000", "--size", "96x64"]
    parent, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "muybridge.cli", *words],
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
        env={**child_environment(), "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"},
        start_new_session=True,
    ) as process:
        os.close(terminal)
        screen = read_until(parent, "▀", 240) + read_until(parent, "sampling", 60)
        process.send_signal(signal.SIGINT)
        screen += read_until(parent, "stopped", 60)
        assert process.wait(60) == 130
        assert process.stdout is not None
        assert process.stdout.read() == b""
    os.close(parent)
    assert "Traceback" not in screen
    assert "left" in screen
    assert "/1000" in screen
    assert names(here) == []


def read_until(terminal: int, text: str, seconds: float) -> str:
    """What a terminal shows up to `text`."""
    shown, end = b"", time.monotonic() + seconds
    while text.encode() not in shown:
        assert time.monotonic() < end, shown.decode(errors="replace")
        try:
            shown += os.read(terminal, 65536)
        except OSError as error:  # the other side has closed
            raise AssertionError(shown.decode(errors="replace")) from error
    return shown.decode(errors="replace")


def test_what_is_light_stays_light() -> None:
    """`muybridge --help` and `import muybridge` wait for none of the heavy libraries."""
    heavy = {"torch", "numpy", "av", "numba", "mujoco", "PIL", "tokenizers", "huggingface_hub"}
    found = f"import sys, muybridge.cli; print(*{heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", found], capture_output=True, text=True, check=True, env=child_environment()
    )
    assert done.stdout.split() == []


def test_who_makes_a_clip_waits_for_no_simulator() -> None:
    found = "import sys, muybridge.commands.generate; print(*{'mujoco', 'numba', 'scipy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", found], capture_output=True, text=True, check=True, env=child_environment()
    )
    assert done.stdout.split() == []


def test_everything_exported_is_there() -> None:
    for name in muybridge.__dir__():
        assert getattr(muybridge, name) is not None or name in ("__file__", "__cached__")
    assert muybridge.Settings is type(muybridge.Settings())
    still = torch.zeros(1, 3, 16, 16)
    assert muybridge.Condition(prefix=still).prefix is still
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        muybridge.nonsense  # noqa: B018
