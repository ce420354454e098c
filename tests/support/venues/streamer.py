"""A stream as a process by the clock of a test: `python streamer.py URL CLOCK SILENT_S PAIR`.

CLOCK is a file that holds the microseconds since 1970. Order books come change by change. What the process is to hear
it asks its settings for, at the URL.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import sys
from pathlib import Path

import django


def main(url: str, clock: str, silent_s: str, *symbols: str) -> None:
    exchange = symbols[0].partition(":")[0].lower()
    os.environ |= {f"HELIOS_{name}": url for name in ("VALR_URL", "ALPACA_DATA_URL", "ALPACA_STREAM_URL")}
    django.setup()
    from helios.env import get_env
    from tiers.live import relay
    from tiers.live.feed import depth, session, writer
    from trading.venues.registry import market_data, streams

    get_env.cache_clear()  # a process that was forked has read its settings
    session.WATCH_S, session.LONGEST_PAUSE_S, writer.LONGEST_PAUSE_S, depth.PATIENCE = 0.05, 0.2, 0.2, 0
    with (
        Path(clock).open("rb") as file,
        mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ) as told,
        market_data(exchange, get_env()) as venue,
    ):
        offered = venue.pairs(symbols)
        pairs = [offered[symbol] for symbol in symbols]
        ((line, _),) = streams(exchange, get_env(), pairs, frozenset(symbols))
        streaming = session.Session(
            venue,
            line,
            pairs,
            relay.bus(),
            silent_s=float(silent_s),
            pause_s=0.05,
            now_us=lambda: int.from_bytes(told[:8], "little"),
        )
        asyncio.run(streaming.run())


if __name__ == "__main__":
    main(*sys.argv[1:])
