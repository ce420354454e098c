"""The embedded servers, shared by the local processes: the first one starts them, the last one stops them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from helios.env import Env
from helios.stack.children import StackError
from helios.stack.endpoints import server_home, socket_dir
from helios.stack.postgres import EmbeddedPostgres
from helios.stack.valkey import EmbeddedValkey

__all__ = [
    "EmbeddedPostgres",
    "EmbeddedValkey",
    "Lease",
    "Servers",
    "StackError",
    "embedded_servers",
    "ensure_running",
]


@dataclass(frozen=True, slots=True)
class Servers:
    """The embedded servers that this configuration asks for; None where an external one is configured."""

    postgres: EmbeddedPostgres | None
    valkey: EmbeddedValkey | None

    def start(self) -> list[str]:
        """Start what does not run; returns the names of what was started."""
        started: list[str] = []
        if self.postgres and self.postgres.start():
            started.append("PostgreSQL")
        if self.valkey and self.valkey.start():
            started.append("Valkey")
        return started

    def stop(self) -> None:
        """Stop both; safe when they do not run."""
        if self.valkey:
            self.valkey.stop()
        if self.postgres:
            self.postgres.stop()


def embedded_servers(env: Env) -> Servers:
    """Describe the embedded servers of this configuration; starts nothing."""
    home, sockets, logs = server_home(env.var_dir), socket_dir(env.var_dir), env.var_dir / "logs"
    postgres = EmbeddedPostgres(data_dir=home / "postgres", socket_dir=sockets, log=logs / "postgres.log")
    valkey = EmbeddedValkey(data_dir=home / "valkey", socket=sockets / "valkey.sock", log=logs / "valkey.log")
    return Servers(postgres if env.embedded_postgres else None, valkey if env.embedded_valkey else None)


class Lease:
    """The right of one process to use the embedded servers. When the last living holder lets go, they stop.

    A holder that was killed counts as gone: a lease names the process id and when that process began.
    """

    def __init__(self, env: Env) -> None:
        """Take the lease and start what does not run. Raises: StackError with one sentence."""
        self.servers = embedded_servers(env)
        self._folder = env.var_dir / "leases"
        self._owner = os.getpid()
        self._file = self._folder / str(self._owner)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self._file.write_text(repr(psutil.Process().create_time()))
                self.started = self.servers.start()
        except OSError as error:
            raise StackError(f"Helios cannot write to {env.var_dir}: {error.strerror or error}") from error

    def release(self) -> bool:
        """Let go; True when this was the last lease and the servers stopped. Forked children own none."""
        if os.getpid() != self._owner or not self._file.exists():
            return False
        with self._locked():
            self._file.unlink(missing_ok=True)
            if _living(self._folder):
                return False
            self.servers.stop()
            return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / "lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def ensure_running(env: Env) -> Lease:
    """Start whichever server is embedded and not running, and hold both until the lease is released."""
    return Lease(env)


def living_leases(env: Env) -> list[int]:
    """Ids of the processes that hold a lease now."""
    return _living(env.var_dir / "leases")


def _living(folder: Path) -> list[int]:
    found = folder.iterdir() if folder.is_dir() else iter(())
    return sorted(int(path.name) for path in found if path.name.isdigit() and _holds(path))


def _holds(path: Path) -> bool:
    """Whether the lease's process still lives; forgets the lease when not."""
    with contextlib.suppress(OSError, ValueError, psutil.Error):
        process = psutil.Process(int(path.name))
        if process.status() != psutil.STATUS_ZOMBIE and process.create_time() == float(path.read_text()):
            return True
    path.unlink(missing_ok=True)
    return False
