"""Trades -> bars of a minute: what is refused, in which order trades count, and the minutes of real files exactly."""

from __future__ import annotations

import gzip
import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ingest_bars import at, needs
from tiers.ingest.bar_problems import Code
from tiers.ingest.trades import Judged, judge, minute_bars
from trading.market.bars import FIELDS, BarTable
from trading.market.trades import Trades

NOW = at("2026-01-01 00:00:00")


def trades(*rows: tuple[str, float, float], ids: list[str] | None = None) -> Trades:
    """Rows (time in UTC, price, quantity), in the order given."""
    return Trades(
        symbol="X",
        ts=np.array([row[0] for row in rows], "datetime64[us]"),
        price=np.array([row[1] for row in rows], float),
        quantity=np.array([row[2] for row in rows], float),
        trade_id=np.array(ids if ids is not None else [""] * len(rows), np.str_),
        side=np.full(len(rows), ""),
        row=np.arange(1, len(rows) + 1),
    )


def judged(*rows: tuple[str, float, float], ids: list[str] | None = None) -> Judged:
    return judge(trades(*rows, ids=ids), not_after=NOW)


def told(found: Judged) -> list[tuple[int, Code]]:
    return [(problem.row, problem.code) for problem in found.problems]


def test_a_minute_has_its_first_and_last_price_the_extremes_and_all_that_was_traded():
    found, _ = minute_bars(
        trades(
            ("2024-01-01 00:00:00", 10, 1),
            ("2024-01-01 00:00:30", 12, 2),
            ("2024-01-01 00:00:59.999999", 9, 4),
            ("2024-01-01 00:01:00", 11, 8),
            ("2024-01-01 00:03:10", 5, 16),
        )
    )
    assert [str(ts) for ts in found.ts.astype("datetime64[m]")] == [
        "2024-01-01T00:01",
        "2024-01-01T00:02",
        "2024-01-01T00:04",
    ]
    assert [getattr(found, name).tolist() for name in FIELDS] == [
        [10, 11, 5],
        [12, 11, 5],
        [9, 11, 5],
        [9, 11, 5],
        [7, 8, 16],
    ]
    assert found.row.tolist() == [1, 4, 5]
    assert minute_bars(trades())[0].n_rows == 0


def test_trades_of_one_moment_stand_by_number_else_as_they_came_and_a_falling_source_is_turned():
    same = [("2024-01-01 00:00:01", float(price), 1.0) for price in (3, 1, 2)]
    assert judged(*same, ids=["30", "9", "20"]).trades.price.tolist() == [1, 2, 3]
    assert judged(*same, ids=["c", "a", "b"]).trades.price.tolist() == [3, 1, 2]
    newest_first = [("2024-01-01 00:00:03", 6.0, 1.0), ("2024-01-01 00:00:02", 5.0, 1.0), *same]
    assert judged(*newest_first).trades.price.tolist() == [2, 1, 3, 5, 6]


def test_what_no_venue_trades_is_refused_and_the_others_stay():
    found = judged(
        ("2024-01-01 00:00:01", 10, 1),
        ("2024-01-01 00:00:02", -1, 1),
        ("2024-01-01 00:00:03", 10, 0),
        ("2024-01-01 00:00:04", np.nan, 1),
        ("2024-01-01 00:00:05", 10, np.inf),
        ("NaT", 10, 1),
        ("1899-01-01 00:00:00", 10, 1),
        ("2026-01-01 00:00:01", 10, 1),
    )
    assert told(found) == [
        (2, Code.NOT_POSITIVE),
        (3, Code.NOT_POSITIVE),
        (4, Code.NOT_FINITE),
        (5, Code.NOT_FINITE),
        (6, Code.BAD_TIME),
        (7, Code.BAD_TIME),
        (8, Code.FUTURE),
    ]
    assert found.trades.row.tolist() == [1]
    assert found.problems[0].place_and_detail == "row 2, column price: expected a price above 0, was -1.0"


def test_a_trade_that_comes_twice_counts_once_and_with_other_values_it_breaks_a_rule():
    rows = [("2024-01-01 00:00:01", 10.0, 1.0), ("2024-01-01 00:00:02", 11.0, 2.0)]
    found = judged(*rows, rows[0], ("2024-01-01 00:00:03", 12.0, 2.0), ids=["a", "b", "a", "b"])
    assert told(found) == [(3, Code.DUPLICATE), (4, Code.CONFLICT)]
    assert found.trades.quantity.sum() == 3
    assert judged(rows[0], rows[0]).trades.n_trades == 2  # nobody says that they are one


@given(st.lists(st.tuples(st.integers(0, 600_000), st.integers(1, 500), st.integers(1, 9)), min_size=1))
def test_bars_are_those_of_a_plain_loop(made: list[tuple[int, int, int]]):
    ordered = sorted(made, key=lambda one: one[0])
    rows = [(str(np.datetime64("2024-01-01") + np.timedelta64(ms, "ms")), price, size) for ms, price, size in ordered]
    plain: dict[int, list[tuple[int, int]]] = {}
    for ms, price, size in ordered:
        plain.setdefault(ms // 60_000, []).append((price, size))
    found, n_trades = minute_bars(trades(*rows))
    assert n_trades.tolist() == [len(of_it) for of_it in plain.values()]
    for row, of_it in enumerate(plain.values()):
        prices = [price for price, _ in of_it]
        expected = (prices[0], max(prices), min(prices), prices[-1], sum(size for _, size in of_it))
        assert tuple(getattr(found, name)[row] for name in FIELDS) == expected
    assert found.n_rows == len(plain)


# --- real files ---


def assert_same(found: BarTable, expected: pl.DataFrame, *, volume_rtol: float) -> None:
    opens = expected["date"].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
    assert np.array_equal(found.ts - np.timedelta64(60, "s"), opens)
    for name in FIELDS[:4]:
        assert np.array_equal(getattr(found, name), expected[name].to_numpy()), name
    np.testing.assert_allclose(found.volume, expected["volume"].to_numpy(), rtol=volume_rtol)


def test_a_real_file_of_trades_gives_its_file_of_minutes_exactly():
    frame = pl.read_ipc(needs("crypto", "freqtrade", "XRP_ETH-trades.feather"))
    found = judge(
        Trades(
            symbol="XRP/ETH",
            ts=frame["timestamp"].cast(pl.Datetime("ms")).to_numpy().astype("datetime64[us]"),
            price=frame["price"].to_numpy(),
            quantity=frame["amount"].to_numpy(),
            trade_id=frame["id"].to_numpy().astype(np.str_),
            side=np.full(frame.height, ""),
            row=np.arange(frame.height),
        ),
        not_after=NOW,
    )
    assert found.problems == ()
    minutes = pl.read_ipc(needs("crypto", "freqtrade", "XRP_ETH-1m.feather"))
    assert_same(minute_bars(found.trades)[0], minutes, volume_rtol=0)


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_the_trades_of_a_raw_feed_give_the_minutes_that_were_made_of_it(symbol: str):
    path = needs("orderbook", f"binance_spot_{symbol.lower()}_20240808.gz")
    with gzip.open(path) as lines:
        found = [json.loads(line.split(b" ", 1)[1])["data"] for line in lines if b"@trade" in line]
    made, _ = minute_bars(
        judge(
            Trades(
                symbol=symbol,
                ts=np.array([one["T"] for one in found], "datetime64[ms]").astype("datetime64[us]"),
                price=np.array([float(one["p"]) for one in found]),
                quantity=np.array([float(one["q"]) for one in found]),
                trade_id=np.array([str(one["t"]) for one in found]),
                side=np.full(len(found), ""),
                row=np.arange(len(found)),
            ),
            not_after=NOW,
        ).trades
    )
    expected = pl.read_csv(needs("orderbook", "expected_1m_candles_20240808_2355_2359.csv"), try_parse_dates=True)
    expected = expected.filter(pl.col("symbol") == symbol)
    whole = (made.ts > np.datetime64("2024-08-08T23:55")) & (made.ts <= np.datetime64("2024-08-09"))
    assert_same(made.take(whole), expected, volume_rtol=1e-12)


def test_ids_that_look_like_numbers_and_are_none_order_nothing():
    found = judged(("2024-01-01 00:00:00", 10, 1), ("2024-01-01 00:00:00", 11, 1), ids=["\u00b2", "\u00b9"])
    assert found.trades.trade_id.tolist() == ["\u00b2", "\u00b9"]
