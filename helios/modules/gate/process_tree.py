"""All processes that a gate process has started, wherever they went: counted, measured, ended.

The first process and its own child are ours (`confinement`): they are ended, not counted. A process belongs to the
family when it descends from the first one, shares its group, or carries the run's
token in its environment, which children inherit even when they leave the group and lose their parent. Who was
seen once is remembered. A process lives while one of its threads does: of one whose first thread has ended the kernel
tells at a living thread.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

TOKEN: Final = "HELIOS_GATE_RUN"  # noqa: S105 - the name of a variable
PIPE_MB: Final = 1 / 16  # that a pipe keeps at most; the filter lets nobody make one larger
BLOCKS_A_MB: Final = 2_048
ENDING: Final = 5  # looks at a process that may not be looked into, while it may be at its end
DEEPEST: Final = 100  # folders in each other
MOST_READ: Final = 2**21  # bytes of what the kernel tells of a process, which may make it as long as it likes
FILE_MB: Final = 1 / 512  # that the kernel keeps of a file or link in memory, with its name, besides what is in it
_KB: Final = re.compile(r"^Vm(?:PTE|Swap):\s*([0-9]+) kB", re.MULTILINE)
_THREADS: Final = re.compile(r"^Threads:\s*([0-9]+)$", re.MULTILINE)
_PSS: Final = re.compile(r"^Pss:\s*([0-9]+) kB", re.MULTILINE)
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_REMOVED: Final = " (deleted)"
ENDED: Final = ("Z", "X", "")  # states of a thread that has; of one that is gone there is none
ROUNDS: Final = 100  # of ending, while new ones keep appearing
PATIENT_ROUNDS: Final = 20  # in which ours, once alone, may end by themselves: they collect what is left


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """What the processes use together."""

    memory_mb: float
    processes: int
    threads: int
    hidden: bool  # there is one into which nobody may look, or of which more is told than is read


class ProcessTree:
    """The first process of a run, by id, and everybody it started; `folder` is the one that they may write."""

    def __init__(self, pid: int, token: str, folder: Path) -> None:
        self._first, self._token, self._folder = psutil.Process(pid), token, folder
        self._guards = {pid}
        self._seen = {pid: self._first}
        self._closed: dict[Path, int] = {}  # how many looks in a row
        self._ended = False

    def use(self, *, enough_mb: float = 0.0, full_mb: float = 0.0) -> ResourceUsage:
        """Memory and number of the living members, and of their threads.

        Memory is looked at closely only above `enough_mb`.
        Resident pages that a fork shares are counted once by the closer look, and once a member by the quick one. The
        tables of pages count too, since who reads far and wide fills nothing else, and what lies in swap. So do files
        and links, in a memory of their own or where we see them, and pipes, with a name or without, each as if it
        were full; a file that is removed and only mapped as if it had `full_mb`.
        """
        members = [process for process in self._members() if process.pid not in self._guards]
        places = [place for process in members if (place := _place(process)) is not None]
        resident = sum(map(_resident, places))
        if len(members) > 1 and resident > enough_mb * 2**20:
            resident = sum(map(_proportional, places))
        resident += sum(map(_not_resident, places))
        opened = {(one.st_dev, one.st_ino): (name, one) for place in places for name, one in _opened(place)}.values()
        pipes_mb = PIPE_MB * sum(stat.S_ISFIFO(one.st_mode) for _, one in opened)
        ours, device = f"{self._folder}/", self._folder.stat().st_dev
        held = [one for name, one in opened if one.st_dev == device and (not name or name.startswith(ours))]
        mapped = {each for place in places for each in _mapped(place, ours)} - {one.st_ino for one in held}
        self._closed = {place: self._closed.get(place, 0) + 1 for place in places if _closed(place)}
        hidden = 0 in mapped or max(self._closed.values(), default=0) > ENDING
        files_mb = _files_mb(places) + _written_mb(self._folder, held, most_mb=enough_mb) + full_mb * len(mapped)
        return ResourceUsage(
            memory_mb=resident / 2**20 + pipes_mb + files_mb,
            processes=len(members),
            threads=sum(map(_threads, places)),
            hidden=hidden,
        )

    def end(self) -> None:
        """Kill every member, again until none is left. Once ended, a group's number may belong to others."""
        if self._ended:
            return
        self._ended = True
        for number in range(ROUNDS):
            try:
                living = self._members()
            except OSError:  # as where no file can be opened: its group is what can still be named
                break
            if not living:
                return
            others = [process for process in living if process.pid not in self._guards]
            for process in others or (living if number >= PATIENT_ROUNDS else ()):
                with contextlib.suppress(psutil.Error):
                    process.kill()
            time.sleep(0.01)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._first.pid, signal.SIGKILL)

    def _members(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            self._guards |= {process.pid for process in self._first.children()}
            self._remember(self._first.children(recursive=True))
        self._remember(process for process in psutil.process_iter() if self._carries_token(process))
        return [process for process in self._seen.values() if _place(process) is not None]

    def _remember(self, processes: Iterable[psutil.Process]) -> None:
        for process in processes:
            self._seen.setdefault(process.pid, process)

    def _carries_token(self, process: psutil.Process) -> bool:
        entry = f"{TOKEN}={self._token}"
        try:
            return entry in _read(Path(f"/proc/{process.pid}/environ")).split("\0") or (
                process.status() == psutil.STATUS_ZOMBIE
                and (place := _place(process)) is not None
                and entry in _read(place / "environ").split("\0")
            )
        except psutil.Error:
            return False


def _place(process: psutil.Process) -> Path | None:
    """Where the kernel tells of a process; None where none of its threads lives."""
    own = Path(f"/proc/{process.pid}")
    with contextlib.suppress(psutil.Error, OSError):
        if not process.is_running():
            return None
        if process.status() != psutil.STATUS_ZOMBIE:
            return own
        return next((task for task in (own / "task").iterdir() if _state(task) not in ENDED), None)
    return None


def _state(task: Path) -> str:
    return _read(task / "stat").rpartition(") ")[2][:1]


def _read(file: Path) -> str:
    """The beginning of what stands there; empty where nothing does any more."""
    told = bytearray()
    try:
        with file.open("rb", buffering=0) as opened:
            while len(told) < MOST_READ and (more := opened.read(MOST_READ - len(told))):
                told += more
    except OSError:
        return ""
    return told.decode(errors="replace")


def _resident(place: Path) -> float:
    _, _, rest = _read(place / "statm").partition(" ")
    return float(rest.partition(" ")[0] or 0) * PAGE


def _proportional(place: Path) -> float:
    """Resident memory with shared pages divided by who shares them, where the kernel tells."""
    found = _PSS.search(_read(place / "smaps_rollup"))
    return 1_024 * float(found[1]) if found else _resident(place)


def _not_resident(place: Path) -> float:
    return 1_024 * float(sum(map(int, _KB.findall(_read(place / "status")))))


def _threads(place: Path) -> int:
    found = _THREADS.search(_read(place / "status"))
    return int(found[1]) if found else 0


def _closed(place: Path) -> bool:
    """Whether a process may not be looked into, as one that has made itself so, and for a moment one that ends."""
    try:
        os.scandir(place / "fd").close()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _opened(place: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Each open file with its name, which is empty where that is longer than a name may be."""
    with contextlib.suppress(OSError):
        for each in (place / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                found, name = each.stat(), ""
                with contextlib.suppress(OSError):
                    name = str(each.readlink())
                yield name, found


def _mapped(place: Path, ours: str) -> set[int]:
    """The inodes of mapped files of a folder that have no name there any more; 0 where more is mapped than is read."""
    found, told = set[int](), _read(place / "maps")
    for line in told.splitlines():
        if line.endswith(_REMOVED):
            *_, inode, name = line.split(None, 5)
            if name.startswith(ours):
                found.add(int(inode))
    return found | {0} if len(told) >= MOST_READ else found


def _written_mb(folder: Path, held: Iterable[os.stat_result], *, most_mb: float) -> float:
    """What lies in a folder, or is `held` open of it under whatever name; not looked at further once it is too much.

    Folders within folders without end count as too much.
    """
    seen = {each.st_ino: each.st_blocks for each in held}
    filled = sum(seen.values()) / BLOCKS_A_MB
    with contextlib.suppress(OSError), _folder(str(folder), None) as place:
        for found, depth in _lying(place, 0):
            filled += (0 if found.st_ino in seen else found.st_blocks) / BLOCKS_A_MB + FILE_MB
            if filled > most_mb or depth > DEEPEST:
                return max(filled, most_mb + 1)
    return filled


def _lying(place: int, depth: int) -> Iterator[tuple[os.stat_result, int]]:
    """What lies in an open folder and below, and how deep."""
    with contextlib.suppress(OSError), os.scandir(place) as found:
        for each in found:
            with contextlib.suppress(OSError):  # removed meanwhile
                one = each.stat(follow_symlinks=False)
                yield one, depth
                if stat.S_ISDIR(one.st_mode):
                    with _folder(each.name, place) as below:
                        yield from _lying(below, depth + 1)


@contextlib.contextmanager
def _folder(name: str, within: int | None) -> Iterator[int]:
    """A folder, opened by its name in an open one, also where its owner has closed it; no link is followed."""
    with _open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, within) as known:
        here = f"/proc/self/fd/{known}"  # this very folder, whatever has its name by now
        if not os.access(here, os.R_OK | os.X_OK):
            Path(here).chmod(stat.S_IRWXU)
        with _open(here, os.O_RDONLY | os.O_DIRECTORY, None) as found:
            yield found


@contextlib.contextmanager
def _open(name: str, flags: int, within: int | None) -> Iterator[int]:
    found = os.open(name, flags, dir_fd=within)
    try:
        yield found
    finally:
        os.close(found)


def _files_mb(places: Iterable[Path]) -> float:
    """What lies in file systems in memory that members see and we do not; all of them see the same."""
    ours = dict(_in_memory(Path("/proc/self")))
    for member in places:
        with contextlib.suppress(OSError):
            seen = [os.statvfs(f"{member}/root{place}") for device, place in _in_memory(member) if device not in ours]
            filled = sum(each.f_frsize * (each.f_blocks - each.f_bfree) for each in seen) / 2**20
            return filled + FILE_MB * sum(each.f_files - each.f_ffree for each in seen)
    return 0.0


def _in_memory(member: Path) -> Iterator[tuple[str, str]]:
    """Device and place of each such file system of a process."""
    for line in _read(member / "mountinfo").splitlines():
        mount, _, system = line.partition(" - ")
        if system.startswith("tmpfs "):
            _, _, device, _, place, *_ = mount.split(" ")
            yield device, place
