"""A stream as a process by the clock of a test: `python streamer.py URL CLOCK PAIR`.

CLOCK is a file that holds the microseconds since 1970. Order books come change by change.
"""

from __future__ import annotations

import asyncio
import mmap
import sys
from pathlib import Path

import django


def main(url: str, clock: str, *symbols: str) -> None:
    django.setup()
    from tiers.live import relay
    from tiers.live.feed import depth, session
    from trading.venues.valr import market
    from trading.venues.valr.client import Client

    session.WATCH_S, session.LONGEST_PAUSE_S, depth.PATIENCE = 0.05, 0.2, 0
    with (
        Path(clock).open("rb") as file,
        mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ) as told,
        Client(url) as client,
    ):
        offered = market.pairs(client)
        pairs = [offered[symbol] for symbol in symbols]
        streaming = session.Session(
            market.Market(client),
            url,
            pairs,
            relay.bus(),
            by_change=frozenset(symbols),
            silent_s=1.0,
            pause_s=0.05,
            now_us=lambda: int.from_bytes(told[:8], "little"),
        )
        asyncio.run(streaming.run())


if __name__ == "__main__":
    main(*sys.argv[1:])
