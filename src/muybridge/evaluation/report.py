"""Results -> a report: what share passes, with intervals, and what can be compared with what."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from muybridge.evaluation.running import Result, parse
from muybridge.evaluation.statistics import Mean, mean
from muybridge.storage.atomic import new_file

FORMAT = 1
"""Version of the JSON."""

PER_FRAME = frozenset({"coherence"})
"""Suites whose score is a share of frames; in the others a clip passes or does not."""

K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One contestant in one split of one suite.

    score   what the suite is about: share of clips that pass, or of frames, see `PER_FRAME`
    whole   share of clips in which nothing at all is wrong
    errors  means over the clips in which they could be measured
    groups  the score by kind of group and group: {"law": {"bounce": …}}
    unread  clips that were not there or could not be read; they count as 0
    """

    suite: str
    split: str
    contestant: str
    score: Mean
    whole: Mean
    errors: Mapping[str, Mean]
    groups: Mapping[str, Mapping[str, Mean]]
    unread: int


@dataclass(frozen=True)
class Report:
    """What a bench found.

    contestant  the one that it is about; the others stand beside it
    about       who, on what, with what: texts and numbers by name
    """

    contestant: str
    about: Mapping[str, Any]
    results: tuple[Result, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """In the order in which the results came."""
        parts = grouped(self.results, lambda r: (r.suite, r.split, r.contestant))
        return tuple(_row(*key, found) for key, found in parts.items())

    @property
    def own(self) -> tuple[Result, ...]:
        """Results of the contestant that the report is about."""
        return tuple(result for result in self.results if result.contestant == self.contestant)

    def save(self, path: Path) -> None:
        """Writes JSON: `rows` for people, `results` for programs. ValueError if it cannot be written there."""
        content = {"format": FORMAT, "contestant": self.contestant, "about": self.about}
        content |= {"rows": [asdict(row) for row in self.rows], "results": [asdict(r) for r in self.results]}
        with new_file(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def load(path: Path) -> Report:
    """A report that was saved. ValueError if there is none, or it is of another format."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}: give the report.json of a bench") from error
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: give the report.json of a bench") from error
    if not isinstance(content, dict) or not content.keys() >= {"format", "contestant", "about", "results"}:
        raise ValueError(f"{path} is no report of a bench: give its report.json")
    if content["format"] != FORMAT:
        raise ValueError(f"{path} is a report of format {content['format']!r}, this program reads {FORMAT}")
    if not isinstance(content["about"], dict) or not isinstance(content["results"], list):
        raise ValueError(f"{path} is damaged: run the bench again, which takes from its folder what is known")
    try:
        results = tuple(parse(record) for record in content["results"])
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): run the bench again") from error
    return Report(str(content["contestant"]), content["about"], results)


@dataclass(frozen=True)
class Difference:
    """The second report's score minus the first's, scene by scene, and the two themselves; over their common scenes.

    better, worse  in so many scenes the second scores higher, lower
    """

    suite: str
    split: str
    first: Mean
    second: Mean
    difference: Mean
    better: int
    worse: int


def compare(first: Report, second: Report) -> tuple[Difference, ...]:
    """Two contestants in the scenes that both were given, part by part. ValueError if there is no such scene."""
    before, after = ({(r.suite, r.split, r.number, r.scene): r.score for r in report.own} for report in (first, second))
    common = [key for key in before if key in after]
    if not common:
        raise ValueError("the two reports have no scene in common: run both with the same suites, splits and version")
    found = []
    for (suite, split), keys in grouped(common, lambda key: key[:2]).items():
        old, new = [before[key] for key in keys], [after[key] for key in keys]
        change = [b - a for a, b in zip(old, new, strict=True)]
        better, worse = sum(c > 0 for c in change), sum(c < 0 for c in change)
        found.append(Difference(suite, split, mean(old), mean(new), mean(change), better, worse))
    return tuple(found)


def save_differences(path: Path, first: Report, second: Report, found: Sequence[Difference]) -> None:
    """Writes what `compare` found as JSON."""
    content = {"first": {"contestant": first.contestant, "about": first.about}}
    content |= {"second": {"contestant": second.contestant, "about": second.about}}
    with new_file(path) as temporary:
        whole = content | {"differences": [asdict(difference) for difference in found]}
        temporary.write_text(json.dumps(whole, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _row(suite: str, split: str, contestant: str, found: Sequence[Result]) -> Row:
    errors = {
        name: mean([r.errors[name] for r in found if name in r.errors]) for name in _names(r.errors for r in found)
    }
    kinds = {
        kind: {
            group: mean([r.score for r in members])
            for group, members in sorted(
                grouped([r for r in found if kind in r.groups], lambda r: r.groups[kind]).items()  # noqa: B023
            )
        }
        for kind in _names(r.groups for r in found)
    }
    whole = mean([r.score == 1 for r in found])
    return Row(
        suite, split, contestant, mean([r.score for r in found]), whole, errors, kinds, sum(not r.read for r in found)
    )


def _names(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def grouped(items: Iterable[T], by: Callable[[T], K]) -> dict[K, list[T]]:
    """Items by a key of theirs, keys and items in the order in which they come."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(by(item), []).append(item)
    return groups
