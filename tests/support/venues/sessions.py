"""A session that hears the stand-in, and a line that says what it is told to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.venues.tape import Tape
from tests.support.venues.valr import StandIn
from tiers.live import relay
from tiers.live.feed.session import Session
from trading.venues.valr.client import Client
from trading.venues.valr.market import Market
from trading.venues.valr.stream import Stream


@contextmanager
def idle_session() -> Iterator[Session]:
    """Of one pair, whose venue is there; it does not run."""
    with StandIn({("BTC", "ZAR"): Tape()}) as venue, Client(venue.url) as client:
        market = Market(client)
        yield Session(market, Stream(venue.url), list(market.pairs([]).values()), relay.bus())


@dataclass
class Reading:
    """A line that says just this, whatever it is sent."""

    says: list[Any]

    def read(self, _: bytes) -> list[Any]:
        return self.says
