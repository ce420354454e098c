from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.market_bars import FIELDS, make_bars
from tiers.contracts import Bars
from trading.market import wire
from trading.market.bars import distinct


def plain_encode(bars: Bars, source: str) -> bytes:
    """The slow twin: every field of every row by itself, as PostgreSQL's manual lays it out."""
    out = b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0)
    for column, symbol in enumerate(bars.symbols):
        for row in range(bars.n_bars):
            if np.isnan(bars.close[row, column]):
                continue
            since_2000 = int(bars.ts[row].astype(np.int64)) - 946_684_800_000_000
            values = [
                symbol.encode(),
                bars.timeframe.encode(),
                source.encode(),
                struct.pack(">q", since_2000),
            ]
            values += [struct.pack(">d", getattr(bars, name)[row, column]) for name in FIELDS]
            out += struct.pack(">h", len(values))
            for value in values:
                out += struct.pack(">i", len(value)) + value
    return out + struct.pack(">h", -1)


@given(n=st.integers(0, 20), holes=st.floats(0, 1), seed=st.integers(0, 2**32 - 1), year=st.integers(1971, 2200))
def test_encoding_equals_the_plain_twin(n: int, holes: float, seed: int, year: int):
    bars = make_bars(n, "BTC/USD", "É", first=f"{year}-01-01T00:01", seed=seed, holes=holes)
    data, n_rows = wire.encode(bars, "a source")
    assert data == plain_encode(bars, "a source")
    assert n_rows == np.count_nonzero(~np.isnan(bars.close))


@given(n=st.integers(0, 20), holes=st.floats(0, 1), seed=st.integers(0, 2**32 - 1), year=st.integers(1971, 2200))
def test_arrays_hold_each_bar_that_exists_to_its_last_bit(n: int, holes: float, seed: int, year: int):
    bars = make_bars(n, "BTC/USD", "É", first=f"{year}-01-01T00:01", seed=seed, holes=holes)
    told, n_rows = wire.arrays(bars)
    columns = {name: json.loads(f"[{text[1:-1]}]") for name, text in told.items()}
    times = bars.ts.astype(np.int64).tolist()
    assert [*zip(*columns.values(), strict=True)] == [
        (symbol, times[row], *(getattr(bars, name)[row, column] for name in FIELDS))
        for column, symbol in enumerate(bars.symbols)
        for row in np.flatnonzero(~np.isnan(bars.close[:, column]))
    ]
    assert n_rows == len(columns["us"])


def test_decoding_puts_rows_of_any_order_on_the_union_timeline():
    rows = [(1, 60_000_000, 5.0), (0, 0, 3.0), (0, 120_000_000, 4.0)]
    body = b"".join(
        struct.pack(">hii", 7, 4, symbol)
        + struct.pack(">iq", 8, tick)
        + b"".join(struct.pack(">id", 8, value) for _ in FIELDS)
        for symbol, tick, value in rows
    )
    bars = wire.decode(wire.HEADER + body + wire.TRAILER, ("A", "B"), "1m")
    assert [str(ts)[:16] for ts in bars.ts] == ["2000-01-01T00:00", "2000-01-01T00:01", "2000-01-01T00:02"]
    np.testing.assert_array_equal(bars.close, [[3, np.nan], [np.nan, 5], [4, np.nan]])


def test_no_rows_are_no_bars():
    bars = wire.decode(wire.HEADER + wire.TRAILER, ("A",), "1d")
    assert (bars.n_bars, bars.symbols) == (0, ("A",))


@pytest.mark.parametrize("n", [0, 1, 2, 500])
def test_each_time_once_is_what_numpy_finds(n: int):
    rng = np.random.default_rng(n)
    times = np.datetime64("2024-01-01", "us") + rng.integers(0, 300, n) * np.timedelta64(60, "s")
    np.testing.assert_array_equal(distinct(times), np.unique(times))
