"""What this server will not make: checks that look at every request, and at every clip before anybody gets it.

A check is any callable from a `Subject` to what is wrong with it, or None. Blocked words are one; the operator may name
another, "package.module:name" (the setting `check`). What it refuses is noted in the audit log and costs nothing.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8
from sqlalchemy.orm import Session

from muybridge.serving.database import Audit, now

log = logging.getLogger("muybridge.serving")


@dataclass(frozen=True)
class Subject:
    """What is looked at.

    stage     "request": prompt and still, before anything is made; "result": prompt and frames, before they are shown
    pictures  the still or the frames; None where there are none
    """

    stage: Literal["request", "result"]
    key_id: str
    model: str
    prompt: str
    negative: str = ""
    pictures: UInt8[np.ndarray, "t h w 3"] | None = None


Check = Callable[[Subject], str | None]
"""What is wrong, in words for the operator (the client is not told), or None."""


class Finding(NamedTuple):
    """What is wrong with a subject, and whether it is its words or its pictures."""

    reason: str
    about: Literal["prompt", "image"]


@dataclass(frozen=True)
class Moderator:
    """The checks of a server, asked in turn."""

    words: Check
    others: tuple[Check, ...] = ()

    def find(self, subject: Subject) -> Finding | None:
        """What is wrong. Whatever a check raises goes on: what cannot be checked is not made."""
        reason = self.words(subject)
        if reason is not None:
            return Finding(reason, "prompt")
        for check in self.others:
            reason = check(subject)
            if reason is not None:
                return Finding(reason, "prompt" if subject.pictures is None else "image")
        return None

    @property
    def looks_at_pictures(self) -> bool:
        """Whether there is anybody to decode pictures for."""
        return bool(self.others)


def moderator_of(blocked_words: Sequence[str], check: str) -> Moderator:
    """The checks that settings name. ValueError, with the mend, for one that cannot be loaded."""
    return Moderator(without(blocked_words), (load_check(check),) if check else ())


def without(words: Sequence[str]) -> Check:
    """A check for whole words, whatever their case."""
    blocked = {word.casefold() for word in words}

    def check(subject: Subject) -> str | None:
        said = {word.casefold() for word in re.findall(r"\w+", f"{subject.prompt} {subject.negative}")}
        return ", ".join(sorted(blocked & said)) or None

    return check


def load_check(name: str) -> Check:
    """The callable that "package.module:name" names; a class is called once, without arguments."""
    module_name, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
        check = found() if isinstance(found, type) else found
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ValueError(f"cannot load the check {name!r}: {error}: name it package.module:callable") from error
    if not callable(check):
        raise ValueError(f"the check {name!r} cannot be called: name a function of a Subject, or a class")
    loaded: Check = check
    return loaded


def note(session: Session, subject: Subject, finding: Finding) -> None:
    """Into the audit log."""
    what = f"{finding.about} refused" if subject.stage == "request" else "clip withheld"
    detail = f"{finding.reason}: {subject.prompt[:500]}"
    session.add(Audit(at=now(), key_id=subject.key_id, what=what, detail=detail))
    log.info("%s: %s", what, finding.reason, extra={"fields": {"key": subject.key_id, "model": subject.model}})
