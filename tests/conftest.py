"""What holds for all tests: shapes and types are checked as annotated, and there is a tiny model to be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from checked import check_shapes

check_shapes()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a checkpoint with a few thousand random weights; read it, don't write to it."""
    from tiny_checkpoint import build_tiny_model

    return build_tiny_model(tmp_path_factory.mktemp("models") / "tiny")
