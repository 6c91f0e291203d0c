"""API keys: 32 random bytes, shown once. Only their SHA-256 is kept, which is enough for what nobody can guess."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from muybridge.serving.database import Audit, Database, Entry, Key, now
from muybridge.serving.errors import Refusal

SCOPES = ("generate", "read", "admin")
"""generate: make, cancel, delete; read: look and download; admin: the usage of all keys."""


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def create_key(
    session: Session,
    name: str,
    scopes: Sequence[str] = ("generate", "read"),
    credits: int | None = None,
    days: float | None = None,
    requests_per_minute: int | None = None,
    webhook_url: str | None = None,
) -> tuple[Key, str]:
    """A new key and the token to be shown, once. ValueError for a scope that does not exist, or no name."""
    unknown = set(scopes) - set(SCOPES)
    if unknown or not scopes:
        raise ValueError(
            f"scopes are {', '.join(SCOPES)}, not {', '.join(sorted(unknown)) or 'none'}: take some of them"
        )
    if not name.strip() or len(name) > 200:
        raise ValueError("a key needs a name of 1 to 200 letters: say whose it is")
    if credits is not None and credits < 0:
        raise ValueError(f"credits are {credits}: take 0 or more, or none for no limit")
    token = f"mb-{secrets.token_urlsafe(32)}"
    key = Key(
        id=f"key_{secrets.token_hex(8)}",
        name=name,
        digest=digest_of(token),
        scopes=list(scopes),
        credits=credits,
        requests_per_minute=requests_per_minute,
        webhook_url=webhook_url,
        webhook_secret=f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}",
        created_at=now(),
        expires_at=None if days is None else now() + days * 86_400,
        revoked_at=None,
    )
    session.add(key)
    session.flush()
    if credits:
        session.add(Entry(key_id=key.id, job_id=None, kind="grant", model="", amount=credits, at=now()))
    session.add(Audit(at=now(), key_id=key.id, what="key created", detail=f"{name}: {', '.join(scopes)}"))
    return key, token


class Keyring:
    """The keys that were used of late, so that most requests need not ask the database who sent them.

    What is changed about a key (revoked, credits, rate) is noticed `seconds` later at the latest.
    """

    def __init__(self, database: Database, seconds: float = 1.0, most: int = 10_000) -> None:
        self.database, self.seconds, self.most = database, seconds, most
        self._known: dict[str, tuple[Key, float]] = {}

    def recent(self, token: str) -> Key | None:
        """The key of a token, if it was looked up just now."""
        key, until = self._known.get(digest_of(token), (None, 0.0))
        return key if until > now() else None

    def find(self, token: str) -> Key:
        """The key of a token, from the database. Refusal as `find_key` has it."""
        with self.database.read() as session:
            key = find_key(session, token)
        if len(self._known) >= self.most:
            self._known.clear()
        self._known[key.digest] = key, min(now() + self.seconds, key.expires_at or float("inf"))
        return key


def find_key(session: Session, token: str) -> Key:
    """The key of a token. Refusal (401) if there is none, or it has expired or been revoked."""
    key = session.scalar(select(Key).where(Key.digest == digest_of(token)))
    if key is None or key.revoked_at is not None:
        raise Refusal(
            401, "the API key is not known here: `muybridge admin keys --create NAME` makes one", "invalid_api_key"
        )
    if key.expires_at is not None and key.expires_at <= now():
        raise Refusal(401, "the API key has expired: ask whoever runs this server for another", "invalid_api_key")
    return key


def revoke_key(session: Session, key_id: str) -> Key:
    """Makes a key useless. ValueError if there is no such key."""
    key = session.get(Key, key_id)
    if key is None:
        raise ValueError(f"there is no key {key_id!r}: `muybridge admin keys` shows them")
    key.revoked_at = now()
    session.add(Audit(at=now(), key_id=key.id, what="key revoked", detail=key.name))
    return key
