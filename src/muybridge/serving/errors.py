"""What the server says no with: one exception, which every dialect words in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel


@dataclass
class Refusal(Exception):
    """A request that cannot be met.

    status       of the HTTP answer, 4xx or 5xx
    message      a sentence: what, where, and the mend
    code         for programs, e.g. "unsupported_size"
    param        the field it is about, or None
    retry_after  seconds after which trying again makes sense, or None
    """

    status: int
    message: str
    code: str = "invalid_request"
    param: str | None = None
    retry_after: int | None = None

    def __str__(self) -> str:
        return self.message


def told_in(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """For the OpenAPI: whatever is no success is told in these words."""
    return {"default": {"model": model, "description": "What is wrong, and the mend"}}


def invalid(message: str, param: str | None = None, code: str = "invalid_request") -> Refusal:
    """400: the request makes no sense, or asks for what no model here can do."""
    return Refusal(400, message, code, param)


def missing(what: str, name: str) -> Refusal:
    """404: there is no such thing, or it is another key's."""
    return Refusal(404, f"there is no {what} {name[:80]!r} of this key", "not_found")


def busy(message: str, seconds: int = 5) -> Refusal:
    """503: not the client's fault, and it may be tried again."""
    return Refusal(503, message, "unavailable", None, seconds)
