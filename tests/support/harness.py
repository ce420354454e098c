"""A whole Helios for black-box tests: its own database and Valkey, real processes, all ended by id."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg2
import psycopg2.extensions

from helios.db import roles
from helios.stack import children, endpoints, processes
from helios.stack.processes import ProcessSpec
from helios.stack.workers import answering
from tests.support import warm
from tests.support.servers import make_root, servers_in
from tests.support.warm import Forked

CPU_QUEUES = (*processes.WORKER_QUEUES, *processes.MAINTENANCE_QUEUES)
ALL_QUEUES = (*CPU_QUEUES, "gpu")  # one worker for all of them starts sooner


def dsn(url: str) -> str:
    """A connection string for a `postgresql://` URL, without the tests' maintenance option."""
    entry = endpoints.django_database(url)
    words = {key: entry[key.upper()] for key in ("user", "password", "host", "port")}
    return psycopg2.extensions.make_dsn(dbname=entry["NAME"], **{key: value for key, value in words.items() if value})


def descendants(pid: int) -> list[int]:
    """Ids of the living children of a process, and of theirs."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def run_sql(url: str, statement: str, params: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
    """Run one statement in a connection of its own, committed; returns its rows."""
    with contextlib.closing(psycopg2.connect(dsn(url))) as connection:
        return _rows(connection, statement, params)


def _rows(
    connection: psycopg2.extensions.connection, statement: str, params: Sequence[Any] | None
) -> list[tuple[Any, ...]]:
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchall() if cursor.description else []


def database_url(base: str, name: str) -> str:
    """The same server, another database; without the tests' maintenance option."""
    query = "&".join(part for part in urlsplit(base).query.split("&") if not part.startswith("options="))
    return urlsplit(base)._replace(path=f"/{name}", query=query).geturl()


def clone(template: str, name: str) -> str:
    """Copy a database of the tests' server; returns the URL of the copy."""
    # Few large writes: to log each page would take thrice the time.
    run_sql(_server(), f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
    return database_url(os.environ["HELIOS_DATABASE_URL"], name)


def copies(template: str) -> Iterator[str]:
    """URL of one copy of a database, dropped afterwards; for `yield from` in a fixture."""
    name = f"helios_copy_{uuid.uuid4().hex}"
    yield clone(template, name)
    drop(name)


def drop(name: str) -> None:
    """Remove a database, whoever still uses it."""
    run_sql(_server(), f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _server() -> str:
    return database_url(os.environ["HELIOS_DATABASE_URL"], "postgres")


class Stack:
    """Real workers against servers of their own. What waits, waits for a condition and within a limit."""

    def __init__(self, database: str) -> None:
        """`database`: URL of a migrated database that only this stack uses."""
        self.root = make_root()
        self.database = database
        _, self.valkey = servers_in(self.root)
        self.valkey.start(die_with_us=True)
        self.processes: dict[str, Forked] = {}
        self._asking: psycopg2.extensions.connection | None = None
        self.environ: dict[str, str] = {
            **{name: value for name, value in os.environ.items() if name != "ANTHROPIC_API_KEY"},
            "DJANGO_SETTINGS_MODULE": "helios.settings",
            "HELIOS_DATABASE_URL": database,
            "HELIOS_REDIS_URL": self.valkey.url(),
            "HELIOS_VAR_DIR": str(self.root / "var"),
        }

    # --- the database ---

    def query(self, statement: str, params: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run SQL beside Django, committed at once; in one connection, for many a test asks until it is so."""
        if self._asking is None:
            self._asking = psycopg2.connect(dsn(self.database))
        return _rows(self._asking, statement, params)

    def value(self, statement: str, params: Sequence[Any] | None = None) -> Any:
        """The first column of the first row."""
        return self.query(statement, params)[0][0]

    @contextlib.contextmanager
    def closed_database(self) -> Iterator[None]:
        """Nobody has a connection to the database, or gets one."""
        name = self.value("SELECT current_database()")
        run_sql(_server(), f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        run_sql(_server(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        self._asking = None
        try:
            yield
        finally:
            run_sql(_server(), f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')

    # --- commands ---

    def manage(
        self, *words: str, timeout_s: float = 540, check: bool = True, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `manage.py` to its end; with `check`, a failure fails the test and shows the output."""
        result = self.run("manage.py", *words, timeout_s=timeout_s, env=env)
        if check and result.returncode != 0:
            said = f"{result.stdout}\n{result.stderr}"
            raise AssertionError(f"manage.py {' '.join(words)} ended with {result.returncode}:\n{said}")
        return result

    def run(
        self, *argv: str, timeout_s: float = 540, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `python ARGV` to its end; a process that takes longer is killed, and the test fails."""
        return warm.run(argv, env={**self.environ, **(env or {})}, timeout_s=timeout_s, loaded=True)

    def manage_json(self, *words: str) -> Any:
        """Run `manage.py … --json` and return what it printed."""
        return json.loads(self.manage(*words, "--json").stdout)

    def start_manage(self, name: str, *words: str) -> Forked:
        """Run `manage.py` beside the test; its output goes to `log(name)`."""
        return self.start(ProcessSpec(name=name, argv=[sys.executable, "manage.py", *words]))

    # --- processes ---

    def start(self, spec: ProcessSpec) -> Forked:
        """Start a process of Python's in a group of its own, under its spec's name."""
        python, *argv = spec.argv
        assert python == sys.executable, f"only Python is kept warm, was {python}"
        process = warm.start(argv, env={**spec.environ(self.environ), **self._role(argv)}, stdout=self.log(spec.name))
        self.processes[spec.name] = process
        return process

    def _role(self, argv: Sequence[str]) -> dict[str, str]:
        """Workers work under the role of theirs, as with the embedded servers; one of all queues is the owner."""
        if "worker" not in argv or not self.value("SELECT count(*) FROM pg_roles WHERE rolname = %s", [roles.WORKER]):
            return {}
        queues = set(argv[argv.index("-Q") + 1].split(","))
        if "maintenance" in queues and len(queues) > 1:
            return {}
        role = roles.MAINTENANCE if "maintenance" in queues else roles.WORKER
        parts = urlsplit(self.database)
        return {"HELIOS_DATABASE_URL": parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}").geturl()}

    def start_worker(self, queues: Sequence[str] = ALL_QUEUES, *, name: str = "worker") -> None:
        """Start a worker with one child for the queues and wait until it answers."""
        self.start(processes.worker(1, queues, name=name))
        self.wait_for_workers(name)

    def need_worker(self) -> None:
        """Have a worker of all queues, whether it is there already or not."""
        if "worker" not in self.processes or self.processes["worker"].poll() is not None:
            self.start_worker()

    def start_workers(self) -> None:
        """Start a worker for the CPU queues and the GPU worker, as users have them, and wait until both answer."""
        self.start(processes.worker(1, CPU_QUEUES))
        self.start(processes.gpu_worker())
        self.wait_for_workers("worker", "gpu")

    def wait_for_workers(self, *names: str) -> None:
        """Wait until the named workers answer a ping through the broker."""

        def ready() -> bool:
            for name in names:
                assert self.processes[name].poll() is None, f"{name} ended:\n{children.tail(self.log(name), 30)}"
            return set(names) <= self.answering()

        self.wait_for(ready, what=f"workers {names}")

    def answering(self) -> set[str]:
        """Names of the workers that answer a ping now."""
        return answering(endpoints.celery_broker(self.valkey.url()))

    def kill(self, name: str, signum: signal.Signals = signal.SIGKILL) -> None:
        """Signal a process and all its children, and collect it when the signal is SIGKILL."""
        process = self.processes[name]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        if signum == signal.SIGKILL:
            process.wait(10)
            del self.processes[name]

    def children_of(self, name: str) -> list[int]:
        """Ids of the pool's children of a worker."""
        return descendants(self.processes[name].pid)

    def log(self, name: str) -> Path:
        """Where the console output of a process lies."""
        return self.root / f"{name}.out"

    # --- the broker ---

    def stop_valkey(self) -> None:
        """Take the broker away."""
        self.valkey.stop()

    def start_valkey(self) -> None:
        """Bring the broker back, with the queues as they were."""
        self.valkey.start(die_with_us=True)

    # --- waiting ---

    def wait_for(self, condition: Callable[[], object], *, timeout_s: float = 400, what: str = "the condition") -> None:
        """Poll until `condition` is truthy; the failure shows the end of each process's output."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                tails = "\n".join(f"--- {name}\n{children.tail(self.log(name), 30)}" for name in self.processes)
                raise AssertionError(f"{what} did not come true in {timeout_s} s\n{tails}")
            time.sleep(0.05)

    def close(self) -> None:
        """End every process by id, then the Valkey, then remove the folder."""
        with contextlib.ExitStack() as undo:
            undo.callback(shutil.rmtree, self.root, ignore_errors=True)
            undo.callback(self.valkey.stop)
            if self._asking is not None:
                undo.callback(self._asking.close)
            for process in self.processes.values():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)
