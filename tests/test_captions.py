"""Captions: natural, true to their facts, and within the vocabulary."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mentions import mentioned

from muybridge.data.naming import names_prop
from muybridge.simulation.captions import (
    VOCABULARY,
    Fact,
    captions,
    describe,
    facts,
    intended,
    join,
    prompt_and_facts,
    words,
)
from muybridge.simulation.lexicon import CAMERA, NUMBERS, TAGS, VERBS
from muybridge.simulation.worlds import sample_world

SEEDS = st.integers(0, 2**32)
SOME = settings(max_examples=60, deadline=None)


def named(fact: Fact) -> tuple[str | None, str | None]:
    return fact.colour, fact.shape


@SOME
@given(SEEDS)
def test_every_object_named_exists_and_every_word_is_known(seed: int) -> None:
    texts, truth = describe(seed)
    assert len(texts) >= 4
    for text in texts:
        assert set(words(text)) <= VOCABULARY
        assert not re.search(r"[{}]|  |\ba [aeio]|\ban [^aeio]", text)
        for fact in mentioned(text):
            assert any(named(fact) == named(known) and fact.size in (None, known.size) for known in truth)


@SOME
@given(SEEDS)
def test_long_captions_name_all_objects(seed: int) -> None:
    texts, truth = describe(seed)
    for text in texts[1:]:
        assert {named(fact) for fact in mentioned(text)} == {named(fact) for fact in truth}
    assert all(fact.size for fact in mentioned(texts[-1]))


@SOME
@given(SEEDS)
def test_tallies_count(seed: int) -> None:
    texts, truth = describe(seed)
    for number, noun in re.findall(r"\b(two|three|four) (objects|balls|boxes|cylinders)", " ".join(texts)):
        shapes = {"balls": "ball", "boxes": "box", "cylinders": "cylinder"}
        count = len(truth) if noun == "objects" else sum(fact.shape == shapes[noun] for fact in truth)
        assert NUMBERS.index(number) == count


@SOME
@given(SEEDS)
def test_the_camera_is_said_as_it_moves(seed: int) -> None:
    verb, _, direction = sample_world(seed).move.kind.partition(" ")
    here = {phrase.replace("{d}", direction).replace("{near}", "closer") for phrase in (*CAMERA[verb], *TAGS[verb])}
    here |= {phrase.replace("{near}", "back") for phrase in here | set(CAMERA[verb])}
    for text in describe(seed)[0][3:]:
        assert any(phrase in text for phrase in here)
    for text in describe(seed)[0][:3]:
        assert "camera" not in text.replace("towards the camera", "").replace("from the camera", "")


@SOME
@given(SEEDS)
def test_prompts_mean_what_they_ask_for(seed: int) -> None:
    text, asked = prompt_and_facts(seed)
    assert len(asked) == len(sample_world(seed).things)
    assert sorted(mentioned(text), key=repr) == sorted(asked, key=repr)
    assert prompt_and_facts(seed) == (text, asked)


def test_the_example_of_the_readme_can_be_said() -> None:
    assert set(words("a small red ball rolls behind a tall blue box while the camera pans right")) <= VOCABULARY
    told = [text for seed in range(400) for text in describe(seed)[0]]
    for part in (r"\ba small \w+ ball rolls behind a tall \w+ box\b", r" while the camera pans (left|right)$"):
        assert any(re.search(part, text) for text in told)


def test_stills_have_no_camera_move() -> None:
    for seed in range(30):
        world = sample_world(seed)
        assert not any("static" in text or "pan" in text for text in captions(world, intended(world), frames=1))


def test_captions_vary_and_repeat() -> None:
    fulls = [describe(seed)[0][-1] for seed in range(100)]
    assert len(set(fulls)) > 95
    assert fulls == [describe(seed)[0][-1] for seed in range(100)]


def test_every_kind_has_words() -> None:
    kinds = {happening.kind for seed in range(300) for happening in intended(sample_world(seed))}
    assert kinds <= set(VERBS)
    assert {"roll through", "roll hit", "drop", "throw", "rest", "roll ramp"} <= kinds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a red ball", (Fact("red", "ball"),)),
        (
            "A tiny turquoise sphere hits the big violet cube",
            (Fact("teal", "ball", "small"), Fact("purple", "box", "large")),
        ),
        ("two balls and a box", ()),
        ("a red ball hits a blue can, the red ball stops", (Fact("red", "ball"), Fact("blue", "cylinder"))),
        ("", ()),
    ],
)
def test_texts_are_read_back(text: str, expected: tuple[Fact, ...]) -> None:
    assert mentioned(text) == expected


@given(st.text())
def test_reading_takes_any_text(text: str) -> None:
    mentioned(text)
    words(text)


def test_joining() -> None:
    assert join([]) == ""
    assert join(["a"]) == "a"
    assert join(["a", "b"]) == "a and b"
    assert join(["a", "b", "c"]) == "a, b and c"
    assert join(["a", "b", "c"], comma=True) == "a, b, and c"


def test_facts_are_complete() -> None:
    assert all(fact.colour and fact.shape and fact.size for seed in range(20) for fact in facts(sample_world(seed)))


def test_captions_name_props_of_worlds_that_have_some() -> None:
    said = 0
    for seed in range(300):
        names = any(names_prop(caption) for caption in describe(seed)[0])
        assert not names or sample_world(seed).props, seed
        said += names
    assert said > 30
    assert not names_prop("a red ball goes on rampage behind the wallpaper")
    assert names_prop("A ball rolls down a SLOPE")
