"""`muybridge verify`: what a clip proves about where it comes from, and what it does not."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from muybridge.storage import manifest, watermark
from muybridge.storage.atomic import new_file
from muybridge.storage.credentials import default_path, load
from muybridge.storage.manifest import Signature
from muybridge.storage.provenance import from_metadata
from muybridge.storage.publish import message_of
from muybridge.storage.video import Footage, read_mp4
from muybridge.storage.watermark import Reading

LONGEST = 600
"""Frames in which the mark is looked for; each carries all of it."""

OWN, GIVEN = "this computer's own key", "a certificate that you trust"


def run(clip: Path, trust: Path | None, key: Path | None, to: Path | None) -> None:
    """Prints two paragraphs, the signature and the mark. ValueError for a file that is no video or picture."""
    footage = read_mp4(clip, max_frames=LONGEST)
    signature, trusted_by = _signature(clip, trust, key)
    reading = watermark.read(footage.frames)
    expected = _expected(footage)
    print(f"{clip}\n")
    print("Signature (Content Credentials, C2PA)")
    print(_paragraph(about_signature(signature, trusted_by)))
    print("\nWatermark (in the pixels)")
    print(_paragraph(about_mark(reading, expected, footage)))
    if to is not None:
        with new_file(to) as temporary:
            temporary.write_text(json.dumps(_figures(signature, trusted_by, reading, expected), indent=1))


def _signature(clip: Path, trust: Path | None, key: Path | None) -> tuple[Signature, str]:
    """The signature, and on whose word it is trusted."""
    anchors = {GIVEN: _read(trust) if trust else "", OWN: _own_anchor(key)}
    with clip.open("rb") as file:
        for word, anchor in anchors.items():
            if anchor:
                file.seek(0)
                found = manifest.read(file, anchor)
                if found.trusted:
                    return found, word
        file.seek(0)
        return manifest.read(file), ""


def _read(trust: Path) -> str:
    from cryptography import x509

    try:
        text = trust.read_bytes()
        x509.load_pem_x509_certificates(text)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read certificates from {trust}: give a PEM file of those you trust") from error
    return text.decode("latin-1")


def _own_anchor(key: Path | None) -> str:
    """The root of this user's own key; nothing if there is none yet, for reading makes no keys."""
    path = default_path() if key is None else key
    return load(path).anchor if key is not None or path.exists() else ""


def _expected(footage: Footage) -> int | None:
    """The message that the mark should have, by what the file says of itself."""
    try:
        made = from_metadata(footage.metadata)
    except ValueError:  # another program's file, or prompt and settings were left out
        return None
    return message_of(made) if made.watermark else None


def about_signature(signature: Signature, trusted_by: str) -> list[str]:
    """Sentences on what the signature proves and does not prove."""
    if signature.state == "none":
        return [
            "There is none.",
            "That proves nothing: any program that saves a file again, and any site that re-encodes it, removes it.",
        ]
    if signature.state == "changed":
        return [
            f"BROKEN: the file was changed after {signature.signer!r} signed it.",
            "What its manifest says may not be true of these frames: fetch the original file.",
        ]
    if signature.state == "invalid":
        return [
            f"BROKEN: the manifest was altered or is damaged ({', '.join(signature.problems)}).",
            "Nothing that it says can be believed.",
        ]
    return [*_whose(signature, trusted_by), *_what_is_said(signature)]


def _whose(signature: Signature, trusted_by: str) -> list[str]:
    intact = "neither frames nor statements were changed since"
    if signature.state == "expired":
        return [
            f"Signed as {signature.signer!r}; {intact}, but the certificate is not valid today, and no time stamp says "
            "that it was when it signed."
        ]
    if trusted_by:
        return [f"VALID and trusted: signed by {signature.signer!r}, vouched for by {trusted_by}; {intact}."]
    return [
        f"VALID, but nobody you trust vouches for the signer: it calls itself {signature.signer!r}, and {intact}.",
        "Anybody can make such a certificate, under any name. If you have the signer's certificate, give it with "
        "--trust.",
    ]


def _what_is_said(signature: Signature) -> list[str]:
    """What the signer states; signing makes it a statement, not a fact."""
    said = [f"The signer states that {signature.made_by or 'a program it does not name'} made it"]
    if signature.synthetic:
        said[0] += ", and that it is synthetic: a model made it"
    said[0] += "."
    settings = signature.settings or {}
    if "model" in settings:
        said.append(f"Model {settings['model']} ({settings.get('model_hash', '')}).")
    if settings.get("prompt"):
        said.append(f"Prompt: {settings['prompt']}")
    if signature.sources:
        said.append(f"Made from {', '.join(signature.sources)}.")
    return said


def about_mark(reading: Reading, expected: int | None, footage: Footage) -> list[str]:
    """Sentences on what the mark proves and does not prove."""
    height, width = footage.frames.shape[1:3]
    if not watermark.fits(height, width):
        return [f"Frames of {width}x{height} are too small to carry it. That proves nothing."]
    if not reading.found:
        return [
            f"Not found (score {reading.score:.1f}, {watermark.NEEDED:.1f} is needed).",
            "That does not prove that no model made the clip: other programs do not set this mark, it can be left out, "
            "and cropping, turning, strong compression or intent remove it.",
        ]
    return [
        f"FOUND: a clip without it would look like this at most once in {_odds(reading.log10_chance)} "
        f"(score {reading.score:.1f}).",
        _message(reading, expected),
        "The mark says that Muybridge made the pixels or much of them; its key is public, so it can be imitated, and "
        "it says neither who made the clip nor that nothing was changed.",
    ]


def _message(reading: Reading, expected: int | None) -> str:
    if reading.message is None:
        return "Its number cannot be read for sure: the clip was compressed or changed too much."
    number = f"Its number is {reading.message:08x}"
    if expected is None:
        return f"{number}, the same for every clip of the same model, prompt, seed and settings."
    if expected == reading.message:
        return f"{number}, as it should be by the settings in the file."
    return f"{number}, but by the settings in the file it should be {expected:08x}: they belong to another clip."


def _odds(log10_chance: float) -> str:
    return f"10^{math.floor(-log10_chance)}"


def _paragraph(sentences: list[str]) -> str:
    """A line each, without the control characters that a stranger's file may bring to the terminal."""
    shown = ("".join(letter if letter.isprintable() else " " for letter in sentence) for sentence in sentences)
    return "\n".join(f"  {sentence}" for sentence in shown)


def _figures(signature: Signature, trusted_by: str, reading: Reading, expected: int | None) -> dict[str, Any]:
    trust = {"": "unknown", OWN: "own key", GIVEN: "given certificate"}[trusted_by]
    message = None if reading.message is None else f"{reading.message:08x}"
    return {
        "signature": asdict(signature) | {"trust": trust},
        "watermark": asdict(reading)
        | {"found": reading.found, "message": message, "expected": None if expected is None else f"{expected:08x}"},
    }
