"""What the views tell of books and models."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection

from tests.support.live_market import stored_market
from trading.books import write as books
from trading.models import Book, MarketOHLC, MLModel, MLPrediction, PipelineCycle, PortfolioSnapshot

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _market(db: None) -> None:
    stored_market()


def asked(sql: str) -> tuple[object, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        (row,) = cursor.fetchall()
        return tuple(row)


def made(name: str) -> Book:
    money = {"initial_cash": Decimal(90), "fee_bps": Decimal(1), "slippage_bps": Decimal(1)}
    return books.create_book(name, mode="paper", timeframe="1d", symbols=["AAPL"], **money)


def cycle(book: Book, bar_ts: datetime) -> PipelineCycle:
    times = {"started_at": bar_ts, "finished_at": bar_ts}
    return PipelineCycle.objects.create(
        book=book, timeframe="1d", bar_ts=bar_ts, mode="paper", status="DONE", stage="done", **times
    )


def test_the_largest_fall_goes_on_over_a_resumption() -> None:
    book = made("fallen")
    for day, (equity, peak) in enumerate([(100, 100), (60, 100), (60, 60), (39, 60), (50, 60)]):
        moment = START + timedelta(days=day)
        PortfolioSnapshot.objects.create(
            book=book, cycle=cycle(book, moment), bar_ts=moment, equity=equity, cash=equity, peak_equity=peak,
            gross_exposure=0.0, drawdown=1 - equity / peak,
        )  # fmt: skip
    assert asked("SELECT max_drawdown, n_snapshots FROM v_portfolio_performance") == (pytest.approx(0.61), 5)


def test_a_forecast_counts_once_whatever_books_made_it_and_none_of_bars_seen_in_training() -> None:
    model, times = (
        MLModel.objects.get(),
        list(MarketOHLC.objects.filter(symbol="AAPL").values_list("bar_ts", flat=True)),
    )
    MLModel.objects.update(trained_to=times[50])
    for name in ("one", "another"):
        book = made(name)
        for bar_ts in times[48:53]:
            MLPrediction.objects.create(
                cycle=cycle(book, bar_ts), model=model, symbol="AAPL", timeframe="1d", bar_ts=bar_ts, horizon_bars=5,
                p_sell=0.2, p_hold=0.2, p_buy=0.6, signal="BUY",
            )  # fmt: skip
    assert asked("SELECT model, symbol, n_scored, n_directional FROM v_ml_accuracy") == ("m", "AAPL", 2, 2)
