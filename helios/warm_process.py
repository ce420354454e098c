"""The warm process: `python -m helios.warm_process IDLE_S MARK MODULE...`, started by `helios.warm` and nothing else.

Its standard input is the socket on which it is asked. A request is a JSON object with the descriptors that belong to
it: a line of its own on which its start and its end are told, and what the forked process is handed.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HANDED: Final = 3  # number that a descriptor handed on has in the forked process
TICK_S: Final = 5.0
_LEAVING_TICK_S: Final = 0.2
_MESSAGE: Final = 1 << 20
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Request:
    """What a forked process is to be, and the descriptors that it is handed: both outputs, perhaps one more."""

    argv: list[str]
    environ: dict[str, str]
    folder: str
    descriptors: list[int]


@dataclass(slots=True)
class _Child:
    line: socket.socket | None  # to who waits for its end; None when it was heard
    ended: bool = False


class Server:
    """Forks for each request and tells of each end, until nobody can ask any more."""

    def __init__(self, control: socket.socket, idle_s: float) -> None:
        self._control, self._idle_s = control, idle_s
        self._parent, self._files, self._busy = os.getppid(), own_files(), time.monotonic()
        self._children: dict[int, _Child] = {}
        self._accepting = True
        self._wake, self._woken = os.pipe()
        for end in (self._wake, self._woken):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)

    def serve(self) -> Request | None:
        """In a forked child the request; None when this process is to leave."""
        while (self._accepting or self._children) and os.getppid() == self._parent:
            watched: list[int | socket.socket] = [self._wake, *([self._control] if self._accepting else [])]
            watched += [child.line for child in self._children.values() if child.line]
            tick_s = min(TICK_S, self._idle_s) if self._accepting else _LEAVING_TICK_S
            ready, _, _ = select.select(watched, [], [], tick_s)
            if self._wake in ready:
                os.read(self._wake, 4_096)
            self._look_after(ready)
            if self._control in ready and (request := self._answer()):
                return request
            if ready or self._children:
                self._busy = time.monotonic()
            elif time.monotonic() - self._busy > self._idle_s:
                break
        return None

    def _answer(self) -> Request | None:
        data, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE, 4)
        try:
            self._accepting = bool(data) and self._files == own_files()
            if not self._accepting:
                self._control.close()  # who has asked sees it end, and starts another
                return None
            line, *handed = descriptors
            try:
                pid = os.fork()
            except OSError:
                return None  # likewise: nothing is told on the line
            if pid == 0:
                self._let_go()
                descriptors = [line]
                return Request(**json.loads(data), descriptors=handed)
            self._children[pid] = child = _Child(socket.socket(fileno=os.dup(line)))
            _tell(child, pid)
            return None
        finally:
            for each in descriptors:
                os.close(each)

    def _let_go(self) -> None:
        """In a forked child: nothing of this process stays open or in force."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._control.close()
        for child in self._children.values():
            if child.line:
                child.line.close()
        for end in (self._wake, self._woken):
            os.close(end)

    def _look_after(self, ready: Sequence[object]) -> None:
        """Tell of ends; a child that ended stays a zombie until that was heard, so that nobody else gets its number."""
        for pid, child in list(self._children.items()):
            if child.line and child.line in ready:
                child.line.close()
                child.line = None
                if not child.ended:  # nobody waits for it any more
                    os.kill(pid, signal.SIGKILL)
            if not child.ended and (found := os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
                child.ended = True
                _tell(child, found.si_status if found.si_code == os.CLD_EXITED else -found.si_status)
            if child.ended and child.line is None:
                os.waitpid(pid, 0)
                del self._children[pid]


def _tell(child: _Child, number: int) -> None:
    if child.line:
        with contextlib.suppress(OSError):
            child.line.send(str(number).encode())


def own_files() -> dict[str, int]:
    """Files of the imported modules that belong to no installed package, and when they were changed."""
    installed = tuple({f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib", "purelib", "platlib")})
    found: dict[str, int] = {}
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if isinstance(name, str) and not name.startswith(installed):
            try:
                found[name] = Path(name).stat().st_mtime_ns
            except OSError:
                found[name] = 0
    return found


def become(request: Request, *, warm: int, mark: str, started: Mapping[str, str]) -> None:
    """Be the process that was asked for; `started` is the environment that the warm process was started with."""
    os.setsid()
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != warm:
        os._exit(0)
    os.close(HANDED)  # it was kept free
    for number, descriptor in zip((1, 2, HANDED), request.descriptors, strict=False):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request.folder)
    if mark:
        _show(libc, mark, request.environ[mark])
    _take_on(request.environ, started)
    tempfile.tempdir = None
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    _run(request.argv)


def _show(libc: ctypes.CDLL, name: str, value: str) -> None:
    """Overwrite a variable where the kernel shows it: in the block that the warm process was started with."""
    libc.getenv.restype = ctypes.c_void_p
    place = libc.getenv(name.encode())
    if place is None or len(os.environb[name.encode()]) != len(value.encode()):
        raise ValueError(f"{name} must be as long as that of the warm process, was {value!r}")
    ctypes.memmove(place, value.encode(), len(value.encode()))


def _take_on(environ: Mapping[str, str], started: Mapping[str, str]) -> None:
    """The environment and the import path of a cold start; what libraries added while they were imported stays."""
    for name in started.keys() - environ.keys():
        os.environ.pop(name, None)
    os.environ.update(environ)
    first = 0 if sys.flags.safe_path else 1
    before, now = (_folders(each) for each in (started, environ))
    sys.path[first:] = dict.fromkeys([*now, *(each for each in sys.path[first:] if each not in before)])
    importlib.invalidate_caches()


def _folders(environ: Mapping[str, str]) -> list[str]:
    return [folder for folder in environ.get("PYTHONPATH", "").split(os.pathsep) if folder]


def _run(argv: Sequence[str]) -> None:
    """As Python does, but for taking all modules apart at the end: half a second that nobody is served by."""
    try:
        _as_main(argv)
    except SystemExit as end:
        status = end.code or 0
        if not isinstance(status, int):
            raise  # it is said on the way out
    else:
        status = 0
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - as multiprocessing leaves its children
    atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def _as_main(argv: Sequence[str]) -> None:
    first, *rest = argv
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec", dont_inherit=True), {"__name__": "__main__"})  # noqa: S102 - as `python -c` does
    else:
        sys.argv = [first, *rest]
        runpy.run_path(first, run_name="__main__")


def load(modules: Sequence[str]) -> None:
    """Import what is shared; who needs one that fails imports it again, and shows why."""
    gc.disable()  # imports leave hardly any garbage
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.enable()
    gc.freeze()  # no collection touches, and so copies, what all share


def main(idle_s: str, mark: str, *modules: str) -> None:
    """The life of a warm process, and of each that it forks."""
    block = os.fsdecode(Path("/proc/self/environ").read_bytes())  # without what Python adds to it
    started, warm = dict(each.split("=", 1) for each in block.split("\0") if "=" in each), os.getpid()
    kept = os.open(os.devnull, os.O_RDWR)
    if kept != HANDED:
        sys.exit(f"descriptor {HANDED} must be free at the start, the first free one was {kept}")
    control = socket.socket(fileno=os.dup(0))
    os.dup2(kept, 0)
    load(modules)
    request = Server(control, float(idle_s)).serve()
    if request is None:
        os._exit(0)
    become(request, warm=warm, mark=mark, started=started)


if __name__ == "__main__":
    main(*sys.argv[1:])
