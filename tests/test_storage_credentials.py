"""The signing key: made once, for its owner's eyes, and others' keys as they come."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_checkpoint import child_environment

from muybridge.storage.credentials import default_path, load, load_or_create


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "signing.pem"
    made = load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["signing.pem"]
    assert load_or_create(path) == load(path) == made
    assert made.algorithm == "ES256"
    assert made.name == "Muybridge, self-signed"
    assert "PRIVATE" not in made.certificates + made.anchor
    assert made.key not in repr(made)
    leaf, root = x509.load_pem_x509_certificates(made.certificates.encode())
    leaf.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    assert x509.load_pem_x509_certificate(made.anchor.encode()) == root
    assert load_or_create(tmp_path / "other.pem").key != made.key


def test_several_processes_get_the_same(tmp_path: Path) -> None:
    code = (
        "import sys; from muybridge.storage.credentials import load_or_create; print(load_or_create(sys.argv[1]).key)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "signing.pem")]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, env=child_environment(), text=True) for _ in range(3)]
    keys = {child.communicate()[0] for child in children}
    assert len(keys) == 1
    assert "PRIVATE KEY" in keys.pop()


def certified(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, days: int = 9) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a studio")])
    begin = datetime.now(UTC) - timedelta(days=10)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + timedelta(days=10 + days))
    ).sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    return certificate.public_bytes(form.Encoding.PEM)


def pem(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey,
) -> bytes:
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())


@pytest.mark.parametrize(
    ("make", "algorithm"),
    [
        (lambda: ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (lambda: ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (lambda: rsa.generate_private_key(65537, 2048), "PS256"),
        (ed25519.Ed25519PrivateKey.generate, "Ed25519"),
    ],
)
@pytest.mark.parametrize("key_first", [True, False])
def test_keys_of_ones_own(
    tmp_path: Path, make: Callable[[], ec.EllipticCurvePrivateKey], algorithm: str, key_first: bool
) -> None:
    key = make()
    blocks = [pem(key), certified(key)]
    (tmp_path / "own.pem").write_bytes(b"".join(blocks if key_first else blocks[::-1]))
    found = load(tmp_path / "own.pem")
    assert (found.algorithm, found.name) == (algorithm, "a studio")


def test_an_openssl_key_in_the_old_form_is_taken(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    old = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.TraditionalOpenSSL, form.NoEncryption())
    (tmp_path / "own.pem").write_bytes(old + certified(key))
    assert load(tmp_path / "own.pem").key.startswith("-----BEGIN PRIVATE KEY-----")


def test_what_cannot_sign_is_refused(tmp_path: Path) -> None:
    path, key, other = tmp_path / "own.pem", ec.generate_private_key(ec.SECP256R1()), ed448.Ed448PrivateKey.generate()
    password = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"x"))
    weak = ec.generate_private_key(ec.SECP256K1())
    for content, said in (
        (b"", "has to hold a private key and its certificates"),
        (pem(key), "has to hold a private key and its certificates"),
        (certified(key), "has to hold a private key and its certificates"),
        (password + certified(key), "has a password"),
        (pem(key) + certified(ec.generate_private_key(ec.SECP256R1())), "belongs to another key"),
        (pem(other) + certified(key), "belongs to another key"),
        (pem(key) + certified(key, days=-2), "is valid from .* only"),
        (pem(weak) + certified(weak), "keys are on the curves"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=said):
            load(path)
    with pytest.raises(ValueError, match=r"cannot read the signing key .*nothing.pem: No such file"):
        load(tmp_path / "nothing.pem")


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 1700), byte=st.integers(0, 255))
def test_a_damaged_key_is_a_sentence(tmp_path: Path, at: int, byte: int) -> None:
    content = bytearray(whole(tmp_path))
    content[at % len(content)] = byte
    (tmp_path / "own.pem").write_bytes(content)
    with contextlib.suppress(ValueError):  # any other error is a failure
        load(tmp_path / "own.pem")


def whole(folder: Path) -> bytes:
    load_or_create(folder / "whole.pem")
    return (folder / "whole.pem").read_bytes()


def test_places_where_none_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="a part of that path is a file"):
        load_or_create(tmp_path / "file" / "signing.pem")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / ".config" / "muybridge" / "signing.pem"
