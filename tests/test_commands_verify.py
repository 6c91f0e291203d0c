"""`muybridge verify`: what is said of signed, changed, foreign and damaged files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_commands_generate import here, refusal
from test_storage_manifest import MADE, frames

from muybridge.cli import obey
from muybridge.storage.credentials import Credentials, default_path, load_or_create
from muybridge.storage.provenance import to_metadata
from muybridge.storage.publish import message_of, publish
from muybridge.storage.video import read_mp4, write_mp4

__all__ = ["here"]


@pytest.fixture
def stranger(tmp_path: Path) -> Credentials:
    """Somebody whose key is not this user's."""
    return load_or_create(tmp_path / "stranger" / "signing.pem")


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    """What is said of the signature, and what of the mark."""
    assert obey(["verify", *words]) == 0
    signature, mark = capsys.readouterr().out.split("\nWatermark")
    return signature, mark


def test_a_clip_of_ones_own(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish("a.mp4", frames(), MADE, load_or_create(default_path()))
    signature, mark = said(capsys, "a.mp4", "--json", "a.json")
    assert "VALID and trusted" in signature
    assert "vouched for by this computer's own key" in signature
    assert "Muybridge 0.1.0 made it, and that it is synthetic" in signature
    assert f"Prompt: {MADE.prompt}" in signature
    assert "FOUND" in mark
    assert f"{message_of(MADE):08x}, as it should be by the settings in the file" in mark
    figures = json.loads(Path("a.json").read_text())
    assert figures["signature"]["state"] == "valid"
    assert figures["signature"]["trust"] == "own key"
    assert figures["watermark"]["found"] is True
    assert figures["watermark"]["message"] == figures["watermark"]["expected"] == f"{message_of(MADE):08x}"


def test_a_clip_of_somebody_elses(here: Path, stranger: Credentials, capsys: pytest.CaptureFixture[str]) -> None:
    publish("a.mp4", frames(), MADE, stranger)
    signature, _ = said(capsys, "a.mp4")
    assert "VALID, but nobody you trust vouches for the signer" in signature
    assert "Anybody can make such a certificate" in signature
    Path("their.pem").write_text(stranger.anchor)
    signature, _ = said(capsys, "a.mp4", "--trust", "their.pem")
    assert "vouched for by a certificate that you trust" in signature
    Path("bad.pem").write_text("no certificate")
    assert "cannot read certificates from bad.pem" in refusal(capsys, "verify", "a.mp4", "--trust", "bad.pem")
    assert "cannot read the signing key no.pem" in refusal(capsys, "verify", "a.mp4", "--key", "no.pem")


def test_a_strangers_words_do_not_steer_the_terminal(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish("a.mp4", frames(), replace(MADE, prompt="a\x1b[2Jb\r\nc"), load_or_create(default_path()))
    signature, _ = said(capsys, "a.mp4")
    assert "Prompt: a [2Jb  c\n" in signature


def test_a_clip_that_was_changed(here: Path, stranger: Credentials, capsys: pytest.CaptureFixture[str]) -> None:
    publish("a.mp4", frames(), MADE, stranger)
    content = bytearray(Path("a.mp4").read_bytes())
    at = content.index(b"Made by Muybridge")
    content[at] ^= 1  # a letter of the comment: the frames still decode
    Path("a.mp4").write_bytes(content)
    signature, mark = said(capsys, "a.mp4")
    assert "BROKEN: the file was changed after 'Muybridge, self-signed' signed it" in signature
    assert "VALID" not in signature
    assert "Prompt" not in signature, "what a broken manifest says is not repeated"
    assert "FOUND" in mark, "the pixels still carry it"


def test_a_clip_that_was_saved_again(here: Path, stranger: Credentials, capsys: pytest.CaptureFixture[str]) -> None:
    publish("a.mp4", frames(), MADE, stranger)
    write_mp4("b.mp4", read_mp4("a.mp4").frames, 15.0, crf=23)
    signature, mark = said(capsys, "b.mp4")
    assert "There is none" in signature
    assert "removes it" in signature
    assert f"{message_of(MADE):08x}, the same for every clip of the same model, prompt, seed and settings" in mark
    write_mp4("c.mp4", read_mp4("a.mp4").frames, 15.0, to_metadata(replace(MADE, seed=1, watermark=1)))
    _, mark = said(capsys, "c.mp4")
    assert "they belong to another clip" in mark


def test_a_clip_of_another_program(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mp4("a.mp4", frames(), 15.0)
    signature, mark = said(capsys, "a.mp4", "--json", "a.json")
    assert "There is none" in signature
    assert "Not found" in mark
    assert "does not prove that no model made the clip" in mark
    assert json.loads(Path("a.json").read_text())["watermark"]["message"] is None
    write_mp4("b.mp4", frames()[:, :32], 15.0)
    _, mark = said(capsys, "b.mp4")
    assert "Frames of 96x32 are too small to carry it" in mark


def test_a_single_picture(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    marked, _ = publish("a.mp4", frames(), MADE, None)
    Image.fromarray(marked[0]).save("a.png")
    signature, mark = said(capsys, "a.png")
    assert "There is none" in signature
    assert "FOUND" in mark


def test_what_is_no_clip(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish("a.mp4", frames(), MADE, None)
    Path("cut.mp4").write_bytes(Path("a.mp4").read_bytes()[:900])
    Path("text.mp4").write_text("no video")
    Path("empty.mp4").touch()
    Path("folder").mkdir()
    for name in ("cut.mp4", "text.mp4", "empty.mp4", "folder", "missing.mp4"):
        assert f"cannot read {name}" in refusal(capsys, "verify", name)


def test_verifying_makes_no_key(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(here))
    write_mp4("a.mp4", np.zeros((1, 64, 64, 3), np.uint8), 15.0)
    said(capsys, "a.mp4")
    assert not default_path().exists()
