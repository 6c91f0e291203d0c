"""Words to ids to features: what is known, what is not and is said to be so, and what padding may not change."""

from __future__ import annotations

import hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import TEXT, text_encoder

from muybridge.conditioning.text import TextEncoder, pad
from muybridge.conditioning.vocabulary import LONGEST_PROMPT, Vocabulary
from muybridge.simulation import VOCABULARY, describe

KNOWN = ("a", "ball", "behind", "blue", "box", "medium-sized", "red", "rolls", "the")


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.of(KNOWN)


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return text_encoder().requires_grad_(False)


def test_ids_are_words_in_order(vocabulary: Vocabulary) -> None:
    assert len(vocabulary) == len(KNOWN) + 2
    assert vocabulary.ids("the red ball") == [2 + KNOWN.index(word) for word in ("the", "red", "ball")]
    assert vocabulary.ids("the green ball")[1] == 1
    assert 0 not in vocabulary.ids(" ".join(KNOWN) + " [pad] pad")


@pytest.mark.parametrize(
    "same",
    ["The RED ball!", "  the\tred,\nball ", "thé rèd bäll", "“the” red — ball…", "- the red - ball -"],
)
def test_case_accents_and_punctuation_do_not_count(vocabulary: Vocabulary, same: str) -> None:
    assert vocabulary.ids(same) == vocabulary.ids("the red ball")
    assert not vocabulary.unknown(same)


def test_hyphens_stay_inside_words(vocabulary: Vocabulary) -> None:
    assert vocabulary.ids("a medium-sized box") == [2 + KNOWN.index(word) for word in ("a", "medium-sized", "box")]
    assert vocabulary.ids("red--ball") == vocabulary.ids("red ball")


def test_a_vocabulary_comes_back_from_json() -> None:
    one = Vocabulary.of(VOCABULARY)
    other = Vocabulary.from_json(one.to_json())
    assert (len(other), other.words) == (len(one), one.words)
    for seed in range(20):
        for caption in describe(seed)[0]:
            assert other.ids(caption) == one.ids(caption)
    assert other.unknown("a réd baall 🔴") == one.unknown("a réd baall 🔴") != {}


def test_every_caption_is_known_and_short_enough() -> None:
    vocabulary = Vocabulary.of(VOCABULARY)
    for seed in range(100):
        for caption in describe(seed)[0]:
            assert vocabulary.unknown(caption) == {}, caption
            assert vocabulary.beyond(caption) == 0, caption
            assert vocabulary.ids(caption)


def test_unknown_words_come_with_the_nearest(vocabulary: Vocabulary) -> None:
    found = vocabulary.unknown("a reed bal rolls behind the elephant, the elephant!")
    assert list(found) == ["reed", "bal", "elephant"]
    assert found["reed"][0] == "red"
    assert found["bal"][0] == "ball"
    assert found["elephant"] == []


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("🔴 ball", ["🔴"]),
        ("ball🔴🔵box", ["🔴", "🔵"]),
        ("❤️", ["❤"]),
        ("红色的球", ["红色的球"]),
        ("ball \ud83d broken", ["\ufffd", "broken"]),
    ],
)
def test_signs_and_other_languages_are_not_dropped_in_silence(
    vocabulary: Vocabulary, text: str, unknown: list[str]
) -> None:
    assert list(vocabulary.unknown(text)) == unknown
    assert vocabulary.ids(text).count(1) >= len(unknown)


def test_long_prompts_are_cut_and_counted(vocabulary: Vocabulary) -> None:
    text = "ball " * (LONGEST_PROMPT - 1) + "red elephant blue"
    assert len(vocabulary.ids(text)) == LONGEST_PROMPT
    assert vocabulary.ids(text)[-1] == 2 + KNOWN.index("red")
    assert vocabulary.beyond(text) == 2
    assert vocabulary.unknown(text) == {}, "what is not read is counted, not named"
    assert vocabulary.beyond("ball " * LONGEST_PROMPT) == 0


@hypothesis.settings(deadline=None, max_examples=100)
@given(text=st.text(st.characters(), max_size=200) | st.text(st.sampled_from("aé-🔴 ,\ud800球"), max_size=200))
def test_any_text_is_read(text: str) -> None:
    vocabulary = Vocabulary.of(KNOWN)
    ids, unknown = vocabulary.ids(text), vocabulary.unknown(text)
    assert all(0 < i < len(vocabulary) for i in ids)
    assert len(ids) <= LONGEST_PROMPT
    assert bool(unknown) == (1 in ids), "every word that is read as unknown is named, and no other"
    assert set().union(*unknown.values()) <= vocabulary.words
    assert ids or not any(letter.isascii() and letter.isalnum() for letter in text)


@pytest.mark.parametrize("text", ["a" * 10_000, "x y " * 2_500, "🔴" * 10_000, " " * 10_000, "-" * 10_000])
def test_ten_thousand_characters(vocabulary: Vocabulary, text: str) -> None:
    assert len(vocabulary.ids(text)) + vocabulary.beyond(text) == len(vocabulary.tokenizer.encode(text).ids)
    assert len(vocabulary.ids(text)) <= LONGEST_PROMPT
    assert len(vocabulary.unknown(text)) <= 2


def test_pad() -> None:
    assert pad([[5], [2, 3, 4], []]).tolist() == [[5, 0, 0], [2, 3, 4], [0, 0, 0]]
    assert pad([[5], []], length=2).tolist() == [[5, 0], [0, 0]]
    assert pad([[]]).tolist() == [[0]]
    with pytest.raises(AssertionError, match="3 words does not fit into 2"):
        pad([[2, 3, 4]], length=2)


def ids(*prompts: list[int], length: int | None = None) -> torch.Tensor:
    return pad(prompts, length)


@pytest.mark.parametrize("length", [3, 10, LONGEST_PROMPT])
def test_padding_changes_no_feature(encoder: TextEncoder, length: int) -> None:
    features = encoder(ids([2, 7, 5]))
    assert features.shape == (1, TEXT.queries, TEXT.width)
    torch.testing.assert_close(encoder(ids([2, 7, 5], length=length)), features, rtol=1e-5, atol=1e-5)


def test_a_batch_is_its_prompts(encoder: TextEncoder) -> None:
    prompts = ([2, 7, 5], [3], [], [4] * 20)
    together = encoder(ids(*prompts))
    for prompt, features in zip(prompts, together, strict=True):
        torch.testing.assert_close(encoder(ids(prompt))[0], features, rtol=1e-5, atol=1e-5)


def test_words_and_their_order_matter(encoder: TextEncoder) -> None:
    features = encoder(ids([2, 7, 5], [7, 2, 5], [2, 7, 6], [2, 7], []))
    distances = (features[:, None] - features[None]).abs().amax(dim=(2, 3)) + torch.eye(5)
    assert distances.min() > 1e-2


def test_the_empty_prompt_has_features(encoder: TextEncoder) -> None:
    empty = encoder(ids([]))
    assert empty.isfinite().all()
    assert empty.std() > 0.1
    torch.testing.assert_close(encoder(torch.zeros(1, 7, dtype=torch.int64)), empty, rtol=1e-5, atol=1e-5)


def test_the_longest_prompt_is_read_and_a_longer_one_refused(encoder: TextEncoder) -> None:
    longest = [2] * LONGEST_PROMPT
    assert not torch.allclose(encoder(ids(longest)), encoder(ids([*longest[:-1], 3])), atol=1e-3)
    with pytest.raises(AssertionError, match=f"{LONGEST_PROMPT + 1} words"):
        encoder(ids([*longest, 2]))


def test_gradient_reaches_every_weight() -> None:
    encoder = text_encoder()
    encoder(ids([*range(1, 20)], [4] * LONGEST_PROMPT)).square().mean().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        rows = parameter.grad if name in ("places", "words.weight") else parameter.grad[None]
        reached = rows.flatten(1).abs().amax(dim=1) > 0
        assert reached[1 if name == "words.weight" else 0 :].all(), name
