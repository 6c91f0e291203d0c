"""Flicker against a reference."""

from __future__ import annotations

import numpy as np
import pytest

from muybridge.evaluation.flicker import flicker, flicker_whole
from muybridge.evaluation.metric import Metric, Sample

CLIP = np.random.default_rng(0).integers(40, 200, (6, 8, 8, 3)).astype(np.uint8)


def test_by_hand() -> None:
    blinking = CLIP.copy()
    blinking[1::2] += 10
    assert flicker(CLIP, CLIP) == 0
    assert flicker(blinking, CLIP) == pytest.approx(10)  # up and down by 10 in every pair
    once = CLIP.copy()
    once[3:] += 10  # one of five pairs
    assert flicker(once, CLIP) == pytest.approx(10 / np.sqrt(5))


def test_an_error_that_stays_does_not_flicker() -> None:
    assert flicker(CLIP + 20, CLIP) == 0


def test_as_a_metric_and_what_is_refused() -> None:
    metric: Metric = flicker_whole()
    metric.update(Sample(CLIP + 20, CLIP))
    assert (metric.direction, metric.compute().value) == ("lower", 0)
    with pytest.raises(ValueError, match="cut one to the other"):
        flicker(CLIP[:5], CLIP)
    with pytest.raises(ValueError, match="two frames at least"):
        flicker(CLIP[:1], CLIP[:1])
