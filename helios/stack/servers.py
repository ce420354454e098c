"""The embedded servers, shared by the local processes: the first starts them, the last leaves them to a caretaker."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from loguru import logger

from helios import liveness
from helios.env import Env
from helios.stack import children, idle, leases
from helios.stack.children import StackError, pause_s
from helios.stack.endpoints import server_home, socket_dir
from helios.stack.postgres import EmbeddedPostgres
from helios.stack.valkey import EmbeddedValkey

CHECK_EVERY_S = 0.25  # how soon a server that ended is missed

Server = EmbeddedPostgres | EmbeddedValkey
Say = Callable[[str, str], None]  # name, sentence


@dataclass(frozen=True, slots=True)
class Servers:
    """The embedded servers that this configuration asks for; None where an external one is configured."""

    postgres: EmbeddedPostgres | None
    valkey: EmbeddedValkey | None

    def start(self) -> list[str]:
        """Start what does not run; returns the names of what was started."""
        return [name for name, server in self.named().items() if server.start()]

    def named(self) -> dict[str, Server]:
        """The servers that are ours, by name."""
        both: dict[str, Server | None] = {"PostgreSQL": self.postgres, "Valkey": self.valkey}
        return {name: server for name, server in both.items() if server is not None}

    def stop(self) -> None:
        """Stop both; safe when they do not run."""
        for server in reversed(self.named().values()):
            server.stop()


def embedded_servers(env: Env) -> Servers:
    """Describe the embedded servers of this configuration; starts nothing."""
    home, sockets, logs = server_home(env.var_dir), socket_dir(env.var_dir), env.var_dir / "logs"
    postgres = EmbeddedPostgres(data_dir=home / "postgres", socket_dir=sockets, log=logs / "postgres.log")
    valkey = EmbeddedValkey(data_dir=home / "valkey", socket=sockets / "valkey.sock", log=logs / "valkey.log")
    return Servers(postgres if env.embedded_postgres else None, valkey if env.embedded_valkey else None)


def adopt_moved_files(var_dir: Path) -> None:
    """Take along the servers' files that lie outside of a `var` folder which was moved; a copy begins with new ones."""
    home, mark = server_home(var_dir), var_dir / "server_home_of"
    if home == var_dir:
        return
    if mark.exists() and not home.exists():
        before = Path(os.fsdecode(mark.read_bytes()))
        left = server_home(before)
        if left.is_dir() and left != home and not before.exists():
            left.rename(home)
    if not (mark.exists() and mark.read_bytes() == os.fsencode(var_dir)):  # a full disk would keep nothing of it
        mark.write_bytes(os.fsencode(var_dir))


def warn(name: str, sentence: str) -> None:
    """Say what became of a server or a process in the log of this process."""
    logger.warning(f"{name} {sentence}")


class Lease:
    """The right of one process to use the embedded servers.

    They stop `env.servers_idle_s` after the last holder let go.

    Whoever holds one starts a server again that ended without being asked. A holder that was killed counts as gone: a
    lease names the process id and when, by the kernel's clock, that process began.
    """

    def __init__(self, env: Env, say: Say = warn) -> None:
        """Take the lease and start what does not run. Raises: StackError with one sentence."""
        self.servers = embedded_servers(env)
        self._var_dir, self._idle_s = env.var_dir, env.servers_idle_s
        self._folder = leases.folder_of(env.var_dir)
        self._locked = partial(leases.locked, self._folder)
        self._owner = os.getpid()
        self._file = leases.path_of(self._folder, self._owner)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            children.make_private(self._folder, None)  # else anybody holds its lock, and with it every command
            with self._locked():
                leases.take(self._file)
                adopt_moved_files(env.var_dir)
                self.started = self._start()
        except OSError as error:
            raise StackError(f"Helios cannot write to {env.var_dir}: {error.strerror or error}") from error
        self._keepers = [
            _Keeper(name, server, lock=self._locked, say=say) for name, server in self.servers.named().items()
        ]
        for keeper in self._keepers:
            keeper.start()

    def _start(self) -> list[str]:
        """Start the servers, or leave none behind that only we wanted."""
        try:
            return self.servers.start()
        except BaseException:
            leases.remove(self._file)
            if not leases.living(self._folder):
                self.servers.stop()
            raise

    def release(self) -> bool:
        """Let go; True when this was the last lease and the servers stopped. Forked children own none."""
        if os.getpid() != self._owner or not self._file.is_symlink():
            return False
        for keeper in self._keepers:
            keeper.stop()
        with self._locked():
            leases.remove(self._file)
            if {*leases.living(self._folder)} - {self._owner}:
                return False
            if self._idle_s and self.servers.named() and idle.leave_to_caretaker(self._var_dir, self._idle_s):
                return False
            idle.dismiss(self._var_dir)
            self.servers.stop()
            return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class _Keeper(threading.Thread):
    """Starts one server again whenever it ended; of several holders of a lease one does, the others look on."""

    def __init__(
        self, name: str, server: Server, *, lock: Callable[[], AbstractContextManager[None]], say: Say
    ) -> None:
        super().__init__(name=f"keeper of {name}", daemon=True)
        self._server, self._called, self._lock, self._say = server, name, lock, say
        self._stopping = threading.Event()
        self._ended = 0  # times in a row, without a stable minute between them
        self._note()

    def run(self) -> None:
        """Look a few times a second until stopped."""
        while not self._stopping.wait(CHECK_EVERY_S):
            if self._pid is None or liveness.birth(self._pid) != self._born:
                self._replace(missed_at=time.monotonic())

    def stop(self) -> None:
        """Start nothing from now on."""
        self._stopping.set()
        self.join()

    def _note(self) -> None:
        self._pid, self._since = self._server.pid(), time.monotonic()
        self._born = (liveness.birth(self._pid) or "") if self._pid is not None else ""

    def _replace(self, missed_at: float) -> None:
        if self._pid is not None:
            children.reap(self._pid)
        self._ended = 0 if missed_at - self._since > children.STABLE_AFTER_S else self._ended
        complained = False
        while not self._stopping.wait(pause_s(self._ended) if self._ended else 0):
            self._ended += 1
            try:
                with self._lock():
                    again = self._server.start() or complained
                self._note()
            except Exception as error:  # noqa: BLE001 - nobody else watches the server: whatever it is, try again
                reason = " ".join(str(error).split()) or type(error).__name__
                again_in = f"next try in {pause_s(self._ended):.0f} s"
                self._say(self._called, f"ended unexpectedly and cannot be started, {again_in}: {reason}")
                complained = True
                continue
            if again:
                self._say(self._called, f"ended unexpectedly; runs again after {time.monotonic() - missed_at:.1f} s")
            return
