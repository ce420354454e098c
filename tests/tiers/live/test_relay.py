"""What books decide and do comes on the event bus: all of it, once, in order, whatever was away meanwhile."""

from __future__ import annotations

import io
import json
from decimal import Decimal as D
from typing import Any

import pytest
import redis
from django.core.management import CommandError, call_command

from helios.breakers import process as breakers
from helios.breakers.catalog import SHIPPED
from helios.breakers.errors import CircuitOpen
from helios.errors import Transient
from tests.support.commands import answered, printed
from tests.support.live_market import make_bars, stored
from tests.support.orders import Intent, record_intents
from tiers.live import chain, relay, stages
from tiers.live.relay import Relay
from trading.books import write as books
from trading.events import RiskEvent, SignalEvent, TradeEvent
from trading.market import shared_windows
from trading.market.timestamps import utc
from trading.models import Book, LedgerEntry, MLPrediction, Order, RiskDecision, Stage, TradeExecution

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clean_redis")]
N_CYCLES = 6
MONEY = {"initial_cash": D(100_000), "fee_bps": D(5), "slippage_bps": D(2)}


@pytest.fixture
def cycles(db: Any) -> list[Any]:
    """Some cycles of a book that trades."""
    times = [utc(ts) for ts in stored(make_bars(("AAPL", "IBM"), n_bars=400, seed=3)).ts]
    options = {
        "mode": "replay",
        "timeframe": "1d",
        "symbols": ["AAPL", "IBM"],
        "flag_overrides": {"auto_trading": True},
    }
    book = books.create_book("desk", replay_from=times[350], replay_until=times[-1], **options, **MONEY)
    return [_run(book, moment) for moment in times[350 : 350 + N_CYCLES]]


def _run(book: Any, bar_ts: Any) -> Any:
    cycle = chain.start(book, bar_ts, send=False)
    for stage in chain.STAGES:
        if stage is Stage.EXECUTE:  # no model is there to want anything
            record_intents(cycle, [Intent(symbol=symbol, bar_ts=bar_ts) for symbol in book.symbols])
        stages.run_stage(cycle.pk, stage)
    cycle.refresh_from_db()
    return cycle


def told(topic: str) -> list[Any]:
    return [entry.event for entry in relay.bus().read(topic, n=1_000)]


def test_every_forecast_decision_order_and_fill_is_told_once_and_in_order(cycles: list[Any]) -> None:
    assert Relay(relay.bus()).step() == LedgerEntry.objects.count()
    assert Relay(relay.bus()).step() == 0
    signals, risks, trades = told("signal"), told("risk"), told("trade")
    rows = list(MLPrediction.objects.order_by("pk"))
    assert [(one.cycle, one.symbol, one.signal, one.p_buy) for one in signals] == [
        (row.cycle_id, row.symbol, row.signal, row.p_buy) for row in rows
    ]
    assert [one.cycle for one in risks] == [cycle.pk for cycle in cycles]
    assert all(isinstance(one, RiskEvent) and set(one.max_weight) == {"AAPL", "IBM"} for one in risks)
    orders = [one for one in trades if one.kind == "order"]
    assert [(one.client_order_id, one.quantity) for one in orders] == [
        (row.client_order_id, row.quantity) for row in Order.objects.order_by("pk")
    ]
    fills = [one for one in trades if one.kind == "fill"]
    assert [(one.client_order_id, one.price, one.fee) for one in fills] == [
        (row.order.client_order_id, row.price, row.fee) for row in TradeExecution.objects.order_by("pk")
    ]
    assert fills
    assert orders
    assert isinstance(signals[0], SignalEvent)
    assert isinstance(trades[0], TradeEvent)
    assert (signals[0].book, signals[0].mode, signals[0].bar_ts) == ("desk", "replay", cycles[0].bar_ts)


def test_a_relay_that_goes_on_after_another_tells_the_rest(cycles: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "AT_ONCE", 7)
    steps = 0
    while Relay(relay.bus()).step():
        steps += 1
    assert steps == -(-LedgerEntry.objects.count() // 7)
    assert len(told("signal")) == MLPrediction.objects.count()


def test_a_bus_that_has_lost_everything_is_told_anew(cycles: list[Any], clean_redis: redis.Redis) -> None:
    Relay(relay.bus()).step()
    before = told("trade")
    clean_redis.flushdb()
    Relay(relay.bus()).step()
    assert told("trade") == before


@pytest.mark.parametrize("mark", ["x", "-5", "1e9", "9" * 18, "9" * 5_000, b"\xff"])
def test_marks_that_no_relay_has_left_keep_nothing_from_being_told(
    cycles: list[Any], clean_redis: redis.Redis, mark: str | bytes
) -> None:
    book = LedgerEntry.objects.values_list("book", flat=True)[0]
    clean_redis.hset("helios:bus-marks", mapping={f"ledger:{book}": mark, "ledger:x": "1", "x": "x", b"\xff": "1"})
    assert Relay(relay.bus()).step() == LedgerEntry.objects.count()
    assert Relay(relay.bus()).step() == 0
    assert len(told("signal")) == MLPrediction.objects.count()


def read_risk(*words: str) -> tuple[list[dict[str, Any]], str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("bus", "read", "risk", *words, stdout=out, stderr=err)
    return [json.loads(line) for line in out.getvalue().splitlines()], err.getvalue()


def test_the_command_reads_topics_and_says_who_follows_them(cycles: list[Any]) -> None:
    Relay(relay.bus()).step()
    numbers = [cycle.pk for cycle in cycles]
    lines, said = read_risk("-n", "2")
    assert [line["event"]["cycle"] for line in lines] == numbers[-2:]
    assert said == f"{N_CYCLES - 2} older events of risk: --after 0-0 begins with them\n"
    lines, said = read_risk("-n", "2", "--after", "0-0")
    assert [line["event"]["cycle"] for line in lines] == numbers[:2]
    assert said == f"More of risk may follow: --after {lines[-1]['id']}\n"
    assert read_risk() == read_risk("--after", "0-0")  # all of them, and nothing is left to say
    assert answered("bus", "status", "risk") == {"topics": {"risk": {"events": N_CYCLES, "groups": {}}}}
    assert f"risk: {N_CYCLES} events" in printed("bus", "status")
    for words, sentence in (
        (("read", "news"), "a topic must be one of market, ticker, signal, risk, trade, was 'news'"),
        (("follow", "risk"), "follow needs --group NAME"),
    ):
        with pytest.raises(CommandError, match=sentence):
            call_command("bus", *words)


def test_a_row_that_is_none_of_its_kind_keeps_no_other_from_being_told(cycles: list[Any]) -> None:
    RiskDecision.objects.filter(cycle=cycles[0]).update(max_weight=[0.5])
    RiskDecision.objects.filter(cycle=cycles[1]).update(max_weight=[0.5, float("nan")])
    assert Relay(relay.bus()).step() == LedgerEntry.objects.count()
    risks = told("risk")
    assert [one.cycle for one in risks] == [cycle.pk for cycle in cycles[1:]]
    assert risks[0].max_weight == {"AAPL": 0.5, "IBM": None}


@pytest.mark.parametrize("most", [5, 20_000])
def test_a_step_reads_no_more_than_its_bound_and_further_ones_tell_the_rest(
    cycles: list[Any], monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Of entries, and of rows: what a decision denied may be long, too."""
    RiskDecision.objects.update(denials=[{"code": "x" * 15_000}])
    monkeypatch.setattr(relay, "MOST_BYTES", most)
    steps = list(iter(Relay(relay.bus()).step, 0))
    n_entries = LedgerEntry.objects.count()
    assert (len(steps) >= (n_entries if most == 5 else N_CYCLES), sum(steps)) == (True, n_entries)
    assert [len(told(topic)) for topic in ("risk", "signal")] == [N_CYCLES, MLPrediction.objects.count()]


def test_long_entries_of_one_book_keep_no_other_book_waiting(
    cycles: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (
        Book.objects.get(),
        books.create_book("second", **MONEY, mode="paper", timeframe="1d", symbols=["IBM"]),
    )
    for sequence, previous in enumerate(("a", "b"), 1):
        LedgerEntry.objects.create(
            book=second, sequence=sequence, kind="end", payload={}, previous_hash=previous, hash="x"
        )
    LedgerEntry.objects.filter(book=first).update(payload={"long": "x" * 5_000})
    monkeypatch.setattr(relay, "MOST_BYTES", 8_000)
    bus = relay.bus()
    for _ in range(2):
        Relay(bus).step()
    assert bus.marks([f"ledger:{second.pk}", f"ledger:{first.pk}"]) == ["2", "2"]


@pytest.mark.parametrize("payload", [{"fills": [5]}, {"fills": 5}, {"fills": [["a", 1]]}, [1], {"fills": [[{}] * 5]}])
def test_an_entry_that_is_none_of_ours_keeps_no_other_from_being_told(cycles: list[Any], payload: Any) -> None:
    first, *_ = LedgerEntry.objects.filter(kind="ingest").order_by("pk")
    LedgerEntry.objects.filter(pk=first.pk).update(payload=payload)
    assert Relay(relay.bus()).step() == LedgerEntry.objects.count()
    assert len(told("risk")) == len(cycles)


def test_a_bus_and_shared_windows_that_are_away_are_left_alone_by_their_breaker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("helios.breakers.journal.write", lambda _: None)  # it commits past this test
    asked = list[str]()

    class Dead:
        def pipeline(self, **_: Any) -> None:
            asked.append("bus")
            raise redis.TimeoutError("no answer within 2 s")

        def get(self, _: str) -> None:
            asked.append("window")
            raise redis.TimeoutError("no answer within 2 s")

    bus, limit = relay.bus(), SHIPPED["redis_cache"].config.failure_threshold
    monkeypatch.setattr(bus, "client", Dead())
    monkeypatch.setattr(shared_windows, "_client", lambda _: Dead())
    breakers.forget()
    for _ in range(limit - 1):
        with pytest.raises(Transient):
            bus.publish([])
    for _ in range(limit):
        assert shared_windows.get(["AAPL"], "1d", 5, ["x"]) is None
    with pytest.raises(CircuitOpen):
        bus.publish([])
    breakers.forget()
    assert asked == ["bus"] * (limit - 1) + ["window"]
