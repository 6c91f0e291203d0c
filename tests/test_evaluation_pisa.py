"""PISA's measures against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from muybridge.evaluation.pisa import pisa

SIDE = 10


def at(*places: tuple[int, int] | None) -> np.ndarray:
    """One pixel a frame, or none."""
    masks = np.zeros((len(places), SIDE, SIDE), bool)
    for t, place in enumerate(places):
        if place is not None:
            masks[t][place] = True
    return masks


def test_one_pixel_beside_another() -> None:
    # 3 rows and 4 columns apart: the mean of both axes is 3.5; the distance is 5, there and back 10; √2 · 10 the scale
    found = pisa(at((1, 1)), at((4, 5)))
    assert found.l2 == pytest.approx(3.5 / (math.sqrt(2) * 10))
    assert found.chamfer == pytest.approx(10 / (math.sqrt(2) * 10))
    assert (found.iou, found.vanished) == (0, 0)


def test_two_pixels_against_one_and_the_mean_over_frames() -> None:
    masks, truth = at((0, 0), (5, 5)), at((0, 0), (5, 5))
    masks[0, 0, 6] = True
    # frame 0: centres 3 columns apart, so 1.5; truth's pixel is 0 from the mask, the mask's are 0 and 6 from the truth
    found = pisa(masks, truth)
    assert found.l2 == pytest.approx(1.5 / 2 / (math.sqrt(2) * 10))
    assert found.chamfer == pytest.approx(3 / 2 / (math.sqrt(2) * 10))
    assert found.iou == pytest.approx((1 / 2 + 1) / 2)


def test_a_vanished_object_stays_in_the_average_as_far_away_as_can_be() -> None:
    # the truth is at (2, 2): the farthest corner is (9, 9), 7 and 7 away
    found = pisa(at((2, 2), None), at((2, 2), (2, 2)))
    assert found.l2 == pytest.approx(7 / 2 / (math.sqrt(2) * 10))
    assert found.chamfer == pytest.approx(2 * 7 * math.sqrt(2) / 2 / (math.sqrt(2) * 10))
    assert (found.iou, found.vanished) == (0.5, 0.5)
    everywhere = [pisa(at((row, column)), at((2, 2))) for row in range(SIDE) for column in range(SIDE)]
    gone = pisa(at(None), at((2, 2)))
    assert gone.l2 == pytest.approx(max(one.l2 for one in everywhere))
    assert gone.chamfer == pytest.approx(max(one.chamfer for one in everywhere))


def test_what_should_not_be_there_costs_too_and_nothing_against_nothing_is_right() -> None:
    assert pisa(at((0, 9)), at(None)).chamfer == pytest.approx(2 * 9 * math.sqrt(2) / (math.sqrt(2) * 10))
    assert pisa(at(None), at(None)) == type(pisa(at(None), at(None)))(0.0, 0.0, 1.0, 0.0)


@given(arrays(bool, (3, 6, 6)), arrays(bool, (3, 6, 6)))
def test_measures_are_symmetric_but_for_what_vanished_and_within_bounds(a: np.ndarray, b: np.ndarray) -> None:
    one, other = pisa(a, b), pisa(b, a)
    assert (one.l2, one.chamfer, one.iou) == pytest.approx((other.l2, other.chamfer, other.iou))
    assert 0 <= one.l2 <= 1 / math.sqrt(2)
    assert 0 <= one.chamfer <= 2
    assert 0 <= one.iou <= 1
    assert pisa(a, a) == pisa(b, b)


@given(st.integers(1, 4), st.integers(4, 8))
def test_masks_that_cannot_be_compared_are_refused(frames: int, side: int) -> None:
    truth = np.zeros((frames, side, side), bool)
    with pytest.raises(ValueError, match="bring both to one size"):
        pisa(truth[:, :-1], truth)
    with pytest.raises(ValueError, match="crop them"):
        pisa(truth[:, :-1], truth[:, :-1])
    with pytest.raises(ValueError, match="no frame"):
        pisa(truth[:0], truth[:0])
