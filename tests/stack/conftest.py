"""A folder for servers of a test's own, and settings that point there."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helios.env import Env
from helios.stack.servers import embedded_servers
from tests.servers import make_root


@pytest.fixture
def root() -> Iterator[Path]:
    """A short, empty folder that PostgreSQL's system user may enter."""
    folder = make_root()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


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
