"""A market that a process under test streams: by the clock of the test, over a line that fails in every way."""

from __future__ import annotations

import mmap
import random
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from helios.stack.processes import ProcessSpec
from tests.support.harness import Stack
from tests.support.places import ROOT
from tests.support.venues.tape import MINUTE, Tape
from tests.support.venues.valr import StandIn

DEEP = "[" * 1_015 + "]" * 1_015
NESTED = f'[{{"currencyPairSymbol":{DEEP},"bucketPeriodInSeconds":60}}]'.encode()
Pair = tuple[str, str]


class Clock:
    """The time of the market, for this process and the one that streams."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(8))
        self.path = path
        with path.open("r+b") as file:
            self._told = mmap.mmap(file.fileno(), 8)

    def set(self, at: datetime) -> None:
        self._told[:8] = (int(at.timestamp() * 1_000_000)).to_bytes(8, "little")


class Streaming:
    """The process under test, and the market that it hears: some pairs with their tapes.

    `silent_s` of silence end a connection: less than a busy test may stand still only where its venue falls silent.
    """

    silent_s = 60.0

    def __init__(self, stack: Stack, venue: StandIn, clock: Clock, tapes: dict[Pair, Tape]) -> None:
        self.stack, self.venue, self.clock, self.tapes = stack, venue, clock, tapes
        self.symbols = [f"VALR:{base}-{quote}" for base, quote in tapes]

    def start(self) -> None:
        script = ROOT / "tests" / "support" / "venues" / "streamer.py"
        self.before = self._n_subscribed(), self.venue.stream.n_subscribed
        argv = [sys.executable, str(script), self.venue.url, str(self.clock.path), f"{self.silent_s}", *self.symbols]
        self.stack.start(ProcessSpec(name="stream", argv=argv))

    def connected(self) -> None:
        """Until the process that was started last knows that it has subscribed, and the venue does."""
        logged, there = self.before
        stream = self.venue.stream
        self.stack.wait_for(
            lambda: self._n_subscribed() > logged and stream.n_subscribed > there, what="a subscription"
        )

    def _n_subscribed(self) -> int:
        log = self.stack.log("stream")
        return log.read_text(errors="replace").count("feed.subscribed") if log.exists() else 0

    def minute(self, start: datetime) -> None:
        """One minute of the market: its trades, and the venue's bars of it."""
        for (base, quote), tape in self.tapes.items():
            for one in tape.between(start, start + MINUTE):
                self.clock.set(one.at)
                self.venue.stream.trade(f"{base}{quote}", one)
        self.clock.set(start + MINUTE)
        for (base, quote), tape in self.tapes.items():
            for bar in tape.minutes(start, start + MINUTE):
                self.venue.stream.bucket(f"{base}{quote}", bar)

    def known_until(self, moment: datetime) -> bool:
        """Whether all is known up to there of every pair."""
        found = self.stack.query("SELECT until FROM feed_coverage WHERE symbol = ANY(%s)", [self.symbols])
        return len(found) == len(self.symbols) and all(until >= moment for (until,) in found)

    def bars(self, symbol: str, timeframe: str, first: datetime, until: datetime) -> list[tuple[Any, ...]]:
        """What is stored of (first, until]: close, open, high, low, close and volume."""
        return self.stack.query(
            "SELECT bar_ts, open, high, low, close, volume FROM market_ohlc WHERE symbol = %s AND timeframe = %s "
            "AND bar_ts > %s AND bar_ts <= %s ORDER BY bar_ts",
            [symbol, timeframe, first, until],
        )


@contextmanager
def streaming(stack: Stack, folder: Path, tapes: dict[Pair, Tape], first: datetime) -> Iterator[Streaming]:
    clock = Clock(folder / "clock")
    clock.set(first)
    with StandIn(tapes, limited=False) as venue:  # an hour of it takes seconds
        yield Streaming(stack, venue, clock, tapes)


_FIGURE = re.compile('"(open|high|low|close|price)": "([^"]*)"')  # told in another unit


def faulty(rng: random.Random, other: tuple[str, str]) -> Callable[[str], list[str]]:
    """What a bad line makes of messages; `other` is a pair's name and what it is mistaken for."""
    held: list[str] = []
    fates: list[tuple[float, Callable[[str], list[str]]]] = [
        (0.04, lambda message: []),
        (0.08, lambda message: [message, message]),
        (0.10, lambda message: [message[: len(message) // 2]]),
        (0.12, lambda message: [message.replace(*other, 1)]),
        (0.16, lambda message: held.append(message) or []),  # type: ignore[func-returns-value]  # behind the next one
        (0.18, lambda message: [re.sub('"(quantity|high|low)": "[^"]*"', r'"\1": "0"', message)]),
        (0.19, lambda message: [f'{{"type":"NEW_TRADE","currencyPairSymbol":{DEEP},"data":{{}}}}']),
        (0.21, lambda message: [re.sub('"volume": "[^"]*"', '"volume": "7"', message), message]),  # and corrected late
        (0.22, lambda message: [_FIGURE.sub(lambda told: f'"{told[1]}": "{Decimal(told[2]) * 100:f}"', message)]),
        (1.00, lambda message: [message]),
    ]
    return by_fate(rng, fates, held)


def by_fate(
    rng: random.Random, fates: list[tuple[float, Callable[[str], list[str]]]], held: list[str]
) -> Callable[[str], list[str]]:
    """What becomes of each message by chance, the fates up to which probability; `held` ones come with the next."""

    def change(message: str) -> list[str]:
        fate, before = rng.random(), [*held]
        held.clear()
        return [*before, *next(what for limit, what in fates if fate < limit)(message)]

    return change
