"""A venue's message to the stored bar: a session that hears a venue of another process, by that one's clock."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np

from bench.market import MINUTE, N_LISTED, START, bucket, emptied, row, trade

ROUNDS, TRADES, PAUSE_S = 21, 24_000, 0.5  # minutes, trades of all pairs in one, and what each bar may take at most
Bar = tuple[int, datetime]  # the number of its pair, and its close


def measure() -> list[dict[str, Any]]:
    """All pairs' bars of a minute at once, behind as many trades as 400 a second make."""
    spawn = multiprocessing.get_context("spawn")
    told, clock = spawn.Queue(), spawn.Value("q", int((START - MINUTE).astype(int)))
    venue = spawn.Process(target=_serve, args=(told, clock), daemon=True)
    venue.start()
    stored: dict[tuple[Bar, str], float] = {}  # with its timeframe
    sent: dict[Bar, float] = {}
    emptied(lambda: sent.update(asyncio.run(_hear(told, clock, stored))))
    venue.join(60)
    first = min(close for _, close in sent)  # of a process that has stored nothing yet
    took = {bar: 1e3 * (at - sent[bar[0]]) for bar, at in stored.items() if bar[0][1] > first}
    rows = []
    for which, timeframes in ("the bars", ["1m"]), ("the bars of 5m and 15m above them", ["5m", "15m"]):
        of_these = [ms for (_, timeframe), ms in took.items() if timeframe in timeframes]
        work = f"{which} of a minute of {N_LISTED} pairs, the venue's socket -> committed, p99 behind the first minute"
        detail = {f"p{part}_ms": float(np.percentile(of_these, part)) for part in (1, 50, 90, 100)}
        rows.append({**row(work, float(np.quantile(of_these, 0.99)), "ms", "", None, "<= 50 ms"), "detail": detail})
    return rows


async def _hear(told: Any, clock: Any, stored: dict[tuple[Bar, str], float]) -> dict[Bar, float]:
    """Stream until the venue has told all; returns when it gave each bar to its socket."""
    from tiers.live.feed.session import Session  # noqa: PLC0415 - once Django is set up, as below
    from trading.market.coverage import cover  # noqa: PLC0415
    from trading.venues.base import Pair  # noqa: PLC0415
    from trading.venues.valr.stream import Stream  # noqa: PLC0415

    def publish(events: Any) -> None:
        now = time.time()
        for one in events:
            stored.setdefault(((int(one.symbol.removeprefix("BENCH")), one.bar_ts), one.timeframe), now)

    url = await asyncio.to_thread(told.get, timeout=60)
    pairs = [Pair(code=f"P{k}", symbol=f"BENCH{k}") for k in range(N_LISTED)]
    await asyncio.to_thread(cover, {pair.symbol: clock.value for pair in pairs})
    venue = SimpleNamespace(name="BENCH", skew_s=lambda: 0.0, end_waits=lambda: None)
    session = Session(venue, Stream(url), pairs, SimpleNamespace(publish=publish), now_us=lambda: clock.value)
    hearing = asyncio.create_task(session.run())
    found = asyncio.create_task(asyncio.to_thread(told.get, timeout=300))
    await asyncio.wait([hearing, found], return_when=asyncio.FIRST_COMPLETED)
    hearing.cancel()
    await asyncio.gather(hearing, return_exceptions=True)
    return dict(found.result())


def _serve(told: Any, clock: Any) -> None:
    asyncio.run(_tell(told, clock))


async def _tell(told: Any, clock: Any) -> None:
    """The venue: minute after minute its trades in the time of `PAUSE_S`, and its bars as fast as they are taken."""
    from websockets.asyncio.server import serve  # noqa: PLC0415

    sent: list[tuple[Bar, float]] = []
    over = asyncio.Event()

    async def tell(line: Any) -> None:
        await line.recv()
        for number in range(ROUNDS):
            trades = [trade(n % N_LISTED, number, n * 60_000 // TRADES) for n in range(TRADES)]
            bars = [bucket(k, number, volume=TRADES / N_LISTED / 4) for k in range(N_LISTED)]
            close = START + number * MINUTE
            clock.value = int(close.astype(int))
            for n, message in enumerate(trades):
                await line.send(message)
                if n % 1_000 == 0:
                    await asyncio.sleep(PAUSE_S / 24)
            await asyncio.sleep(PAUSE_S / 4)
            for k, message in enumerate(bars):
                sent.append(((k, close.item().replace(tzinfo=UTC)), time.time()))
                await line.send(message)
            await asyncio.sleep(PAUSE_S)
        over.set()

    async with serve(tell, "127.0.0.1", 0) as server:
        told.put(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await over.wait()
    told.put(sent)
