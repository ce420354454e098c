"""A folder for servers of a test's own, and settings that point there."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helios.env import Env
from helios.stack import postgres
from helios.stack.postgres import EmbeddedPostgres
from helios.stack.servers import embedded_servers
from tests.support.servers import UNSAFE_SETTINGS, make_root, servers_in


@pytest.fixture
def root() -> Iterator[Path]:
    """A short, empty folder that PostgreSQL's system user may enter."""
    folder = make_root()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Path]:
    """A data folder of PostgreSQL with the database `helios`, to be copied: quicker than making one each time."""
    folder = make_root()
    server, _ = servers_in(folder)
    server.start(die_with_us=True)
    server.stop()
    yield server.data_dir
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def quick_servers(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Embedded servers that begin with a copy, and need not outlive the machine."""

    def copy(server: EmbeddedPostgres, *_: object) -> None:
        if not server.data_dir.exists():
            subprocess.run(["cp", "-a", str(cluster), str(server.data_dir)], check=True)

    monkeypatch.setattr(EmbeddedPostgres, "_initialise", copy)
    monkeypatch.setattr(postgres, "SETTINGS", {**postgres.SETTINGS, **UNSAFE_SETTINGS})


@pytest.fixture
def make_env(root: Path) -> Iterator[Callable[..., Env]]:
    """Settings with embedded servers under `root`; whatever they started is stopped afterwards."""
    made: list[Env] = []

    def make(**changes: object) -> Env:
        given = {"var_dir": root / "var", "database_url": None, "redis_url": None} | changes
        made.append(Env(_env_file=None, **given))
        return made[-1]

    yield make
    for env in made:
        embedded_servers(env).stop()


@pytest.fixture
def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
