"""System users, signals and leftovers: what the servers and processes are started with."""

from __future__ import annotations

import errno
import os
import pwd
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from helios.log_files import ROTATE_BYTES
from helios.stack import children, workers
from helios.stack.children import StackError
from helios.stack.postgres import EmbeddedPostgres
from tests.support.places import ROOT


def test_an_ordinary_user_runs_servers_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert children.service_identity() is None


def test_a_system_user_that_cannot_be_made_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> None:
        raise KeyError(name)

    def refused(*_: object, **__: object) -> None:
        raise FileNotFoundError("useradd")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", unknown)
    monkeypatch.setattr(subprocess, "run", refused)
    with pytest.raises(StackError, match=r"PostgreSQL refuses to run as root .* or set HELIOS_DATABASE_URL"):
        children.service_identity()


def test_where_the_kernel_cannot_tell_of_a_dead_parent_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "_libc", None)
    assert children._dying_with_parent(signal.SIGTERM) is None


def test_a_process_that_is_gone_is_not_alive() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert not children.is_alive(gone.pid)


def test_a_log_that_is_not_there_has_no_tail(tmp_path: Path) -> None:
    assert children.tail(tmp_path / "none.log") == ""
    (tmp_path / "some.log").write_text("1\n2\n3\n")
    assert children.tail(tmp_path / "some.log", 2) == "2\n3"


SAYS = "import sys; print('a\\x1b[2Jb password=hunter2\\u2028c'); print('forged\\r2026', file=sys.stderr)"


def test_what_a_process_says_is_printable_and_its_file_shows_no_secret_to_others(tmp_path: Path) -> None:
    said: list[str] = []
    kept = workers.log_files(tmp_path / "logs")
    process, readers = children.piped(
        [sys.executable, "-X", "utf8", "-c", SAYS], cwd=tmp_path, out=lambda line: kept("w", line), err=said.append
    )
    for reader in readers:
        reader.join()
    process.wait()
    assert said == ["forged\\r2026"]
    log = tmp_path / "logs" / "w.out"
    assert log.read_text() == "a\\x1b[2Jb password=***\\u2028c\n"
    assert stat.S_IMODE(log.stat().st_mode) == 0o640
    log.write_text("a\x1b[2Jb password=hunter2\n")
    assert children.tail(log) == "a\\x1b[2Jb password=***"


def test_a_line_without_an_end_fills_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "LONGEST_LINE", 1_000)
    said: list[str] = []
    argv = [sys.executable, "-c", "print('\\r' + 'a' * 2_500 + '\\nb')"]
    process, readers = children.piped(argv, cwd=tmp_path, out=said.append, err=said.append)
    for reader in readers:
        reader.join()
    process.wait()
    assert said == ["\\r" + "a" * 999, "a" * 1_000, "a" * 501, "b"]
    (log := tmp_path / "some.log").write_text("a" * 5_000 + "\n")
    assert children.tail(log) == "a" * 999


def test_what_a_process_says_fills_no_disk(tmp_path: Path) -> None:
    kept = workers.log_files(tmp_path)
    kept("web", "a" * ROTATE_BYTES)
    kept("web", "the last one")
    assert (tmp_path / "web.out").read_text() == "the last one\n"
    assert len(list(tmp_path.glob("web.*.out.gz"))) == 1, "packed, and not among those of web.log"


def test_a_full_disk_costs_lines_and_ends_no_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    kept = workers.log_files(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(workers.RotatingFile, "write", lambda *_: (_ for _ in ()).throw(full))
        kept("web", "lost")
    kept("web", "kept")
    assert (tmp_path / "web.out").read_text() == "kept\n"


def test_waiting_gives_up_in_time() -> None:
    assert children.wait_until(lambda: False, timeout_s=0.05) is False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_a_strict_umask_does_not_shut_postgresql_out(root: Path) -> None:
    server = EmbeddedPostgres(data_dir=root / "a" / "b" / "pg", socket_dir=root / "a" / "run", log=root / "log")
    before = os.umask(0o077)
    try:
        assert server.start() is True
    finally:
        os.umask(before)
        server.stop()


WAITING_TEST = """
import os, signal
def test_waits():
    with open({ready!r}, "w") as ready:
        ready.write(os.environ["HELIOS_REDIS_URL"])
    signal.pause()
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_servers_of_a_test_run_end_with_it(tmp_path: Path, signum: signal.Signals) -> None:
    ready = tmp_path / "ready"
    (tmp_path / "test_waiting.py").write_text(WAITING_TEST.format(ready=str(ready)))
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("HELIOS_", "PYTEST_", "COV"))}
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "tests.support.servers", "-c", os.devnull, str(tmp_path)],
        cwd=ROOT,
        env={**inherited, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert children.wait_until(lambda: ready.exists() and bool(ready.read_text()), timeout_s=120)
    folder = Path(ready.read_text().removeprefix("unix://").split("/run/")[0])
    assert children.processes_in(folder / "pg")
    run.send_signal(signum)
    run.wait(60)
    gone = children.wait_until(
        lambda: not children.processes_in(folder / "pg") and not children.processes_in(folder / "valkey"), timeout_s=20
    )
    assert gone
    assert folder.exists() is (signum == signal.SIGKILL)
    subprocess.run(["rm", "-rf", str(folder)], check=True)
