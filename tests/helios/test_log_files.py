"""A log file that many processes share: whole lines, rotation, and no lock that stays behind."""

from __future__ import annotations

import errno
import fcntl
import gzip
import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from helios import log_files
from helios.log_files import RotatingFile
from tests.support import warm


def whole_lines(folder: Path) -> list[str]:
    """Every line under a folder, packed files included."""
    lines: list[str] = []
    for path in folder.iterdir():
        if path.suffix == ".gz":
            lines += gzip.decompress(path.read_bytes()).decode().splitlines()
        elif path.suffix == ".log":
            lines += path.read_text().splitlines()
    return lines


def test_a_full_file_is_packed_and_the_oldest_are_dropped(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "web.log", rotate_bytes=100, keep=3)
    for n in range(63):
        file.write(f"line {n:03d}\n")
    file.close()
    packed = sorted(tmp_path.glob("web.*.log.gz"))
    assert len(packed) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}
    assert gzip.decompress(packed[0].read_bytes()).count(b"\n") == 12
    assert not list(tmp_path.glob("web.*.log"))
    assert (tmp_path / "web.log").stat().st_size < 100


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "web.log")
    file.write("one\n")
    (tmp_path / "web.log").rename(tmp_path / "moved.log")
    file.write("two\n")
    file.close()
    assert (tmp_path / "web.log").read_text() == "two\n"


@pytest.mark.parametrize("failing", ["write", "fstat"])
def test_a_line_that_meets_a_full_disk_leaves_no_lock_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    file = RotatingFile(tmp_path / "web.log")
    with monkeypatch.context() as full:
        full.setattr(os, failing, refusing)
        with pytest.raises(OSError, match="No space left"):
            file.write("lost\n")
    with (tmp_path / "web.log").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    file.write("kept\n")
    file.close()
    assert (tmp_path / "web.log").read_text().endswith("kept\n")


def test_a_line_that_a_disk_took_a_part_of_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, write = RotatingFile(tmp_path / "web.log"), os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:2]))
    with pytest.raises(OSError, match="No space left"):
        file.write("lost\n")
    file.close()


def test_a_file_that_cannot_be_opened_anew_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = RotatingFile(tmp_path / "web.log")
    (tmp_path / "web.log").unlink()
    with monkeypatch.context() as full:
        full.setattr(log_files, "opened", refusing)
        with pytest.raises(OSError, match="No space left"):
            file.write("lost\n")
    file.write("kept\n")
    file.close()
    assert (tmp_path / "web.log").read_text() == "kept\n"


def refusing(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_process_that_comes_late_to_a_rotation_rotates_nothing(tmp_path: Path) -> None:
    first, second = (RotatingFile(tmp_path / "web.log", rotate_bytes=50) for _ in range(2))
    first.write("x" * 60 + "\n")
    second.rotate()
    assert len(list(tmp_path.glob("*.gz"))) == 1
    for each in (first, second):
        each.close()


def _write_many(path: str, who: int, count: int) -> None:
    file = RotatingFile(Path(path), rotate_bytes=2_000, keep=1_000)
    for n in range(count):
        file.write(f"{who} {n:04d} {'x' * 40}\n")


def test_many_processes_share_a_file_and_no_line_is_lost_or_torn(tmp_path: Path) -> None:
    count, context = 150, multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(str(tmp_path / "w.log"), who, count)) for who in range(3)]
    for each in writers:
        each.start()
    for each in writers:
        each.join(60)
        each.close()
    lines = whole_lines(tmp_path)
    assert sorted(lines) == sorted(f"{who} {n:04d} {'x' * 40}" for who in range(3) for n in range(count))
    assert len(list(tmp_path.glob("*.gz"))) > 3


FORKS = """
import os, signal, sys
from helios.logs import configure
from loguru import logger
configure("worker")
logger.info("parent before")
children = []
for n in range(2):
    pid = os.fork()
    if pid == 0:
        for i in range(50):
            logger.info("child {} {}", n, i)
        os.kill(os.getpid(), signal.SIGKILL)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
logger.info("parent after")
"""


def test_forked_children_log_to_the_same_file_and_a_killed_one_blocks_nobody(tmp_path: Path) -> None:
    environ = {**os.environ, "HELIOS_VAR_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "helios.settings"}
    result = warm.run(["-c", FORKS], env=environ)
    assert result.returncode == 0, result.stderr
    lines = (tmp_path / "logs" / "worker.log").read_text().splitlines()
    assert len(lines) == 102
    assert lines[-1].endswith("parent after")
    assert sum("child 1" in line for line in lines) == 50
