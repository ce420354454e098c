"""The walls around code under test: what the kernel offers to keep it from everything but its own tests.

    lacking = confinement.enter(view, handed=3)

returns in a process that sees the code and libraries read-only, one folder that it may write, no process but its own,
no network, no secret, has no privilege and cannot gain any. Two of ours stand between it and the process that called:
one that answers for it outside, and the first of its namespace, with which everything ends that the code has started.

Each wall is tried by itself. Those that this machine does not allow are returned; the others stand.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import resource
import select
import shutil
import signal
import struct
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from helios.modules.gate import kernel, landlock, namespaces, seccomp

NOBODY: Final = 65_534
WALLS: Final = (*namespaces.FLAGS, "unprivileged user", "seccomp", "Landlock")
PROCESSES: Final = 256  # and threads: a fork bomb fills no table before it is seen from outside
SIGNALS: Final = 256  # that wait, and timers: the kernel keeps a record of each
_CAPABILITIES: Final = 64
_CAPABILITY_VERSION: Final = 0x20080522
_ALWAYS_SEEN: Final = ("/proc", *(f"/dev/{name}" for name in namespaces.DEVICES))


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the code may see: `read` as it is, and `work`, its own folder; `code` is copied into that one's `modules`.

    `work` also holds an empty folder `root`, in which another view of the machine can be built.
    """

    read: list[str]
    work: str
    code: str


def enter(view: View, *, handed: int) -> list[str]:
    """Go behind the walls; returns, there, those that could not be had. `handed`: the pipe that stays open there."""
    if sys.platform != "linux":
        return list(WALLS)
    standing = namespaces.separate()
    heard, told = os.pipe()
    inner = os.fork()
    if inner:
        os.close(told)
        os.close(handed)
        _end_like(inner, heard)
    os.close(heard)
    _die_with_parent()
    if _broken(told):
        os._exit(0)
    if "process namespace" not in standing:
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    user = NOBODY if os.geteuid() == 0 and _open_to_all(view, standing) else os.geteuid()
    _settle_files(view, standing, user)
    code = os.fork()
    if code:
        os.close(handed)
        _keep_house(code, told)
    os.close(told)
    standing |= _give_up(view, standing, user)
    return [wall for wall in WALLS if wall not in standing]


def missing(read: list[str]) -> list[str]:
    """The walls that this machine does not allow, tried in a process that ends at once."""
    with tempfile.TemporaryDirectory(prefix="helios-walls-") as folder:
        Path(folder, "root").mkdir()
        heard, told = os.pipe()
        tried = os.fork()
        if not tried:
            try:
                lacking = enter(View(read=read, work=folder, code=f"{folder}/code"), handed=told)
                os.write(told, "\n".join(lacking).encode())
            finally:
                os._exit(0)
        os.close(told)
        with os.fdopen(heard) as answer:
            found = answer.read().splitlines()
        _, status = os.waitpid(tried, 0)
    return found if status == 0 else list(WALLS)


# --- the two processes of ours ---


def _end_like(inner: int, heard: int) -> None:
    """Outside: wait for the inner one to end, then end as the code did."""
    status = os.read(heard, 16)
    os.waitpid(inner, 0)
    code = int(status) if status else -signal.SIGKILL
    if code < 0:
        faulthandler.disable()  # the code has had its own
        with contextlib.suppress(OSError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _keep_house(code: int, told: int) -> None:
    """The first process inside: collect the dead until the code itself has ended, end all that is left, tell how."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(each, signal.SIG_IGN)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # nobody looks into it
    while True:
        pid, status = os.wait()
        if pid == code:
            _end_children()
            os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
            os._exit(0)


def _end_children() -> None:
    """All that the code has left behind is ours by now; in a namespace of its own it would end with us anyway."""
    mine = Path(f"/proc/self/task/{os.getpid()}/children")
    with contextlib.suppress(OSError):  # without /proc; and in the end, when there is nobody to wait for
        while True:
            for pid in mine.read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            os.wait()


def _die_with_parent() -> None:
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)


def _broken(pipe: int) -> bool:
    """Whether nobody reads it any more."""
    poll = select.poll()
    poll.register(pipe, 0)
    return bool(poll.poll(0))


# --- files ---


def _settle_files(view: View, standing: set[str], user: int) -> None:
    """Another root where there is a namespace for it; the module's code, with what is compiled of it, in `work`."""
    work, root = Path(view.work), Path(view.work, "root")
    seen = work
    if standing >= {"process namespace", "file namespace"}:
        with contextlib.suppress(OSError):
            seen = namespaces.build_root(root, read=view.read, work=work, owner=user)
    if seen is work:
        standing.discard("file namespace")
    _bring(Path(view.code), seen / "modules", user)
    if seen is work:
        os.chown(work, user, -1)
    else:
        namespaces.change_root(root)
    os.chdir(work)


def _bring(code: Path, modules: Path, user: int) -> None:
    target = modules / code.name
    if code.is_dir():
        shutil.copytree(code, target, symlinks=True)
    else:
        target.mkdir(parents=True)
    for folder, _, names in os.walk(modules):
        for each in (folder, *(os.path.join(folder, name) for name in names)):  # noqa: PTH118 - thousands of names
            os.chown(each, user, -1, follow_symlinks=False)


def _open_to_all(view: View, standing: set[str]) -> bool:
    """Whether another user could read the code: its own permissions count, and those of the folders around it where
    these stay in the way.
    """
    places = [Path(each) for each in view.read if Path(each).exists()]
    if "file namespace" not in standing:
        around = {parent for each in (*places, Path(view.work)) for parent in each.parents}
        if not all(each.stat().st_mode & 0o1 for each in around):
            return False
    return all(_readable(place) for place in places)


def _readable(place: Path) -> bool:
    mode = place.stat().st_mode
    wanted = 0o5 if place.is_dir() else 0o4
    return mode & wanted == wanted


# --- privileges ---


def _give_up(view: View, standing: set[str], user: int) -> set[str]:
    """Every privilege, for good, and the system calls that nobody needs here; returns the walls that stand by it."""
    raised: set[str] = set()
    for number in range(_CAPABILITIES):
        with contextlib.suppress(OSError):
            kernel.prctl(kernel.PR_CAPBSET_DROP, number)
    if user != os.geteuid():
        _allowed(lambda: _become(user))
    _allowed(lambda: kernel.prctl(kernel.PR_CAP_AMBIENT, kernel.PR_CAP_AMBIENT_CLEAR_ALL))
    nothing = struct.pack("=6I", *(0,) * 6)
    kernel.call("capset", struct.pack("=Ii", _CAPABILITY_VERSION, 0), nothing)
    if os.geteuid() != 0:
        raised.add("unprivileged user")
    if user == NOBODY or "process namespace" in standing:  # elsewhere all that the user runs would count
        _allowed(lambda: resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES)))
    resource.setrlimit(resource.RLIMIT_SIGPENDING, (SIGNALS, SIGNALS))
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # a change of user takes both back
    _die_with_parent()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    own_memory = ["/dev/shm"] if "file namespace" in standing else []  # noqa: S108 - elsewhere it is everybody's
    if _allowed(lambda: landlock.restrict([*view.read, *_ALWAYS_SEEN], [view.work, "/dev/null", *own_memory])):
        raised.add("Landlock")
    signals_to = None if "process namespace" in standing else os.getpid()
    if _allowed(lambda: seccomp.restrict(signals_to=signals_to)):
        raised.add("seccomp")
    return raised


def _become(user: int) -> None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _allowed(step: Callable[[], object]) -> bool:
    try:
        step()
    except OSError:
        return False
    return True
