"""A claim is given back, whatever happens to who took it."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import DataError, connection, transaction
from loguru import logger

from helios.control import generations
from helios.db import locks
from helios.errors import Conflict
from helios.flags import services as flags
from helios.modules import swapping
from tests.support.live_market import make_bars, stored_market
from tiers.live import chain, claims
from trading.books import read
from trading.books import write as books
from trading.market.timestamps import utc
from trading.models import Stage

pytestmark = pytest.mark.django_db


@pytest.fixture
def cycle():
    stored_market()
    book = books.create_book(
        "desk",
        mode="replay",
        timeframe="1d",
        symbols=["AAPL", "IBM"],
        initial_cash=Decimal(100_000),
        fee_bps=Decimal(1),
        slippage_bps=Decimal(2),
    )
    bars = make_bars(("AAPL", "IBM"), n_bars=120, seed=3)
    return chain.start(book, utc(bars.ts[100]), send=False)


def held():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() "
            "AND objsubid = 2"  # named by two numbers: a session's claim
        )
        return cursor.fetchone()[0]


@pytest.mark.django_db(transaction=True)
def test_a_statement_that_fails_behind_its_claim_leaves_none(cycle, monkeypatch):
    """As where the server is out of memory for a moment: another worker would find the cycle taken for good."""
    monkeypatch.setattr(
        claims, "_query", lambda _: "1 / (c.id - c.id) FROM pipeline_cycles c WHERE c.id = %s AND c.stage = %s"
    )
    with pytest.raises(DataError, match="division by zero"), claims.owned(cycle.pk, Stage.INGEST):
        pass
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database "
            "WHERE locktype = 'advisory' AND objsubid = 2 AND datname = current_database()"
        )
        assert cursor.fetchone() == (0,)


def test_it_is_given_back_at_the_end_and_after_an_error(cycle):
    with claims.owned(cycle.pk, Stage.INGEST) as claim:
        assert (claim.cycle, held()) == (cycle, 1)
    with pytest.raises(RuntimeError, match="mid-work"), claims.owned(cycle.pk, Stage.INGEST):
        raise RuntimeError("mid-work")
    assert held() == 0


def test_one_that_cannot_be_given_back_is_named_in_the_log():
    said = []
    sink = logger.add(lambda each: said.append((each.record["message"], each.record["extra"].get("space"))))
    try:
        with pytest.raises(DataError), transaction.atomic(), locks.claimed("tests", 1), connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")
    finally:
        logger.remove(sink)
    assert ("lock.kept", "tests") in said
    locks.give_back("tests", 1)
    assert held() == 0


def test_it_is_given_back_when_what_was_read_cannot_be_understood(cycle, monkeypatch):
    def broken(*_):
        raise ValueError("no such column")

    monkeypatch.setattr(claims, "_claim", broken)
    with pytest.raises(ValueError, match="no such column"), claims.owned(cycle.pk, Stage.INGEST):
        raise AssertionError
    assert held() == 0


def test_a_cycle_that_is_at_another_stage_takes_no_lock(cycle):
    with claims.owned(cycle.pk, Stage.LLM) as claim:
        assert (claim, held()) == (None, 0)


WHY = {"actor": "ana", "reason": "storm"}
SAFER = {
    "book 'desk'": lambda: (books.set_state("desk", "HALTED", **WHY), books.set_active("desk", active=False, **WHY)),
    "a row of flags": lambda: flags.kill("auto_trading", **WHY),
    "a row of modules": lambda: swapping.rollback("predict", **WHY),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", SAFER)
def test_who_makes_trading_safer_is_told_at_once_that_somebody_holds_the_row(cycle, monkeypatch, what):
    monkeypatch.setattr(locks, "WAIT_MS", 50)

    def asked():
        try:
            with pytest.raises(Conflict, match=f"{what} must be free to be changed, a worker or another change holds"):
                SAFER[what]()
        finally:
            connection.close()

    with transaction.atomic(), ThreadPoolExecutor(1) as other:
        read.locked(cycle.book_id)
        generations.lock("flags")
        generations.lock("modules")
        other.submit(asked).result(timeout=20)


@pytest.mark.django_db(transaction=True)
def test_no_row_that_somebody_keeps_holds_up_what_the_system_does_by_itself_for_good(monkeypatch):
    """The worker of maintenance has other work to do meanwhile, and comes back to this."""
    monkeypatch.setattr(locks, "SYSTEM_WAIT_MS", 50)

    def asked():
        try:
            with pytest.raises(Conflict, match="a row of modules must be free to be changed"):
                swapping.recover()
        finally:
            connection.close()

    with transaction.atomic(), ThreadPoolExecutor(1) as other:
        generations.lock("modules")
        other.submit(asked).result(timeout=20)


HOLDS = """
import json, psycopg2, sys
cursor = psycopg2.connect(**json.loads(sys.argv[1])).cursor()
cursor.execute("SELECT pg_backend_pid(), pg_advisory_lock(77)")
print(cursor.fetchone()[0], flush=True)
cursor.execute("SELECT pg_sleep(60)")
"""


def test_a_killed_process_holds_nothing_although_it_was_in_a_statement():
    known = {key: value for key, value in connection.get_connection_params().items() if isinstance(value, str | int)}
    command = [sys.executable, "-c", HOLDS, json.dumps(known)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker, connection.cursor() as cursor:
        pid = int(worker.stdout.readline())
        worker.kill()
        until = time.monotonic() + 20
        while time.monotonic() < until:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = %s", [pid])
            if cursor.fetchone() == (0,):
                return
            time.sleep(0.2)
    raise AssertionError
