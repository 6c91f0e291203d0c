"""Content Credentials (C2PA 2.x) in and out of files: who says that a file was made by which model, and with what.

A manifest is signed over the bytes of the whole file. It proves that nothing was changed since somebody signed it; who
that is depends on the certificate. Another program that saves the file again, or a person who cuts the manifest off,
leaves a file that says nothing: that is what the watermark is for.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from muybridge.storage.credentials import Credentials
from muybridge.storage.provenance import Provenance, carried_on, discreet

if TYPE_CHECKING:
    import c2pa

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for what a model made from training data, which C2PA asks for."""

COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""The same of a file that holds other footage, too."""

ASSERTION = "muybridge.generation"
"""The label under which the manifest says how the clip was made."""

_HEADS = (
    (4, b"ftyp", "video/mp4"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (8, b"WEBP", "image/webp"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
)
_STILL = "still", "The first frame; SHA-256 of its pixels"
_CHANGED = {"assertion.bmffHash.mismatch", "assertion.dataHash.mismatch", "assertion.boxesHash.mismatch"}
_EXPIRED = {"signingCredential.expired", "claimSignature.outsideValidity"}


@dataclass(frozen=True)
class Signature:
    """What a file's manifest says, and how far that can be believed.

    state     "none"; "valid"; "changed" (the file is not what was signed); "invalid" (the manifest itself was altered,
              or is broken); "expired" (the certificate was not valid when it signed, as far as can be told)
    trusted   the certificate leads to one that the reader trusts
    signer    the name in the certificate, which proves nothing unless it is trusted
    made_by   the program that made the file
    synthetic whether it says that a model made it
    actions   what was done, in C2PA's words
    sources   what the file was made from, as far as it says
    settings  what Muybridge wrote under `ASSERTION`
    problems  C2PA's codes of what is wrong
    """

    state: str
    trusted: bool = False
    signer: str = ""
    made_by: str = ""
    synthetic: bool = False
    actions: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    settings: Mapping[str, Any] | None = None
    problems: tuple[str, ...] = ()


def kind_of(head: bytes) -> str | None:
    """The media type that the first 16 bytes of a file announce; None for kinds whose manifests are not read here."""
    return next((kind for at, magic, kind in _HEADS if head[at : at + len(magic)] == magic), None)


def signed(
    content: bytes, made: Provenance, credentials: Credentials, disclose: bool = True, still: bytes | None = None
) -> bytes:
    """The content of an MP4 or PNG with a manifest in it; the pictures and the file's own metadata stay as they are.

    disclose  whether prompt and settings are told; what made it, and that it is synthetic, always are
    still     the file that the first frame came from: if it has a manifest, the new one contains it

    ValueError if the credentials are none that C2PA accepts.
    """
    import c2pa

    made = made if disclose else discreet(made)
    kind = kind_of(content[:16])
    assert kind in ("video/mp4", "image/png"), f"a file that begins with {content[:16]!r} is not signed here"
    info = c2pa.C2paSignerInfo(
        credentials.algorithm.lower(), credentials.certificates.encode(), credentials.key.encode(), None
    )
    manifest, source = _manifest(made, disclose), _source(made) if made.image else None
    kept = still if still is not None and _has_manifest(still) else None
    if source is not None and kept is None:
        manifest["ingredients"] = [source]
    result = io.BytesIO()
    try:
        with (
            c2pa.Signer.from_info(info) as signer,
            _context() as context,
            c2pa.Builder(manifest, context=context) as builder,
        ):
            if source is not None and kept is not None:
                builder.add_ingredient(source, kind_of(kept[:16]), io.BytesIO(kept))
            builder.sign(signer, kind, io.BytesIO(content), result)
    except c2pa.C2paError as error:
        raise ValueError(f"cannot sign as {credentials.name!r}: {error}: use a certificate for C2PA claims") from error
    return result.getvalue()


def read(file: BinaryIO, anchors: str = "") -> Signature:
    """What the manifest in an open file says. Nothing is fetched from the network.

    anchors  certificates that the reader trusts, PEM
    """
    import c2pa

    kind = kind_of(file.read(16))
    file.seek(0)
    if kind is None:
        return Signature("none")
    try:
        with _context(anchors) as context, c2pa.Reader(kind, file, context=context) as reader:
            store = json.loads(reader.json())
    except c2pa.C2paError as error:
        nothing = str(error).startswith("ManifestNotFound")
        return Signature("none") if nothing else Signature("invalid", problems=(str(error),))
    active = store.get("manifests", {}).get(store.get("active_manifest"))
    if active is None:
        return Signature("invalid", problems=("manifest.missing",))
    results = store.get("validation_results", {}).get("activeManifest", {})
    return _signature(active, results, store.get("validation_state") == "Trusted")


def _context(anchors: str = "") -> c2pa.Context:
    """Settings of the library, ours alone: no network, no pictures inside pictures."""
    import c2pa

    settings: dict[str, Any] = {
        "verify": {"verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
        "builder": {"thumbnail": {"enabled": False}},
    }
    if anchors:
        settings["trust"] = {"user_anchors": anchors}
    return c2pa.Context(c2pa.Settings.from_dict(settings))


def _manifest(made: Provenance, disclose: bool) -> dict[str, Any]:
    agent = {"name": "Muybridge", "version": made.version}
    created: dict[str, Any] = {
        "action": "c2pa.created",
        "digitalSourceType": COMPOSITE if carried_on(made) else SOURCE,
        "softwareAgent": agent,
        "description": f"Made by the model {made.model} ({made.model_hash}).",
    }
    if made.image:
        created["parameters"] = {"ingredientIds": ["still"]}
    marked = [{"action": "c2pa.watermarked.unbound", "softwareAgent": agent}] if made.watermark else []
    return {
        "claim_generator_info": [agent],
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": [created, *marked]}},
            {"label": ASSERTION, "data": _told(made, disclose)},
        ],
    }


def _told(made: Provenance, disclose: bool) -> dict[str, Any]:
    """Settings as plain data: numbers of 64 bits as texts, for C2PA's JSON ends at 63."""
    everything = {
        **asdict(made),
        "seed": str(made.seed),
        "prompt": _text(made.prompt),
        "negative": _text(made.negative),
    }
    public = ("model", "model_hash", "version", "watermark", "frames", "height", "width", "fps")
    return {name: value for name, value in everything.items() if value is not None and (disclose or name in public)}


def _source(made: Provenance) -> dict[str, Any]:
    """The still that the clip starts from, known by its pixels, or the clip that it carries on."""
    what, frames = ("clip", "The clip that is carried on; SHA-256 of its last frames") if carried_on(made) else _STILL
    return {
        "label": "still",
        "title": _text(made.image_name.replace("\\", "/").rsplit("/", 1)[-1]) or what,
        "format": "application/octet-stream",
        "relationship": "inputTo",
        "description": f"{frames}: {made.image}",
    }


def _text(text: str) -> str:
    """Without lone surrogates and NUL, which are no text outside Python."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def _has_manifest(content: bytes) -> bool:
    return read(io.BytesIO(content)).state != "none"


def _signature(active: Mapping[str, Any], results: Mapping[str, Any], trusted: bool) -> Signature:
    """Anybody may have written the manifest: what is not of the kind that it should be is not there."""
    problems = {failure.get("code", "") for failure in results.get("failure", [])} - {"signingCredential.untrusted"}
    assertions = {str(item.get("label")): item.get("data") for item in _mappings(active.get("assertions"))}
    listed = assertions.get("c2pa.actions.v2", assertions.get("c2pa.actions"))
    actions = _mappings(listed.get("actions") if isinstance(listed, dict) else None)
    told, info = assertions.get(ASSERTION), active.get("signature_info") or {}
    generators = _mappings(active.get("claim_generator_info")) or [{}]
    made_by = " ".join(str(generators[0].get(key, "")) for key in ("name", "version")).strip()
    state = "valid"
    if problems:
        state = "changed" if problems <= _CHANGED else "expired" if problems <= _EXPIRED else "invalid"
    return Signature(
        state,
        trusted,
        str(info.get("common_name") or info.get("issuer") or ""),
        made_by or str(active.get("claim_generator", "")),
        any(str(action.get("digitalSourceType", "")).endswith("lgorithmicMedia") for action in actions),
        tuple(str(action.get("action", "")) for action in actions),
        tuple(str(item.get("title", "")) for item in _mappings(active.get("ingredients"))),
        told if isinstance(told, dict) else None,
        tuple(sorted(problems)),
    )


def _mappings(items: object) -> list[Mapping[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
