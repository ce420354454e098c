"""The snapshot is what the tables, the broker and the disk say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone
from loguru import logger

from sentinel import audits
from sentinel.audits.facts import Mode, Snapshot
from sentinel.collect import collect
from sentinel.models import Heartbeat
from sentinel.probes import books, platform
from sentinel.probes.bounded import Runner, bounded, sentence
from tests.sentinel.conftest import Desk
from trading.books import ledger
from trading.models import Book, BookedAction, FeedCoverage, LedgerEntry, MarketGap, Position, StageRun

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
NOW = datetime(2026, 3, 4, 15, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The poll of the workers takes seconds; a test of its own asks real ones."""
    monkeypatch.setattr(platform, "_consumers", lambda _timeout_s: {})


def codes(snapshot: Snapshot) -> list[str]:
    return [finding.code for finding in audits.audit(snapshot).findings]


def accounts(desk: Desk) -> Book:
    """A book with two purchases and a sale, booked as they should be."""
    book = desk.book()
    desk.fill(book, "a", side="BUY", quantity="2", price="100.5", fee="0.1005")
    desk.fill(book, "b", side="BUY", quantity="1", price="90", fee="0.045")
    desk.fill(book, "c", side="SELL", quantity="2.5", price="110", fee="0.1375")
    book.cash = Decimal(1000) - Decimal("201.1005") - Decimal("90.045") + Decimal("274.8625")
    book.save()
    Position.objects.filter(book=book).update(  # a sixth of 201 + 90 is left, 275 came in for the rest
        quantity=Decimal("0.5"), cost=Decimal("48.5"), realised_pnl=Decimal("32.5"), fees_paid=Decimal("0.283")
    )
    return book


# --- the whole ---


def test_a_migrated_empty_system_misses_only_its_processes() -> None:
    snapshot = collect()
    assert set(snapshot.readings) >= set(audits.CHECKS)
    assert all(reading.ok for reading in snapshot.readings.values())
    assert set(codes(snapshot)) == {"QUEUE_WITHOUT_WORKER", "BEAT_SILENT"}


def test_every_reading_took_time_and_says_what_it_saw() -> None:
    readings = collect().readings
    assert readings["database"].detail.startswith("PostgreSQL 18")
    assert readings["database"].duration_ms > 0
    assert readings["disk"].detail.endswith("GiB free")


def test_the_callers_own_queue_counts_as_served() -> None:
    snapshot = collect(serving=("maintenance",))
    assert snapshot.consumers == {"maintenance": 1}


def test_a_broker_that_is_away_is_the_finding_and_nobody_is_asked(settings: Any, tmp_path: Any) -> None:
    settings.REDIS_URL = f"unix://{tmp_path}/nobody.sock"
    snapshot = collect()
    assert "BROKER_UNREACHABLE" in codes(snapshot)
    assert snapshot.readings["workers"].skipped == "the broker does not answer"
    assert snapshot.readings["cash"].ok


def test_tables_are_not_read_while_migrations_are_missing() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'trading'")
        cursor.execute("ALTER TABLE decision_ledger RENAME TO decision_ledger_of_yesterday")
    snapshot = collect()
    assert snapshot.pending_migrations[0] == "trading.0001_tables"
    assert "MIGRATIONS_PENDING" in codes(snapshot)
    assert snapshot.readings["ledger"].skipped == "the migrations are not applied"


def test_one_table_that_cannot_be_read_does_not_stop_the_rest() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE decision_ledger RENAME TO decision_ledger_of_yesterday")
    desk = Desk()
    desk.book()
    snapshot = collect()
    assert "decision_ledger" in snapshot.readings["ledger"].error
    assert snapshot.readings["positions"].ok
    assert "PROBE_FAILED" in codes(snapshot)


# --- money ---


def test_a_book_whose_fills_are_booked_agrees(desk: Desk) -> None:
    accounts(desk)
    snapshot = collect()
    assert not {"CASH_MISMATCH", "POSITION_MISMATCH", "PROFIT_MISMATCH"} & set(codes(snapshot))
    (cash,) = snapshot.cash
    assert cash.expected == cash.cash == Decimal("983.717")
    (position,) = snapshot.positions
    assert position.held == position.by_fills == Decimal("0.5")
    assert position.cost == position.cost_by_fills == Decimal("48.5")
    assert position.profit == position.profit_by_fills == Decimal("32.5")
    assert position.fees == position.fees_by_fills == Decimal("0.283")


def test_a_cent_that_is_missing_is_found(desk: Desk) -> None:
    book = accounts(desk)
    Book.objects.filter(pk=book.pk).update(cash=book.cash - Decimal("0.00000001"))
    assert "CASH_MISMATCH" in codes(collect())


def test_a_position_that_was_typed_over_is_found(desk: Desk) -> None:
    book = accounts(desk)
    Position.objects.filter(book=book).update(quantity=Decimal(1))
    assert "POSITION_MISMATCH" in codes(collect())


@pytest.mark.parametrize("name", ["cost", "realised_pnl", "fees_paid"])
def test_money_of_a_position_that_was_typed_over_is_found(desk: Desk, name: str) -> None:
    book = accounts(desk)
    Position.objects.filter(book=book).update(**{name: F(name) + Decimal("0.00000001")})
    assert "PROFIT_MISMATCH" in codes(collect())


def test_a_cost_and_a_profit_that_are_wrong_by_the_same_amount_are_found(desk: Desk) -> None:
    book = accounts(desk)
    Position.objects.filter(book=book).update(cost=F("cost") + 7, realised_pnl=F("realised_pnl") + 7)
    (finding,) = (one for one in audits.audit(collect()).findings if one.code == "PROFIT_MISMATCH")
    assert finding.observed == "cost 55.5, realised profit 39.5, fees 0.283"
    assert finding.limit == "cost 48.5, realised profit 32.5, fees 0.283"


@pytest.mark.parametrize("kind", ["dividend", "split"])
def test_an_action_of_what_was_never_held_is_found_and_hides_no_other_position(desk: Desk, kind: str) -> None:
    book = accounts(desk)
    at = {"ex_ts": NOW, "bar_ts": NOW}
    BookedAction.objects.create(
        **at, book=book, symbol="ZZZ", kind=kind, value=1, per=1, quantity=0, remaining=1, price=1, cash=1
    )
    Position.objects.filter(book=book).update(quantity=7)
    found = [one.subject for one in audits.audit(collect()).findings if one.code == "POSITION_MISMATCH"]
    assert found == [f"{book.name}/BTC/USD", *([f"{book.name}/ZZZ"] if kind == "split" else [])]


def test_fills_without_a_position_are_found(desk: Desk) -> None:
    book = accounts(desk)
    Position.objects.filter(book=book).delete()
    (position,) = collect().positions
    assert (position.held, position.by_fills) == (0, Decimal("0.5"))


def test_two_books_are_not_mixed_up(desk: Desk) -> None:
    accounts(desk)
    desk.book("other")
    snapshot = collect()
    assert [(account.book, account.cash == account.expected) for account in snapshot.cash] == [
        ("paper", True),
        ("other", True),
    ]


# --- the ledger ---


def tamper(book: Book, sequence: int, **changes: Any) -> None:
    LedgerEntry.objects.filter(book=book, sequence=sequence).update(**changes)


def test_an_untouched_ledger_holds(desk: Desk) -> None:
    desk.entries(desk.book(), 5)
    (chain,) = collect().chains
    assert (chain.checked, chain.broken_at) == (5, None)


@pytest.mark.parametrize("sequence", [1, 3, 5])
def test_a_changed_entry_is_found(desk: Desk, sequence: int) -> None:
    book = desk.book()
    desk.entries(book, 5)
    tamper(book, sequence, payload={"n": 99})
    assert collect().chains[0].broken_at == sequence


@pytest.mark.parametrize("forged", [{}, {"hash": ""}])
def test_an_entry_that_cannot_be_hashed_is_found(desk: Desk, forged: dict[str, Any]) -> None:
    book = desk.book()
    desk.entries(book, 5)
    tamper(book, 4, payload={"n": 10**30}, **forged)
    assert collect().chains[0].broken_at == 4
    assert ledger.verify(book.pk).sequence == 4


def test_an_entry_that_was_left_out_is_found(desk: Desk) -> None:
    book = desk.book()
    desk.entries(book, 5)
    LedgerEntry.objects.filter(book=book, sequence=3).delete()
    assert collect().chains[0].broken_at == 3


def test_only_the_end_of_a_long_ledger_is_walked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "TAIL_ENTRIES", 4)
    book = desk.book()
    desk.entries(book, 10)
    assert collect().chains[0].checked == 4
    tamper(book, 2, payload={"n": 99})
    assert collect().chains[0].broken_at is None
    tamper(book, 7, payload={"n": 99})
    assert collect().chains[0].broken_at == 7


# --- cycles and orders ---


def test_progress_is_the_end_of_the_last_stage_not_a_message_sent_again(desk: Desk) -> None:
    book = desk.book()
    cycle = desk.cycle(book, NOW, age=timedelta(hours=2), running=True)
    desk.cycle(book, NOW + HOUR)
    (running,) = collect().cycles
    assert (running.id, running.stage, running.mode) == (cycle.pk, "risk", Mode.PAPER)
    assert running.progressed_at == cycle.started_at
    ended = timezone.now() - timedelta(minutes=30)
    StageRun.objects.create(cycle=cycle, stage="ingest", worker="w", queue_ms=1, duration_ms=1, finished_at=ended)
    cycle.progressed_at = timezone.now()
    cycle.save()
    assert collect().cycles[0].progressed_at == ended


def test_open_orders_are_aged_by_their_sending_or_their_making(desk: Desk) -> None:
    book = desk.book()
    long_ago = timezone.now() - HOUR
    desk.order(book, "sent", "UNKNOWN", sending_at=long_ago)
    waiting = desk.order(book, "waiting", "NEW")
    desk.order(book, "done")
    desk.order(book, "kept", "WITHHELD")
    found = {order.client_order_id: order.since for order in collect().orders}
    assert found == {"sent": long_ago, "waiting": waiting.created_at}
    assert "ORDER_UNCLEAR" in codes(collect())


# --- market data ---


def test_an_active_paper_book_is_judged_by_the_wall_clock(desk: Desk) -> None:
    desk.book()
    desk.bars(NOW.replace(minute=0))
    (series,) = collect(now=NOW).series
    assert (series.mode, series.clock, series.closes[-1]) == (Mode.PAPER, NOW, NOW.replace(minute=0))
    assert series.calendar == "24/7"
    assert "STALE_DATA" not in codes(collect(now=NOW))
    assert "STALE_DATA" in codes(collect(now=NOW + 4 * HOUR))


def test_a_replay_is_judged_by_its_newest_cycle_and_not_before_it_has_one(desk: Desk) -> None:
    book = desk.book(mode="replay")
    desk.bars(NOW.replace(minute=0), n_bars=10)
    assert collect().series == ()
    clock = NOW.replace(minute=0) - 3 * HOUR
    desk.cycle(book, clock)
    (series,) = collect().series
    assert series.clock == series.closes[-1] == clock
    assert len(series.closes) == 7


def test_an_inactive_book_has_no_market_data_to_judge(desk: Desk) -> None:
    desk.book(active=False)
    assert collect().series == ()


def test_a_cycle_is_of_a_mode_that_there_is(desk: Desk) -> None:
    """Workers write these rows, and the check of cycles went blind over one."""
    cycle = desk.cycle(desk.book(), NOW)
    with pytest.raises(IntegrityError, match="pipeline_cycles_mode"), transaction.atomic():
        type(cycle).objects.update(mode="evil")


def test_gaps_are_found_in_the_tables(desk: Desk) -> None:
    desk.book()
    desk.bars(NOW.replace(minute=0), n_bars=30, skip=(10, 11, 12, 13))
    assert "BAR_GAPS" in codes(collect(now=NOW))
    known = FeedCoverage.objects.create(symbol="BTC/USD", until=timezone.now() + timedelta(hours=3))
    assert "BAR_GAPS" in codes(collect(now=NOW))  # of what is to come nothing can be known
    known.until = NOW
    known.save()
    assert "BAR_GAPS" not in codes(collect(now=NOW))
    at = {"after": NOW - 12 * HOUR, "until": NOW - 11 * HOUR}
    MarketGap.objects.create(symbol="BTC/USD", timeframe="1d", reason="of days", **at)
    assert "BAR_GAPS" not in codes(collect(now=NOW))
    MarketGap.objects.create(symbol="BTC/USD", timeframe="1m", reason="silent", **at)
    assert "BAR_GAPS" in codes(collect(now=NOW))


def test_bars_of_long_ago_are_found_when_there_are_no_newer_ones(desk: Desk) -> None:
    desk.book()
    old = NOW - timedelta(days=900)
    desk.bars(old)
    (series,) = collect(now=NOW).series
    assert series.closes[-1] == old


def test_a_live_book_makes_missing_processes_critical(desk: Desk) -> None:
    desk.book(mode="live")
    report = audits.audit(collect())
    assert {finding.severity.value for finding in report.findings if finding.code == "QUEUE_WITHOUT_WORKER"} == {
        "critical"
    }


def test_a_recent_heartbeat_is_seen() -> None:
    ts = timezone.now()
    Heartbeat.objects.create(name="beat", ts=ts)
    snapshot = collect()
    assert snapshot.beat_at == ts
    assert "BEAT_SILENT" not in codes(snapshot)


# --- limits of a probe ---


def test_a_statement_that_hangs_is_ended_and_becomes_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.probes.bounded.STATEMENT_TIMEOUT_MS", 50)

    def hang() -> tuple[None, str]:
        with bounded(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(30)")
        return None, ""

    runner = Runner()
    assert runner.ask("slow", hang, None) is None
    assert "statement timeout" in runner.readings["slow"].error
    assert runner.readings["slow"].duration_ms < 5_000
    assert Book.objects.count() == 0  # the connection still works


def test_what_a_probe_cannot_compute_is_its_error_and_no_bug_is_hidden() -> None:
    traces = list[str]()

    def broken() -> tuple[None, str]:
        raise AttributeError("a bug")

    runner = Runner()
    sink = logger.add(traces.append, format="{exception}")
    assert runner.ask("broken", broken, None) is None
    logger.remove(sink)
    assert runner.readings["broken"].error == "a bug"
    assert 'raise AttributeError("a bug")' in traces[-1]


def test_an_error_is_told_by_its_first_line_or_its_kind() -> None:
    assert sentence(OSError("first\nsecond")) == "first"
    assert sentence(TimeoutError()) == "TimeoutError"
