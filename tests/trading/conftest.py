from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import redis

from helios.breakers import process as breakers
from helios.env import get_env
from tests.support.venue import Venue
from trading.books.write import create_book
from trading.models import Instrument, PipelineCycle
from trading.orders import outbox
from trading.venues import rest

T = datetime(2024, 1, 2, 21, tzinfo=UTC)


@pytest.fixture
def instruments(db):
    for symbol in ("AAPL", "IBM"):
        Instrument.objects.create(
            symbol=symbol,
            asset_class="equity",
            quantity_step=Decimal(1),
            price_tick=Decimal("0.01"),
            calendar="us",
        )


@pytest.fixture
def book(instruments):
    return create_book(
        "desk",
        mode="paper",
        timeframe="1d",
        symbols=["AAPL", "IBM"],
        initial_cash=Decimal(10_000),
        fee_bps=Decimal(10),
        slippage_bps=Decimal(0),
    )


@pytest.fixture
def cycle(book):
    return PipelineCycle.objects.create(book=book, timeframe="1d", bar_ts=T, mode="paper")


@pytest.fixture
def venue(monkeypatch):
    made = Venue()
    monkeypatch.setattr(outbox, "venue_for", lambda _book: made)
    return made


@pytest.fixture
def venue_process(clean_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A fresh process that asks venues: its breakers write no history, which would be committed and stay."""
    breakers.forget()
    monkeypatch.setattr(breakers.current().journal, "add", lambda entry: None)
    yield
    breakers.forget()
    get_env.cache_clear()


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests to venues are tried again at once."""
    monkeypatch.setattr(rest, "FIRST_PAUSE_S", 0.0)
