"""Probes of what is around the tables: servers, workers, beat, disk."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from celery import Celery
from django.conf import settings
from django.db import connection

from helios.api.system import health
from helios.breakers import selectors
from helios.env import get_env
from helios.errors import DataError, error_text
from sentinel.audits.facts import Breaker, Disk, Token
from sentinel.models import Heartbeat
from sentinel.probes.bounded import bounded

# Workers answer within milliseconds; those that are busy starting get a second, longer chance.
INSPECT_TIMEOUTS_S: Final = (0.5, 2.0)


def database() -> tuple[None, str]:
    """Asks the database for one row; returns its version in words."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version'), pg_database_size(current_database())")
        version, size = cursor.fetchone()
    return None, f"PostgreSQL {version.split()[0]}, {size / 1024**2:.0f} MiB"


def migrations() -> tuple[tuple[str, ...], str]:
    """Names of the migrations that are not applied."""
    return tuple(health.pending_migrations()), "all applied"


def broker() -> tuple[None, str]:
    """Pings Redis or Valkey."""
    health.ping_redis()
    return None, "answers"


def workers(queues: Collection[str]) -> tuple[dict[str, int], str]:
    """How many workers listen on each queue, asked by broadcast through the broker.

    Asks again, with more patience, while one of `queues` has nobody.
    """
    consumers: dict[str, int] = {}
    for timeout_s in INSPECT_TIMEOUTS_S:
        consumers = _consumers(timeout_s)
        if all(consumers.get(queue) for queue in queues):
            break
    return consumers, ", ".join(f"{queue} {consumers[queue]}" for queue in queues if queue in consumers)


def _consumers(timeout_s: float) -> dict[str, int]:
    # A broker that goes away now must be an error, not an endless reconnection.
    options: dict[str, Any] = {**settings.CELERY_BROKER_TRANSPORT_OPTIONS, "max_retries": 1, "interval_start": 0}
    counts: dict[str, int] = {}
    with (
        Celery("sentinel", broker=settings.CELERY_BROKER_URL, set_as_current=False) as app,
        app.connection_for_write(transport_options=options) as link,
    ):
        try:
            replies = app.control.inspect(timeout=timeout_s, connection=link).active_queues() or {}
            for listened in replies.values():
                for queue in listened:
                    counts[queue["name"]] = counts.get(queue["name"], 0) + 1
        except (AttributeError, KeyError, TypeError) as error:  # whoever reaches the broker may answer
            raise DataError(f"workers must answer with their queues, did not: {error_text(error)}") from error
    return counts


def beat() -> tuple[datetime | None, str]:
    """When the last heartbeat of beat came through."""
    with bounded():
        ts = Heartbeat.objects.filter(name="beat").values_list("ts", flat=True).first()
    return ts, "" if ts is None else f"last heartbeat {ts:%H:%M:%S} UTC"


def breakers() -> tuple[tuple[Breaker, ...], str]:
    """How all breakers stand."""
    found = tuple(
        Breaker(name=each.name, readable=each.readable, refuses=each.refuses, sentence=each.sentence())
        for each in selectors.statuses()
    )
    return found, f"{sum(each.refuses for each in found)} of {len(found)} open"


def disk() -> tuple[tuple[Disk, ...], str]:
    """Room where Helios keeps its files."""
    folder = settings.VAR_DIR
    while not folder.exists():
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    volume = Disk(folder=str(folder), free=usage.free, total=usage.total)
    return (volume,), f"{usage.free / 1024**3:.1f} GiB free"


def tokens() -> tuple[tuple[Token, ...], str]:
    """The API tokens that hold, through a function of the database: an audit may read no account and no token."""
    with bounded(), connection.cursor() as cursor:
        cursor.execute("SELECT username, name, expires_at FROM api_tokens_that_hold()")
        found = tuple(Token(user=user, name=name, ends_at=ends_at) for user, name, ends_at in cursor.fetchall())
    return found, f"{len(found)} hold"


def language_model() -> tuple[str, str]:
    """The language model that tier 5 asks; empty without a key, when the rules speak."""
    env = get_env()
    if env.anthropic_api_key is None:
        return "", "none: the rule-based analyst"
    return env.llm_model, env.llm_model
