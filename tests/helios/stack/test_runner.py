"""The runner shows output, starts crashed processes again, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from helios.stack import children, runner
from helios.stack.children import StackError
from helios.stack.ports import check_ports, is_free
from helios.stack.processes import ProcessSpec
from helios.stack.runner import CrashLoopError, Runner, until_signalled
from tests.support.places import ROOT

FOREVER = "import signal; print('up', flush=True); signal.pause()"
FORKS = "import os, signal; os.fork(); os.write(1, b'up %d\\n' % os.getpid()); signal.pause()"  # one write, whole line
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True:
    signal.pause()
"""
FORKS_AND_GOES = """
import os, signal
if os.fork() == 0:
    print("child", os.getpid(), flush=True)
    signal.pause()
"""


def spec(name: str, program: str, **more: object) -> ProcessSpec:
    return ProcessSpec(name=name, argv=[sys.executable, "-c", program], **more)


class Lines:
    """What the processes printed."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def __call__(self, name: str, line: str) -> None:
        self.seen.append((name, line))

    def await_count(self, text: str, count: int) -> None:
        assert children.wait_until(lambda: self.count(text) >= count, timeout_s=120), self.seen

    def count(self, text: str) -> int:
        return sum(text in line for _, line in self.seen)


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def made(lines: Lines) -> Iterator[list[Runner]]:
    runners: list[Runner] = []
    yield runners
    for each in runners:
        each.stop(threading.Event())


def test_output_comes_line_by_line_with_its_name(lines: Lines, made: list[Runner]) -> None:
    made.append(Runner([spec("a", FOREVER), spec("b", FOREVER)], lines))
    made[0].start()
    lines.await_count("up", 2)
    assert sorted(lines.seen) == [("a", "up"), ("b", "up")]
    assert set(made[0].pids()) == {"a", "b"}


def test_stopping_ends_every_process_and_what_it_forked(lines: Lines, made: list[Runner]) -> None:
    made.append(Runner([spec("forks", FORKS)], lines, grace_s=0.5))
    made[0].start()
    lines.await_count("up", 2)
    pids = [int(line.split()[1]) for _, line in lines.seen]
    made[0].stop()
    assert children.wait_until(lambda: not any(map(children.is_alive, pids)), timeout_s=120)


def test_a_process_that_ignores_the_request_is_killed_after_the_grace(lines: Lines, made: list[Runner]) -> None:
    made.append(Runner([spec("stubborn", STUBBORN)], lines, grace_s=0.3))
    made[0].start()
    lines.await_count("up", 1)
    pid = made[0].pids()["stubborn"]
    made[0].stop()
    assert not children.is_alive(pid)


def test_hurry_cuts_the_grace_short(lines: Lines, made: list[Runner]) -> None:
    made.append(Runner([spec("stubborn", STUBBORN)], lines, grace_s=600))
    made[0].start()
    lines.await_count("up", 1)
    hurry = threading.Event()
    hurry.set()
    started = time.monotonic()
    made[0].stop(hurry)
    assert time.monotonic() - started < 60


def test_a_crashed_process_starts_again_after_a_pause(lines: Lines, made: list[Runner]) -> None:
    made.append(Runner([spec("crashes", "print('up', flush=True); raise SystemExit(3)")], lines))
    made[0].start()
    lines.await_count("up", 1)
    pid = made[0].pids()["crashes"]
    assert children.wait_until(lambda: not children.is_alive(pid), timeout_s=120)
    moment = time.monotonic()
    made[0].tick(now=moment)
    assert made[0].pids() == {}
    assert ("crashes", "ended unexpectedly with status 3; starts again in 1 s") in lines.seen
    made[0].tick(now=moment + 0.9)
    assert made[0].pids() == {}
    made[0].tick(now=moment + 1.1)
    lines.await_count("up", 2)


def test_what_cannot_be_started_now_is_started_later(
    lines: Lines, made: list[Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    made.append(Runner([spec("crashes", "print('up', flush=True); raise SystemExit(3)")], lines))
    made[0].start()
    lines.await_count("up", 1)
    assert children.wait_until(lambda: not any(map(children.is_alive, made[0].pids().values())), timeout_s=120)
    moment, piped = time.monotonic(), children.piped
    made[0].tick(now=moment)
    refused = OSError(errno.EAGAIN, "Resource temporarily unavailable")
    monkeypatch.setattr(children, "piped", lambda *_, **__: (_ for _ in ()).throw(refused))
    made[0].tick(now=moment + 2)
    assert lines.count("cannot be started (Resource temporarily unavailable); starts again in 2 s") == 1
    monkeypatch.setattr(children, "piped", piped)
    made[0].tick(now=moment + 5)
    lines.await_count("up", 2)


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (0, "ended unexpectedly with status 0"),
        (3, "ended unexpectedly with status 3"),
        (-9, "was killed by SIGKILL"),
        (-99, "was killed by signal 99"),
    ],
)
def test_how_a_process_ended_is_said_by_the_signals_name(status: int, sentence: str) -> None:
    assert runner.ending(status) == sentence


def test_a_process_that_crashes_again_and_again_ends_the_supervision(lines: Lines, made: list[Runner]) -> None:
    made.append(Runner([spec("crashes", "raise SystemExit(3)")], lines, give_up_after=2))
    made[0].start()
    with pytest.raises(CrashLoopError, match="The crashes process ended unexpectedly with status 3, 2 times in a row"):
        children.wait_until(lambda: made[0].tick(now=time.monotonic() + 40) or False, timeout_s=30)
    assert lines.count("starts again in 1 s") == 1


def test_standard_output_errors_and_notes_may_go_three_ways(made: list[Runner]) -> None:
    out, errors, notes = Lines(), Lines(), Lines()
    program = "import sys; print('banner'); print('warning', file=sys.stderr); sys.exit(1)"
    made.append(Runner([spec("a", program)], errors, quietly=out, note=notes))
    made[0].start()
    out.await_count("banner", 1)
    errors.await_count("warning", 1)
    assert children.wait_until(lambda: made[0].tick() or bool(notes.seen), timeout_s=30)
    assert (out.seen, errors.seen) == ([("a", "banner")], [("a", "warning")])
    assert notes.seen == [("a", "ended unexpectedly with status 1; starts again in 1 s")]


def test_what_a_crashed_process_forked_is_gone_before_it_starts_again(lines: Lines, made: list[Runner]) -> None:
    made.append(Runner([spec("forks", FORKS_AND_GOES)], lines))
    made[0].start()
    lines.await_count("child", 1)
    parent, child = made[0].pids()["forks"], int(lines.seen[0][1].split()[1])
    assert children.wait_until(lambda: not children.is_alive(parent), timeout_s=120)
    made[0].tick()
    assert children.wait_until(lambda: not children.is_alive(child), timeout_s=120)


def test_pauses_grow_to_half_a_minute() -> None:
    assert [children.pause_s(n) for n in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]


def test_a_long_lived_process_begins_with_the_shortest_pause_again(
    lines: Lines, made: list[Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "STABLE_AFTER_S", -1.0)
    made.append(Runner([spec("crashes", "raise SystemExit(1)")], lines))
    made[0].start()
    for n in range(2):
        assert children.wait_until(lambda: not any(map(children.is_alive, made[0].pids().values())), timeout_s=120)
        made[0].tick(now=time.monotonic() + 100 * n)
        made[0].tick(now=time.monotonic() + 100 * n + 50)
    assert lines.count("starts again in 1 s") == 2


def test_a_taken_port_is_one_sentence_and_nothing_starts(lines: Lines, made: list[Runner], tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        touch = spec("first", f"open({str(tmp_path / 'touched')!r}, 'w')")
        taken = spec("web", FOREVER, port=port, port_variable="HELIOS_WEB_PORT")
        made.append(Runner([touch, taken], lines))
        name = psutil.Process().name()
        with pytest.raises(StackError) as caught:
            made[0].start()
        assert str(caught.value) == (
            f"Port {port} for web is already in use by {name} (process {os.getpid()}): free it or set HELIOS_WEB_PORT"
        )
        assert made[0].pids() == {}
    assert not (tmp_path / "touched").exists()


def test_two_processes_on_one_port_are_refused(free_port: int) -> None:
    assert is_free(free_port)
    specs = [
        spec("web", "", port=free_port, port_variable="A"),
        spec("flower", "", port=free_port, port_variable="B"),
    ]
    with pytest.raises(StackError, match=f"Port {free_port} is given to both web and flower: change A or B"):
        check_ports(specs)


def test_the_first_signal_asks_and_the_second_hurries() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with until_signalled() as (asked, hurry):
        os.kill(os.getpid(), signal.SIGTERM)
        assert children.wait_until(asked.is_set, timeout_s=120)
        assert not hurry.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        assert children.wait_until(hurry.is_set, timeout_s=120)
    assert signal.getsignal(signal.SIGTERM) is before


SUPERVISOR = f"""
import os, sys
from helios.stack.processes import ProcessSpec
from helios.stack.runner import CrashLoopError, Runner, until_signalled
specs = [ProcessSpec(name=str(n), argv=[sys.executable, "-c", {FORKS!r}]) for n in range(2)]
with until_signalled() as (asked, hurry):
    runner = Runner(specs, lambda _, line: os.write(1, line.encode() + bytes([10])), grace_s=1)
    runner.start()
    runner.run(asked)
    runner.stop(hurry)
"""


@pytest.fixture
def supervisor() -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process that supervises two processes with a fork each, and the four process ids."""
    process = subprocess.Popen([sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    pids: list[int] = []
    try:
        assert process.stdout is not None
        pids += [int(process.stdout.readline().split()[1]) for _ in range(4)]
        yield process, pids
    finally:
        process.kill()
        process.communicate()
        runner.kill_sessions(pids)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_process_is_left_after_a_signal(
    supervisor: tuple[subprocess.Popen[str], list[int]], signum: signal.Signals
) -> None:
    process, pids = supervisor
    process.send_signal(signum)
    assert process.wait(60) == 0
    assert [pid for pid in pids if children.is_alive(pid)] == []


def test_the_processes_end_when_the_supervisor_is_killed(
    supervisor: tuple[subprocess.Popen[str], list[int]],
) -> None:
    process, pids = supervisor
    leaders = [pid for pid in pids if os.getsid(pid) == pid]  # a worker's own children end with their pipe
    assert len(leaders) == 2
    process.kill()
    assert children.wait_until(lambda: not any(map(children.is_alive, leaders)), timeout_s=120)
