"""The admin's start page says at a glance what runs, what it holds and what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from helios.breakers import services as breakers
from helios.breakers.process import forget
from sentinel.models import AuditRun, Finding, Heartbeat
from tests.sentinel.conftest import Desk
from trading.models import PortfolioSnapshot

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clean_redis")]


def page(client: Client) -> str:
    forget()
    return " ".join(client.get("/admin/").content.decode().split())


def test_a_fresh_installation_tells_what_to_do(admin_client: Client) -> None:
    shown = page(admin_client)
    assert "not audited" in shown
    assert "beat was never seen" in shown
    assert "There is no book yet" in shown
    assert "No bar has gone through the tiers yet" in shown
    assert "auto_trading is off: but for replays, orders are not sent" in shown
    assert "7 of 7" in shown


def test_verdict_findings_and_heartbeat_are_shown(admin_client: Client) -> None:
    now = timezone.now()
    AuditRun.objects.create(ts=now, duration_ms=1, verdict="CRITICAL", n_findings=1)
    Heartbeat.objects.create(name="beat", ts=now - timedelta(minutes=5))
    Finding.objects.create(
        fingerprint="X:", check_name="cash", code="X", severity="critical", message="a cent is missing",
        first_seen=now - timedelta(hours=2), last_seen=now,
    )  # fmt: skip
    shown = page(admin_client)
    assert "CRITICAL" in shown
    assert "audit just now, beat seen 5" in shown
    assert "a cent is missing" in shown
    assert "2 hours ago" in shown


def test_books_show_equity_return_and_drawdown(admin_client: Client, desk: Desk) -> None:
    book = desk.book(peak_equity=Decimal(1250))
    cycle = desk.cycle(book, datetime(2026, 1, 1, tzinfo=UTC))
    PortfolioSnapshot.objects.create(
        book=book, cycle=cycle, bar_ts=cycle.bar_ts, equity=Decimal(1100), cash=Decimal(1000),
        peak_equity=Decimal(1250), gross_exposure=0.1, drawdown=0.12,
    )  # fmt: skip
    desk.book("idle", active=False)
    shown = page(admin_client)
    assert "1,100.00" in shown
    assert "+10.00%" in shown
    assert "12.00%" in shown
    assert "1 active of 2 books" in shown
    assert shown.count("STOPPED") == 1


def test_equities_of_different_currencies_are_not_added_up(admin_client: Client, desk: Desk) -> None:
    dollars = {"cash": Decimal("97799.49"), "peak_equity": Decimal(100_000), "initial_cash": Decimal(100_000)}
    coins = {"cash": Decimal("0.05"), "peak_equity": Decimal("0.06"), "initial_cash": Decimal("0.06")}
    desk.book("one", **dollars)
    assert "> $97,799.49 <" in page(admin_client)
    desk.book("two", **dollars)
    desk.book("coins", symbols=["ETH-BTC"], **coins)
    desk.book("nobody-knows", symbols=["BTC-PERP"], **coins)
    shown = page(admin_client)
    assert "> 0.0500 BTC, $195,598.98, 0.0500 of no known currency <" in shown
    assert "4 active of 4 books" in shown
    assert shown.count("0.0500 BTC") == 2  # its own row has it, too


def test_a_replay_that_is_under_way_is_not_called_stopped(admin_client: Client, desk: Desk) -> None:
    book = desk.book("history", mode="replay", active=False)
    cycle = desk.cycle(book, datetime(2026, 1, 1, tzinfo=UTC), running=True)
    assert "STOPPED" not in page(admin_client)
    type(cycle).objects.update(status="DONE", finished_at=timezone.now())
    assert "STOPPED" in page(admin_client)


def test_cycles_show_how_long_they_took_or_where_they_are(admin_client: Client, desk: Desk) -> None:
    desk.cycle(desk.book(), datetime(2026, 1, 1, 9, tzinfo=UTC))
    desk.cycle(desk.book("slow"), datetime(2026, 1, 1, 10, tzinfo=UTC), age=timedelta(minutes=7), running=True)
    shown = page(admin_client)
    assert "2026-01-01 09:00" in shown
    assert "0 ms" in shown
    assert "at risk for 7 minutes" in shown


def test_a_book_of_many_cycles_hides_no_other(admin_client: Client, desk: Desk) -> None:
    desk.cycle(desk.book("slow"), datetime(2026, 1, 1, tzinfo=UTC))
    fast = desk.book("fast")
    for day in range(2, 20):
        desk.cycle(fast, datetime(2026, 1, day, tzinfo=UTC))
    shown = page(admin_client)
    assert "2026-01-01 00:00" in shown
    assert "2026-01-19 00:00" in shown
    assert "2026-01-18 00:00" not in shown


def test_a_breaker_that_is_not_closed_is_named(admin_client: Client) -> None:
    breakers.force_open("llm_api", actor="tests")
    shown = page(admin_client)
    assert "6 of 7" in shown
    assert "not closed: llm_api" in shown


def test_what_a_user_may_not_see_is_not_there(client: Client, django_user_model: type[User], desk: Desk) -> None:
    desk.book("secret-book")
    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_finding"))
    client.force_login(viewer)
    shown = page(client)
    assert "Open findings" in shown
    assert "secret-book" not in shown
    assert "Breakers closed" not in shown


def test_audits_are_listed_with_their_verdict_and_duration(admin_client: Client) -> None:
    AuditRun.objects.create(ts=timezone.now(), duration_ms=512.4, verdict="DEGRADED", n_findings=2)
    listed = admin_client.get("/admin/sentinel/auditrun/").content.decode()
    assert "DEGRADED" in listed
    assert "512 ms" in listed
