"""A synthetic market for tests: seeded daily bars with a US close."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np

from helios.breakers import CircuitOpen
from tiers.features.catalog import SET_VERSION
from trading.market import instruments
from trading.market import write as market
from trading.market.bars import Bars
from trading.models import MLModel, Order
from trading.venues.base import Ack
from trading.venues.paper.client import PaperVenue


def make_bars(symbols: tuple[str, ...], *, n_bars: int, seed: int, start: str = "2021-01-04") -> Bars:
    """Random walks with daily closes on weekdays."""
    rng = np.random.default_rng(seed)
    days = np.datetime64(start) + np.arange(n_bars * 2)
    weekdays = days[np.is_busday(days)][:n_bars]
    ts = np.array([_close(day) for day in weekdays.tolist()], dtype="datetime64[us]")
    shape = (n_bars, len(symbols))
    close = 100 * np.exp(np.cumsum(rng.normal(0.0003, 0.012, shape), axis=0))
    opened = close * np.exp(rng.normal(0, 0.004, shape))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, 0.004, shape)))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0, 0.004, shape)))
    volume = rng.integers(1_000, 100_000, shape).astype(np.float64)
    return Bars(timeframe="1d", symbols=symbols, ts=ts, open=opened, high=high, low=low, close=close, volume=volume)


def _close(day: date) -> datetime:
    """16:00 in New York as naive UTC."""
    local = datetime(day.year, day.month, day.day, 16, tzinfo=ZoneInfo("America/New_York"))
    return local.astimezone(UTC).replace(tzinfo=None)


def stored(bars: Bars) -> Bars:
    """The bars, which are in the database now with their instruments."""
    for symbol in bars.symbols:
        instruments.ensure_instrument(symbol, "equity")
    market.upsert_bars(bars, source="test")
    return bars


class ClosedVenue(PaperVenue):
    """A venue behind a circuit that lets nothing through."""

    def submit(self, order: Order) -> Ack:
        raise CircuitOpen("valr_api", reason="a person opened it", retry_after_s=None)


def stored_market() -> None:
    """Bars of AAPL and IBM, and a champion whose weights nobody will find: its forecasts are neutral."""
    stored(make_bars(("AAPL", "IBM"), n_bars=120, seed=3))
    MLModel.objects.create(
        name="m",
        preset="compact",
        role="champion",
        feature_set="base-v1",
        feature_version=SET_VERSION,
        timeframe="1d",
        symbols=["AAPL"],
        horizon_bars=5,
        seed=7,
        path="models/gone",
        weights_sha256="0" * 64,
        trained_from=datetime(2020, 1, 1, tzinfo=UTC),
        trained_to=datetime(2021, 1, 1, tzinfo=UTC),
    )
