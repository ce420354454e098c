"""What `manage.py` does around a Django command: servers on, errors in one sentence, servers off."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

from django.conf import settings
from django.core.management import execute_from_command_line
from django.db import DatabaseError, OperationalError
from filelock import FileLock

from helios.env import BASE_DIR, Env
from helios.errors import HeliosError, SettingsError
from helios.logs import configure, redact
from helios.outage import behind
from helios.stack import children
from helios.stack.children import StackError
from helios.stack.environment import load_env
from helios.stack.servers import Lease, embedded_servers
from helios.terminal import shown

WITHOUT_SERVERS = frozenset(
    {"help", "version", "diffsettings", "startapp", "startproject", "findstatic", "spectacular"}
)
OF_TABLES = frozenset({"migrate", "makemigrations", "showmigrations", "check"})
SENDING_NO_TASK = frozenset({"list_data", "mode"})
# What a terminal obeys: argparse and Django's own commands say back what they refuse.
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def run(argv: list[str]) -> int:
    """Run one management command; returns the exit status."""
    children.leave_on_sigterm()
    if obeyed := next(filter(OBEYED.search, argv), None):
        return _fail(f"words of a command must hold no control characters, one was {obeyed}", 1)
    try:
        env = load_env()
        component = os.environ.get("HELIOS_COMPONENT", "")  # of a stack, whose runner sees to the servers
        configure(component or "manage", console_level="WARNING")
        if argv[1:2] and argv[1] in SENDING_NO_TASK:
            settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app not in settings.OF_PAGES_AND_TASKS]
        own = needs_servers(argv) and not component
        new = own and argv[1] not in OF_TABLES and lacks_tables(env)
        with Lease(env) if own else nullcontext():
            if new:
                make_tables()
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


def lacks_tables(env: Env) -> bool:
    """Whether the database is an embedded one that is still to be made."""
    postgres = embedded_servers(env).postgres
    return postgres is not None and not (postgres.data_dir / "PG_VERSION").exists()


def make_tables() -> None:
    """Migrate a new database. Raises: StackError where that fails, which has said why."""
    sys.stderr.write("Making the tables of a new database ...\n")
    with FileLock(settings.VAR_DIR / "tables.lock"):  # two first commands at once
        done = subprocess.run(
            [sys.executable, "manage.py", "migrate", "--noinput", "-v", "0"], cwd=BASE_DIR, check=False
        )
    if done.returncode:
        raise StackError("The tables of the new database could not be made, see above")


def python() -> str:
    """How a person calls the interpreter that runs this."""
    ours = Path(sys.executable)
    return str(ours.relative_to(BASE_DIR) if ours.is_relative_to(BASE_DIR) else ours)


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
        return f"The database lacks tables of this version ({missing}): run `{python()} manage.py migrate`"
    if isinstance(error, OperationalError):
        return f"PostgreSQL (HELIOS_DATABASE_URL) cannot be reached: {reason}"
    return None


def _fail(sentence: str, status: int) -> int:
    sys.stderr.write(f"{shown(sentence)}\n")
    return status
