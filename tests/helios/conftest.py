"""People of every role, and their clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from loguru import logger

from helios import flags
from helios.breakers import services as breakers
from helios.breakers.process import forget
from helios.flags.models import FeatureFlag
from helios.flags.services import install_missing
from helios.modules import process
from helios.modules import services as modules
from helios.web import throttling
from helios.web.roles import Role
from tests.support.people import Api, api_of


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """The names of the log events of the test, in order."""
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(message.record["message"]), level="DEBUG")
    yield lines
    logger.remove(sink)


@pytest.fixture
def unlimited(settings: Any) -> None:
    """Rates that no test reaches."""
    settings.API_RATES = dict.fromkeys(("read", "write", "sensitive", "safer", "anon"), "1000000/s")


@pytest.fixture
def control_plane(db: None, clean_redis: redis.Redis) -> Iterator[None]:
    """Flags, breakers and modules as on a fresh installation, in an empty Redis, and nothing remembered."""
    _forget()
    if not FeatureFlag.objects.exists():  # a transactional test before this one took the shipped rows with it
        install_missing(actor="tests")
        breakers.restore_shipped()
        modules.restore_shipped(actor="tests")
    yield
    _forget()


def _forget() -> None:
    forget()
    flags.forget()
    process.forget()
    throttling._WINDOWS._admitted.clear()


@pytest.fixture
def viewer(control_plane: None) -> Api:
    return api_of(Role.VIEWER)


@pytest.fixture
def operator(control_plane: None) -> Api:
    return api_of(Role.OPERATOR)


@pytest.fixture
def trader(control_plane: None) -> Api:
    return api_of(Role.TRADER)
