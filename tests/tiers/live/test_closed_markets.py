"""Stocks and coins in one book: what one market decides leaves the orders of the other alone, live as in a backtest."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helios.modules import process
from tests.support import networks, parity
from tests.support.live_market import make_bars, stored
from tiers.live import book_params, chain, stages, store
from trading.books import write as books
from trading.market import instruments
from trading.market import read as market
from trading.market import write as market_service
from trading.market.bars import Bars, union
from trading.market.bars import split as by_symbol
from trading.market.calendars import LONGEST_CLOSURE
from trading.market.timestamps import utc
from trading.models import Book, MarketOHLC, Order, PipelineCycle, TradeExecution
from trading.registry import artefacts

pytestmark = pytest.mark.django_db
STOCKS, COIN = ("AAPL", "IBM"), "BTC-USDT"
N = 400  # sessions
FIRST, DECIDED = 600, 40  # rows of the union of sessions and midnights: weeks without a holiday


@pytest.fixture
def times(db: None, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """Sessions of two stocks and midnights of a coin, and a model of all three that likes to buy."""
    settings.VAR_DIR = tmp_path
    monkeypatch.setattr(artefacts, "_loaded", {})
    process.forget()
    stocks = stored(make_bars(STOCKS, n_bars=N, seed=3, start="2020-09-28"))
    instruments.ensure_instrument(COIN, "crypto")
    coin = make_midnights(stocks)
    market_service.upsert_bars(coin, source="test")
    networks.serve(tmp_path, *STOCKS, COIN, name="both")
    return [utc(ts) for ts in union([*by_symbol(stocks), *by_symbol(coin)], "1d").ts]


def make_midnights(stocks: Bars) -> Bars:
    """A coin's bars of every day, weekends too, over the sessions of the stocks."""
    days = np.arange(stocks.ts[0].astype("datetime64[D]"), stocks.ts[-1].astype("datetime64[D]"))
    other = make_bars((COIN,), n_bars=len(days), seed=5)
    return Bars(
        timeframe="1d",
        symbols=(COIN,),
        ts=days.astype("datetime64[us]"),
        **{name: getattr(other, name) for name in ("open", "high", "low", "close", "volume")},
    )


@pytest.fixture
def book(times: list[datetime]) -> Book:
    return books.create_book(
        "both",
        mode="replay",
        timeframe="1d",
        symbols=[*STOCKS, COIN],
        initial_cash=Decimal(100_000),
        fee_bps=Decimal("0.1"),
        slippage_bps=Decimal("0.1"),
        flag_overrides={"auto_trading": True},
        replay_from=times[FIRST],
        replay_until=times[-1],
    )


def decide(book: Book, bar_ts: datetime) -> PipelineCycle:
    cycle = chain.start(book, bar_ts, send=False)
    assert cycle is not None
    for stage in chain.STAGES:
        stages.run_stage(cycle.pk, stage)
    cycle.refresh_from_db()
    assert cycle.status == "DONE", cycle.reason
    return cycle


def test_orders_of_stocks_outlive_the_decisions_about_a_coin_and_fill_as_in_the_backtest(
    book: Book, times: list[datetime]
) -> None:
    for bar_ts in times[FIRST : FIRST + DECIDED]:
        decide(book, bar_ts)
    filled = set(TradeExecution.objects.filter(book=book).values_list("symbol", flat=True))
    assert filled == {*STOCKS, COIN}
    assert not Order.objects.filter(book=book, status="CANCELLED", reason__contains="superseded").exists()
    twin = parity.main("both")
    assert twin["cycles"] == DECIDED
    assert twin["worst"] == pytest.approx(dict.fromkeys(twin["worst"], 0.0), abs=1e-6)
    assert (twin["orders_equal"], twin["fills_equal"]) == (True, True)


def test_a_name_that_has_ended_limits_no_other_live_as_in_the_backtest(book: Book, times: list[datetime]) -> None:
    """It is held to the end, and a week later its volatility, its figures and its part of the leverage are none."""
    ends = next(ts for ts in times[FIRST + 10 :] if ts.hour)  # a session
    MarketOHLC.objects.filter(symbol="IBM", bar_ts__gt=ends).delete()
    for bar_ts in times[FIRST : FIRST + DECIDED]:
        last = decide(book, bar_ts)
    column = book.symbols.index("IBM")
    sigma = {cycle.bar_ts: store.load_risk(cycle).sigma[column] for cycle in book.cycles.order_by("bar_ts")}
    known = {bar_ts for bar_ts, each in sigma.items() if np.isfinite(each)}
    assert known == {bar_ts for bar_ts in sigma if bar_ts <= ends + LONGEST_CLOSURE}
    assert store.load_targets(last).weights[column] > 0.0
    twin = parity.main("both")
    assert twin["worst"] == pytest.approx(dict.fromkeys(twin["worst"], 0.0), abs=1e-6)
    assert (twin["orders_equal"], twin["fills_equal"]) == (True, True)


def test_a_book_whose_stocks_had_ended_before_it_began_is_one_of_coins(book: Book, times: list[datetime]) -> None:
    assert book_params.params_of(book).risk.target_volatility == 0.15
    MarketOHLC.objects.filter(symbol__in=STOCKS, bar_ts__gt=times[FIRST] - timedelta(days=30)).delete()
    midnights = [ts for ts in times[FIRST : FIRST + DECIDED] if not ts.hour]
    for bar_ts in midnights:
        decide(book, bar_ts)
    assert book_params.params_of(book).risk.target_volatility == 0.30
    assert Order.objects.filter(book=book, symbol=COIN).exists()
    twin = parity.main("both")
    assert twin["worst"] == pytest.approx(dict.fromkeys(twin["worst"], 0.0), abs=1e-6)
    assert (twin["orders_equal"], twin["fills_equal"]) == (True, True)


def test_a_stock_that_begins_behind_a_replay_is_none_of_it(book: Book, times: list[datetime]) -> None:
    MarketOHLC.objects.filter(symbol__in=STOCKS, bar_ts__lte=times[FIRST + DECIDED]).delete()
    Book.objects.filter(pk=book.pk).update(replay_until=times[FIRST + DECIDED])
    book.refresh_from_db()
    decide(book, next(ts for ts in times[FIRST:] if not ts.hour))
    assert book_params.params_of(book).risk.target_volatility == 0.30


def test_the_tiers_count_on_the_orders_that_wait_for_a_session(book: Book, times: list[datetime]) -> None:
    at = next(place for place, ts in enumerate(times[FIRST:], start=FIRST) if ts.hour)
    session, midnight = times[at], times[at + 1]
    first = decide(book, session)
    assert set(first.orders.values_list("symbol", flat=True)) == set(STOCKS)
    second = decide(book, midnight)
    bars = market.bar_window(book.symbols, "1d", midnight, 5)
    view = store.book_view(Book.objects.get(), bars, midnight)
    assert view.waiting == {each.symbol: each.quantity for each in first.orders.all()}
    np.testing.assert_allclose(view.weights, store.load_targets(second).previous)
    assert dict(zip(view.symbols, view.weights > 0.0, strict=True)) == {"AAPL": True, "IBM": True, COIN: False}
    assert view.held_weights.tolist() == [0.0, 0.0, 0.0]
    assert second.snapshot.gross_exposure == 0.0
    later = store.book_view(Book.objects.get(), bars, midnight + timedelta(days=7))
    assert later.waiting == {}
