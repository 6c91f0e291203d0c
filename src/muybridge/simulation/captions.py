"""What a clip shows, in words: a small grammar with synonyms over facts.

A caption never says more than its facts: which objects there are, what each of them does (`Happening`) and how the
camera moves. Happenings come from the plan of a world (`intended`) or from what physics and masks show
(`events.observed`). The words themselves stand in `lexicon.py`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from muybridge.simulation.lexicon import (
    CAMERA,
    COLOUR_WORDS,
    HITS,
    NUMBERS,
    PASSIVE,
    PLACES,
    PLURALS,
    SHAPE_WORDS,
    SIZE_WORDS,
    TAGS,
    VERBS,
    WALLS,
)
from muybridge.simulation.worlds import Pairs, World, sample_world

_T = TypeVar("_T")


@dataclass(frozen=True)
class Fact:
    """One object that a text names; None where it does not say."""

    colour: str | None = None
    shape: str | None = None
    size: str | None = None


@dataclass(frozen=True)
class Happening:
    """What one object does.

    `kind` is a key of `lexicon.VERBS`, or "there" where nothing is said; `other` the object it does it to, -1 a prop;
    `side` "left" or "right" in the picture.
    """

    subject: int
    kind: str
    other: int | None = None
    side: str | None = None

    @property
    def verb(self) -> str:
        """How it moves along: "roll" (who comes to meet another is a ball), "slide" or what the kind begins with."""
        return "roll" if self.kind == "meet" else self.kind.split()[0]


def intended(world: World) -> tuple[Happening, ...]:
    """What the plan of a world lets expect, without physics."""
    return tuple(_intended(world, i) for i in range(len(world.things)))


def captions(world: World, happenings: tuple[Happening, ...], frames: int = 33) -> tuple[str, ...]:
    """Captions from short to full: what is there (twice), what happens, that with the camera, and every size besides.

    A still (`frames` = 1) has no camera move to speak of.
    """
    rng = Random(f"captions {world.seed}")
    say = _Speaker(world, rng)
    order = rng.sample(range(len(world.things)), len(world.things))
    texts = [say.tally(), say.listing(order), say.story(order, happenings, sizes=False)]
    texts += [say.story(order, happenings, sizes=rng.random() < 0.5), say.story(order, happenings, sizes=True)]
    return (*texts[:3], *(say.with_camera(text) if frames > 1 else text for text in texts[3:]))


def describe(seed: int, without: Pairs = frozenset()) -> tuple[tuple[str, ...], tuple[Fact, ...]]:
    """Captions of a seed's world and the facts behind them, without physics and pictures: what is meant to happen.

    `without` as in `sample_world`.
    """
    world = sample_world(seed, without=without)
    return captions(world, intended(world)), facts(world)


def facts(world: World) -> tuple[Fact, ...]:
    """All that can be said of the objects."""
    return tuple(Fact(thing.colour, thing.shape, thing.size) for thing in world.things)


def prompt_and_facts(seed: int) -> tuple[str, tuple[Fact, ...]]:
    """A prompt for evaluation with what it asks for: one Fact per object, so their number is the count."""
    world = sample_world(seed)
    rng = Random(f"prompt {seed}")
    say = _Speaker(world, rng)
    order = rng.sample(range(len(world.things)), len(world.things))
    sizes = rng.random() < 0.5
    form = rng.randrange(3)
    if form == 0:
        text = say.listing(order, sizes=sizes)
    else:
        text = say.story(order, intended(world), sizes=sizes)
        text = say.with_camera(text) if form == 2 else text
    named = (world.things[i] for i in order)
    return text, tuple(Fact(t.colour, t.shape, t.size if sizes or t.fixed else None) for t in named)


class _Speaker:
    """Draws words for one world. An object keeps its noun within a caption."""

    def __init__(self, world: World, rng: Random) -> None:
        self.world, self.rng = world, rng

    def pick(self, options: tuple[_T, ...]) -> _T:
        return self.rng.choice(options)

    def tally(self) -> str:
        """ "two balls and a box", or "three objects", or "a red ball"; "objects" of more than there is a number for."""
        things = self.world.things
        if len(things) >= len(NUMBERS):
            return "objects"
        if len(things) == 1:
            return a(self.noun(0, sizes=False))
        if self.rng.random() < 0.3:
            return f"{NUMBERS[len(things)]} objects"
        return join([_counted(shape, n) for shape, n in Counter(thing.shape for thing in things).items()])

    def listing(self, order: list[int], sizes: bool | None = None) -> str:
        """All objects with colours, perhaps after a tally: "two balls and a box: a red ball, ..."."""
        sizes = self.rng.random() < 0.5 if sizes is None else sizes
        names = [a(self.noun(i, sizes)) for i in order]
        roll = self.rng.random()
        if len(order) == 2 and roll < 0.25:
            return f"{names[0]} {self.relation(*order)} {names[1]}"
        if len(order) > 1 and roll < 0.5:
            return f"{self.tally()}: {join(names)}"
        if roll > 0.8 and all(thing.position[2] <= thing.girth + 0.1 for thing in self.world.things):
            return f"{join(names)} {self.pick(PLACES)}"
        return join(names)

    def relation(self, i: int, j: int) -> str:
        """How object i stands to object j in the first frame."""
        angle = self.world.move.azimuth
        gap = [b - a for a, b in zip(self.world.things[j].position, self.world.things[i].position, strict=True)]
        across = gap[0] * math.cos(angle) + gap[1] * math.sin(angle)
        if abs(across) < 0.3:
            return "and"
        return self.pick(("to the right of", "right of") if across > 0 else ("to the left of", "left of"))

    def noun(self, i: int, sizes: bool) -> str:
        thing = self.world.things[i]
        size = f"{self.pick(SIZE_WORDS[thing.size])} " if sizes or thing.fixed else ""
        options = SHAPE_WORDS[thing.shape] if thing.mesh is None else (thing.shape,)
        shape = "box" if thing.fixed and thing.mesh is None else self.pick(options)
        return f"{size}{self.pick(COLOUR_WORDS[thing.colour])} {shape}"

    def story(self, order: list[int], happenings: tuple[Happening, ...], *, sizes: bool) -> str:
        """What every object does. One that another's clause has named already is mentioned again only if it moves."""
        names = {i: self.noun(i, sizes) for i in order}
        ranked = sorted(happenings, key=lambda h: (h.other is None or h.other < 0, order.index(h.subject)))
        participle = len(happenings) == 1 and self.rng.random() < 0.3
        said: set[int] = set()
        clauses: list[str] = []
        told: list[Happening] = []
        for h in ranked:
            meets_back = any(g.kind in HITS and g.subject == h.other and g.other == h.subject for g in told)
            if (h.subject in said and h.kind in PASSIVE) or (h.kind in HITS and meets_back):
                continue
            told.append(h)
            clauses.append(self.clause(h, names, said, participle))
            said |= {h.subject} | ({h.other} if h.other is not None and h.other >= 0 else set())
        if len(clauses) == 2 and self.rng.random() < 0.4 and all(h.kind != "there" for h in happenings):
            return f"{clauses[0]} while {clauses[1]}"
        return join(clauses, comma=all(h.kind != "there" for h in happenings))

    def clause(self, h: Happening, names: dict[int, str], said: set[int], participle: bool) -> str:
        """ "a red ball rolls behind the tall blue box": subject, verb and object."""

        def phrase(i: int) -> str:
            return f"the {names[i]}" if i in said else a(names[i])

        if h.kind == "there":
            return phrase(h.subject)
        verb = self.pick(VERBS[h.kind])[1 if participle else 0].replace("{side}", h.side or "")
        if h.other is not None:
            verb = verb.replace("{o}", self.pick(WALLS) if h.other < 0 else phrase(h.other))
        return f"{phrase(h.subject)} {verb}"

    def with_camera(self, text: str) -> str:
        """Says what the camera does before, after or beside the story."""
        verb, _, direction = self.world.move.kind.partition(" ")
        words = {"{d}": direction, "{near}": "closer" if direction == "in" else "back"}

        def fill(template: str) -> str:
            for key, word in words.items():
                template = template.replace(key, word)
            return template

        roll = self.rng.random()
        if roll < 0.25:
            return f"{text}, {fill(self.pick(TAGS[verb]))}"
        clause = fill(self.pick(CAMERA[verb]))
        if roll < 0.45:
            return f"{clause}: {text}"
        return f"{text} while {clause}" if " while " not in text and roll < 0.85 else f"{text}, and {clause}"


def a(noun: str) -> str:
    """The noun with its indefinite article."""
    return f"{'an' if noun[0] in 'aeio' else 'a'} {noun}"


def join(parts: list[str], *, comma: bool = False) -> str:
    """ "a", "a and b", "a, b and c"."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])}{',' if comma and len(parts) > 2 else ''} and {parts[-1]}"


def words(text: str) -> tuple[str, ...]:
    """The words of a text, in lower case; hyphens stay within words."""
    return tuple(re.findall(r"[a-z]+(?:-[a-z]+)*", text.lower()))


def _counted(shape: str, count: int) -> str:
    return f"a {shape}" if count == 1 else f"{NUMBERS[count]} {PLURALS.get(shape, shape + 's')}"


def _intended(world: World, i: int) -> Happening:
    thing = world.things[i]
    way = _way(world, i)
    verb = "roll" if abs(sum(s * s for s in thing.spin)) > 1e-9 else "slide"
    if thing.motion in ("roll", "slide"):
        return Happening(i, thing.motion if way in ("left", "right") else f"{thing.motion} {way}", side=way)
    kinds = {
        "ramp": f"{'roll' if thing.shape == 'ball' else 'slide'} ramp",
        "behind": f"{verb} through",
        "stop behind": f"{verb} hide",
        "collide": f"{verb} hit",
        "struck": "rest",
    }
    other = thing.other if thing.motion in ("behind", "stop behind", "emerge", "collide", "meet") else None
    return Happening(i, kinds.get(thing.motion, thing.motion), other, way)


def _way(world: World, i: int) -> str:
    """Direction in the picture in which an object starts: left, right, near or far."""
    vx, vy, _ = world.things[i].velocity
    cos, sin = math.cos(world.move.azimuth), math.sin(world.move.azimuth)
    across, away = vx * cos + vy * sin, vy * cos - vx * sin
    if abs(across) >= abs(away):
        return "right" if across > 0 else "left"
    return "far" if away > 0 else "near"


def _vocabulary() -> frozenset[str]:
    texts = [*NUMBERS, *WALLS, *PLACES, *PLURALS.values(), *(shape + "s" for shape in SHAPE_WORDS)]
    texts += ["a an the and while to of in out up down left right closer back object objects"]
    texts += [w for table in (SIZE_WORDS, COLOUR_WORDS, SHAPE_WORDS) for options in table.values() for w in options]
    texts += [re.sub(r"{\w+}", "", phrase) for options in VERBS.values() for pair in options for phrase in pair]
    texts += [re.sub(r"{\w+}", "", w) for table in (CAMERA, TAGS) for options in table.values() for w in options]
    return frozenset(word for text in texts for word in words(text)) - {"no", "boxs"}


VOCABULARY: frozenset[str] = _vocabulary()
"""Every word that the grammar can say."""
