"""Every other audit, judged without a database: a snapshot goes in, findings come out."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel import audits
from sentinel.audits import CHECKS, Severity, Snapshot, Verdict
from sentinel.audits.facts import (
    CashAccount,
    Chain,
    Disk,
    Mode,
    OpenOrder,
    PositionAccount,
    Reading,
    RunningCycle,
)
from sentinel.audits.findings import QUEUES, Finding, verdict_of

NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)
FINE = Snapshot(
    taken_at=NOW,
    readings={name: Reading(detail="seen", duration_ms=1.5) for name in CHECKS},
    consumers=dict.fromkeys(QUEUES, 1),
    beat_at=NOW - timedelta(seconds=20),
    disks=(Disk(folder="/var", free=50 * 1024**3, total=100 * 1024**3),),
)


def audit(**changes: Any) -> audits.Report:
    return audits.audit(dataclasses.replace(FINE, **changes))


def codes(report: audits.Report) -> list[tuple[str, Severity]]:
    return [(finding.code, finding.severity) for finding in report.findings]


def check(report: audits.Report, name: str) -> audits.CheckResult:
    return next(result for result in report.checks if result.name == name)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def test_a_system_in_order_is_healthy_and_every_check_says_so() -> None:
    report = audit()
    assert report.verdict is Verdict.HEALTHY
    assert [result.name for result in report.checks] == list(CHECKS)
    assert {(result.status, result.detail, result.duration_ms) for result in report.checks} == {("ok", "seen", 1.5)}


def test_the_report_is_plain_values() -> None:
    body = audit(beat_at=None).to_json()
    assert set(body) == {"verdict", "findings", "checks", "ts"}
    assert body["ts"] == "2026-03-04T15:00:00+00:00"
    assert set(body["checks"][0]) == {"name", "status", "detail", "duration_ms"}
    assert body["findings"][0]["code"] == "BEAT_SILENT"
    assert body["findings"][0]["severity"] == "warning"


# --- servers ---


@pytest.mark.parametrize("server", ["database", "broker"])
def test_a_server_that_does_not_answer_is_critical(server: str) -> None:
    report = audit(readings={**FINE.readings, server: Reading(error="connection refused")})
    assert codes(report) == [(f"{server.upper()}_UNREACHABLE", Severity.CRITICAL)]
    assert report.verdict is Verdict.CRITICAL
    assert "connection refused" in check(report, server).detail


def test_what_was_not_read_is_skipped_and_no_finding() -> None:
    report = audit(readings={"database": Reading(error="gone"), "cash": Reading(skipped="the database is away")})
    assert codes(report) == [("DATABASE_UNREACHABLE", Severity.CRITICAL)]
    assert (check(report, "cash").status, check(report, "cash").detail) == ("skipped", "the database is away")
    assert check(report, "ledger").detail == "not read"
    assert not check(report, "cash").ran


def test_a_probe_that_fails_is_a_finding_of_its_own() -> None:
    report = audit(readings={**FINE.readings, "ledger": Reading(error="canceling statement due to timeout")})
    assert codes(report) == [("PROBE_FAILED", Severity.WARNING)]
    assert report.findings[0].subject == "ledger"
    assert not check(report, "ledger").ran


def test_pending_migrations_are_critical_and_the_first_is_named() -> None:
    report = audit(pending_migrations=("trading.0004_x", "flags.0009_y"))
    assert codes(report) == [("MIGRATIONS_PENDING", Severity.CRITICAL)]
    assert "trading.0004_x" in report.findings[0].message
    assert "migrate" in report.findings[0].message


# --- processes ---


def test_each_queue_without_a_worker_is_named() -> None:
    report = audit(consumers={"ingest": 1, "default": 2, "execution": 1, "maintenance": 0})
    assert [finding.message for finding in report.findings] == [
        "no worker listens on queue gpu",
        "no worker listens on queue maintenance",
    ]
    assert report.verdict is Verdict.DEGRADED
    assert check(report, "workers").detail == "no worker listens on queue gpu (also maintenance)"


def test_the_report_names_some_subjects_and_counts_the_rest() -> None:
    disks = tuple(Disk(folder=f"/{n}", free=1024**3, total=10 * 1024**3) for n in range(7))
    assert check(audit(disks=disks), "disk").detail.endswith("(also /1, /2, /3, /4 and 2 more)")


def test_missing_processes_are_critical_while_a_live_book_trades() -> None:
    report = audit(consumers={}, beat_at=None, live_trading=True)
    assert {severity for _, severity in codes(report)} == {Severity.CRITICAL}


@pytest.mark.parametrize(("age_s", "found"), [(-61, True), (-60, False), (0, False), (60, False), (61, True)])
def test_a_heartbeat_may_be_a_minute_old(age_s: float, found: bool) -> None:
    assert bool(audit(beat_at=ago(age_s)).findings) is found


def test_a_beat_that_was_never_seen_is_told_so() -> None:
    assert audit(beat_at=None).findings[0].message == "beat has never sent a heartbeat"


# --- pipeline ---


def running(age_s: float, mode: Mode = Mode.PAPER) -> RunningCycle:
    return RunningCycle(id=7, book="b", mode=mode, stage="risk", progressed_at=ago(age_s))


def test_a_cycle_is_stuck_after_the_hard_limit_of_a_task() -> None:
    assert codes(audit(cycles=(running(299),))) == []
    for age_s in (301, -301):  # or the clock was set back
        assert codes(audit(cycles=(running(age_s),))) == [("CYCLE_STUCK", Severity.WARNING)]
    assert codes(audit(cycles=(running(301, Mode.LIVE),))) == [("CYCLE_STUCK", Severity.CRITICAL)]
    assert "waits at risk" in audit(cycles=(running(301),)).findings[0].message


def order(status: str, age_s: float, mode: Mode = Mode.PAPER, key: str = "o1") -> OpenOrder:
    return OpenOrder(client_order_id=key, book="b", mode=mode, status=status, since=ago(age_s))


@pytest.mark.parametrize("status", ["SENDING", "UNKNOWN"])
def test_an_order_may_be_unclear_for_a_minute(status: str) -> None:
    assert codes(audit(orders=(order(status, 59),))) == []
    assert codes(audit(orders=(order(status, 61),))) == [("ORDER_UNCLEAR", Severity.WARNING)]
    assert codes(audit(orders=(order(status, 61, Mode.LIVE),))) == [("ORDER_UNCLEAR", Severity.CRITICAL)]


def test_orders_waiting_in_the_outbox_are_one_finding_a_book() -> None:
    report = audit(orders=(order("NEW", 90, key="a"), order("NEW", 70, key="b"), order("NEW", 5, key="c")))
    assert codes(report) == [("OUTBOX_WAITING", Severity.WARNING)]
    assert report.findings[0].message == "2 orders of book b wait to be sent, the oldest for 90 s"


# --- accounts ---


def account(cash: str) -> CashAccount:
    return CashAccount(
        book="b",
        initial=Decimal(1000),
        bought=Decimal("400.1"),
        sold=Decimal("150.05"),
        fees=Decimal("0.27507500"),
        cash=Decimal(cash),
    )


def test_cash_must_equal_its_fills_to_the_last_digit() -> None:
    assert codes(audit(cash=(account("749.674925"),))) == []
    report = audit(cash=(account("749.67492501"),))
    assert codes(report) == [("CASH_MISMATCH", Severity.CRITICAL)]
    assert (report.findings[0].observed, report.findings[0].limit) == ("749.67492501", "749.67492500")


@given(st.lists(st.tuples(st.sampled_from(["buy", "sell"]), st.integers(1, 10**12), st.integers(0, 10**6))))
def test_any_history_of_fills_adds_up(fills: list[tuple[str, int, int]]) -> None:
    """A slow twin: cash changed fill by fill equals the audit's sums."""
    unit = Decimal("0.00000001")
    cash = Decimal(1000)
    for side, notional, fee in fills:
        cash += (notional if side == "sell" else -notional) * unit - fee * unit
    totals = {
        side: sum((n for s, n, _ in fills if s == side), 0) * unit for side in ("buy", "sell")
    }  # fmt: skip
    summed = CashAccount(
        book="b",
        initial=Decimal(1000),
        bought=totals["buy"],
        sold=totals["sell"],
        fees=sum((fee for *_, fee in fills), 0) * unit,
        cash=cash,
    )
    assert codes(audit(cash=(summed,))) == []


def test_a_position_must_equal_its_fills() -> None:
    same = PositionAccount(book="b", symbol="AAPL", held=Decimal("1.5"), by_fills=Decimal("1.50000000"))
    other = PositionAccount(book="b", symbol="MSFT", held=Decimal("1.5"), by_fills=Decimal("1.50000001"))
    report = audit(positions=(same, other))
    assert codes(report) == [("POSITION_MISMATCH", Severity.CRITICAL)]
    assert report.findings[0].subject == "b/MSFT"


def test_cost_profit_and_fees_of_a_position_must_equal_its_fills() -> None:
    made = {"cost_by_fills": Decimal(60), "profit_by_fills": Decimal(9), "fees_by_fills": Decimal("0.1")}
    carried = {"cost": Decimal("60.00"), "profit": Decimal(9), "fees": Decimal("0.10")}
    same = PositionAccount(book="b", symbol="AAPL", **carried, **made)
    dear = PositionAccount(book="b", symbol="MSFT", **{**carried, "cost": Decimal("60.00000001")}, **made)
    free = PositionAccount(book="b", symbol="IBM", **{**carried, "fees": Decimal(0)}, **made)
    both = PositionAccount(book="b", symbol="FB", **{**carried, "cost": Decimal(61), "profit": Decimal(10)}, **made)
    report = audit(positions=(same, dear, free, both))
    assert codes(report) == [("PROFIT_MISMATCH", Severity.CRITICAL)] * 3
    assert {finding.subject for finding in report.findings} == {"b/MSFT", "b/IBM", "b/FB"}
    assert {finding.limit for finding in report.findings} == {"cost 60, realised profit 9, fees 0.1"}


def test_a_broken_ledger_names_the_entry() -> None:
    report = audit(chains=(Chain(book="a", checked=9), Chain(book="b", checked=9, broken_at=4)))
    assert codes(report) == [("LEDGER_BROKEN", Severity.CRITICAL)]
    assert "entry 4" in report.findings[0].message


# --- host ---


@pytest.mark.parametrize(
    ("free_mib", "severity"),
    [(2048, None), (2047, Severity.WARNING), (512, Severity.WARNING), (511, Severity.CRITICAL)],
)
def test_little_room_warns_and_almost_none_is_critical(free_mib: int, severity: Severity | None) -> None:
    report = audit(disks=(Disk(folder="/var", free=free_mib * 1024**2, total=10 * 1024**3),))
    assert codes(report) == ([("DISK_LOW", severity)] if severity else [])


# --- verdict ---


@given(st.lists(st.sampled_from(Severity)))
def test_the_verdict_is_the_worst_finding(severities: list[Severity]) -> None:
    verdict = verdict_of([Finding(code="X", severity=severity, message="") for severity in severities])
    if Severity.CRITICAL in severities:
        assert verdict is Verdict.CRITICAL
    elif Severity.WARNING in severities:
        assert verdict is Verdict.DEGRADED
    else:
        assert verdict is Verdict.HEALTHY


def test_findings_of_one_subject_share_a_fingerprint_whatever_was_measured() -> None:
    first, second = audit(beat_at=ago(100)).findings[0], audit(beat_at=ago(200)).findings[0]
    assert first.observed != second.observed
    assert first.fingerprint == second.fingerprint
