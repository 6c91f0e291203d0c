"""What holds for all tests: shapes and types are checked as annotated, and there is a tiny model to be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from checked import check_shapes

if TYPE_CHECKING:
    from serving_server import Live

check_shapes()


@pytest.fixture(autouse=True, scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of their own for all tests: the key that signs clips lies there, and nobody's real one is touched."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a checkpoint with a few thousand random weights; read it, don't write to it."""
    from tiny_checkpoint import build_tiny_model

    return build_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def live(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """`muybridge serve` in a process of its own, with a tiny model and the test card."""
    from serving_server import prepare, serving

    home = tmp_path_factory.mktemp("server")
    prepare(home, tiny_model)
    with serving(home) as running:
        yield running
