"""A view of the machine of its own: processes, files, network and IPC that belong to one run and end with it."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from helios.modules.gate import kernel

_NEW_USER: Final = 0x10000000
FLAGS: Final = {
    "process namespace": 0x20000000,
    "file namespace": 0x00020000,
    "network namespace": 0x40000000,
    "IPC namespace": 0x08000000,
}
_NO_SUID, _NO_DEVICES, _NO_EXEC, _BIND, _RECURSIVE, _PRIVATE = 0x2, 0x4, 0x8, 0x1000, 0x4000, 0x40000
_DETACH: Final = 2
_HERE, _AT_RECURSIVE = -100, 0x8000
_READ_ONLY: Final = 0x1 | 0x2  # for `mount_setattr`: no writing, no set-user-id
_SCRATCH: Final = "size=64m,nr_inodes=8192"  # of memory that no process holds; files and links take some, too
DEVICES: Final = ("null", "full", "random", "urandom")  # not `zero`: mapped, it is memory that no limit counts


def separate() -> set[str]:
    """Leave the namespaces that others share, as far as the kernel lets us; returns what is now our own.

    Processes and, with them, /proc are those of the next fork. An ordinary user makes a user namespace first.
    """
    user, group = os.geteuid(), os.getegid()
    everything = sum(FLAGS.values())
    if _left(everything):
        return set(FLAGS)
    if _left(everything | _NEW_USER):
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        return set(FLAGS)
    return {name for name, flag in FLAGS.items() if _left(flag)}


def _left(flags: int) -> bool:
    try:
        kernel.call("unshare", flags)
    except OSError:
        return False
    return True


def build_root(root: Path, *, read: Iterable[str], work: Path, owner: int) -> Path:
    """Lay out in the empty folder `root` what is to be seen: `read`, read-only, and an empty `work` for `owner`.

    Each lies where it does outside; what is not there is passed over. Returns where `work` lies now. Needs a process
    and a file namespace of its own. Raises: OSError.
    """
    kernel.call("mount", None, "/", None, _RECURSIVE | _PRIVATE, None)
    _scratch(root, "mode=0755,size=1m")
    for place in sorted(read, key=len):
        for link, target in _links(Path(place)):
            _make(root, link.parent)
            with contextlib.suppress(FileExistsError):
                _below(root, link).symlink_to(target)
        _show(root, Path(place).resolve(), _READ_ONLY)
    for name in DEVICES:
        _show(root, Path("/dev", name))
    _scratch(_make(root, Path("/dev/shm")), f"mode=1777,{_SCRATCH}")  # noqa: S108 - our own one
    seen = _make(root, work)
    _scratch(seen, f"mode=0700,uid={owner},{_SCRATCH}")
    with contextlib.suppress(OSError):  # a container that hides part of /proc lets nobody mount one: then there is none
        proc = _make(root, Path("/proc"))
        kernel.call("mount", "proc", str(proc), "proc", _NO_SUID | _NO_DEVICES | _NO_EXEC, None)
        _restrict(proc, _READ_ONLY, recursive=False)  # what it sets, it sets for the machine
    return seen


def change_root(root: Path) -> None:
    """Have what lies in `root` be all there is. Raises: OSError."""
    _restrict(root, _READ_ONLY, recursive=False)
    os.chdir(root)
    kernel.syscall("pivot_root", ".", ".")  # the old root lies over the new one now, and goes
    kernel.call("umount2", ".", _DETACH)
    os.chdir("/")


def _scratch(place: Path, options: str) -> None:
    kernel.call("mount", "tmpfs", str(place), "tmpfs", _NO_SUID | _NO_DEVICES, options)


def _show(root: Path, place: Path, restrictions: int = 0) -> None:
    target = _below(root, place)
    if target.exists() or not place.exists():  # with a folder around it, or not at all
        return
    if place.is_dir():
        _make(root, place)
    else:
        _make(root, place.parent)
        target.touch()
    kernel.call("mount", str(place), str(target), None, _BIND | _RECURSIVE, None)
    if restrictions:
        _restrict(target, restrictions)


def _restrict(place: Path, restrictions: int, *, recursive: bool = True) -> None:
    wanted = struct.pack("=QQQQ", restrictions, 0, 0, 0)
    kernel.syscall("mount_setattr", _HERE, str(place), _AT_RECURSIVE if recursive else 0, wanted, len(wanted))


def _below(root: Path, place: Path) -> Path:
    return root / place.relative_to("/")


def _make(root: Path, folder: Path) -> Path:
    """The folder in the new root; no part of its name is a link, so nothing outside of the root is touched."""
    target = _below(root, folder)
    target.mkdir(parents=True, exist_ok=True)
    return target


def _links(place: Path) -> Iterator[tuple[Path, str]]:
    """The links that are passed on the way to a place, and where each points."""
    parts = list(place.parts)
    for number in range(2, len(parts) + 1):
        found = Path(*parts[:number])
        if found.is_symlink():
            target = os.readlink(found)  # noqa: PTH115 - as it is written
            yield found, target
            yield from _links(Path(os.path.normpath(found.parent / target), *parts[number:]))
            return
