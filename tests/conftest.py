"""What holds for all tests: shapes and types are checked as annotated, and there is a tiny model to be read."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from checked import check_shapes

if TYPE_CHECKING:
    from postgres_server import Postgres
    from serving_server import Live

    from muybridge.serving.server import Server

check_shapes()
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as behind `nohup … &`, and what tests start would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
def cluster() -> Iterator[Postgres]:
    """A Postgres of these tests' own."""
    from postgres_server import postgres, programs

    if programs() is None:
        pytest.skip("Postgres is not installed: apt install postgresql")
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database of either kind; no URL is the file in the server's folder."""
    if request.param == "sqlite":
        return ""
    cluster: Postgres = request.getfixturevalue("cluster")
    return cluster.emptied()


@pytest.fixture
def server(tiny_model: Path, tmp_path: Path, database_url: str) -> Iterator[Server]:
    """A server without a network and a worker."""
    from serving_server import prepare

    from muybridge.serving.app import TELL
    from muybridge.serving.server import build_server
    from muybridge.serving.settings import ServerSettings

    prepare(tmp_path, tiny_model)
    settings = ServerSettings(home=tmp_path, requests_per_minute=0, most_queued=20, database_url=database_url)
    built = build_server(settings, TELL)
    yield built
    built.database.engine.dispose()


@pytest.fixture(scope="session")
def live(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """`muybridge serve` in a process of its own, with a tiny model and the test card."""
    from serving_server import prepare, serving

    home = tmp_path_factory.mktemp("server")
    prepare(home, tiny_model)
    with serving(home) as running:
        yield running
