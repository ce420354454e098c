"""Who uses the embedded servers of one `var` folder: a link for each process in `var/leases`, and their lock."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from helios import liveness


def folder_of(var_dir: Path) -> Path:
    """Where the leases lie."""
    return var_dir / "leases"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Servers start and stop, and leases come and go, one after the other."""
    with _opened(folder / "lock") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _opened(lock: Path) -> IO[str]:
    try:
        return lock.open("w")
    except OSError:
        return lock.open()  # the file system has become read-only


def path_of(folder: Path, pid: int) -> Path:
    """The lease of a process, by its number and by what numbers it: a container counts anew."""
    numbering = Path("/proc/self/ns/pid")
    return folder / f"{pid}.{numbering.stat().st_ino if numbering.exists() else 0}"


def take(path: Path) -> None:
    """Write this process's lease, a link to when it began: whole or not at all, and where a disk is full, too."""
    path.unlink(missing_ok=True)
    path.symlink_to(liveness.birth(int(path.stem)) or "unknown")


def living(folder: Path) -> list[int]:
    """Ids of the processes that hold a lease now; what other containers hold is theirs."""
    ours = path_of(folder, 0).suffix
    found = folder.iterdir() if folder.is_dir() else iter(())
    return sorted(int(path.stem) for path in found if path.suffix == ours and _holds(path))


def _holds(path: Path) -> bool:
    """Whether the lease's process still lives; forgets the lease when not."""
    with contextlib.suppress(OSError):
        if liveness.birth(int(path.stem)) == str(path.readlink()):
            return True
    remove(path)
    return False


def remove(path: Path) -> None:
    """Forget a lease; where nothing can be written, whoever asks for its process finds none."""
    with contextlib.suppress(OSError):
        path.unlink()
