"""The Fréchet distance and the inception score in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from muybridge.evaluation.frechet import Frechet, InceptionScore, frechet_distance, inception_score, jackknife
from muybridge.evaluation.metric import Metric, Sample


def normal(mean: np.ndarray, spread: np.ndarray, n: int = 50) -> np.ndarray:
    """Rows whose mean and standard deviations are exactly these, uncorrelated."""
    drawn = np.random.default_rng(0).normal(size=(n, len(mean)))
    white, _ = np.linalg.qr(drawn - drawn.mean(axis=0))
    rows: np.ndarray = mean + white * np.sqrt(n - 1) * spread
    return rows


@given(
    st.lists(
        st.tuples(st.floats(-9, 9), st.floats(0.1, 5), st.floats(-9, 9), st.floats(0.1, 5)), min_size=1, max_size=5
    )
)
def test_independent_normals(numbers: list[tuple[float, float, float, float]]) -> None:
    # for diagonal covariances: Σ (μ1 - μ2)² + (σ1 - σ2)²
    a, s, b, t = np.array(numbers).T
    expected = ((a - b) ** 2 + (s - t) ** 2).sum()
    assert frechet_distance(normal(a, s), normal(b, t, 60)) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("n", "m", "d"), [(40, 30, 5), (6, 9, 12), (30, 4, 8)])
def test_the_singular_values_are_the_root_of_the_product(n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)), rng.normal(size=(m, d)) + 1
    one, two = np.cov(a.T), np.cov(b.T)
    tiny = 1e-9 * np.eye(d)
    root = np.trace(sqrtm((one + tiny) @ (two + tiny)).real)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(one + two) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-3)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_rows_that_say_nothing_are_refused() -> None:
    rows = np.zeros((3, 2))
    with pytest.raises(ValueError, match="two at least"):
        frechet_distance(rows[:1], rows)
    with pytest.raises(ValueError, match="one network"):
        frechet_distance(rows[:, :1], rows)
    with pytest.raises(ValueError, match="not finite"):
        frechet_distance(rows + np.nan, rows)


def test_inception_scores_by_hand() -> None:
    assert inception_score(np.eye(4)) == pytest.approx(4)  # sure, and all different
    assert inception_score(np.full((5, 4), 0.25)) == pytest.approx(1)  # unsure
    assert inception_score(np.eye(4)[[0, 0, 0]]) == pytest.approx(1)  # sure, and all alike
    # p(y) is (3/4, 1/4): mean of 1 · log(4/3) and 0.5 log(2/3) + 0.5 log 2
    expected = np.exp((np.log(4 / 3) + 0.5 * np.log(2 / 3) + 0.5 * np.log(2)) / 2)
    assert inception_score(np.array([[1, 0], [0.5, 0.5]])) == pytest.approx(expected)
    with pytest.raises(ValueError, match="softmax"):
        inception_score(np.array([[3.0, -1.0]]))


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(2).normal(size=20)
    found = jackknife(lambda picked: float(values[list(picked)].mean()), 20)
    error = values.std(ddof=1) / np.sqrt(20)
    assert found.n == 20
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.value == pytest.approx(1.96 * error)
    with pytest.raises(ValueError, match="4 clips at least"):
        jackknife(lambda picked: 0.0, 3)


def brightness(frames: np.ndarray) -> np.ndarray:
    """A row of two numbers for each frame."""
    return np.stack([frames.mean(axis=(1, 2, 3)), frames.std(axis=(1, 2, 3))], axis=1)


def test_as_metrics() -> None:
    rng = np.random.default_rng(3)
    clips = rng.integers(0, 200, (6, 5, 8, 8, 3)).astype(np.uint8)
    paired: Metric = Frechet("frechet", brightness)
    fixed: Metric = Frechet("frechet", brightness, np.concatenate([brightness(clip) for clip in clips]))
    assert (paired.needs, fixed.needs, paired.direction) == (("reference",), (), "lower")
    with pytest.raises(ValueError, match="needs the reference"):
        paired.update(Sample(clips[0]))
    for clip in clips:
        paired.update(Sample(clip + 7, clip))
        fixed.update(Sample(clip + 7))
    assert paired.compute().value == pytest.approx(49)  # the mean moves by 7, the spread stays
    assert fixed.compute().value == pytest.approx(49)
    assert paired.compute().low <= 49 + 1e-9

    score: Metric = InceptionScore("is", lambda frames: np.eye(3)[[int(frames[0, 0, 0, 0]) % 3]])
    for value in range(6):
        score.update(Sample(np.full((1, 2, 2, 3), value, np.uint8)))
    assert score.compute().value == pytest.approx(3)
