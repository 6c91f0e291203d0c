"""Telling clients that a job has ended: a POST, signed as Standard Webhooks has it, tried again until somebody listens.

Signature (standardwebhooks.com, spec 1.0; OpenAI's clients check the same): HMAC-SHA256 with the key's secret over
"{webhook-id}.{webhook-timestamp}.{body}", base64, as "webhook-signature: v1,…".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping

import httpcore

from muybridge.serving.database import Database, Delivery, Job, Key, now
from muybridge.serving.fetching import GuardedBackend

PAUSES = (0.0, 5.0, 30.0, 300.0, 3600.0, 6 * 3600.0)
"""Seconds before each attempt; after the last the delivery is given up, and stays in the table for the operator."""


def signature(secret: str, message_id: str, timestamp: int, body: str) -> str:
    """The value of the webhook-signature header. The secret is base64, after "whsec_"."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = hmac.new(key, f"{message_id}.{timestamp}.{body}".encode(), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def headers_of(secret: str, message_id: str, timestamp: int, body: str) -> Mapping[bytes | str, bytes | str]:
    """All headers of a delivery."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "muybridge",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, message_id, timestamp, body),
    }


def deliver(database: Database, delivery_id: str, private: bool) -> bool:
    """One attempt; True once it has been taken (2xx), also if that was earlier."""
    with database.read() as session:
        delivery = session.get_one(Delivery, delivery_id)
        key = session.get_one(Key, session.get_one(Job, delivery.job_id).key_id)
    if delivery.delivered_at is not None:
        return True
    status = _post(
        delivery.url, headers_of(key.webhook_secret, delivery.id, int(now()), delivery.body), delivery.body, private
    )
    taken = status is not None and 200 <= status < 300
    with database.write() as session:
        delivery = session.get_one(Delivery, delivery_id)
        delivery.attempts += 1
        delivery.status = status
        delivery.delivered_at = now() if taken else None
    return taken


def _post(url: str, headers: Mapping[bytes | str, bytes | str], body: str, private: bool) -> int | None:
    """The status of the answer; None if there was none, or the address is not one to be called."""
    timeout = {"connect": 5.0, "read": 10.0, "write": 10.0, "pool": 5.0}
    try:
        with (
            httpcore.ConnectionPool(network_backend=GuardedBackend(private)) as pool,
            pool.stream("POST", url, headers=headers, content=body.encode(), extensions={"timeout": timeout}) as answer,
        ):
            return answer.status
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError, ValueError):
        return None
