"""Runs a set of processes: shows their output, starts crashed ones again, leaves none behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import FrameType

import psutil

from helios.liveness import signal_name
from helios.stack import children
from helios.stack.children import StackError, pause_s
from helios.stack.ports import check_ports
from helios.stack.processes import WORKING_DIRECTORY, ProcessSpec

GRACE_S = 45.0  # a worker finishes the task it holds

Emit = Callable[[str, str], None]


def both(first: Emit, second: Emit) -> Emit:
    """An `emit` that hands each line to two."""

    def emit(name: str, line: str) -> None:
        first(name, line)
        second(name, line)

    return emit


class CrashLoopError(StackError):
    """A process crashes whenever it is started."""

    def __init__(self, name: str, sentence: str) -> None:
        super().__init__(sentence)
        self.name = name


@dataclass(slots=True)
class _Child:
    spec: ProcessSpec
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    crashes: int = 0
    start_at: float = 0.0
    readers: list[threading.Thread] = field(default_factory=list, repr=False)


class Runner:
    """Supervises processes from the thread that made it.

    Each process gets a session of its own, so that Ctrl-C reaches us alone and what it forked can be
    found. The kernel ends the processes should we be killed.
    """

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        emit: Emit,
        *,
        quietly: Emit | None = None,
        note: Emit | None = None,
        grace_s: float = GRACE_S,
        give_up_after: int | None = None,
    ) -> None:
        """`emit(name, line)` receives every line of output, from several threads, and what the runner has to say.

        `quietly` receives the lines of standard output in its place, `note` the runner's own. So many crashes of one
        process as `give_up_after`, without a stable minute between them, end the supervision.
        """
        self._children = [_Child(spec) for spec in specs]
        self._emit, self._quietly, self._note = emit, quietly or emit, note or emit
        self._grace_s, self._give_up_after = grace_s, give_up_after

    def start(self) -> None:
        """Start everything. Raises: StackError before the first start when a port is taken."""
        check_ports(child.spec for child in self._children)
        for child in self._children:
            self._launch(child)

    def tick(self, *, now: float | None = None) -> None:
        """Start crashed processes again when their pause is over; call this a few times a second.

        Raises: CrashLoopError when one has crashed too often in a row to go on.
        """
        moment = time.monotonic() if now is None else now
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                self._note_crash(child, moment)
            if child.process is None and moment >= child.start_at:
                try:
                    self._launch(child)
                except OSError as error:  # no room for a process: there may be again
                    self._again(child, moment, f"cannot be started ({error.strerror})")

    def pids(self) -> dict[str, int]:
        """Process ids by name, of those that run."""
        return {each.spec.name: each.process.pid for each in self._children if each.process is not None}

    def run(self, asked: threading.Event) -> None:
        """Supervise until `asked` is set."""
        while not asked.wait(0.2):
            self.tick()

    def stop(self, hurry: threading.Event | None = None) -> None:
        """End everything: politely in reverse order, after the grace (or when `hurry` is set) by force."""
        for child in reversed(self._children):
            if child.process is not None and child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + self._grace_s
        while self._any_running() and time.monotonic() < deadline and not (hurry and hurry.is_set()):
            time.sleep(0.05)
        running = [child.process.pid for child in self._children if child.process is not None]
        kill_sessions(running)
        for child in self._children:
            if child.process is not None:
                child.process.wait()
            for reader in child.readers:
                reader.join(5)

    def _any_running(self) -> bool:
        return any(each.process is not None and each.process.poll() is None for each in self._children)

    def _launch(self, child: _Child) -> None:
        name = child.spec.name
        child.process, child.readers = children.piped(
            child.spec.argv,
            cwd=WORKING_DIRECTORY,
            env=child.spec.environ(),
            out=partial(self._quietly, name),
            err=partial(self._emit, name),
        )
        child.started_at = time.monotonic()

    def _note_crash(self, child: _Child, now: float) -> None:
        if child.process is None:
            return
        how = ending(child.process.returncode)
        kill_sessions([child.process.pid])  # what it forked must not work beside its successor
        if now - child.started_at > children.STABLE_AFTER_S:
            child.crashes = 0
        child.process = None
        self._again(child, now, how)

    def _again(self, child: _Child, now: float, how: str) -> None:
        """Have it started after a pause. Raises: CrashLoopError."""
        child.crashes += 1
        if child.crashes == self._give_up_after:
            raise CrashLoopError(
                child.spec.name, f"The {child.spec.name} process {how}, {child.crashes} times in a row"
            )
        pause = pause_s(child.crashes)
        child.start_at = now + pause
        self._note(child.spec.name, f"{how}; starts again in {pause:.0f} s")


def ending(status: int) -> str:
    """How a process ended that nobody had asked to: `was killed by SIGKILL`, `ended unexpectedly with status 3`."""
    return f"ended unexpectedly with status {status}" if status >= 0 else f"was killed by {signal_name(-status)}"


def kill_sessions(leaders: Sequence[int]) -> None:
    """SIGKILL whatever still lives in the sessions of these processes, grandchildren included."""
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(process.pid) in leaders:
                os.kill(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def until_signalled() -> Iterator[tuple[threading.Event, threading.Event]]:
    """Two events for the time of the block: the first signal asks for the end, the second for hurry.

    Listens for SIGINT, SIGTERM and SIGHUP; the handlers before it come back afterwards.
    """
    asked, hurry = threading.Event(), threading.Event()

    def note(_signum: int, _frame: FrameType | None) -> None:
        (hurry if asked.is_set() else asked).set()

    before = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield asked, hurry
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
