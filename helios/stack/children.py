"""Child processes that never outlive their purpose: started in groups of their own, ended by id."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import importlib.util
import os
import pwd
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

from helios import liveness
from helios.errors import HeliosError
from helios.log_files import opened
from helios.logs import redact
from helios.redaction import printable
from helios.terminal import shown

SERVICE_USER = "pgserver"
LONGEST_PAUSE_S = 30.0
LONGEST_LINE = 1_048_576  # bytes of a child's line, or of the end of a log; a longer one comes in parts
SILENT_S = 5.0  # for so long a server is asked: one that says nothing loads, recovers, or hangs
STABLE_AFTER_S = 60.0  # what lived for so long begins with the shortest pause again
_PR_SET_PDEATHSIG = 1
_ours: dict[int, subprocess.Popen[bytes]] = {}  # kept until collected, so that none stays a zombie
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class StackError(HeliosError):
    """A part of the local stack cannot start or stop; the text says which and what to do."""


def service_identity() -> pwd.struct_passwd | None:
    """The unprivileged user for servers that refuse to run as root; None when we are not root.

    Raises: StackError when the user does not exist and cannot be made.
    """
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SERVICE_USER)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SERVICE_USER]
        try:
            subprocess.run(command, check=True, capture_output=True)
            return pwd.getpwnam(SERVICE_USER)
        except (OSError, subprocess.CalledProcessError, KeyError) as error:
            raise StackError(
                f"PostgreSQL refuses to run as root and the system user {SERVICE_USER!r} cannot be made "
                f"({error}): run Helios as an ordinary user or set HELIOS_DATABASE_URL"
            ) from error


def as_user(identity: pwd.struct_passwd | None) -> dict[str, Any]:
    """What has `subprocess` run a program as that user."""
    return {"user": identity.pw_uid, "group": identity.pw_gid, "extra_groups": []} if identity else {}


def make_private(folder: Path, identity: pwd.struct_passwd | None) -> None:
    """A folder that only its server's user enters; refuses one that somebody else put there.

    Raises: StackError.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    ours = {os.geteuid(), identity.pw_uid if identity else os.geteuid()}
    if folder.is_symlink() or folder.stat().st_uid not in ours:
        raise StackError(f"{folder} is another user's: remove it or choose another HELIOS_VAR_DIR")
    folder.chmod(0o700)
    if identity:
        os.chown(folder, identity.pw_uid, identity.pw_gid)


def _dying_with_parent(signum: signal.Signals) -> Callable[[], None] | None:
    """A function for the new child that has the kernel signal it when its parent dies (Linux only)."""
    libc = _libc
    if libc is None:
        return None
    parent = os.getpid()

    def arrange() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signum)
        if os.getppid() != parent:  # the parent died between fork and prctl
            os.kill(os.getpid(), signum)

    return arrange


def spawn(
    argv: Sequence[str],
    *,
    log: Path,
    cwd: Path,
    identity: pwd.struct_passwd | None = None,
    die_with_parent: signal.Signals | None = None,
    holds: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own with its output appended to `log`; it `holds` an open file."""
    with os.fdopen(opened(log), "ab") as output:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=() if holds is None else (holds,),
            **as_user(identity),
            preexec_fn=_dying_with_parent(die_with_parent) if die_with_parent else None,  # noqa: PLW1509 - prctl only
        )
    _ours[process.pid] = process
    return process


@contextlib.contextmanager
def claim(folder: Path) -> Iterator[int]:
    """The right to write to a folder, for a server to hold as long as it or a child of its lives.

    Processes of other containers are not to be seen from here, but what they hold is. Raises: StackError for one that
    is held.
    """
    handle = os.open(folder.with_name(f"{folder.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            why = "must be used by no other server, is by one that cannot be seen from here, as of another container"
            raise StackError(f"{folder} {why}") from None
        yield handle
    finally:
        os.close(handle)


def piped(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    out: Callable[[str], object],
    err: Callable[[str], object],
) -> tuple[subprocess.Popen[bytes], list[threading.Thread]]:
    """Start a process in a session of its own that ends with us; threads hand on the lines of its two outputs."""
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches us alone, and we end it
        preexec_fn=_dying_with_parent(signal.SIGTERM),  # noqa: PLW1509 - prctl only
    )
    streams = ((process.stdout, out), (process.stderr, err))
    readers = [threading.Thread(target=_read, args=each, daemon=True) for each in streams]
    try:
        for reader in readers:
            reader.start()
    except RuntimeError as error:  # no thread is to be had
        process.kill()
        process.wait()
        raise OSError(errno.EAGAIN, str(error)) from error
    return process, readers


def _read(stream: IO[bytes], to: Callable[[str], object]) -> None:
    with stream:
        for line in iter(lambda: stream.readline(LONGEST_LINE), b""):
            to(printable(line.decode(errors="replace").rstrip("\n")))


def leave_on_sigterm() -> None:
    """Have SIGTERM unwind this process like an exit, so that what it started is ended too."""

    def leave(signum: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, leave)


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    return liveness.birth(pid) is not None


def wait_until(condition: Callable[[], bool], *, timeout_s: float, every_s: float = 0.02) -> bool:
    """Poll `condition`; False when it did not come true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


def await_ready(
    process: subprocess.Popen[bytes], answers: Callable[[], bool], *, name: str, log: Path, timeout_s: float
) -> None:
    """Wait until a server that was started answers. Raises: StackError with the end of its log where it does not."""
    deadline, pause_s = time.monotonic() + timeout_s, 0.02
    while not answers():
        if process.poll() is not None or time.monotonic() > deadline:
            end(process.pid, first=signal.SIGKILL, timeout_s=5)
            raise StackError(f"{name} did not start; its log ends:\n{tail(log)}")
        time.sleep(pause_s)
        pause_s = min(0.5, 1.3 * pause_s)  # PostgreSQL logs each question while it recovers from a crash


def wheel(name: str, *, server: str, variable: str) -> Path:
    """The folder of the package that brings a server. Raises: StackError where it is not installed."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise StackError(f"The embedded {server} is not installed: run `make install` or set {variable}")
    return Path(next(iter(spec.submodule_search_locations))).resolve()


def run_or_explain(work: Callable[[], int]) -> int:
    """The exit status that `work` returns; an error of ours and Ctrl-C end it in one sentence."""
    try:
        return work()
    except HeliosError as error:
        sentence, status = str(error), 1
    except KeyboardInterrupt:
        sentence, status = "Interrupted", 130
    sys.stderr.write(f"{shown(sentence)}\n")
    return status


def pause_s(failures: int) -> float:
    """Seconds to wait before the start after the n-th failure in a row: 1, 2, 4 … 30."""
    return float(min(LONGEST_PAUSE_S, 2.0 ** max(0, failures - 1)))


def end(pid: int, *, first: signal.Signals, timeout_s: float) -> bool:
    """Signal a process, wait, then SIGKILL it. Returns whether it went without the kill."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, first)
    if wait_until(lambda: not reap(pid), timeout_s=timeout_s):
        return True
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not reap(pid), timeout_s=10)
    return False


def reap(pid: int) -> bool:
    """Whether the process still runs; collects it when it is our own dead child."""
    process = _ours.get(pid)
    if process is None:
        return is_alive(pid)
    if process.poll() is None:
        return True
    del _ours[pid]
    return False


def processes_in(folder: Path, program: str = "") -> list[int]:
    """Ids of the processes whose working folder is `folder`; of one program, where it is named."""
    import psutil  # noqa: PLC0415 - where processes are looked for: most commands look for none

    return [each.pid for each in psutil.process_iter() if runs_in(each.pid, folder, program, unseen=False)]


def runs_in(pid: int, folder: Path, program: str = "", *, unseen: bool = True) -> bool:
    """Whether that process has `folder` as its working folder; `unseen`: where that may not be looked at.

    Another user's may not be by a root that a container has left no right to.
    """
    import psutil  # noqa: PLC0415 - as above

    try:
        process = psutil.Process(pid)
        if (program and process.name() != program) or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return folder.samefile(process.cwd())
    except psutil.AccessDenied:
        return unseen
    except (psutil.Error, OSError):
        return False


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LONGEST_LINE))
        found = file.read().decode(errors="replace").splitlines()[-lines:]
    return redact("\n".join(map(printable, found)))
