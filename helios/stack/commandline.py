"""What `manage.py` does around a Django command: servers on, errors in one sentence, servers off."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext

from django.conf import settings
from django.core.management import execute_from_command_line
from django.db import DatabaseError, OperationalError

from helios.errors import HeliosError, SettingsError
from helios.logs import configure, redact
from helios.outage import behind
from helios.stack import children
from helios.stack.environment import load_env
from helios.stack.servers import Lease
from helios.terminal import shown

WITHOUT_SERVERS = frozenset(
    {
        "help",
        "version",
        "diffsettings",
        "startapp",
        "startproject",
        "findstatic",
        "spectacular",
    }
)
SENDING_NO_TASK = frozenset({"list_data", "mode"})


def run(argv: list[str]) -> int:
    """Run one management command; returns the exit status."""
    children.leave_on_sigterm()
    try:
        env = load_env()
        component = os.environ.get("HELIOS_COMPONENT", "")  # of a stack, whose runner sees to the servers
        configure(component or "manage", console_level="WARNING")
        if argv[1:2] and argv[1] in SENDING_NO_TASK:
            settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app not in settings.OF_PAGES_AND_TASKS]
        with Lease(env) if needs_servers(argv) and not component else nullcontext():
            execute_from_command_line(argv)
    except KeyboardInterrupt:
        return _fail("Interrupted", 130)
    except Exception as error:
        if "--traceback" in argv:
            raise
        sentence = explain(error)
        if sentence is None:
            raise
        return _fail(sentence if isinstance(error, SettingsError) else redact(sentence), 1)
    return 0


def needs_servers(argv: list[str]) -> bool:
    """Whether a command talks to PostgreSQL or Valkey; help texts and file work do not."""
    words = argv[1:]
    return bool(words) and words[0] not in WITHOUT_SERVERS and not {"-h", "--help", "--version"} & set(words)


def explain(error: Exception) -> str | None:
    """One sentence for a person; None where only the traceback helps."""
    if isinstance(error, HeliosError):
        return str(error)
    import redis  # noqa: PLC0415 - only where something failed: a command may need no Redis

    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return f"Redis or Valkey (HELIOS_REDIS_URL) cannot be reached: {error}"
    if not isinstance(error, DatabaseError):
        return None
    reason = " ".join(str(error).split())
    if behind(error):
        missing = reason.split(" LINE ")[0]
        return f"The database lacks tables of this version ({missing}): run `python manage.py migrate`"
    if isinstance(error, OperationalError):
        return f"PostgreSQL (HELIOS_DATABASE_URL) cannot be reached: {reason}"
    return None


def _fail(sentence: str, status: int) -> int:
    sys.stderr.write(f"{shown(sentence)}\n")
    return status
