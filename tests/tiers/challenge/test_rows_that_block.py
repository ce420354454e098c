"""No row that a worker may write keeps a book from its next bar, or a cycle from its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction

from helios.db import roles
from helios.db.partitions import ensure_partitions
from helios.errors import Rejected
from tests.tiers.challenge.conftest import FIRST, run
from tiers.contracts.plans import client_order_id
from tiers.live import chain, schedule
from trading.books import ledger, write
from trading.models import PaperOrder, TradeExecution

pytestmark = pytest.mark.django_db

ENTRY = """
INSERT INTO decision_ledger (book_id, cycle_id, sequence, kind, payload, previous_hash, hash, ts)
SELECT book_id, cycle_id, {sequence}, 'risk', '{{}}', {previous}, {hash}, now()
FROM decision_ledger WHERE sequence = (SELECT max(sequence) FROM decision_ledger)
"""
NEXT = {"sequence": "sequence + 1", "previous": "hash", "hash": "repeat('a', 64)"}
CYCLE = """
INSERT INTO pipeline_cycles
    (book_id, timeframe, bar_ts, shard, mode, status, stage, reason, switches, modules, rollouts, ledger_hash,
    finished_at, redriven)
SELECT id, '1d', '{}', 0, 'replay', 'DONE', 'done', '', '{{}}', '{{}}', '[]', '', now(), 0 FROM portfolio_state
"""
SNAPSHOT = """
INSERT INTO portfolio_snapshots
    (book_id, cycle_id, bar_ts, equity, cash, peak_equity, gross_exposure, drawdown, weights)
SELECT book_id, cycle_id, bar_ts + interval '1 day', 1, 1, 1, 0, 0, '{}' FROM portfolio_snapshots
"""
ORDER = """
INSERT INTO orders (book_id, cycle_id, client_order_id, venue_order_id, symbol, side, quantity, filled_quantity,
    reference_price, bar_ts, status, reason, created_at, updated_at)
SELECT book_id, cycle_id, {identity}, '', '{symbol}', 'BUY', 1, 0, 1, bar_ts + interval '{later}', 'NEW', '',
    now(), now()
FROM orders LIMIT 1
"""
PAPER = """
INSERT INTO paper_orders (client_order_id, book_id, symbol, side, quantity, bar_ts, status, accepted_at)
SELECT {identity}, book_id, symbol, side, quantity, bar_ts + interval '{later}', 'OPEN', now() FROM orders
"""
FILL = """
INSERT INTO trade_executions
    (order_id, book_id, venue_fill_id, symbol, side, quantity, price, notional, fee, slippage_bps, bar_ts, created_at)
SELECT id, book_id, {identity}, symbol, side, 1, 1, 1, 0, 0, bar_ts, now() FROM orders
"""
BAR = """
INSERT INTO market_ohlc (symbol, timeframe, bar_ts, open, high, low, close, volume, source)
VALUES ('AAPL', '1d', now() + interval '2 hours', 1, 1, 1, 1, 1, '')
"""


@pytest.fixture
def cycle(book, times):
    """One that has ended; from now on this process speaks as a worker's role."""
    soon = datetime.now(UTC) + timedelta(hours=2)
    ensure_partitions("market_ohlc", "year", soon, soon)
    with connection.cursor() as cursor:
        done = run(book, times[FIRST])
        cursor.execute(f"SET ROLE {roles.WORKER}")
        yield done
        cursor.execute("RESET ROLE")


@pytest.mark.parametrize(
    "statement",
    [
        ENTRY.format(**NEXT | {"sequence": "2147483647"}),
        ENTRY.format(**NEXT | {"sequence": "sequence + 2"}),
        ENTRY.format(**NEXT | {"previous": "repeat('b', 64)"}),
        ENTRY.format(**NEXT | {"hash": "repeat('0', 64)"}),  # what the next entry would follow on has a follower
        ENTRY.format(**NEXT | {"hash": "hash"}),
        CYCLE.format("9999-01-01Z"),
        CYCLE.format("infinity"),
        CYCLE.format("-infinity"),
        "UPDATE pipeline_cycles SET progressed_at = 'infinity'",
        CYCLE.format("SOON").replace("'SOON'", "now() + interval '2 hours'"),
        "UPDATE pipeline_cycles SET progressed_at = now() + interval '2 minutes'",
        "UPDATE pipeline_cycles SET status = 'RUNNING', finished_at = NULL",
        "UPDATE pipeline_cycles SET reason = 'all is well'",
        BAR,
        SNAPSHOT,
        ORDER.format(identity="client_order_id", symbol="IBM", later="1 year"),
        ORDER.format(identity="'x'", symbol="IBM", later="0"),
        PAPER.format(identity="'x'", later="0"),
        PAPER.format(identity="client_order_id", later="1 day"),
        "UPDATE paper_orders SET client_order_id = 'x'",
        FILL.format(identity="client_order_id || '-1'"),
        "UPDATE orders SET quantity = 'NaN'",
        "UPDATE orders SET quantity = 'Infinity'",
        "UPDATE orders SET bar_ts = '9999-01-01Z'",
        "UPDATE portfolio_state SET cash = 'NaN'",
        "UPDATE portfolio_state SET peak_equity = 'Infinity'",
        "UPDATE positions SET last_price = 'NaN'",
        "UPDATE positions SET quantity = 1e20, cost = 1",
        "UPDATE positions SET quantity = 1e-65, cost = 1",
        "UPDATE positions SET realised_pnl = -1e40",
        "UPDATE portfolio_state SET cash = 1e40",
        "UPDATE portfolio_state SET updated_at = '20000-01-01Z'",
        "UPDATE positions SET updated_at = '4000-01-01Z BC'",
        "UPDATE pipeline_cycles SET finished_at = 'infinity'",
        "UPDATE modules SET updated_at = '20000-01-01Z'",
    ],
)
def test_a_row_that_would_stop_a_book_for_good_is_refused(cycle, statement):
    refused = pytest.raises((ProgrammingError, IntegrityError), match=r"a worker may|_finite|moments|permission denied")
    with refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.parametrize("quantity", ["1e19", "-1e19"])
def test_a_worth_that_no_sum_carries_is_refused_with_a_sentence(cycle, book, times, quantity):
    """What a worker says that a book holds is believed."""
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE positions SET quantity = {quantity}, cost = {quantity}")
        after = run(book, times[FIRST + 1])
        assert (after.status, "an amount of money must be less than 1e20, was" in after.reason) == ("FAILED", True)
        cursor.execute("RESET ROLE")
    assert write.set_state(book.name, "HALTED", actor="ann", reason="odd").state == "HALTED"
    with pytest.raises(Rejected, match="must be less than 1e20"):
        write.set_state(book.name, "ACTIVE", actor="ann", reason="calm")


@pytest.mark.parametrize(("later", "symbol"), [(1, "AAPL"), (0, "ZZZ")])
def test_no_id_of_an_order_to_come_or_of_another_symbol_is_taken(cycle, book, times, later, symbol):
    taken = client_order_id(f"book:{book.pk}", times[FIRST + later], symbol, "BUY")
    statement = ORDER.format(identity=f"'{taken}'", symbol=symbol if later == 0 else "MSFT", later="0")
    refused = pytest.raises(ProgrammingError, match="a worker may write an order of a symbol of its book, with its own")
    for each in (statement, f"UPDATE orders SET client_order_id = '{taken}', symbol = '{symbol}'"):
        with refused, transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(each)


@pytest.mark.parametrize("place", [FIRST + 2, -1, None], ids=["leaves out one", "the last bar", "now"])
def test_no_cycle_takes_a_replay_past_a_bar(cycle, book, times, place):
    later = times[place] if place else datetime.now(UTC)
    refused = pytest.raises(ProgrammingError, match="a worker may begin the cycle that follows in a replay")
    with refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(CYCLE.format(later))
    assert schedule.due_bar(book) == times[FIRST + 1]


def test_what_was_filled_is_filled_once(cycle, book, times):
    assert run(book, times[FIRST + 1]).status == "DONE"
    assert TradeExecution.objects.exists()
    refused = pytest.raises(ProgrammingError, match="a worker may place what was ordered, once")
    with refused, transaction.atomic():
        PaperOrder.objects.filter(status="FILLED").update(status="OPEN")


def test_the_entry_that_follows_is_added_whoever_hashed_it(cycle, book, times):
    with connection.cursor() as cursor:
        cursor.execute(ENTRY.format(**NEXT))
    after = run(book, times[FIRST + 1])
    assert (after.status, after.reason) == ("DONE", "")
    assert ledger.verify(book.pk) is not None


def test_a_count_of_redrives_that_no_cycle_reaches_ends_it(book, times):
    stuck = chain.start(book, times[FIRST], send=False)
    type(stuck).objects.update(redriven=32_767, progressed_at=times[FIRST])
    assert chain.recover(stalled_s=60.0) == 0
    stuck.refresh_from_db()
    assert stuck.status == "FAILED"
