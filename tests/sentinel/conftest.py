"""A book with a history, as the pipeline would have left it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from tests.support.ledger import append
from trading.models import Book, Instrument, MarketOHLC, Order, PipelineCycle, Position, TradeExecution

HOUR = timedelta(hours=1)


class Desk:
    """Makes rows for one test; every number that matters is given by the test."""

    def book(self, name: str = "paper", **changes: Any) -> Book:
        Instrument.objects.get_or_create(
            symbol="BTC/USD",
            defaults={"asset_class": "crypto", "quantity_step": Decimal("0.0001"), "price_tick": Decimal("0.01")},
        )
        fields: dict[str, Any] = {
            "mode": "paper", "active": True, "timeframe": "1h", "symbols": ["BTC/USD"], "initial_cash": Decimal(1000),
            "cash": Decimal(1000), "peak_equity": Decimal(1000), "fee_bps": 5, "slippage_bps": 2, **changes,
        }  # fmt: skip
        book = Book.objects.create(name=name, **fields)
        Position.objects.create(book=book, symbol="BTC/USD")
        return book

    def bars(self, last: datetime, n_bars: int = 10, skip: tuple[int, ...] = ()) -> None:
        """Hourly bars up to `last`; `skip` counts back from it."""
        closes = [last - HOUR * back for back in range(n_bars) if back not in skip]
        make_partitions(min(closes), last)
        MarketOHLC.objects.bulk_create(
            MarketOHLC(
                symbol="BTC/USD", timeframe="1h", bar_ts=close, open=1, high=2, low=1, close=2, volume=1, source="test"
            )
            for close in closes
        )

    def cycle(self, book: Book, bar_ts: datetime, *, age: timedelta = timedelta(0), running: bool = False) -> Any:
        started = timezone.now() - age
        return PipelineCycle.objects.create(
            book=book, timeframe=book.timeframe, bar_ts=bar_ts, mode=book.mode, started_at=started,
            status="RUNNING" if running else "DONE", stage="risk" if running else "done",
            finished_at=None if running else started,
        )  # fmt: skip

    def order(self, book: Book, key: str, status: str = "FILLED", **changes: Any) -> Order:
        cycle = self.cycle(book, datetime(2026, 1, 1, tzinfo=UTC) + HOUR * Order.objects.count())
        return Order.objects.create(
            book=book, cycle=cycle, client_order_id=key, symbol="BTC/USD", side="BUY", quantity=Decimal(2),
            reference_price=Decimal(100), bar_ts=cycle.bar_ts, status=status, **changes,
        )  # fmt: skip

    def fill(self, book: Book, key: str, *, side: str, quantity: str, price: str, fee: str) -> None:
        """An execution, booked nowhere else."""
        TradeExecution.objects.create(
            order=self.order(book, key), book=book, venue_fill_id=f"{key}-1", symbol="BTC/USD", side=side,
            quantity=Decimal(quantity), price=Decimal(price), notional=Decimal(quantity) * Decimal(price),
            fee=Decimal(fee), bar_ts=datetime(2026, 1, 1, tzinfo=UTC),
        )  # fmt: skip

    def entries(self, book: Book, n_entries: int) -> None:
        for n in range(n_entries):
            append(book.pk, None, "ingest", {"n": n})


def make_partitions(first: datetime, last: datetime) -> None:
    from helios.db.partitions import ensure_partitions

    ensure_partitions("market_ohlc", "year", first, last)


@pytest.fixture
def desk() -> Desk:
    return Desk()
