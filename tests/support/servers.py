"""Real servers for the test run: one PostgreSQL and one Valkey, started before Django reads its settings.

Loaded with `-p tests.support.servers`. The process that was started by hand (under xdist: the controller) owns
the servers; workers inherit their addresses and take a Valkey database of their own. When the addresses
are already set in the environment, those servers are used and none is started.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

import psutil

from helios.stack.endpoints import postgres_url
from helios.stack.postgres import EmbeddedPostgres
from helios.stack.valkey import EmbeddedValkey
from tests.support.places import ROOT

# For servers whose data may be lost with the machine.
UNSAFE_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
# Append-only tables refuse what some tests do to set their scene.
MAINTENANCE = "options=-c%20helios.maintenance%3Don"
MEMORY = Path("/dev/shm")  # noqa: S108 - in a folder that only we may write
ROOM_B = 2 << 30  # ten times what is needed
_OF_A_RUN = "helios-tests-"


def _work_in_memory() -> None:
    """Every temporary file of the run lies in memory where there is room: the disk is a quarter of what tests cost.

    A TMPDIR that is set is kept, and so are the files in it.
    """
    if "TMPDIR" in os.environ or not MEMORY.is_dir():
        return
    there = os.statvfs(MEMORY)
    if there.f_bavail * there.f_frsize < ROOM_B or there.f_flag & os.ST_NOEXEC:
        return
    for folder in MEMORY.glob(f"{_OF_A_RUN}*"):
        if not psutil.pid_exists(int(folder.name.removeprefix(_OF_A_RUN))):  # of a run that was killed
            shutil.rmtree(folder, ignore_errors=True)
    own = MEMORY / f"{_OF_A_RUN}{os.getpid()}"
    own.mkdir()
    own.chmod(0o711)
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(own)


def make_root() -> Path:
    """A new folder that the system user of PostgreSQL may enter (tests may run as root)."""
    root = Path(tempfile.mkdtemp(prefix="helios-test-"))
    root.chmod(0o711)
    return root


def servers_in(root: Path) -> tuple[EmbeddedPostgres, EmbeddedValkey]:
    """Fast, forgetful servers under `root`; nothing is started."""
    run = root / "run"
    postgres = EmbeddedPostgres(
        data_dir=root / "pg", socket_dir=run, log=root / "postgres.log", settings=UNSAFE_SETTINGS
    )
    return postgres, EmbeddedValkey(data_dir=root / "valkey", socket=run / "valkey.sock", log=root / "valkey.log")


def _start() -> None:
    root = make_root()
    postgres, valkey = servers_in(root)

    def stop() -> None:
        valkey.stop()
        postgres.stop()
        shutil.rmtree(root, ignore_errors=True)

    atexit.register(stop)
    signal.signal(signal.SIGTERM, _interrupt)  # as it is, SIGTERM would skip atexit
    postgres.start(die_with_us=True)  # should even SIGKILL come, the kernel ends both servers
    valkey.start(die_with_us=True)
    os.environ["HELIOS_DATABASE_URL"] = f"{postgres_url(root / 'run', user='postgres')}&{MAINTENANCE}"
    os.environ["HELIOS_REDIS_URL"] = valkey.url()
    _take_folder(root / "var")


def _take_folder(var: Path) -> None:
    """Closed, as `load_env` makes it: commands warn of one that is open to others."""
    var.mkdir(mode=0o711, parents=True, exist_ok=True)
    os.environ["HELIOS_VAR_DIR"] = str(var)


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def worker_url(url: str, worker: str) -> str:
    """The Valkey database of an xdist worker: gw0 takes 1, gw1 takes 2; 0 is for a run without workers."""
    if not url.startswith("unix:"):
        return url
    base, _, _ = url.partition("?db=")
    return f"{base}?db={int(worker.removeprefix('gw')) + 1}"


# Laid out by content and compiled once: shared by all runs, as compiled files beside the sources are.
os.environ.setdefault("HELIOS_MODULES_DIR", str(ROOT / "var" / "test-modules"))
os.environ.setdefault("HELIOS_SERVERS_IDLE_S", "0")  # nothing that a test starts outlives it

_worker = os.environ.get("PYTEST_XDIST_WORKER")
if not _worker:
    os.environ["PYTEST_RUN"] = str(os.getpid())
    _work_in_memory()
RUN = os.environ["PYTEST_RUN"]  # in the names of what the workers of one run share
if _worker:
    os.environ["HELIOS_REDIS_URL"] = worker_url(os.environ["HELIOS_REDIS_URL"], _worker)
    _take_folder(Path(os.environ["HELIOS_VAR_DIR"]) / _worker)
    if "tests.support.preloaded" in sys.modules:  # the worker was forked
        sys.modules["tests.support.preloaded"].read_settings()
elif "HELIOS_DATABASE_URL" not in os.environ or "HELIOS_REDIS_URL" not in os.environ:
    _start()
