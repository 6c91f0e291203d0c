"""Colour words of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muybridge.evaluation.colours import colour_labels, oklab
from muybridge.simulation.palette import _LOOKS, COLOURS, NEUTRALS, linear

WORDS = tuple(COLOURS)


def encoded(light: np.ndarray) -> np.ndarray:
    """sRGB of linear light."""
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    pixels: np.ndarray = np.rint(255 * curve.clip(0, 1)).astype(np.uint8)
    return pixels


def test_oklab_of_white_and_red() -> None:
    """Reference values of the definition's own tables: white is (1, 0, 0), sRGB red (0.628, 0.225, 0.126)."""
    lab = oklab(np.array([[255, 255, 255], [255, 0, 0]], np.uint8))
    np.testing.assert_allclose(lab, np.array([[1, 0, 0], [0.628, 0.225, 0.126]]), atol=1e-3)


@given(word=st.sampled_from(WORDS), light=st.floats(0.12, 1.0))
def test_a_colour_keeps_its_word_in_the_shade(word: str, light: float) -> None:
    pixel = encoded(light * linear(COLOURS[word]))
    assert colour_labels(oklab(pixel)) == 1 + WORDS.index(word)


@given(share=st.floats(0, 0.2), word=st.sampled_from(WORDS))
def test_what_is_mostly_grey_has_no_word(share: float, word: str) -> None:
    pixel = encoded(share * linear(COLOURS[word]) + (1 - share) * linear("#b0b0b0"))
    assert colour_labels(oklab(pixel)) == 0


@pytest.mark.parametrize("code", sorted({c for look in _LOOKS for c in (*look[:2], *look[4:6])} | set(NEUTRALS)))
def test_grounds_backdrops_and_walls_have_no_word(code: str) -> None:
    assert colour_labels(oklab(encoded(linear(code)))) == 0
