"""Servers that nobody holds a lease on stay up for a while, so that the next command finds them running.

`python -m helios.stack.idle_process`, the caretaker, stops them in the end. It is killed without harm: the servers run
on, and whoever lets go of them next starts another one.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from helios import liveness
from helios.stack import children, leases
from helios.stack.processes import WORKING_DIRECTORY


@dataclass(frozen=True, slots=True)
class Note:
    """Who the caretaker is, what it waits for, and when the servers were last let go of."""

    pid: int
    idle_s: float
    written_ns: int


def read(var_dir: Path) -> Note | None:
    """The note of the caretaker; None without one that lives."""
    path = _path(var_dir)
    with contextlib.suppress(OSError, ValueError):
        pid, birth, idle_s = path.read_text().split()
        if liveness.birth(int(pid)) == birth:
            return Note(int(pid), float(idle_s), path.stat().st_mtime_ns)
    return None


def leave_to_caretaker(var_dir: Path, idle_s: float) -> bool:
    """Have the servers stopped once nobody used them for `idle_s` seconds; False where no caretaker can be started.

    Called under the lock of the leases.
    """
    note = read(var_dir)
    try:
        pid = note.pid if note else _start(var_dir)
        draft = _path(var_dir).with_suffix(".new")
        draft.write_text(f"{pid} {liveness.birth(pid)} {idle_s}")
        draft.rename(_path(var_dir))
    except OSError:
        return False
    return True


def dismiss(var_dir: Path) -> None:
    """End the caretaker, if there is one, and leave the servers as they are."""
    note = read(var_dir)
    if note is not None:
        children.end(note.pid, first=signal.SIGTERM, timeout_s=5)
    forget(var_dir)


def forget(var_dir: Path) -> None:
    """Remove the note."""
    leases.remove(_path(var_dir))


def _start(var_dir: Path) -> int:
    words = [sys.executable, "-m", "helios.stack.idle_process", str(var_dir)]
    return children.spawn(words, log=var_dir / "logs" / "idle.log", cwd=WORKING_DIRECTORY).pid


def _path(var_dir: Path) -> Path:
    return leases.folder_of(var_dir) / "caretaker"
