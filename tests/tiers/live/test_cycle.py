"""A cycle in one process, stage by stage: claims, repeats, skips, fallbacks, recovery."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import numpy as np
import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from helios.errors import Rejected, Transient
from helios.modules import process as modules
from tests.support.live_market import ClosedVenue, make_bars, stored
from tests.support.orders import record_intents
from tiers.live import chain, latency, lateness, replay, schedule, stages
from tiers.live.handlers import risk
from trading.api.shapes import CycleSerializer
from trading.books import ledger
from trading.books import write as books
from trading.market import write as market_service
from trading.market.timestamps import utc
from trading.models import Book, LedgerEntry, Order, PipelineCycle, PortfolioSnapshot, Stage, StageRun, TradeExecution
from trading.orders import outbox
from trading.venues.paper.client import PaperVenue

pytestmark = pytest.mark.django_db
N = 400


@pytest.fixture
def bars(db):
    return stored(make_bars(("AAPL", "IBM"), n_bars=N, seed=3))


@pytest.fixture
def times(bars):
    return [utc(ts) for ts in bars.ts]


@pytest.fixture
def book(bars, times):
    return books.create_book(
        "desk",
        mode="replay",
        timeframe="1d",
        symbols=["AAPL", "IBM"],
        initial_cash=D(100_000),
        fee_bps=D(5),
        slippage_bps=D(2),
        flag_overrides={"auto_trading": True},
        replay_from=times[350],
        replay_until=times[-1],
    )


def run(book, bar_ts, upto=Stage.DONE):
    cycle = chain.start(book, bar_ts, send=False)
    for stage in chain.STAGES:
        if stage is upto:
            break
        stages.run_stage(cycle.pk, stage)
    cycle.refresh_from_db()
    return cycle


def test_a_cycle_passes_seven_tiers_and_ends(book, times):
    cycle = run(book, times[350])
    assert (cycle.status, cycle.stage) == ("DONE", "done")
    assert [r.stage for r in cycle.stage_runs.all()] == [s.value for s in chain.STAGES]
    assert all(r.duration_ms > 0 and r.module_version == cycle.modules[r.stage] for r in cycle.stage_runs.all())
    assert cycle.snapshot.equity == D(100_000)


def test_every_tier_is_on_the_ledger(book, times):
    run(book, times[350])
    kinds = list(LedgerEntry.objects.order_by("sequence").values_list("kind", flat=True))
    assert kinds == [s.value for s in chain.STAGES] + ["end"]
    assert ledger.verify(book.pk) is None


def test_the_api_shows_the_hash_that_a_cycle_ended_with(book, times, monkeypatch):
    ends = [run(book, times[350]), run(book, times[351] - timedelta(hours=1))]
    with monkeypatch.context() as broken:
        broken.setitem(stages.HANDLERS, Stage.LLM, lambda _ctx: 1 / 0)
        ends.append(run(book, times[351]))
    assert [cycle.status for cycle in ends] == ["DONE", "SKIPPED", "FAILED"]
    for cycle in ends:
        last = LedgerEntry.objects.filter(cycle=cycle).order_by("sequence").last()
        assert CycleSerializer(cycle).data["ledger_hash"] == last.hash
    assert CycleSerializer(chain.start(book, times[352], send=False)).data["ledger_hash"] == ""


def test_without_a_model_the_forecast_is_neutral_and_says_so(book, times):
    cycle = run(book, times[350])
    row = cycle.stage_runs.get(stage="predict")
    assert (row.fallback, "train" in row.reason) == ("neutral_forecast", True)
    assert {p.signal for p in cycle.predictions.all()} == {"HOLD"}
    assert not Order.objects.exists()


@pytest.mark.parametrize(("row", "tried"), [(100, False), (260, False), (350, True)])
def test_a_fit_that_failed_is_told_and_not_that_bars_for_one_lack(book, times, row, tried, monkeypatch):
    plain = risk.forecast_volatility
    by_ewma = lambda *given, **_: replace(plain(*given, garch=False), preferred="garch")  # noqa: E731
    monkeypatch.setattr(risk, "forecast_volatility", by_ewma)
    found = run(book, times[row], upto=Stage.LLM).stage_runs.get(stage="risk")
    told = "ewma_volatility GARCH could not be fitted for AAPL, IBM" if tried else " "
    assert f"{found.fallback} {found.reason}" == told


def test_a_double_tick_starts_one_cycle(book, times):
    first = chain.start(book, times[350], send=False)
    assert first is not None
    assert chain.start(book, times[350], send=False) is None
    assert PipelineCycle.objects.count() == 1


def test_a_message_that_comes_twice_changes_nothing(book, times):
    cycle = chain.start(book, times[350], send=False)
    for stage in chain.STAGES:
        for _ in range(2):
            assert stages.run_stage(cycle.pk, stage) == cycle.pk
    assert StageRun.objects.count() == 7
    assert PortfolioSnapshot.objects.count() == 1


def test_a_message_out_of_order_waits_for_its_turn(book, times):
    cycle = chain.start(book, times[350], send=False)
    stages.run_stage(cycle.pk, Stage.RISK)
    cycle.refresh_from_db()
    assert cycle.stage == "ingest"
    assert not StageRun.objects.exists()


def test_a_stage_that_raises_writes_nothing_and_the_cycle_ends_with_its_reason(book, times, monkeypatch):
    def broken(_ctx):
        PortfolioSnapshot.objects.all().delete()
        raise Rejected("the optimiser found no solution")

    monkeypatch.setitem(stages.HANDLERS, Stage.PORTFOLIO, broken)
    cycle = run(book, times[350])
    assert (cycle.status, cycle.reason) == ("FAILED", "portfolio: the optimiser found no solution")
    assert not StageRun.objects.filter(stage="portfolio").exists()
    assert not Order.objects.exists()


def test_a_defect_in_a_tier_ends_the_cycle_with_its_kind(book, times, monkeypatch):
    monkeypatch.setitem(stages.HANDLERS, Stage.LLM, lambda _ctx: 1 / 0)
    cycle = run(book, times[350])
    assert cycle.status == "FAILED"
    assert cycle.reason.startswith("llm: ZeroDivisionError")


def test_a_passing_trouble_leaves_the_cycle_to_be_tried_again(book, times, monkeypatch):
    def away(_ctx):
        raise Transient("the venue did not answer")

    cycle = run(book, times[350], upto=Stage.LLM)
    monkeypatch.setitem(stages.HANDLERS, Stage.LLM, away)
    with pytest.raises(Transient):
        stages.run_stage(cycle.pk, Stage.LLM)
    cycle.refresh_from_db()
    assert (cycle.status, cycle.stage) == ("RUNNING", "llm")


def test_a_book_runs_one_cycle_at_a_time_and_never_goes_back(book, times):
    chain.start(book, times[351], send=False)
    assert chain.start(book, times[352], send=False) is None
    PipelineCycle.objects.update(status="DONE", finished_at=timezone.now())
    assert chain.start(book, times[350], send=False) is None
    assert chain.start(book, times[352], send=False) is not None


def test_the_database_refuses_a_second_running_cycle(book, times):
    chain.start(book, times[351], send=False)
    with pytest.raises(IntegrityError), transaction.atomic():
        PipelineCycle.objects.create(book=book, timeframe="1d", bar_ts=times[352], mode="replay")


def test_orders_do_not_leave_once_auto_trading_is_off(book, times):
    cycle = run(book, times[350], upto=Stage.EXECUTE)
    record_intents(cycle, [_Intent(times[350])])
    PipelineCycle.objects.update(stage="done")
    book.flag_overrides = {"auto_trading": False}
    book.save()
    stages.finish(cycle.pk)
    order = Order.objects.get()
    assert (order.status, order.reason) == ("WITHHELD", "auto_trading is off")


def test_an_order_that_a_circuit_held_back_waits_and_is_withheld_once_its_bar_is_late(book, times, monkeypatch):
    cycle = run(book, times[350], upto=Stage.EXECUTE)
    record_intents(cycle, [_Intent(times[350])])
    PipelineCycle.objects.update(stage="done")
    monkeypatch.setattr(outbox, "venue_for", lambda _book: ClosedVenue())
    stages.finish(cycle.pk)
    cycle.refresh_from_db()
    assert (cycle.status, Order.objects.get().status) == ("RUNNING", "NEW")
    monkeypatch.setattr(stages, "late_now", lambda *_: True)
    stages.finish(cycle.pk)
    cycle.refresh_from_db()
    assert (cycle.status, Order.objects.get().status) == ("DONE", "WITHHELD")
    assert Order.objects.get().reason.startswith("the bar is too late to be traded; until then: circuit valr_api")


def test_a_cycle_that_is_given_up_names_the_orders_whose_fate_nobody_knows(book, times, monkeypatch):
    monkeypatch.setattr(chain, "send_chain", lambda *_: True)
    monkeypatch.setattr(PaperVenue, "grace_s", 3600.0)
    cycle = run(book, times[350], upto=Stage.EXECUTE)
    record_intents(cycle, [_Intent(times[350]), _Intent(times[350], symbol="IBM", client_order_id="h-new")])
    Order.objects.filter(client_order_id="h-test").update(status="UNKNOWN")
    PipelineCycle.objects.update(
        stage="done", progressed_at=timezone.now() - timedelta(hours=1), redriven=chain.MAX_REDRIVES
    )
    chain.recover(stalled_s=60)
    cycle.refresh_from_db()
    assert cycle.reason == f"gave up at done after {chain.MAX_REDRIVES} attempts; h-test is still UNKNOWN"
    assert list(Order.objects.order_by("id").values_list("status", flat=True)) == ["UNKNOWN", "WITHHELD"]


def test_an_order_fills_at_its_own_next_bar_even_when_that_cycle_failed(book, times, monkeypatch, bars):
    first = run(book, times[350], upto=Stage.EXECUTE)
    record_intents(first, [_Intent(times[350])])
    PipelineCycle.objects.update(stage="done")
    stages.finish(first.pk)
    with monkeypatch.context() as broken:
        broken.setitem(stages.HANDLERS, Stage.INGEST, lambda _ctx: 1 / 0)
        assert run(book, times[351]).status == "FAILED"
    run(book, times[352])
    fill = TradeExecution.objects.get()
    assert fill.bar_ts == times[351]
    opened = bars.open[351, bars.symbols.index("AAPL")]
    assert float(fill.price) == pytest.approx(opened * 1.0002, rel=1e-6)


def test_the_peak_is_kept_when_a_cycle_ends_early(book, times, monkeypatch):
    monkeypatch.setitem(stages.HANDLERS, Stage.LLM, lambda _ctx: 1 / 0)
    book.positions.filter(symbol="AAPL").update(quantity=D(100_000))
    run(book, times[350])
    book.refresh_from_db()
    assert book.peak_equity > D(1_000_000)


def test_a_corrected_bar_makes_its_features_again(book, times, bars):
    run(book, times[350])
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM engineered_features")
        assert cursor.fetchone()[0] > 0
        shifted = bars.rows(slice(0, 1))
        market_service.upsert_bars(replace(shifted, volume=shifted.volume * 2), source="test")
        cursor.execute("SELECT count(*) FROM engineered_features")
        assert cursor.fetchone()[0] == 0


@dataclass(frozen=True)
class _Intent:
    bar_ts: datetime
    symbol: str = "AAPL"
    side: str = "BUY"
    quantity: D = D(10)
    reference_price: D = D(100)
    client_order_id: str = "h-test"


def test_a_bar_that_no_symbol_has_is_skipped(book, times):
    cycle = run(book, times[350] + timedelta(hours=1))
    assert cycle.status == "SKIPPED"
    assert "NO_BAR" in cycle.reason


def test_a_late_bar_is_never_traded(book, times):
    book.mode = "paper"
    book.save()
    cycle = run(book, times[350])
    assert cycle.status == "SKIPPED"
    assert cycle.reason.startswith("LATE_BAR")


def test_features_of_warm_up_rows_are_missing_never_zero(book, times):
    book.replay_from = times[5]
    book.save()
    run(book, times[5])
    with connection.cursor() as cursor:
        cursor.execute("SELECT values FROM engineered_features WHERE bar_ts = %s", [times[5]])
        rows = [row[0] for row in cursor.fetchall()]
    assert len(rows) == 2
    assert all(np.isnan(row).sum() > 10 for row in rows)


def test_stalled_cycles_are_sent_again_and_given_up_in_the_end(book, times, monkeypatch):
    sent = []
    monkeypatch.setattr(chain, "send_chain", lambda pk, stage: sent.append((pk, stage)) or True)
    cycle = run(book, times[350], upto=Stage.RISK)
    PipelineCycle.objects.update(progressed_at=timezone.now() - timedelta(minutes=5))
    assert chain.recover(stalled_s=60) == 1
    assert chain.recover(stalled_s=60) == 0
    PipelineCycle.objects.update(progressed_at=timezone.now() + timedelta(hours=3))  # the clock was set back
    assert chain.recover(stalled_s=60) == 1
    assert sent == [(cycle.pk, Stage.RISK)] * 2
    PipelineCycle.objects.update(progressed_at=timezone.now() - timedelta(hours=1), redriven=chain.MAX_REDRIVES)
    chain.recover(stalled_s=60)
    cycle.refresh_from_db()
    assert cycle.status == "FAILED"
    assert "gave up at risk" in cycle.reason


def test_recovery_of_a_cycle_whose_orders_were_not_sent_sends_the_last_task(book, times, monkeypatch):
    sent = []
    monkeypatch.setattr(chain, "send_chain", lambda pk, stage: sent.append(stage) or True)
    monkeypatch.setattr(stages, "finish", lambda _pk: None)
    run(book, times[350])
    PipelineCycle.objects.update(progressed_at=timezone.now() - timedelta(minutes=5))
    chain.recover(stalled_s=60)
    assert sent == [Stage.EXECUTE]


def test_a_book_whose_cycle_cannot_begin_keeps_no_other_from_its_cycle(book, times, monkeypatch):
    Book.objects.update(active=True)
    book.pk, book.name, book.active = None, "other", True
    book.save()
    started = []
    monkeypatch.setattr(chain, "start", lambda of, _: int("nothing") if of.name == "desk" else started.append(of.name))
    with pytest.raises(ValueError, match="nothing"):
        schedule.tick()
    assert started == ["other"]


def test_a_replay_book_is_ticked_bar_by_bar_to_its_end(book, times, monkeypatch):
    monkeypatch.setattr(chain, "send_chain", lambda *_: True)
    books.set_active("desk", active=True, actor="ana", reason="")
    assert schedule.tick() == 1
    assert schedule.tick() == 0  # the cycle still runs
    PipelineCycle.objects.update(status="DONE", finished_at=timezone.now())
    book.replay_until = times[350]
    book.save(update_fields=["replay_until"])
    assert schedule.tick() == 0
    book.refresh_from_db()
    assert not book.active


def test_a_paper_book_follows_the_newest_bar(book, times, monkeypatch):
    monkeypatch.setattr(chain, "send_chain", lambda *_: True)
    book.mode, book.active = "paper", True
    book.save()
    assert schedule.due_bar(book) == times[-1]
    chain.start(book, times[-1])
    assert schedule.due_bar(book) is None


def test_flags_and_versions_are_pinned_to_the_cycle(book, times):
    cycle = chain.start(book, times[350], send=False)
    assert cycle.switches["auto_trading"] is True
    assert cycle.switches["garch_volatility"] is True
    assert cycle.modules == modules.pins()
    assert cycle.modules["risk"].startswith("1.0.0+")
    assert cycle.rollouts == []


def test_latencies_are_told_per_tier_and_per_cycle(book, times):
    ids = [run(book, ts).pk for ts in times[350:353]]
    table = latency.latency_table(ids)
    assert list(table) == [s.value for s in chain.STAGES] + ["cycle"]
    assert all(row["p50_ms"] <= row["p95_ms"] for row in table.values())


def test_a_replay_needs_enough_bars_and_a_model(bars):
    options = {
        "symbols": ["AAPL"],
        "timeframe": "1d",
        "first": None,
        "cash": None,
        "name": None,
        "auto_trading": True,
    }
    with pytest.raises(Rejected, match="at least one bar"):
        replay.prepare(n_bars=0, **options)
    with pytest.raises(Rejected, match="there are 400"):
        replay.prepare(n_bars=401, **options)
    with pytest.raises(Rejected, match="train"):
        replay.prepare(n_bars=10, **options)


def test_the_summary_of_a_replay_adds_up(book, times):
    ids = [run(book, ts).pk for ts in times[350:354]]
    result = replay.summary(book.pk, ids, elapsed_s=1.0)
    assert result["cycles"] == {"run": 4, "done": 4}
    assert result["fallbacks"] == {"neutral_forecast": 4}
    assert result["ledger"] == {"entries": 32, "intact": True}
    assert (result["final_equity"], result["currency"]) == ("100000", "USD")
    assert result["state"] == "ACTIVE"
    Book.objects.filter(pk=book.pk).update(state="HALTED")
    assert replay.summary(book.pk, ids, elapsed_s=1.0)["state"] == "HALTED"


def test_history_is_never_late():
    bar = datetime(2020, 1, 1, tzinfo=UTC)
    now = datetime(2024, 1, 1, tzinfo=UTC)
    assert lateness.is_late(Book(mode="paper"), bar, now=now, limit_s=60)
    assert not lateness.is_late(Book(mode="replay"), bar, now=now, limit_s=60)
