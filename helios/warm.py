"""Processes that start in milliseconds instead of seconds: forked from one that has imported what is slow to import.

`WarmProcess` keeps such a process, starts it when first needed and anew when it has ended. For each command it forks,
and the child becomes what `python ARGV` would have become with the environment, the folder and the outputs that were
asked for: own session, own random state, no descriptor but those it was handed. It dies with the warm process, which
ends when its parent is gone or when nothing was asked of it for minutes.

The warm process (`helios.warm_process`) imports our own code and libraries only. When a file of ours that it has
imported changes, it takes no further command, so that nobody gets the old code.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from helios.errors import Transient

IDLE_S: Final = 180.0
START_S: Final = 120.0  # to be ready, imports included; a machine may be busy


class WarmLost(Transient):
    """A warm process ended or does not answer; a new one may."""


@dataclass(frozen=True, slots=True)
class _Server:
    process: subprocess.Popen[bytes]
    control: socket.socket


class WarmProcess:
    """A warm process that has imported `modules`, as its parent sees it; usable from every thread.

    `environ` is all it is started with; `mark` names a variable in it that each forked process shows in /proc with the
    value that it was given itself. A fork of the parent gets a warm process of its own.
    """

    def __init__(
        self,
        modules: Sequence[str],
        *,
        environ: Mapping[str, str],
        folder: Path,
        python: Sequence[str] = (sys.executable,),
        mark: str = "",
        idle_s: float = IDLE_S,
    ) -> None:
        self._argv = [*python, "-m", "helios.warm_process", str(idle_s), mark, *modules]
        self._environ, self._folder = dict(environ), folder
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._former: list[subprocess.Popen[bytes]] = []  # kept until collected, so that none stays a zombie
        _all.add(self)

    def start(
        self,
        argv: Sequence[str],
        *,
        environ: Mapping[str, str],
        folder: Path,
        stdout: int,
        stderr: int,
        handed: int | None = None,
        prepare: Callable[[int], object] = lambda _parent: None,
    ) -> Forked:
        """A process as of `python ARGV`; it has the descriptor `handed` as number 3, where one is given.

        `prepare` is called with the id of its parent-to-be. Raises `WarmLost` when a second warm process fails too.
        """
        request = json.dumps({"argv": list(argv), "environ": dict(environ), "folder": str(folder)}).encode()
        descriptors = [stdout, stderr, *([] if handed is None else [handed])]
        try:
            return self._fork(request, descriptors, prepare)
        except WarmLost:
            return self._fork(request, descriptors, prepare)

    def close(self) -> None:
        """End the warm process, and with it what it has forked."""
        with self._lock:
            self._let_go(kill=True)
            for process in self._former:
                process.kill()
                process.wait()
            self._former.clear()

    def _fork(self, request: bytes, descriptors: list[int], prepare: Callable[[int], object]) -> Forked:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as undo:
            undo.callback(mine.close)
            with theirs, self._lock:
                server = self._running()
                prepare(server.process.pid)
                try:
                    socket.send_fds(server.control, [request], [theirs.fileno(), *descriptors])
                except OSError as error:  # where it has closed the line, it lives on for those it has forked
                    self._let_go(kill=isinstance(error, TimeoutError))
                    raise WarmLost(f"the warm process {server.process.pid} takes no command: {error}") from error
            in_time = _readable(mine, START_S)
            if not in_time or not (pid := mine.recv(64)):
                with self._lock:
                    if self._server is server:
                        self._let_go(kill=not in_time)
                raise WarmLost(f"the warm process {server.process.pid} must fork, it did not")
            undo.pop_all()
            return Forked(int(pid), mine)

    def _running(self) -> _Server:
        self._former = [each for each in self._former if each.poll() is None]
        if self._server is None:
            control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            control.settimeout(START_S)
            with theirs:
                process = subprocess.Popen(
                    self._argv,
                    cwd=self._folder,
                    env=self._environ,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is for the parent, which then ends it
                )
            self._server = _Server(process, control)
        return self._server

    def _let_go(self, *, kill: bool) -> None:
        """Without `kill`, it lives as long as what it has forked: others may wait for that."""
        if self._server is not None:
            self._server.control.close()
            if kill:
                self._server.process.kill()
            self._former.append(self._server.process)
            self._server = None

    def after_fork(self) -> None:
        """In a fork of the parent: what is open here must not keep the warm process alive, nor be used."""
        self._lock = threading.Lock()
        former = [*self._former, *([self._server.process] if self._server else [])]
        for process in former:
            process.returncode = 0  # it is not ours to wait for
        if self._server is not None:
            self._server.control.close()
        self._server, self._former = None, []


class Forked:
    """A forked process, with the part of `subprocess.Popen` that is of use."""

    def __init__(self, pid: int, status: socket.socket) -> None:
        self.pid, self._status = pid, status
        self.returncode: int | None = None
        self.lost = False  # the warm process ended before it could tell how this one did

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once it has ended; `subprocess.TimeoutExpired` when it has not within `timeout` seconds."""
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return status

    def send_signal(self, signum: int) -> None:
        """Signal it, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def _look(self, timeout_s: float | None) -> int | None:
        if self.returncode is None and _readable(self._status, timeout_s):
            status = self._status.recv(64)
            self.lost = not status
            self.returncode = int(status) if status else -signal.SIGKILL  # it dies with the warm process
            with contextlib.suppress(OSError):
                self._status.send(b"heard")  # only now is its number free for others
            self._status.close()
        return self.returncode

    def __del__(self) -> None:
        self._status.close()


def _readable(line: socket.socket, timeout_s: float | None) -> bool:
    poll = select.poll()
    poll.register(line, select.POLLIN)
    return bool(poll.poll(None if timeout_s is None else 1e3 * timeout_s))


_all: weakref.WeakSet[WarmProcess] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for each in _all:
        each.close()


def _after_fork() -> None:
    for each in _all:
        each.after_fork()


os.register_at_fork(after_in_child=_after_fork)
