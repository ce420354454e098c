"""`make up` as a process: what it printed, what it runs, and how to kill parts of it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import psutil

from helios.env import OWN_SERVERS
from helios.stack import children, endpoints
from helios.stack.workers import answering
from tests.support.places import ROOT

OUTAGE = re.compile(r"helios\.outage: outage\.(began server=\w+ error=|ended server=\w+ lasted_s=[\d.]+ silenced=\d+)")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listened on a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return found


def answers(url: str) -> bool:
    """Whether a page is there and fine."""
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


class Up:
    """A stack with embedded servers under `root`; `arguments` are those of Python."""

    def __init__(self, root: Path, arguments: list[str], **env: str) -> None:
        self.var, self.lines = root / "var", list[str]()
        self.environ = {**os.environ, "HELIOS_VAR_DIR": str(self.var), "HELIOS_WORKER_CONCURRENCY": "1", **env}
        self.environ |= OWN_SERVERS
        self.endpoints = endpoints.embedded(self.var)
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            self.lines.extend(iter(stream.readline, ""))

    def text(self) -> str:
        """What the console has shown so far."""
        return "".join(self.lines)

    def await_text(self, text: str, *, times: int = 1, timeout_s: float = 180) -> None:
        """Wait until the console shows this so many times."""

        def shown() -> bool:
            return self.text().count(text) >= times

        children.wait_until(lambda: shown() or self.process.poll() is not None, timeout_s=timeout_s)
        assert shown(), f"{text!r} is not in\n{self.text()}"

    def end(self, signum: signal.Signals) -> int:
        """Signal the whole and wait for its end; returns its exit status."""
        self.process.send_signal(signum)
        status = self.process.wait(180)
        self._reader.join(10)
        return status

    def pid(self, name: str) -> int | None:
        """The main process of this name, or a server's; None while it does not run."""
        folder = {"PostgreSQL": self.var / "postgres", "Valkey": self.var / "valkey"}.get(name)
        if folder is not None:
            return self._server(folder)
        for child in psutil.Process(self.process.pid).children():
            try:
                if child.environ().get("HELIOS_COMPONENT") == name:
                    return child.pid
            except psutil.Error:
                continue
        return None

    def kill(self, name: str) -> int:
        """`kill -9` of what has this name, once it runs; returns the process id that it had."""
        assert children.wait_until(lambda: self.pid(name) is not None, timeout_s=180), self.text()
        pid = self.pid(name)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        return pid

    def answering(self) -> set[str]:
        """The workers that answer a ping now."""
        return answering(endpoints.celery_broker(self.endpoints.redis_url))

    def outages(self) -> list[str]:
        """The console's lines on outages."""
        return [line for line in self.lines if "outage." in line]

    def logged(self) -> str:
        """Everything that the processes wrote into their files."""
        return "".join(path.read_text(errors="replace") for path in sorted((self.var / "logs").glob("*.log")))

    @staticmethod
    def _server(folder: Path) -> int | None:
        found = children.processes_in(folder)
        note = folder / "postmaster.pid"
        if note.exists():  # of PostgreSQL's processes the first
            found = [pid for pid in found if note.read_text().startswith(f"{pid}\n")]
        return found[0] if found else None
