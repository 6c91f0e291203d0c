"""Networks from TorchScript files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from muybridge.evaluation.foreign_features import CLASSES, Reading, foreign_features
from muybridge.evaluation.frechet import Frechet, InceptionScore
from muybridge.evaluation.metric import Sample

CLIP = np.random.default_rng(0).integers(0, 255, (20, 12, 16, 3), np.uint8)


class Averages(nn.Module):
    """The mean of each colour, as a network of others would be called."""

    def forward(self, x: Tensor, return_features: bool = False) -> Tensor:
        means = x.flatten(2).mean(dim=2)
        return means if return_features else means.argmax(dim=1)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nets") / "averages.pt"
    torch.jit.script(Averages()).save(str(path))  # type: ignore[no-untyped-call]
    return path


ROWS = {"return_features": True}


def test_frames(file: Path) -> None:
    rows = foreign_features(file, Reading("frames", arguments=ROWS))(CLIP)
    np.testing.assert_allclose(rows, CLIP.mean(axis=(1, 2)), rtol=1e-5)


def test_windows_of_clips_scaled(file: Path) -> None:
    rows = foreign_features(file, Reading("clips", 8, None, (-1.0, 1.0), ROWS), batch=1)(CLIP)
    expected = [CLIP[start : start + 8].mean(axis=(0, 1, 2)) / 127.5 - 1 for start in (0, 6, 12)]
    np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_pictures_are_scaled_to_the_side_that_is_asked_for(file: Path) -> None:
    rows = foreign_features(file, Reading("frames", side=6, arguments=ROWS))(CLIP)
    np.testing.assert_allclose(rows, CLIP.mean(axis=(1, 2)), atol=6)


def test_in_a_distance(file: Path) -> None:
    metric = Frechet("fid", foreign_features(file, Reading("frames", arguments=ROWS)))
    for start in range(0, 16, 4):
        metric.update(Sample(CLIP[start : start + 4] // 2 + 9, CLIP[start : start + 4] // 2))
    assert metric.compute().value == pytest.approx(3 * 81, rel=1e-4)


class Classes(nn.Module):
    """Which of three colours there is most of, as a network of others would say it."""

    def forward(self, x: Tensor, return_features: bool = False, no_output_bias: bool = False) -> Tensor:
        means = x.flatten(2).mean(dim=2)
        return means if return_features or not no_output_bias else torch.softmax(means, dim=1)


def test_in_an_inception_score(tmp_path: Path) -> None:
    """Clips that are clearly of one colour each, and all three colours: three classes."""
    torch.jit.script(Classes()).save(str(tmp_path / "classes.pt"))  # type: ignore[no-untyped-call]
    metric = InceptionScore("is", foreign_features(tmp_path / "classes.pt", CLASSES))
    for colour in range(6):
        frames = np.zeros((2, 8, 8, 3), np.uint8)
        frames[..., colour % 3] = 255
        metric.update(Sample(frames))
    assert metric.compute().value == pytest.approx(3)


def test_what_is_no_network_or_does_not_fit_is_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        foreign_features(tmp_path / "missing.pt", Reading("frames"))
    with pytest.raises(ValueError, match="not a row of features for each"):
        foreign_features(file, Reading("frames"))(CLIP)
    with pytest.raises(ValueError, match="give another Reading"):
        foreign_features(file, Reading("frames", arguments={"resize": True}))(CLIP)
    with pytest.raises(ValueError, match="give longer clips"):
        foreign_features(file, Reading("clips", 21, arguments=ROWS))(CLIP)


@given(st.binary(max_size=200))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_other_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is not TorchScript"):
        foreign_features(path, Reading("frames"))
