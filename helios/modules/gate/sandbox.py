"""A process of its own for code that nobody has run before: bounded, watched, and gone afterwards.

The process gets no secrets (its environment is made from nothing), no input, a folder of its own that is
removed, limits that the kernel keeps where it can (private memory, file size, open files, processor time), and the
walls of `confinement`. A watch from outside keeps the rest: time in all, time without a message, memory of all its
processes together, their number. Words come over a pipe of their own, and are read as a stranger's (`transcript`).

It is forked from a warm process that has imported the suites and never the code under test (`helios.warm`), which saves
the seconds that libraries take; where that cannot be had it is started from nothing, with the same guards.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Final, Literal

from loguru import logger
from psutil import NoSuchProcess

from helios.liveness import signal_name
from helios.modules.gate.process_tree import TOKEN, ProcessTree
from helios.modules.gate.transcript import Garbled, Transcript
from helios.warm import Forked, WarmLost, WarmProcess
from helios.warm_process import HANDED

log = logger.bind(component="modules")

TICK_S: Final = 0.05
WATCH_S: Final = 0.1  # between two looks at memory and processes; a look costs milliseconds of what means no harm
OUTPUT_BYTES: Final = 16_384  # the end of what was printed
LINE_BYTES: Final = 1_000_000  # a longer message is none of ours
GRACE_S: Final = 2.0  # between the end of the pipe and the end of the process
TOKEN_BYTES: Final = 16
KILLED_S: Final = 30.0  # between the kill and the news of it
PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
SYSTEM: Final = (
    *("/usr", "/bin", "/lib", "/lib32", "/lib64"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/alternatives", "/sys/devices/system/cpu"),
)
ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

PYTHON: Final = (sys.executable, "-P", "-u", "-X", "faulthandler")  # nothing imported from its folder, nothing buffered
AHEAD: Final = ("helios.modules.loading", "helios.modules.suites")  # what the gate imports itself

Kind = Literal["finished", "timeout", "killed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a gate process may use; `test_s` bounds the time between two of its messages, so each test.

    A message may ask for patience with the test that it begins: a multiple of `test_s`, within `time_s`.
    """

    time_s: float = 60.0
    test_s: float = 20.0
    memory_mb: int = 2_048
    processes: int = 16
    threads: int = 256
    file_mb: int = 64
    open_files: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOutcome:
    """How the process ended, what it said before, and the reason in one sentence unless it finished."""

    kind: Kind
    reason: str
    said: Transcript
    output: str
    duration_ms: float


_kept: dict[tuple[object, ...], WarmProcess] = {}


def run(module: str, job: Mapping[str, Any], *, limits: Limits) -> GateOutcome:
    """Run `python -m module JOB` until it says {"end": true}, ends, or breaks a limit.

    The job reaches it as a JSON file, with the number of the pipe, the limits and its view added; its `ahead` names
    modules of ours that the warm process imports, `visible` the packages of ours that the code may see, `code` the
    folder of the module's code. A run whose warm process ended under it is begun once more, in one of its own.
    """
    ahead = tuple(job.get("ahead", ()))
    ended, lost = _run(module, job, limits, _shared(ahead))
    if lost:
        with contextlib.closing(_warm(ahead)) as alone:
            ended, _ = _run(module, job, limits, alone)
    return ended


def _run(module: str, job: Mapping[str, Any], limits: Limits, warm: WarmProcess) -> tuple[GateOutcome, bool]:
    token = secrets.token_hex(TOKEN_BYTES)
    with _own_folder() as folder:
        reader, writer = os.pipe()
        output, printed = os.pipe()
        task = Path(folder, "job.json")
        Path(folder, "root").mkdir()
        said = Transcript(suites=tuple(job.get("suites", ())))
        view = {"read": places(tuple(job.get("visible", ()))), "work": folder, "code": str(job.get("code", folder))}

        def tell(parent: int, descriptor: int) -> None:
            added = {"token": token, "fd": descriptor, "parent": parent, "limits": asdict(limits), "view": view}
            task.write_text(json.dumps({**job, **added}))

        try:
            environ = environment(token, folder)
            process = _start(warm, ["-m", module, str(task)], environ, Path(folder), (writer, printed), tell)
            watch = GateMonitor(process, reader, output, token, limits, said, Path(folder))
        except BaseException as error:
            os.close(reader)
            os.close(output)
            if isinstance(error, NoSuchProcess):  # it ended with its warm process, which another run has ended
                return GateOutcome(
                    kind="killed", reason="its process was ended", said=said, output="", duration_ms=0.0
                ), True
            raise
        finally:
            os.close(writer)
            os.close(printed)
        try:
            return watch.until_the_end(), watch.lost
        finally:
            watch.close()
            if watch.unheard:
                warm.close()


@contextmanager
def _own_folder() -> Iterator[str]:
    """A folder that is removed at the end, however deep it is by then, and whatever of it was closed."""
    folder = tempfile.mkdtemp(prefix="helios-gate-")
    try:
        yield folder
    finally:
        with contextlib.suppress(RecursionError):
            shutil.rmtree(folder, ignore_errors=True)
        if Path(folder).exists():
            for words in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
                subprocess.run([*words, folder], stderr=subprocess.DEVNULL, check=False)


def _start(
    warm: WarmProcess,
    argv: list[str],
    env: dict[str, str],
    folder: Path,
    pipes: tuple[int, int],
    tell: Callable[[int, int], None],
) -> Forked | subprocess.Popen[bytes]:
    writer, printed = pipes
    if sys.platform == "linux":
        try:
            return warm.start(
                argv,
                environ=env,
                folder=folder,
                stdout=printed,
                stderr=printed,
                handed=writer,
                prepare=lambda parent: tell(parent, HANDED),
            )
        except WarmLost as error:
            log.warning("module.gate_cold", error=str(error))
    tell(os.getpid(), writer)
    return subprocess.Popen(
        [*PYTHON, *argv],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=printed,
        stderr=printed,
        pass_fds=(writer,),
        start_new_session=True,
    )


def _shared(ahead: tuple[str, ...]) -> WarmProcess:
    """The warm process of all runs that need these modules."""
    key = (ahead, *(os.environ.get(name) for name in PASSED_ON))
    if key not in _kept:
        _kept.setdefault(key, _warm(ahead))
    return _kept[key]


def _warm(ahead: tuple[str, ...]) -> WarmProcess:
    """A warm process; its environment is as clean as that of a run, and its token is nobody's."""
    folder = tempfile.gettempdir()
    clean = environment("0" * 2 * TOKEN_BYTES, folder)
    return WarmProcess([*AHEAD, *ahead], environ=clean, folder=Path(folder), python=PYTHON, mark=TOKEN)


def environment(token: str, folder: str) -> dict[str, str]:
    """The environment of a gate process: nothing of ours but the paths; no address, no password, no key."""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {
        **passed,
        **dict.fromkeys(ONE_THREAD, "1"),
        TOKEN: token,
        "HOME": folder,
        "TMPDIR": folder,
        "XDG_CACHE_HOME": folder,
        "PYTHONPATH": os.pathsep.join(str(Path(each).resolve()) for each in sys.path if each),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }


def places(packages: tuple[str, ...]) -> list[str]:
    """All that code under test may see of this machine: Python, libraries, and the packages of ours that are named.

    Nothing else of the project's folder, where `.env` and `var` lie.
    """
    installed = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}:
        installed |= {f"{prefix}/{name}" for name in ("bin", "lib", "lib64", "pyvenv.cfg")}
    libraries = [each for each in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if each]
    own = [place for name in packages for place in _places_of(name)]
    return sorted({*installed, *SYSTEM, *libraries, *own, os.path.realpath(sys.executable)})


def _places_of(package: str) -> list[str]:
    spec = PathFinder.find_spec(package)
    if spec is None:
        return []
    return [*(spec.submodule_search_locations or [spec.origin or ""])]


class GateMonitor:
    """Reads what a gate process says and prints, and ends it with all its children when it breaks a limit."""

    def __init__(
        self,
        process: Forked | subprocess.Popen[bytes],
        reader: int,
        output: int,
        token: str,
        limits: Limits,
        said: Transcript,
        folder: Path,
    ) -> None:
        self._process, self._reader, self._output, self._limits = process, reader, output, limits
        self._said, self._garbled = said, ""
        self._mark = f"{token} ".encode()
        self._tree = ProcessTree(process.pid, token, folder)
        self._began = self._heard = time.monotonic()
        self._line, self._tail, self._printed = bytearray(), bytearray(), 0
        self._looked = 0.0
        self._silent_since = 0.0  # when the pipe was closed at its end
        self.lost = False  # with its warm process, while nothing was wrong with it
        self.unheard = self._over = False  # nobody told of its end: its warm process was stopped
        self._selector = selectors.DefaultSelector()
        for each in (reader, output):
            os.set_blocking(each, False)
            self._selector.register(each, selectors.EVENT_READ)

    def until_the_end(self) -> GateOutcome:
        """Watch until the process has finished, ended or was ended."""
        breach: tuple[Kind, str] | None = None
        while breach is None and not self._said.ended and self._process.poll() is None:
            self._selector.select(TICK_S)
            self._read()
            breach = self._breach(time.monotonic())
        self._end()
        self._read()
        if self._garbled:
            breach = "killed", self._garbled
        self.lost = not breach and not self._said.ended and isinstance(self._process, Forked) and self._process.lost
        kind, reason = breach or self._exit_reason()
        return GateOutcome(
            kind=kind,
            reason=reason,
            said=self._said,
            output=self._printed_text(),
            duration_ms=1e3 * (time.monotonic() - self._began),
        )

    def close(self) -> None:
        """End what is left of the process, whatever interrupted the watch."""
        self._end()
        self._selector.close()
        os.close(self._output)
        os.close(self._reader)

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self._tree.end()
        try:
            self._process.wait(KILLED_S)
        except subprocess.TimeoutExpired:
            self.unheard = True

    def _breach(self, now: float) -> tuple[Kind, str] | None:
        limits = self._limits
        if self._garbled:
            return "killed", self._garbled
        if self._said.ended:
            return None
        if now - self._began > limits.time_s:
            return "timeout", f"the whole run must take at most {limits.time_s:g} s, it was ended then"
        allowed = limits.test_s * self._said.patience
        if now - self._heard > allowed:
            return "timeout", f"it must take at most {allowed:g} s, it was ended then"
        if self._silent_since and now - self._silent_since > GRACE_S:
            return "killed", "it closed the pipe on which its results are told and was ended"
        return self._excess(now) if now - self._looked > WATCH_S else None

    def _excess(self, now: float) -> tuple[Kind, str] | None:
        self._looked, limits = now, self._limits
        use = self._tree.use(enough_mb=limits.memory_mb, full_mb=limits.file_mb)
        if use.memory_mb > limits.memory_mb:
            return "killed", f"it may use {limits.memory_mb:,} MB of memory, used {use.memory_mb:,.0f} MB and was ended"
        if use.hidden:
            return "killed", "each of its processes must let itself be looked into, and was ended"
        if use.processes > limits.processes:
            return "killed", f"it may run {limits.processes} processes, ran {use.processes} and was ended"
        if use.threads > limits.threads:
            return "killed", f"it may run {limits.threads} threads, ran {use.threads} and was ended"
        return None

    def _exit_reason(self) -> tuple[Kind, str]:
        status = self._process.returncode
        if self._said.ended:
            return "finished", ""
        if status is None:
            return "killed", "its process was ended, and how was not told"
        if status < 0:
            return "killed", f"its process was ended by {signal_name(-status)}"
        return "killed", f"its process left with status {status} in the middle of it"

    def _read(self) -> None:
        self._line += self._take(self._reader)
        *lines, rest = self._line.split(b"\n")
        self._line = rest if len(rest) <= LINE_BYTES else bytearray()
        for line in lines:
            self._hear(line)
        printed = self._take(self._output)
        self._printed += len(printed)
        self._tail = (self._tail + printed)[-OUTPUT_BYTES:]

    def _take(self, descriptor: int) -> bytes:
        """What is there to be read, up to a bound, so that endless printing does not keep us from watching."""
        parts: list[bytes] = []
        for _ in range(64):
            try:
                part = os.read(descriptor, 65_536)
            except BlockingIOError:
                break
            if not part:
                self._at_end(descriptor)
                break
            parts.append(part)
        return b"".join(parts)

    def _at_end(self, descriptor: int) -> None:
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)
            if descriptor == self._reader:
                self._silent_since = time.monotonic()

    def _hear(self, line: bytes | bytearray) -> None:
        if self._garbled or not line.startswith(self._mark):
            return
        try:
            self._said.hear(line[len(self._mark) :])
        except Garbled as error:
            self._garbled = str(error)
        self._heard = time.monotonic()

    def _printed_text(self) -> str:
        text = self._tail.decode(errors="replace").replace("\0", "\ufffd")
        left_out = self._printed - len(self._tail)
        return f"[{left_out:,} bytes left out]\n{text}" if left_out else text
