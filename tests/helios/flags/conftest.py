"""Every test of flags starts in a process that has not read any."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client

from helios import flags
from helios.flags.models import FeatureFlag, FeatureFlagHistory
from helios.flags.services import install_missing


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    flags.forget()
    yield
    flags.stop_listener()
    flags.forget()


@pytest.fixture
def desk(client: Client, db: None) -> Client:
    """A browser with a superuser logged in."""
    client.force_login(User.objects.create_superuser("ada", password="a-long-password"))
    return client


@pytest.fixture
def last_change(db: None) -> Callable[[str], FeatureFlagHistory]:
    return lambda name: FeatureFlagHistory.objects.filter(flag_id=name).first()


@pytest.fixture
def committed_flags(transactional_db: None) -> None:
    """The shipped flags, for tests that really commit: the clean-up after such tests empties every table."""
    install_missing(actor="test")
    assert FeatureFlag.objects.count() >= 15
