"""Physics-IQ's terms against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from muybridge.evaluation.physics_iq import Terms, moving, score, terms, verified_score

GREY = np.full((4, 40, 40, 3), 100, np.uint8)


def masks(*rows: slice | None) -> np.ndarray:
    """The first 16 columns of some rows in each frame, in whole 4x4 blocks."""
    made = np.zeros((len(rows), 40, 40), bool)
    for t, picked in enumerate(rows):
        if picked is not None:
            made[t, picked, :16] = True
    return made


def test_the_three_overlaps_by_hand() -> None:
    # at a quarter: columns 0-3; ours rows 0-1, then 2-3; theirs rows 0-1 in both frames; nothing in the last two
    ours = masks(slice(0, 8), slice(8, 16), None, None)
    theirs = masks(slice(0, 8), slice(0, 8), None, None)
    found = terms(GREY, GREY, ours, theirs)
    assert found.spatial == pytest.approx(8 / 16)  # 4 rows of ours, 2 of theirs, 2 in both
    assert found.spatiotemporal == pytest.approx((1 + 0 + 1 + 1) / 4)  # empty against empty is 1
    # share of time: ours 1/4 on rows 0-3, theirs 2/4 on rows 0-1: Σ min = 8/4, Σ max = 8 · 2/4 + 8 · 1/4
    assert found.weighted == pytest.approx((8 / 4) / (8 * 2 / 4 + 8 / 4))
    assert found.mse == 0


def test_the_error_of_the_pixels_by_hand() -> None:
    brighter = GREY.copy()
    brighter[0, :20] += 51  # half of one frame in four, by a fifth of the range
    assert terms(brighter, GREY, masks(None, None, None, None), masks(None, None, None, None)).mse == pytest.approx(
        0.2**2 / 8
    )


def test_a_quarter_looks_at_the_four_pixels_in_the_middle_of_sixteen() -> None:
    edges, middle = GREY.copy(), GREY.copy()
    edges[:, ::4] += 100
    middle[:, 1::4, 1::4] += 100
    none = masks(None, None, None, None)
    assert terms(edges, GREY, none, none).mse == 0
    assert terms(middle, GREY, none, none).mse == pytest.approx((25 / 255) ** 2)


def test_what_moves_is_found_and_specks_are_not() -> None:
    frames = np.zeros((3, 40, 40, 3), np.uint8)
    frames[1:, 10:20, 10:20] = 200
    frames[1:, 30, 30] = 200
    found = moving(frames)
    assert not found[0].any()
    # the average has taken 0.3 of the step, so 0.7 · 200 is missing; the blur reaches two pixels farther out
    assert found[1, 12:18, 12:18].all()
    assert not found[1, :8].any()
    assert not found[1, 25:].any()
    assert found[2, 12:18, 12:18].all()  # 0.49 · 200 are missing still


def test_a_still_picture_does_not_move_and_one_that_hardly_changes_neither() -> None:
    frames = np.zeros((3, 20, 20, 3), np.uint8)
    frames[1:] = 14  # 0.7 · 14 = 9.8, rounded 10: not over 10 levels
    assert not moving(frames).any()
    frames[1:] = 16
    assert moving(frames)[1].all()


def test_the_score_by_hand() -> None:
    variance = [Terms(0.8, 0.5, 0.4, 0.01)] * 2
    clips = [Terms(0.4, 0.25, 0.2, 0.02), Terms(0.6, 0.25, 0.2, 0.04)]
    # means 0.5, 0.25, 0.2, 0.03: ratios 0.625, 0.5, 0.5; a third of their sum is 0.54167, less 0.03 - 0.01
    assert score(clips, variance) == pytest.approx(100 * (1.625 / 3 - 0.02))
    assert score(variance, variance) == 100
    assert score([Terms(0, 0, 0, 0.5)] * 2, variance) == 0


def test_the_verified_score_by_hand() -> None:
    # ratios 0.5, 1 (1.2 cut), 0.25, and 0.01 / 0.04 of the errors
    found = verified_score(Terms(0.4, 0.6, 0.1, 0.04), Terms(0.8, 0.5, 0.4, 0.01))
    assert found == pytest.approx(100 * (0.5 + 1 + 0.25 + 0.25) / 4, abs=1e-4)
    assert verified_score(Terms(1, 1, 1, 0.0), Terms(0.8, 0.5, 0.4, 0.0)) == pytest.approx(100)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="bring both to one size"):
        terms(GREY, GREY[:, :20])
    with pytest.raises(ValueError, match="quarter of the size"):
        terms(GREY[:, :3], GREY[:, :3])
    with pytest.raises(ValueError, match="give one for each"):
        terms(GREY, GREY, masks(None), masks(None))
    with pytest.raises(ValueError, match="nothing moving in common"):
        score([Terms(1, 1, 1, 0)], [Terms(0, 1, 1, 0)])
    with pytest.raises(ValueError, match="one at least"):
        score([], [])
