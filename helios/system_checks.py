"""Numbered system checks: settings that start and still would hurt."""

from __future__ import annotations

import stat
from typing import Any, Final

import django
from django.conf import settings
from django.core.checks import (
    CheckMessage,
    Error,
    Info,
    Tags,
    Warning,  # noqa: A004 - Django's name
    register,
    run_checks,
)

from helios.env import get_env

QUEUES: Final = frozenset({"ingest", "default", "gpu", "execution", "maintenance"})
# What a command of ours asks before it works: pages, addresses and models are asked by `check` and by each worker.
OF_SETTINGS: Final = ("celery", Tags.security)


def exit_on_errors() -> None:
    """What a command of ours asks, for entry points that other programs import. Raises: SystemExit with a sentence."""
    django.setup()
    found = [each for each in run_checks(tags=OF_SETTINGS) if each.is_serious()]
    if found:
        raise SystemExit(" ".join(f"{each.msg} {each.hint or ''}".strip() for each in found))


@register(Tags.security)
def debugging(**_: Any) -> list[CheckMessage]:
    """E001: pages of a debugging server show code and variables to anybody."""
    if not settings.DEBUG or settings.ENVIRONMENT == "dev":
        return []
    return [Error(f"HELIOS_DEBUG must be off when HELIOS_ENVIRONMENT is {settings.ENVIRONMENT}.", id="helios.E001")]


@register(Tags.security)
def production(**_: Any) -> list[CheckMessage]:
    """E002-E003: what a production environment may not have."""
    if settings.ENVIRONMENT != "prod":
        return []
    found: list[CheckMessage] = []
    if "*" in settings.ALLOWED_HOSTS:
        found.append(Error("HELIOS_ALLOWED_HOSTS must name its hosts in prod, was *.", id="helios.E002"))
    env = get_env()
    if env.embedded_postgres or env.embedded_valkey:
        found.append(
            Error(
                "The embedded servers are for one machine and have no backups.",
                hint="Set HELIOS_DATABASE_URL and HELIOS_REDIS_URL.",
                id="helios.E003",
            )
        )
    return found


@register(Tags.security)
def cors_origins(**_: Any) -> list[CheckMessage]:
    """E004: an origin is a site's, so `null` and other schemes are refused; django-cors-headers checks its form."""
    return [
        Error(f"HELIOS_CORS_ALLOWED_ORIGINS must hold scheme://host[:port], was {origin!r}.", id="helios.E004")
        for origin in settings.CORS_ALLOWED_ORIGINS
        if not origin.startswith(("http://", "https://"))
    ]


@register("celery")
def celery(**_: Any) -> list[CheckMessage]:
    """E005-E006: a task may not outlive its message's visibility, and every queue must exist."""
    found: list[CheckMessage] = []
    if settings.CELERY_TASK_TIME_LIMIT >= settings.VISIBILITY_TIMEOUT_S:
        found.append(
            Error(
                "CELERY_TASK_TIME_LIMIT must be below VISIBILITY_TIMEOUT_S, or a running task comes twice: "
                f"{settings.CELERY_TASK_TIME_LIMIT} s against {settings.VISIBILITY_TIMEOUT_S} s.",
                id="helios.E005",
            )
        )
    missing = QUEUES - set(settings.CELERY_TASK_QUEUES)
    if missing:
        found.append(Error(f"CELERY_TASK_QUEUES lacks {', '.join(sorted(missing))}.", id="helios.E006"))
    return found


@register(Tags.security)
def live_trading(**_: Any) -> list[CheckMessage]:
    """W001: the first of the two keys to real money is turned outside of production."""
    if get_env().live_trading_armed and settings.ENVIRONMENT != "prod":
        return [
            Warning(
                f"HELIOS_LIVE_TRADING_ARMED is on while HELIOS_ENVIRONMENT is {settings.ENVIRONMENT}.",
                hint="Turn it off unless this machine is meant to send real orders.",
                id="helios.W001",
            )
        ]
    return []


@register(Tags.security)
def proxies(**_: Any) -> list[CheckMessage]:
    """W002: outside of dev every page is HTTPS, which only a proxy that is believed can say."""
    if settings.TRUSTED_PROXIES or settings.ENVIRONMENT == "dev":
        return []
    return [
        Warning(
            f"HELIOS_TRUSTED_PROXIES is 0 while HELIOS_ENVIRONMENT is {settings.ENVIRONMENT}: a request that does not "
            "come over TLS to the web process itself is sent to https.",
            hint="Set it to the number of proxies in front of Helios.",
            id="helios.W002",
        )
    ]


@register(Tags.security)
def var_folder(**_: Any) -> list[CheckMessage]:
    """W003: a folder that was there before Helios keeps its mode, and others may look into it."""
    found = stat.S_IMODE(settings.VAR_DIR.stat().st_mode) if settings.VAR_DIR.exists() else 0
    if not found & 0o026:
        return []
    return [
        Warning(
            f"HELIOS_VAR_DIR is open to others: {settings.VAR_DIR} has the mode {found:04o}.",
            hint="Close it: chmod g-w,o-rw on that folder, after a look at who wrote into it.",
            id="helios.W003",
        )
    ]


@register("modules")
def walls(**_: Any) -> list[CheckMessage]:
    """I001: walls around the gate's process that this machine does not allow."""
    from helios.modules.gate import runs  # noqa: PLC0415 - models load after the settings

    missing = runs.missing_walls()
    if not missing:
        return []
    return [
        Info(
            f"Candidate modules are tested here without: {', '.join(missing)}.",
            hint="docs/module-tests.md says what each of them keeps out, and what stands in for it.",
            id="helios.I001",
        )
    ]
