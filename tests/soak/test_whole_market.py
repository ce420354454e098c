"""Every real market of minutes in the shared test data, streamed over a bad line to a process that is killed."""

from __future__ import annotations

import os
import random
import signal
import time
import zipfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.support.harness import Stack
from tests.support.ingest_bars import needs
from tests.support.venues.market import NESTED, faulty, streaming
from tests.support.venues.tape import MINUTE, Tape

DAYS = float(os.environ.get("SOAK_DAYS", "400"))
SEED = int(os.environ.get("SOAK_SEED", time.time_ns() % 10_000))
AHEAD = 240  # minutes by which the market may be ahead of what is stored
MARKETS = {
    "binance and bybit": {
        ("BTC", "USDT"): ("binance_spot", "BTC_USDT-1m.feather"),
        ("ETH", "USDT"): ("binance_spot", "ETH_USDT-1m.feather"),
        ("ADA", "USDT"): ("bybit_linear", "ADAUSDT_1m.csv.gz"),
        ("DOGE", "USDT"): ("bybit_linear", "DOGEUSDT_1m.csv.gz"),
    },
    "freqtrade": {("UNIT", "BTC"): ("freqtrade", "UNITTEST_BTC-1m.feather")},
    "lean": {(base, "USD"): ("lean_coinbase_minute", f"{base.lower()}usd") for base in ("BTC", "ETH", "LTC")},
    "xrp": {("XRP", "ETH"): ("freqtrade", "XRP_ETH-1m.feather")},
}
Row = tuple[datetime, float, float, float, float, float]


def rows_of(path: Path) -> list[Row]:
    """The bars of a file, or of a folder of days, in which something was traded: open, prices, volume."""
    if path.is_dir():
        return [row for day in sorted(path.glob("*_trade.zip")) for row in _rows_of_day(day)]
    frame = pl.read_csv(path) if path.suffix == ".gz" else pl.read_ipc(path)
    when = frame.columns[0]
    if frame[when].dtype == pl.String:
        frame = frame.with_columns(pl.col(when).str.to_datetime(time_zone="UTC"))
    columns = [pl.col(name).cast(pl.Float64) for name in ("open", "high", "low", "close", "volume")]
    return [row for row in frame.select(pl.col(when), *columns).rows() if row[5] > 0]


def _rows_of_day(path: Path) -> list[Row]:
    """A day of minutes: milliseconds since its midnight, the prices, the volume."""
    day = datetime.strptime(path.name[:8], "%Y%m%d").replace(tzinfo=UTC)
    with zipfile.ZipFile(path) as packed:
        (name,) = packed.namelist()
        lines = [[float(each) for each in line.split(",")] for line in packed.read(name).decode().split()]
    return [(day + timedelta(milliseconds=at), *figures) for at, *figures in lines if figures[4] > 0]


def tape_of(rows: list[Row]) -> Tape:
    """Four trades a minute that give its bar: at the open, the extremes and the close."""
    tape = Tape()
    for start, open_, high, low, close, volume in rows:
        for second, price in zip((1, 20, 40, 59), (open_, high, low, close), strict=True):
            tape.add(start + timedelta(seconds=second), repr(price), f"{Decimal(repr(volume)) / 4:f}")
    return tape


@pytest.mark.parametrize("name", MARKETS)
def test_a_whole_market_is_stored_exactly(stack: Stack, tmp_path: Path, name: str) -> None:
    rng = random.Random(SEED)
    files = {pair: rows_of(needs("crypto", *path)) for pair, path in MARKETS[name].items()}
    first = min(rows[0][0] for rows in files.values()).astimezone(UTC).replace(minute=0)
    until = min(max(rows[-1][0] for rows in files.values()) + MINUTE, first + timedelta(days=DAYS))
    files = {pair: [row for row in rows if row[0] < until] for pair, rows in files.items()}
    codes = ["".join(pair) for pair in files]
    killed = dropped = 0
    with streaming(stack, tmp_path, {pair: tape_of(rows) for pair, rows in files.items()}, first) as market:
        market.silent_s = 1.0
        market.start()
        market.connected()
        market.venue.stream.change = faulty(rng, (codes[0], codes[-1] if len(codes) > 1 else "BTCZAR"))
        for number in range(int((until - first) / MINUTE)):
            moment = first + number * MINUTE
            market.venue.stream.late_s = 0.2 * (rng.random() < 1 / 100)
            market.minute(moment)
            if number % AHEAD == AHEAD - 1:
                behind = moment - AHEAD * MINUTE
                stack.wait_for(lambda at=behind: market.known_until(at), timeout_s=300, what=f"all up to {behind}")
            fate = rng.random()
            if fate < 1 / 1_500:
                stack.kill("stream", signal.SIGKILL)
                market.start()
                market.connected()
                killed += 1
            elif fate < 1 / 300:
                rng.choice([market.venue.stream.drop_all, market.venue.stream.half_close_all])()
                dropped += 1
            elif fate < 1 / 200:
                market.venue.stream.deaf = not market.venue.stream.deaf
            elif fate < 1 / 150:
                market.venue.faults.next("/buckets", (200, {"code": -1, "message": "no"}), (500, b""), (200, NESTED))
        market.venue.stream.deaf = False
        market.clock.set(until + timedelta(minutes=20))
        stack.wait_for(lambda: market.known_until(until), timeout_s=600, what="the last minute")
        for (base, quote), rows in files.items():
            symbol = f"VALR:{base}-{quote}"
            expected: list[tuple[Any, ...]] = [(row[0] + MINUTE, *row[1:]) for row in rows]
            assert market.bars(symbol, "1m", first, until) == expected, (symbol, SEED)
            for timeframe, minutes in (("5m", 5), ("15m", 15), ("1h", 60)):
                found = market.bars(symbol, timeframe, first, until)
                right = joined(rows, timedelta(minutes=minutes), until)
                assert [row[:5] for row in found] == [row[:5] for row in right], (symbol, timeframe, SEED)
                sums = [row[5] for row in right]  # in another order, so their last digits may differ
                assert [row[5] for row in found] == pytest.approx(sums, rel=1e-12), (symbol, timeframe, SEED)
    n = sum(map(len, files.values()))
    print(f"{name}: {n} bars, seed {SEED}, killed {killed}, dropped {dropped} times")  # noqa: T201 - the soak says it


def joined(rows: list[Row], length: timedelta, until: datetime) -> list[tuple[Any, ...]]:
    """The bars of a plain loop over those of a minute."""
    found: list[tuple[Any, ...]] = []
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    for start, open_, high, low, close, volume in rows:
        end = start - (start - epoch) % length + length
        if found and found[-1][0] == end:
            _, opened, highest, lowest, _, sum_ = found[-1]
            found[-1] = (end, opened, max(highest, high), min(lowest, low), close, sum_ + volume)
        else:
            found.append((end, open_, high, low, close, volume))
    return [row for row in found if row[0] <= until]
