"""Signed manifests through real files: what is said, what a change does to it, and that the picture stays as it is."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import UInt8
from PIL import Image

from muybridge.storage.credentials import Credentials, load, load_or_create
from muybridge.storage.manifest import SOURCE, Signature, kind_of, read, signed
from muybridge.storage.provenance import Provenance, from_metadata, to_metadata
from muybridge.storage.publish import message_of, publish, sign
from muybridge.storage.video import read_metadata, read_mp4
from muybridge.storage.watermark import read as read_mark

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

MADE = Provenance(
    prompt='a "small" red ball 球',
    seed=2**64 - 1,
    model="nano",
    model_hash="0123456789ab",
    steps=25,
    guidance=4.5,
    solver="heun",
    frames=5,
    height=64,
    width=96,
    fps=15.0,
    version="0.1.0",
    negative="a blue box",
)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return load_or_create(tmp_path_factory.mktemp("key") / "signing.pem")


@pytest.fixture(scope="module")
def clip(key: Credentials, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A published clip."""
    path = tmp_path_factory.mktemp("clip") / "a.mp4"
    publish(path, frames(), MADE, key)
    return path.read_bytes()


def frames() -> UInt8[np.ndarray, "t h w 3"]:
    y, x = np.mgrid[:64, :96]
    return np.stack([np.stack([x + 9 * t, y + 100, x + y], -1) for t in range(5)]).astype(np.uint8)


def seen(content: bytes, anchors: str = "") -> Signature:
    return read(io.BytesIO(content), anchors)


def test_what_is_signed_is_said(clip: bytes, key: Credentials) -> None:
    found = seen(clip)
    assert (found.state, found.trusted, found.problems) == ("valid", False, ())
    assert (found.signer, found.made_by, found.synthetic) == (key.name, "Muybridge 0.1.0", True)
    assert found.actions == ("c2pa.created", "c2pa.watermarked.unbound")
    assert found.sources == ()
    assert found.settings is not None
    assert found.settings["prompt"] == MADE.prompt
    assert int(found.settings["seed"]) == MADE.seed
    assert found.settings["model_hash"] == MADE.model_hash
    assert SOURCE.encode() in clip, "IPTC's term, by which others find it"


def test_who_has_the_root_trusts_it(clip: bytes, key: Credentials, tmp_path: Path) -> None:
    assert seen(clip, key.anchor).trusted
    stranger = load_or_create(tmp_path / "signing.pem")
    assert not seen(clip, stranger.anchor).trusted
    assert seen(clip, stranger.anchor + key.anchor).trusted


def test_the_clip_stays_the_clip(clip: bytes, tmp_path: Path) -> None:
    unsigned, made = publish(tmp_path / "b.mp4", frames(), MADE, None)
    (tmp_path / "a.mp4").write_bytes(clip)
    one, other = read_mp4(tmp_path / "a.mp4"), read_mp4(tmp_path / "b.mp4")
    assert (one.frames == other.frames).all()
    assert one.metadata == other.metadata == to_metadata(made)
    assert made == replace(MADE, watermark=1)
    assert seen((tmp_path / "b.mp4").read_bytes()) == Signature("none")
    assert read_mark(one.frames).message == read_mark(unsigned).message == message_of(MADE)


@settings(max_examples=60, deadline=None)
@given(at=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_no_byte_of_a_frame_can_be_changed_unseen(clip: bytes, at: float, flip: int) -> None:
    begin = clip.index(b"mdat") + 4
    place = begin + int(at * (len(clip) - begin))
    changed = clip[:place] + bytes([clip[place] ^ flip]) + clip[place + 1 :]
    found = seen(changed)
    assert found.state == "changed"
    assert found.problems == ("assertion.bmffHash.mismatch",)


@settings(max_examples=100, deadline=None)
@given(at=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255), cut=st.booleans())
def test_damage_anywhere_is_no_crash(clip: bytes, at: float, flip: int, cut: bool) -> None:
    place = int(at * len(clip))
    changed = clip[:place] if cut else clip[:place] + bytes([clip[place] ^ flip]) + clip[place + 1 :]
    assert seen(changed).state in {"none", "valid", "changed", "invalid", "expired"}


def test_no_statement_can_be_changed_unseen(clip: bytes) -> None:
    for word in (MADE.prompt.encode(), MADE.model_hash.encode(), b"trainedAlgorithmicMedia", b"c2pa.created"):
        at = clip.index(word)
        changed = clip[:at] + bytes([clip[at] ^ 1]) + clip[at + 1 :]
        assert seen(changed).state == "invalid", word


def test_a_manifest_that_was_lost_inside_its_box(clip: bytes) -> None:
    outcomes = {seen(clip[:at] + bytes([clip[at] ^ 5]) + clip[at + 1 :]).state for at in range(60, 240, 3)}
    assert "invalid" in outcomes
    assert outcomes <= {"valid", "invalid"}


@given(content=st.binary(max_size=200))
def test_anything_else_says_nothing(content: bytes) -> None:
    assert seen(content).state in {"none", "invalid"}
    assert seen(b"\0\0\0\x18ftypmp42" + content).state in {"none", "invalid"}


def test_prompt_and_settings_can_be_left_out(key: Credentials, tmp_path: Path) -> None:
    secret = replace(MADE, prompt="secretword", negative="hiddenword", image="ab" * 32, image_name="/private/face.png")
    publish(tmp_path / "a.mp4", frames(), replace(secret, model="/private/models/nano"), key, disclose=False)
    content = (tmp_path / "a.mp4").read_bytes()
    for word in (b"secretword", b"hiddenword", b"face.png", b"private", str(MADE.seed).encode()):
        assert word not in content
    found = seen(content)
    assert found.synthetic
    assert found.settings is not None
    assert set(found.settings) == {"model", "model_hash", "version", "watermark", "frames", "height", "width", "fps"}
    with pytest.raises(ValueError, match="does not say how it was made"):
        from_metadata(read_metadata(tmp_path / "a.mp4"))


def test_a_still_is_named_as_the_source(key: Credentials) -> None:
    made = replace(MADE, image="ab" * 32, image_name="C:\\stills\\my still.png")
    found = seen(signed(content_of(frames()[0]), made, key))
    assert found.sources == ("my still.png",)
    assert found.actions == ("c2pa.created",), "this one has no watermark"


def test_a_stills_own_credentials_are_kept(key: Credentials, tmp_path: Path) -> None:
    other = load_or_create(tmp_path / "signing.pem")
    still = signed(content_of(frames()[0]), replace(MADE, version="0.0.9"), other)
    made = replace(MADE, image="ab" * 32, image_name="still.png")
    kept = signed(content_of(frames()[1]), made, key, still=still)
    assert seen(kept).sources == ("still.png",)
    assert seen(kept).state == "valid"
    theirs = x509.load_pem_x509_certificate(other.certificates.encode()).public_bytes(Encoding.DER)
    assert theirs in kept, "the still's signature is in it, certificate and all"
    assert theirs not in signed(content_of(frames()[1]), made, key, still=content_of(frames()[0]))


def content_of(frame: UInt8[np.ndarray, "h w 3"]) -> bytes:
    png = io.BytesIO()
    Image.fromarray(frame).save(png, format="PNG")
    return png.getvalue()


def test_stills_are_signed_too(key: Credentials, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content_of(frames()[0]))
    sign(path, MADE, key)
    assert seen(path.read_bytes(), key.anchor).trusted
    with Image.open(path) as picture:
        assert (np.asarray(picture) == frames()[0]).all()
    at = path.read_bytes().index(b"IDAT") + 20
    changed = bytearray(path.read_bytes())
    changed[at] ^= 1
    assert seen(bytes(changed)).state == "changed"


def test_a_certificate_for_other_things_is_refused(key: Credentials, tmp_path: Path) -> None:
    root_only = replace(key, certificates=key.anchor)
    with pytest.raises(ValueError, match=r"cannot sign as 'Muybridge, self-signed': .*: use a certificate for C2PA"):
        publish(tmp_path / "a.mp4", frames(), MADE, root_only)
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "PS256", "Ed25519"])
def test_keys_of_every_kind_sign(algorithm: str, tmp_path: Path) -> None:
    makers: dict[str, Callable[[], Key]] = {
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "PS256": lambda: rsa.generate_private_key(65537, 2048),
        "Ed25519": ed25519.Ed25519PrivateKey.generate,
    }
    own = makers[algorithm]()
    path = tmp_path / "own.pem"
    path.write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certified(own))
    credentials = load(path)
    assert credentials.algorithm == algorithm
    found = seen(signed(content_of(frames()[0]), MADE, credentials), credentials.anchor)
    assert (found.state, found.trusted, found.signer) == ("valid", True, "a studio")


def certified(key: Key) -> bytes:
    """A certificate as C2PA wants it, by the key itself."""
    name = x509.Name(
        [x509.NameAttribute(kind, "a studio") for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)]
    )
    begin, uses = datetime.now(UTC) - timedelta(days=1), [True] + 8 * [False]
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), 7, begin, begin + timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(*uses), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    made = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    return made.public_bytes(Encoding.PEM)


def test_small_frames_go_unmarked_and_say_so(key: Credentials, tmp_path: Path) -> None:
    small = frames()[:, :32, :48]
    finished = publish(tmp_path / "a.mp4", small, replace(MADE, height=32, width=48), key)
    assert (finished.frames == small).all()
    assert finished.provenance.watermark == 0
    assert "c2pa.watermarked.unbound" not in seen((tmp_path / "a.mp4").read_bytes()).actions


def test_kinds_are_told_by_their_beginning() -> None:
    assert kind_of(b"\0\0\0\x20ftypisom....") == "video/mp4"
    assert kind_of(content_of(frames()[0])[:16]) == "image/png"
    assert kind_of(b"\x1aE\xdf\xa3 matroska....") is None
    assert kind_of(b"") is None
