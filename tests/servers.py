"""Real servers for the test run: one PostgreSQL and one Valkey, started before Django reads its settings.

Loaded with `-p tests.servers`. The process that was started by hand (under xdist: the controller) owns the servers;
workers inherit their addresses and take a Valkey database of their own. When the addresses are already set in the
environment, those servers are used and none is started.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from helios.stack.postgres import UNSAFE_SETTINGS, EmbeddedPostgres
from helios.stack.valkey import EmbeddedValkey

# Append-only tables refuse TRUNCATE; pytest-django's clean-up of transactional tests needs it.
_MAINTENANCE = "options=-c%20helios.maintenance%3Don"


def _start() -> None:
    root = Path(tempfile.mkdtemp(prefix="helios-test-"))
    root.chmod(0o711)  # PostgreSQL runs as another user when the tests run as root
    postgres = EmbeddedPostgres(
        data_dir=root / "pg", socket_dir=root / "run", log=root / "postgres.log", settings=UNSAFE_SETTINGS
    )
    valkey = EmbeddedValkey(
        data_dir=root / "valkey", socket=root / "run" / "valkey.sock", log=root / "valkey.log"
    )

    def stop() -> None:
        valkey.stop()
        postgres.stop()
        shutil.rmtree(root, ignore_errors=True)

    atexit.register(stop)
    # SIGTERM would skip atexit; the kernel ends both servers should even that be skipped (die_with_us).
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    postgres.start(die_with_us=True)
    valkey.start(die_with_us=True)
    os.environ["HELIOS_DATABASE_URL"] = (
        f"postgresql://postgres@/helios?host={root / 'run'}&port=5432&{_MAINTENANCE}"
    )
    os.environ["HELIOS_REDIS_URL"] = valkey.url()
    os.environ["HELIOS_VAR_DIR"] = str(root / "var")


def _worker_database(url: str, worker: str) -> str:
    """The Valkey database of an xdist worker: gw0 -> 1, gw1 -> 2, and so on; 0 belongs to a run without workers."""
    base, _, _ = url.partition("?db=")
    return f"{base}?db={int(worker.removeprefix('gw')) + 1}" if url.startswith("unix:") else url


_worker = os.environ.get("PYTEST_XDIST_WORKER")
if _worker:
    os.environ["HELIOS_REDIS_URL"] = _worker_database(os.environ["HELIOS_REDIS_URL"], _worker)
    os.environ["HELIOS_VAR_DIR"] = str(Path(os.environ["HELIOS_VAR_DIR"]) / _worker)
elif "HELIOS_DATABASE_URL" not in os.environ or "HELIOS_REDIS_URL" not in os.environ:
    _start()
