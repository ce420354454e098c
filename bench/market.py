"""Market data: bars into the table beside Django's bulk_create, and a venue's stream from messages to the commit."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np

from bench.timing import best_of

N_SYMBOLS, N_BARS = 20, 10_000
N_STREAMED, TRADES_A_MINUTE, MINUTES = 2, 12_000, 5  # 400 trades a second, and an order book of each pair
N_LISTED, ROUNDS = 200, 60
START = np.datetime64("2025-01-06T00:01", "us")
MINUTE = np.timedelta64(60, "s")


def measure() -> list[dict[str, Any]]:
    """One row a kind of work, as in the process that streams."""
    from helios.liveness import settle  # noqa: PLC0415 - once Django is set up, as below

    settle()
    return [_bars(), _stream(), _latency()]


def _bars() -> dict[str, Any]:
    from trading.market.bars import Bars  # noqa: PLC0415
    from trading.market.write import upsert_bars  # noqa: PLC0415

    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 1e-4, (N_BARS, N_SYMBOLS)), axis=0))
    bars = Bars(
        timeframe="1m",
        symbols=tuple(f"BENCH{k}" for k in range(N_SYMBOLS)),
        ts=START + np.arange(N_BARS) * MINUTE,
        **dict.fromkeys(("open", "high", "low", "close"), close),
        volume=np.ones_like(close),
    )

    def ours() -> None:
        upsert_bars(bars, "bench")

    ours_s = min(emptied(ours) for _ in range(3))
    few = bars.rows(slice(0, N_BARS // 10))
    theirs_s = min(emptied(lambda: _bulk_create(few)) for _ in range(3))
    n_rows = N_BARS * N_SYMBOLS
    return row(
        "bars into PostgreSQL, with constraints and partitions", n_rows / ours_s, "rows/s", "Django bulk_create",
        n_rows / 10 / theirs_s, ">= 200,000",
    )  # fmt: skip


def _bulk_create(bars: Any) -> None:
    from trading.market.timestamps import utc_times  # noqa: PLC0415
    from trading.models import MarketOHLC  # noqa: PLC0415

    times = utc_times(bars.ts)
    rows = [
        MarketOHLC(symbol=symbol, timeframe="1m", bar_ts=at, open=p, high=p, low=p, close=p, volume=1.0, source="bench")
        for column, symbol in enumerate(bars.symbols)
        for at, p in zip(times, bars.close[:, column].tolist(), strict=True)
    ]
    MarketOHLC.objects.bulk_create(rows, batch_size=5_000)


def emptied(run: Any) -> float:
    """Seconds of one run into a table without these bars, and without what is left of those of the run before."""
    from django.db import connection  # noqa: PLC0415

    from helios.db.partitions import ensure_partitions  # noqa: PLC0415
    from trading.market.timestamps import utc  # noqa: PLC0415

    ensure_partitions("market_ohlc", "year", utc(START), utc(START))
    found = best_of(run, repeat=1)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM market_ohlc WHERE symbol LIKE 'BENCH%'")
        cursor.execute("DELETE FROM market_trades WHERE symbol LIKE 'BENCH%'")
        cursor.execute("DELETE FROM feed_coverage WHERE symbol LIKE 'BENCH%'")
        cursor.execute("VACUUM market_ohlc, market_trades, orderbook_snapshots, feed_coverage")
    return found


def _stream() -> dict[str, Any]:
    from tiers.live.feed.depth import OrderBooks  # noqa: PLC0415

    messages = [list(_minute(number)) for number in range(MINUTES)]

    def run() -> None:
        heard = _hearing(N_STREAMED)
        books = OrderBooks({f"P{k}": f"BENCH{k}" for k in range(N_STREAMED)})
        for minute in messages:
            _write(_told(heard, minute, books))

    seconds = min(emptied(run) for _ in range(3))
    rate = N_STREAMED * TRADES_A_MINUTE * MINUTES / seconds
    return row("stream: parse, aggregate, keep order books, store", rate, "trades/s", "", None, ">= 100,000")


def _latency() -> dict[str, Any]:
    heard = _hearing(N_LISTED)
    times = []

    def run() -> None:
        for number in range(ROUNDS):
            minute = [bucket(k, number) for k in range(N_LISTED)]
            began = time.perf_counter()
            _write(_told(heard, minute))
            times.append((time.perf_counter() - began) * 1e3)

    emptied(run)
    work = f"the venue's bars of a minute of {N_LISTED} pairs -> committed, p99"
    return row(work, float(np.quantile(times, 0.99)), "ms", "", None, "<= 50 ms")


def _hearing(n: int) -> dict[str, Any]:
    from tiers.ingest.minutes import Minutes  # noqa: PLC0415

    since = (START - MINUTE).astype(int)
    return {f"P{k}": Minutes(symbol=f"BENCH{k}", until=int(since), heard_from=int(since)) for k in range(n)}


def _told(heard: dict[str, Any], messages: list[bytes], books: Any = None) -> list[Any]:
    """What is to be stored: minutes, and order books at their ends."""
    from tiers.live.feed.recorder import KnownMinute  # noqa: PLC0415
    from trading.venues.streaming import Depth  # noqa: PLC0415
    from trading.venues.valr import messages as valr  # noqa: PLC0415

    told = list[Any]()
    for message in messages:
        found = valr.read(message)
        minutes = heard[found.code]  # type: ignore[union-attr]
        if isinstance(found, Depth):
            if (noted := books.apply(found, found.at)) is not None:
                told.append(noted)
        elif isinstance(found, valr.Trade):
            minutes.trade(found.at, found.price, found.quantity, found.side, found.trade_id)
        else:
            before = minutes.until
            closed = minutes.bar(found.close, found.row)  # type: ignore[union-attr]
            told.append(KnownMinute(closed=closed, higher=minutes.higher(before), until=minutes.until))
    return told


def _write(told: list[Any]) -> None:
    from tiers.live.feed import recorder  # noqa: PLC0415
    from tiers.live.feed.depth import BookSnapshot  # noqa: PLC0415

    noted = [one for one in told if isinstance(one, BookSnapshot)]
    minutes = [one for one in told if not isinstance(one, BookSnapshot)]
    recorder.write(minutes, "bench")
    recorder.write_known(minutes, "bench")
    if further := [*(one.closed for one in minutes if one.closed.trades), *noted]:
        recorder.write_trades_and_books(further)


def _minute(number: int) -> Any:
    """Trades of a minute at prices that rise, and the venue's bar of it, for each pair."""
    for k in range(N_STREAMED):
        for n in range(TRADES_A_MINUTE):
            if n % (TRADES_A_MINUTE // 60) == 0:
                yield book(k, number, n * 60_000 // TRADES_A_MINUTE)
            yield trade(k, number, n * 60_000 // TRADES_A_MINUTE, price=1_000 + n)
        yield bucket(k, number, close=999 + TRADES_A_MINUTE, volume=TRADES_A_MINUTE / 4)


def trade(k: int, number: int, ms: int, *, price: float = 1_000) -> bytes:
    """VALR's message of a trade of the k-th pair, so many milliseconds into a minute."""
    at = f"{START - MINUTE + number * MINUTE + np.timedelta64(ms, 'ms')}"[:23] + "Z"
    data = {"price": str(price), "quantity": "0.25", "currencyPair": f"P{k}", "tradedAt": at, "takerSide": "buy"}
    return _message("NEW_TRADE", k, data)


def book(k: int, number: int, ms: int) -> bytes:
    """VALR's message of the best 40 levels a side of the k-th pair, so many milliseconds into a minute."""
    sides = {
        name: [
            {"side": side, "quantity": "1.5", "price": f"{1_000 + way * (1 + n)}", "currencyPair": f"P{k}"}
            for n in range(40)
        ]
        for name, side, way in (("Asks", "sell", 1), ("Bids", "buy", -1))
    }
    at = f"{START - MINUTE + number * MINUTE + np.timedelta64(ms, 'ms')}"[:23] + "Z"
    return _message(
        "AGGREGATED_ORDERBOOK_UPDATE", k, {**sides, "LastChange": at, "SequenceNumber": number * 60_000 + ms}
    )


def bucket(k: int, number: int, *, close: float = 1_000, volume: float = 1.0) -> bytes:
    """VALR's message of the bar of a minute of the k-th pair."""
    start = f"{START - MINUTE + number * MINUTE}"[:19] + "Z"
    data = {"currencyPairSymbol": f"P{k}", "bucketPeriodInSeconds": 60, "startTime": start, "volume": str(volume)}
    prices = {"open": "1000", "high": str(close), "low": "1000", "close": str(close)}
    return _message("NEW_TRADE_BUCKET", k, {**data, **prices})


def _message(kind: str, k: int, data: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "currencyPairSymbol": f"P{k}", "data": data}).encode()


def row(work: str, ours: float, unit: str, peer: str, theirs: float | None, target: str) -> dict[str, Any]:
    """A line of the table."""
    return {"work": work, "ours": ours, "unit": unit, "peer": peer, "theirs": theirs, "target": target, "detail": {}}
