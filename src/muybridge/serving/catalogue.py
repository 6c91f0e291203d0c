"""Which models are served, what each can make and costs, and which of them stands in for which name of another service.

The table is a TOML file in the server's folder, written at the first start, for the operator to edit.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muybridge.serving.errors import invalid
from muybridge.storage import checkpoint

TESTCARD = "testcard"
"""A model that needs no weights: moving colour bars at once, to try out a client or a deployment."""

FIRST_TABLE = """\
# The models that are served. `checkpoint` is a bundled name, a folder or org/name on the hub; `testcard` needs none.
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
"veo3" = "nano"
"veo3.1" = "nano"
"veo3.1_fast" = "nano"
"ray-1-6" = "nano"
"ray-2" = "nano"
"ray-flash-2" = "nano"
"""


@dataclass(frozen=True)
class Offer:
    """A model that is served.

    frames, height, width, fps   of the clips it learnt from, which it makes best
    side                         sides of what it renders are multiples of this
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

    def rendered(self, width: int, height: int) -> tuple[int, int]:
        """The size to render for a wished one: the same proportions, about as many pixels as the model learnt from."""
        scale = math.sqrt(self.width * self.height / (width * height))
        sides = (max(2 * self.side, round(length * scale / self.side) * self.side) for length in (width, height))
        made_width, made_height = sides
        return made_width, made_height


@dataclass(frozen=True)
class Catalogue:
    """All offers, and the names that stand for them."""

    offers: Mapping[str, Offer]
    names: Mapping[str, str]

    def find(self, asked: str | None) -> Offer:
        """The offer of a name, ours or another service's; the first if none is asked for. Refusal (400) otherwise."""
        if asked is None:
            return next(iter(self.offers.values()))
        name = self.names.get(asked, asked)
        if name not in self.offers:
            known = ", ".join([*self.offers, *self.names])
            raise invalid(f"no model here is called {asked[:60]!r}: take one of {known}", "model", "model_not_found")
        return self.offers[name]


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
        return Offer(name, TESTCARD, price, longest, 33, 128, 128, 15.0, 16)
    config = checkpoint.load(settings["checkpoint"]).config
    trained = config["trained"]
    size = trained["frames"], trained["height"], trained["width"]
    side = 8 * config["transformer"]["patch"]
    return Offer(name, settings["checkpoint"], price, longest, *size, float(trained["fps"]), side)


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
