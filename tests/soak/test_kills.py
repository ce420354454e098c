"""A whole stack in which anything is killed at any moment, for minutes: its books are those of an undisturbed one."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psycopg2
import pytest

from helios.stack import children
from tests.support.harness import descendants, run_sql
from tests.support.places import ROOT
from tests.support.running import OUTAGE, Up, free_ports
from tests.support.servers import make_root

MINUTES = float(os.environ.get("SOAK_MINUTES", "4"))
SEED = int(os.environ.get("SOAK_SEED", time.time_ns() % 10_000))
PARTS = ("web", "worker", "gpu", "maintenance", "beat", "PostgreSQL", "Valkey")
CHILDREN_OF = ("worker", "gpu", "maintenance")
LINES_OF_A_KILL = 60  # on the console: what died, the outage in each process, the cycles that were sent again
N_BARS = 790  # as many as the sample data has from then on
replays: list[subprocess.Popen[str]] = []
ALL_UP = {"worker", "gpu", "maintenance"}


@pytest.fixture
def stack() -> Iterator[Up]:
    """`make up` on a fresh folder: sample data, a trained model, a book that beat drives."""
    root = make_root()
    web, flower = free_ports(2)
    ports = {"HELIOS_WEB_PORT": str(web), "HELIOS_FLOWER_PORT": str(flower)}
    running = Up(root, ["-m", "helios.stack.up"], HELIOS_STALLED_CYCLE_S="3", **ports)
    try:
        running.await_text("Helios is running", timeout_s=900)
        assert children.wait_until(lambda: running.answering() >= ALL_UP, timeout_s=300), running.text()
        yield running
    finally:
        for process in replays:  # first, for each holds a lease on the servers
            process.kill()
            process.communicate()
        if running.process.poll() is None:
            running.end(signal.SIGINT)
        shutil.rmtree(root, ignore_errors=True)


def replay(stack: Up, name: str, n_bars: int, *more: str) -> subprocess.Popen[str]:
    words = ["replay", "--from", "20100104", "--bars", str(n_bars), "--name", name, *more]
    argv = [sys.executable, "manage.py", *words]
    pipe = subprocess.PIPE
    replays.append(subprocess.Popen(argv, cwd=ROOT, env=stack.environ, stdout=pipe, stderr=pipe, text=True))
    return replays[-1]


def finished(process: subprocess.Popen[str], timeout_s: float) -> dict:
    out, err = process.communicate(timeout=timeout_s)
    assert process.returncode == 0, err
    return json.loads(out)


def victims(stack: Up, chance: random.Random) -> list[int]:
    """One part of the stack, or a child of one; a part that is just being started again is left alone."""
    if chance.random() < 0.3:
        worker = stack.pid(chance.choice(CHILDREN_OF))
        forked = descendants(worker) if worker is not None else []
        return [chance.choice(forked)] if forked else []
    pid = stack.pid(chance.choice(PARTS))
    return [pid] if pid is not None else []


def decisions(stack: Up, book: str, until: object) -> dict[str, list[tuple]]:
    """Orders and fills of a book up to a bar, without the identifiers that differ between books."""
    of_book = "JOIN portfolio_state b ON b.id = x.book_id WHERE b.name = %s AND x.bar_ts <= %s ORDER BY 1, 2, 3"
    before = of_book.replace("<=", "<")  # those of the last bar itself wait for the next one, which only one book has
    asked = {
        "orders": f"SELECT x.bar_ts, x.symbol, x.side, x.quantity, x.status FROM orders x {before}",
        "fills": f"SELECT x.bar_ts, x.symbol, x.side, x.quantity, x.price, x.fee FROM trade_executions x {of_book}",
        "cycles": f"SELECT x.bar_ts, x.status, x.mode FROM pipeline_cycles x {of_book}",
        "worth": f"SELECT x.bar_ts, x.equity, x.cash FROM portfolio_snapshots x {of_book}",
    }
    url = stack.endpoints.database_url
    return {name: run_sql(url, statement, [book, until]) for name, statement in asked.items()}


def done(url: str, book: str) -> tuple[object, int]:
    """The last bar that a book has decided on, and how many there were."""
    statement = (
        "SELECT max(c.bar_ts), count(*) FROM pipeline_cycles c JOIN portfolio_state b ON b.id = c.book_id "
        "WHERE b.name = %s AND c.status = 'DONE'"
    )
    try:
        return run_sql(url, statement, [book])[0]  # type: ignore[return-value]
    except psycopg2.OperationalError:  # it was just killed
        return None, 0


@pytest.mark.parametrize("seed", [SEED])
def test_whatever_is_killed_no_order_is_lost_or_doubled_and_few_words_are_made(stack: Up, seed: int) -> None:
    chance, kills = random.Random(seed), 0
    before = len(stack.lines)
    url = stack.endpoints.database_url
    disturbed = replay(stack, "disturbed", N_BARS, "--timeout", "300", "--json")
    assert children.wait_until(lambda: done(url, "disturbed")[1] > 0 or disturbed.poll() is not None, timeout_s=300)
    end = time.monotonic() + MINUTES * 60
    while time.monotonic() < end and disturbed.poll() is None:
        time.sleep(chance.uniform(1.0, 6.0))
        for pid in victims(stack, chance):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                kills += 1
    assert children.wait_until(lambda: stack.answering() >= ALL_UP, timeout_s=300), stack.text()
    reached = done(url, "disturbed")[1] + 3  # it goes on afterwards, unless it is through
    children.wait_until(lambda: done(url, "disturbed")[1] >= reached or disturbed.poll() is not None, timeout_s=300)
    ended = disturbed.poll()
    assert ended == 0 or (ended is None and done(url, "disturbed")[1] >= reached), (disturbed.args, stack.text())
    disturbed.send_signal(signal.SIGINT)
    disturbed.communicate(timeout=120)
    until, n_bars = done(url, "disturbed")
    lines = len(stack.lines) - before
    calm = finished(replay(stack, "calm", n_bars, "--timeout", "300", "--json"), timeout_s=1_800)
    assert calm["cycles"] == {"run": n_bars, "done": n_bars}
    undisturbed = decisions(stack, "calm", until)
    assert undisturbed["orders"]
    assert decisions(stack, "disturbed", until) == undisturbed
    assert kills > 10 * MINUTES / 4
    assert_bounded(stack, kills, lines, n_bars)


def assert_bounded(stack: Up, kills: int, lines: int, n_bars: int) -> None:
    """What was said: at most so much a kill and a line a cycle, no traceback on the console, the same words."""
    cycles = sum("cycle.ended" in line for line in stack.lines)
    figures = f"{kills} kills, {n_bars} bars, {lines} lines on the console, {cycles} of them cycles"
    assert lines - cycles < LINES_OF_A_KILL * kills, figures
    assert [line for line in stack.outages() if not OUTAGE.search(line)] == []
    tracebacks = stack.text().count("Traceback")
    assert tracebacks <= kills, f"{tracebacks} tracebacks, {figures}"
