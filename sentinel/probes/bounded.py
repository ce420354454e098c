"""Runs probes one after the other; one that fails is written down and the rest go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar

import redis
from celery.exceptions import CeleryError
from django.db import DatabaseError, connection, transaction
from kombu.exceptions import KombuError
from loguru import logger

from helios.errors import UNREAD, HeliosError
from helios.logs import redact
from sentinel.audits.facts import Reading

T = TypeVar("T")

STATEMENT_TIMEOUT_MS: Final = 5_000
FAILURES: Final = (DatabaseError, redis.RedisError, CeleryError, KombuError, HeliosError, OSError, *UNREAD)


@dataclass(slots=True)
class Runner:
    """Collects how each probe went."""

    readings: dict[str, Reading] = field(default_factory=dict)

    def ask(self, name: str, probe: Callable[[], tuple[T, str]], default: T, *, skip: str = "") -> T:
        """The value of `probe`, or `default` when it failed or there is a reason to `skip` it.

        `probe` returns its value and a few words about it.
        """
        if skip:
            self.readings[name] = Reading(skipped=skip)
            return default
        start = time.perf_counter()
        value, detail, error = default, "", ""
        try:
            value, detail = probe()
        except FAILURES as failure:
            error = sentence(failure)
            told = logger.opt(exception=failure if isinstance(failure, UNREAD) else None)
            told.bind(probe=name, error=error).warning("sentinel.probe_failed")
        duration_ms = round((time.perf_counter() - start) * 1000, 2)
        self.readings[name] = Reading(detail=detail, error=error, duration_ms=duration_ms)
        return value


def sentence(error: BaseException) -> str:
    """The first line of an error, for people; its type where it has no text."""
    lines = redact(str(error)).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


@contextmanager
def bounded() -> Iterator[None]:
    """A transaction whose statements end after five seconds; an error inside leaves the connection usable."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(STATEMENT_TIMEOUT_MS)])
        yield
