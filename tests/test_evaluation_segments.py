"""Coloured segments of a picture."""

from __future__ import annotations

import numpy as np
import pytest

from muybridge.evaluation.segments import CROP, Segment, segments

RED, BLUE, GREY = (220, 47, 56), (45, 96, 216), (190, 190, 190)


def canvas(side: int = 128) -> np.ndarray:
    return np.full((side, side, 3), GREY, np.uint8)


def disc(picture: np.ndarray, row: float, column: float, radius: float, colour: tuple[int, int, int]) -> np.ndarray:
    rows, columns = np.indices(picture.shape[:2]) + 0.5
    picture[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = colour
    return picture


def only(found: list[Segment]) -> Segment:
    assert len(found) == 1, found
    return found[0]


def test_nothing_on_grey() -> None:
    assert segments(canvas()) == []


def test_a_disc_is_found_whole_where_it_is() -> None:
    found = only(segments(disc(canvas(), 40, 70, 10, RED)))
    assert found.colour == "red"
    assert found.area == pytest.approx(np.pi * 100, rel=0.05)
    assert found.centre == pytest.approx((39.5, 69.5), abs=0.1)


def test_touching_colours_are_two_segments() -> None:
    picture = disc(disc(canvas(), 60, 50, 10, RED), 60, 65, 10, BLUE)
    assert sorted(s.colour for s in segments(picture)) == ["blue", "red"]


def test_apart_discs_of_one_colour_are_two_segments() -> None:
    assert len(segments(disc(disc(canvas(), 60, 40, 9, RED), 60, 80, 9, RED))) == 2


def test_strips_and_specks_do_not_count() -> None:
    picture = canvas()
    picture[50:52, 20:100] = RED
    picture[80:84, 80:84] = BLUE
    assert segments(picture) == []


def test_a_highlight_belongs_to_its_object() -> None:
    plain = only(segments(disc(canvas(), 60, 60, 12, RED)))
    shiny = only(segments(disc(disc(canvas(), 60, 60, 12, RED), 57, 57, 3, (255, 250, 250))))
    np.testing.assert_array_equal(shiny.mask(128, 128), plain.mask(128, 128))


def test_another_object_in_front_is_no_hole_to_be_filled() -> None:
    picture = disc(disc(canvas(), 60, 60, 20, RED), 60, 60, 7, BLUE)
    areas = {s.colour: s.area for s in segments(picture)}
    assert areas["red"] + areas["blue"] == pytest.approx(np.pi * 400, rel=0.08)
    assert areas["blue"] < areas["red"]


def test_crops_do_not_depend_on_place_and_hardly_on_size() -> None:
    here = only(segments(disc(canvas(), 40, 40, 10, RED)))
    there = only(segments(disc(canvas(), 80, 70, 10, RED)))
    np.testing.assert_allclose(here.crop, there.crop, atol=1e-5)
    large = only(segments(disc(canvas(), 60, 60, 20, RED)))
    assert np.abs(here.crop[1] - large.crop[1]).mean() < 0.04
    assert large.measures[:3] - here.measures[:3] == pytest.approx(np.log(2), abs=0.06)


def test_a_picture_of_another_size_is_scaled_first() -> None:
    small = only(segments(disc(canvas(), 60, 60, 12, RED)))
    large = only(segments(disc(canvas(256), 120, 120, 24, RED)))
    assert large.mask(128, 128).sum() == large.area
    assert large.area == pytest.approx(small.area, rel=0.06)


def test_a_crop_says_what_lies_outside_the_picture() -> None:
    found = only(segments(disc(canvas(), 64, 0, 12, RED)))
    assert found.crop.shape == (4, CROP, CROP)
    assert found.crop[3, :, 0].min() > 0.9
    assert found.crop[3, :, -1].max() < 0.1
    assert found.measures[4] > 0.2
    assert only(segments(disc(canvas(), 64, 64, 12, RED))).measures[4] == 0
