"""Which models are served, what each can make and costs, and which of them stands in for which name of another service.

The table is a TOML file in the server's folder, written at the first start, for the operator to edit.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from muybridge.backends import opening
from muybridge.backends.families import Family, in_words
from muybridge.serving.errors import Refusal, invalid
from muybridge.storage import checkpoint, pipelines
from muybridge.types import GIVEN, TEMPORAL_STRIDE

TESTCARD = "testcard"
"""A model that needs no weights: moving colour bars at once, to try out a client or a deployment."""

FIRST_TABLE = """\
# The models that are served. `checkpoint` is a bundled name, a folder or org/name on the hub, of Muybridge or in
# diffusers' format; `testcard` needs none.
# credits_per_second: the price of a second of clip; longest_seconds: longer ones are refused.
[models.nano]
checkpoint = "nano"
credits_per_second = 5
longest_seconds = 12.5

[models.testcard]
checkpoint = "testcard"
credits_per_second = 0
longest_seconds = 60

# What clients of other services ask for = what they get here.
[names]
"sora-2" = "nano"
"sora-2-pro" = "nano"
"gen3a_turbo" = "nano"
"gen4_turbo" = "nano"
"gen4.5" = "nano"
"gen4_image" = "nano"
"gen4_image_turbo" = "nano"
"gen4_aleph" = "nano"
"aleph2" = "nano"
"veo3" = "nano"
"veo3.1" = "nano"
"veo3.1_fast" = "nano"
"ray-1-6" = "nano"
"ray-2" = "nano"
"ray-flash-2" = "nano"
"""


class Way(NamedTuple):
    """What a model can be given at once, and what it then cannot do without; names as in `types.GIVEN`."""

    takes: frozenset[str]
    needs: frozenset[str] = frozenset()


_OURS = (Way(frozenset({"prompt", "negative", "image", "opening"})),)
_PLANNED = (Way(_OURS[0].takes | {"moves"}),)
_ANYTHING = (Way(frozenset(GIVEN)),)


@dataclass(frozen=True)
class Offer:
    """A model that is served.

    frames, height, width, fps   of the clips it learnt from, which it makes best
    side, least                  sides of what it renders are multiples of the one, from the other on
    first, stride                its clips have first + k * stride frames
    ways                         what it can be given
    foreign                      a model of others, which samples its own way
    """

    name: str
    checkpoint: str
    credits_per_second: float
    longest_seconds: float
    frames: int
    height: int
    width: int
    fps: float
    side: int
    least: int
    first: int = 1
    stride: int = TEMPORAL_STRIDE
    ways: tuple[Way, ...] = _OURS
    foreign: bool = False

    @property
    def takes(self) -> frozenset[str]:
        """What it can be given in one way or another."""
        return frozenset().union(*(way.takes for way in self.ways))

    def can(self, given: frozenset[str]) -> bool:
        """Whether it takes all that is given, and is given what it then needs."""
        return any(way.needs <= given <= way.takes for way in self.ways)

    def frames_near(self, count: float) -> int:
        """The possible number of frames nearest to `count`."""
        return self.first + self.stride * round((max(count, self.first) - self.first) / self.stride)

    def side_near(self, length: float) -> int:
        """The possible side nearest to `length` pixels."""
        return max(self.least, round(length / self.side) * self.side)

    def rendered(self, width: int, height: int) -> tuple[int, int]:
        """The size to render for a wished one: the same proportions, about as many pixels as the model learnt from."""
        scale = math.sqrt(self.width * self.height / (width * height))
        return self.side_near(width * scale), self.side_near(height * scale)


@dataclass(frozen=True)
class Catalogue:
    """All offers, and the names that stand for them."""

    offers: Mapping[str, Offer]
    names: Mapping[str, str]

    def find(self, asked: str | None, given: frozenset[str] = frozenset()) -> Offer:
        """The offer of a name, ours or another service's; if none is asked for, the first model that takes what is
        given, else the first. Refusal (400) for a name that is not known.
        """
        if asked is None:
            able = self._able(given)
            return able[0] if able else next(iter(self.offers.values()))
        name = self.names.get(asked, asked)
        if name not in self.offers:
            known = ", ".join([*self.offers, *self.names])
            raise invalid(f"no model here is called {asked[:60]!r}: take one of {known}", "model", "model_not_found")
        return self.offers[name]

    def unable(self, offer: Offer, given: frozenset[str]) -> Refusal:
        """What is said (400) when a model does not take what is given: what it takes, and which models take that."""
        lacking = min((way.needs - given for way in offer.ways if given <= way.takes), key=len, default=None)
        if lacking:
            return invalid(f"{offer.name} also needs {in_words(lacking)}: give it", None, "unsupported")
        spare = given - offer.takes
        what = in_words(spare) if spare else f"{in_words(given)} together"
        others = ", ".join(one.name for one in self._able(given))
        said = f"{others} does" if others else "no model here does"
        takes = in_words(offer.takes)
        return invalid(f"{offer.name} does not take {what} ({said}): it takes {takes}", None, "unsupported")

    def _able(self, given: frozenset[str]) -> list[Offer]:
        """Models that take what is given. The test card does not count, which takes anything and looks at nothing."""
        return [one for one in self.offers.values() if one.can(given) and one.checkpoint != TESTCARD]


def read_catalogue(path: Path) -> Catalogue:
    """The table, written first if it is not there. ValueError, naming the line, for what makes no sense."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FIRST_TABLE, encoding="utf-8")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {error}: mend that line, or delete the file for a new one") from error
    models, names = table.get("models", {}), table.get("names", {})
    if not isinstance(models, dict) or not models:
        raise ValueError(f"{path} names no model: add a [models.NAME] with a checkpoint")
    offers = {name: _offer(name, settings, path) for name, settings in models.items()}
    astray = sorted(str(name) for name, ours in names.items() if ours not in offers)
    if astray:
        raise ValueError(
            f"{path}: {', '.join(astray)} stands for a model that is not in the table: add it, or the line is wrong"
        )
    return Catalogue(offers, {str(name): str(ours) for name, ours in names.items()})


def _offer(name: str, settings: Any, path: Path) -> Offer:
    fields = {"checkpoint", "credits_per_second", "longest_seconds"}
    if not isinstance(settings, dict) or not isinstance(settings.get("checkpoint"), str) or settings.keys() - fields:
        raise ValueError(f"{path}: [models.{name}] needs a checkpoint, and may have {', '.join(sorted(fields))} only")
    price, longest = settings.get("credits_per_second", 0), settings.get("longest_seconds", 12.5)
    if not _positive(longest) or not (price == 0 or _positive(price)):
        raise ValueError(
            f"{path}: [models.{name}] has a price of {price!r} and {longest!r} seconds: give numbers above 0"
        )
    if settings["checkpoint"] == TESTCARD:
        return Offer(name, TESTCARD, price, longest, 33, 128, 128, 15.0, 16, 32, ways=_ANYTHING)
    found = pipelines.find(settings["checkpoint"])
    if found is not None:
        family = opening.family(found)
        ways = tuple(Way(way.takes, way.needs) for way in family.ways if way.serves(found.pipeline, found.settings))
        return _foreign(name, settings["checkpoint"], price, longest, family, ways)
    config = checkpoint.load(settings["checkpoint"]).config
    trained = config["trained"]
    size = trained["frames"], trained["height"], trained["width"]
    side = 8 * config["transformer"]["patch"]
    ways = _PLANNED if "planner" in config else _OURS
    return Offer(name, settings["checkpoint"], price, longest, *size, float(trained["fps"]), side, 2 * side, ways=ways)


def _foreign(name: str, checkpoint: str, price: float, longest: float, family: Family, ways: tuple[Way, ...]) -> Offer:
    """What a model of others is offered as: what its makers make best with it."""
    first = family.frames_near(0)
    size = family.frames, family.height, family.width
    sides = family.side, family.side
    return Offer(
        name, checkpoint, price, longest, *size, family.fps, *sides, first, family.stride, ways=ways, foreign=True
    )


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
