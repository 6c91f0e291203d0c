"""The key that signs clips, and the certificates that say whose it is: one PEM file, made when it is first needed.

Made here are a root certificate and one for the key, which the root signs; the root's own key is thrown away, so no
second certificate can follow. Nobody vouches for such a root: a reader who was given it knows that two clips come from
the same place, and any other reader knows only that a clip is as it was when somebody signed it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from muybridge.storage.atomic import AnyPath, check_writable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.x509 import Certificate

_YEARS = 10
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384"}  # not P-521: c2pa-python 0.38 signs, and never trusts it


@dataclass(frozen=True)
class Credentials:
    """What signs: a private key with the certificates that vouch for it, the key's own first.

    algorithm     ES256, ES384, PS256 or Ed25519, whichever the key is for
    certificates  PEM
    key           PEM (PKCS #8), kept out of what is printed
    name          whom the first certificate is for
    """

    algorithm: str
    certificates: str
    key: str = field(repr=False)
    name: str

    @property
    def anchor(self) -> str:
        """The last certificate, PEM: what a reader needs in order to trust these credentials. It is no secret."""
        begin = "-----BEGIN CERTIFICATE-----"
        return begin + self.certificates.rsplit(begin, 1)[1]


def default_path() -> Path:
    """Where this user's key lies: ~/.config/muybridge/signing.pem. ValueError if the user has no home."""
    try:
        return Path.home() / ".config" / "muybridge" / "signing.pem"
    except RuntimeError as error:
        raise ValueError("there is no home folder to keep a signing key in: name a key file, or do not sign") from error


def load_or_create(path: AnyPath) -> Credentials:
    """The credentials at `path`, which are made first if there is nothing: ES256, readable by their owner only.

    Several processes may ask at once: one of them makes the file, and all get the same. ValueError as `load` has it, or
    if the file cannot be written.
    """
    if not os.path.exists(path):
        _create(Path(path))
    return load(path)


def load(path: AnyPath) -> Credentials:
    """The credentials in a PEM file: a private key without a password, its certificate, then those that vouch for it.

    ValueError if the file is missing or damaged, the key is of a kind that C2PA does not know or belongs to another
    certificate, or the certificate is not valid today.
    """
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read the signing key {path}: {error.strerror}: name another file") from error
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.x509 import InvalidVersion

    try:
        return _parsed(text)
    except (ValueError, UnsupportedAlgorithm, InvalidVersion) as error:
        raise ValueError(f"cannot sign with {path}: {error}") from error


def _parsed(text: bytes) -> Credentials:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization as form

    try:
        key = form.load_pem_private_key(text[max(0, _key_begins(text)) :], password=None)
        chain = x509.load_pem_x509_certificates(text)
    except TypeError as error:
        raise ValueError("its key has a password: write it without one (openssl pkey -in …)") from error
    except ValueError as error:
        raise ValueError("it has to hold a private key and its certificates, as PEM: put them into one file") from error
    spki = (form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*spki) != chain[0].public_key().public_bytes(*spki):
        raise ValueError("its first certificate belongs to another key: put the key's own first")
    _check_dates(chain)
    pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    certificates = b"".join(certificate.public_bytes(form.Encoding.PEM) for certificate in chain)
    return Credentials(_algorithm(key), certificates.decode(), pem.decode(), _common_name(chain[0]))


def _key_begins(text: bytes) -> int:
    """Where the private key's block begins: certificates may stand before it."""
    at = text.find(b"PRIVATE KEY-----")
    return text.rfind(b"-----BEGIN", 0, max(at, 0))


def _check_dates(chain: Sequence[Certificate]) -> None:
    now = datetime.now(UTC)
    for certificate in chain:
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            until = f"{certificate.not_valid_before_utc:%Y-%m-%d} to {certificate.not_valid_after_utc:%Y-%m-%d}"
            raise ValueError(f"a certificate in it is valid from {until} only: get a new one")


def _algorithm(key: object) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "PS256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "Ed25519"
    raise ValueError("keys are on the curves P-256, P-384 or Ed25519, or RSA from 2048 bits on: take one of these")


def _common_name(certificate: Certificate) -> str:
    from cryptography.x509 import NameOID

    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else certificate.subject.rfc4514_string()


def _create(path: Path) -> None:
    """Written under another name and linked into place, which does nothing if another process was first."""
    check_writable(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_self_signed())
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            os.link(temporary, path)
    except OSError as error:
        raise ValueError(f"cannot write a signing key to {path}: {error.strerror}: name a key file") from error
    finally:
        temporary.unlink(missing_ok=True)


def _self_signed() -> bytes:
    """A new key, its certificate, and the root that signs it, as PEM."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    key, root_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate("Muybridge root, self-signed", root_key.public_key(), root_key, is_root=True)
    leaf = _certificate("Muybridge, self-signed", key.public_key(), root_key, is_root=False)
    pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    return pem + leaf.public_bytes(form.Encoding.PEM) + root.public_bytes(form.Encoding.PEM)


def _certificate(
    name: str, public: EllipticCurvePublicKey, signer: EllipticCurvePrivateKey, is_root: bool
) -> Certificate:
    """As C2PA wants it (specification 2.2, section 14.5): uses of the key named, and no more than needed."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID

    def named(common: str) -> x509.Name:
        organization = x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Self-signed by Muybridge")
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common), organization])

    now = datetime.now(UTC)
    uses = x509.KeyUsage(not is_root, False, False, False, False, is_root, is_root, False, False)
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named("Muybridge root, self-signed"))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=0 if is_root else None), critical=True)
        .add_extension(uses, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(above, critical=False)
    )
    if not is_root:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(signer, hashes.SHA256())
