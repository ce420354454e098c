"""A log file that several processes write to, and that is packed when it is large."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

ROTATE_BYTES = 10 * 1024 * 1024
KEEP_FILES = 30
MODE = 0o640


def opened(path: Path, flags: int = os.O_APPEND) -> int:
    """The descriptor of a log to write to, which its user and group alone may read. Raises: OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, MODE)
    with contextlib.suppress(PermissionError):  # somebody else's
        os.fchmod(descriptor, MODE)
    return descriptor


class RotatingFile:
    """A log file that several processes may share, forked ones too.

    A line is one write under a shared lock on the file. Whoever sees the file over its size takes the lock alone,
    renames the file and packs it; the others notice that the name has a new file behind it. There is no queue
    and no thread that a killed worker could block, and the kernel lets go of a dead process's lock.
    """

    def __init__(self, path: Path, *, rotate_bytes: int = ROTATE_BYTES, keep: int = KEEP_FILES) -> None:
        """Open `path` for appending; makes its folder. Raises: OSError."""
        self._path, self._rotate_bytes, self._keep = path, rotate_bytes, keep
        self._open()

    def write(self, line: str) -> None:
        """Append one finished line."""
        if self._opened_by != os.getpid():
            self._reopen()  # a lock taken before a fork belongs to both sides
        try:  # a full disk leaves no lock behind, on which whoever rotates the file would wait
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)
            while not self._is_current():
                self._reopen()
                fcntl.flock(self._descriptor, fcntl.LOCK_SH)
            data = line.encode(errors="replace")
            if os.write(self._descriptor, data) < len(data):  # the disk had room for a part of it
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            full = os.fstat(self._descriptor).st_size >= self._rotate_bytes
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        if full:
            with contextlib.suppress(OSError):  # the line is written
                self.rotate()

    def rotate(self) -> None:
        """Pack the file under a dated name and drop the oldest packed ones; the next line begins a new file."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        stem, suffix = self._path.stem, self._path.suffix
        old = self._path.with_suffix(f".{stamp}{suffix}")
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            first = self._is_current()  # otherwise another process was faster
            if first:
                self._path.rename(old)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        if first:
            packed = opened(old.with_name(f"{old.name}.gz"), os.O_TRUNC)
            with (
                old.open("rb") as source,
                os.fdopen(packed, "wb") as file,
                gzip.GzipFile(old.name, "wb", compresslevel=5, fileobj=file) as target,
            ):
                shutil.copyfileobj(source, target)
            old.unlink()
            for outdated in sorted(self._path.parent.glob(f"{stem}.*{suffix}*"))[: -self._keep]:
                outdated.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the file."""
        os.close(self._descriptor)

    def _open(self) -> None:
        self._descriptor = opened(self._path)
        self._opened_by = os.getpid()

    def _reopen(self) -> None:
        before = self._descriptor
        self._open()
        os.close(before)

    def _is_current(self) -> bool:
        try:
            return self._path.stat().st_ino == os.fstat(self._descriptor).st_ino
        except FileNotFoundError:
            return False
