"""Text fidelity: does a clip show the objects that its prompt names?"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import UInt8

from muybridge.data.worlds import HELD_OUT_PAIRS
from muybridge.evaluation.judge import Judge, Seen, Verdict
from muybridge.evaluation.resume import Record, Watch, go_through
from muybridge.evaluation.statistics import HELD_OUT, Mean, mean, means
from muybridge.simulation.captions import Fact, prompt_and_facts

Generate: TypeAlias = Callable[[Sequence[str], Sequence[int]], UInt8[np.ndarray, "b t h w 3"]]
"""Clips for prompts, with the seed of each."""


@dataclass(frozen=True)
class JudgedPrompt:
    """One prompt with what its clip was found to show."""

    seed: int
    prompt: str
    verdict: Verdict


@dataclass(frozen=True)
class TextFidelity:
    """Shares of clips, with 95 % intervals.

    objects_right  every named object is there, with its colour and shape
    count_right    there are as many objects as the prompt names
    right          both
    sizes_right    share of the objects found whose size, where the prompt names one, is judged the same; None if no
                   prompt names a size. A rough measure: distance and size look alike (see `benchmarks/judge.py`)
    by_colour, by_shape  share of the named objects of that colour or shape that were found
    by_count       `right`, by the number of named objects
    by_pairs       `right`, where all named pairs of colour and shape are of those that models learn from ("known"), and
                   where one is not ("new", see `data.worlds.HELD_OUT_PAIRS`)
    """

    objects_right: Mean
    count_right: Mean
    right: Mean
    sizes_right: Mean | None
    by_colour: dict[str, Mean]
    by_shape: dict[str, Mean]
    by_count: dict[str, Mean]
    by_pairs: dict[str, Mean]
    clips: tuple[JudgedPrompt, ...]


def text_fidelity(
    generate: Generate,
    seeds: Sequence[int] = range(HELD_OUT, HELD_OUT + 200),
    *,
    judge: Judge | None = None,
    batch: int = 8,
    folder: Path | None = None,
    watch: Watch | None = None,
) -> TextFidelity:
    """Generate a clip for the prompt of every seed (`simulation.prompt_and_facts`) and judge it.

    The seed is also the one the clip is made with. `folder` keeps results, so that an interrupted run goes on where it
    was: one folder for one model and its settings.
    """
    looker = judge or Judge()

    def evaluate(picked: Sequence[int]) -> list[Record]:
        asked = [prompt_and_facts(seed) for seed in picked]
        clips = generate([prompt for prompt, _ in asked], picked)
        if len(clips) != len(picked):
            raise ValueError(f"{len(picked)} prompts were given to the model, which made {len(clips)} clips")
        verdicts = [looker.judge(clip, facts) for clip, (_, facts) in zip(clips, asked, strict=True)]
        return [
            dataclasses.asdict(JudgedPrompt(*row)) for row in zip(picked, (p for p, _ in asked), verdicts, strict=True)
        ]

    records = go_through(seeds, evaluate, batch=batch, folder=folder, watch=watch)
    return summary([_judged(record) for record in records])


def summary(clips: Sequence[JudgedPrompt]) -> TextFidelity:
    """The shares behind a list of verdicts."""
    verdicts = [clip.verdict for clip in clips]
    met = [(fact, found) for v in verdicts for fact, found in zip(v.facts, v.found, strict=True)]
    sized = [size for v in verdicts for size in v.sized if size is not None]
    return TextFidelity(
        objects_right=mean([v.objects_right for v in verdicts]),
        count_right=mean([v.count_right for v in verdicts]),
        right=mean([v.right for v in verdicts]),
        sizes_right=mean(sized) if sized else None,
        by_colour=_grouped([(fact.colour, found) for fact, found in met]),
        by_shape=_grouped([(fact.shape, found) for fact, found in met]),
        by_count=_grouped([(str(len(v.facts)), v.right) for v in verdicts]),
        by_pairs=_grouped([("new" if _has_new_pair(v.facts) else "known", v.right) for v in verdicts]),
        clips=tuple(clips),
    )


def _has_new_pair(facts: Sequence[Fact]) -> bool:
    return any((fact.colour, fact.shape) in HELD_OUT_PAIRS for fact in facts)


def _grouped(rows: list[tuple[str | None, bool]]) -> dict[str, Mean]:
    groups: dict[str, list[bool]] = defaultdict(list)
    for name, right in rows:
        if name is not None:
            groups[name].append(right)
    return means(groups)


def _judged(record: Record) -> JudgedPrompt:
    verdict = record["verdict"]
    return JudgedPrompt(
        record["seed"],
        record["prompt"],
        Verdict(
            tuple(Fact(**fact) for fact in verdict["facts"]),
            tuple(Seen(**seen) for seen in verdict["seen"]),
            tuple(verdict["found"]),
            tuple(verdict["sized"]),
        ),
    )
