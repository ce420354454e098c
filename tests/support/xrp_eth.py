"""A real market of two days: its trades as a stand-in venue tells them, and the bars that others made of them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl

from tests.support.ingest_bars import needs
from tests.support.venues.tape import Tape, taped
from trading.market import read as market
from trading.market.bars import FIELDS
from trading.market.timeframes import seconds


def real_tape() -> Tape:
    """All its trades, in order."""
    frame = pl.read_ipc(needs("crypto", "freqtrade", "XRP_ETH-trades.feather"))
    rows = frame.select("timestamp", pl.col("price", "amount").cast(pl.String), "side").rows()
    return taped((datetime.fromtimestamp(ms / 1000, UTC), *of_it) for ms, *of_it in rows)


def assert_stored(symbol: str) -> None:
    """The stored bars of 1m and 5m are those of the market's files, digit for digit."""
    for timeframe in ("1m", "5m"):
        expected = pl.read_ipc(needs("crypto", "freqtrade", f"XRP_ETH-{timeframe}.feather"))
        found = market.bar_range([symbol], timeframe)
        opens = expected["date"].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
        assert np.array_equal(found.ts - np.timedelta64(seconds(timeframe), "s"), opens)
        for name in FIELDS:
            assert np.array_equal(getattr(found, name)[:, 0], expected[name].to_numpy()), (timeframe, name)
