"""The threads of a stream: one that fails ends the session, and none outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from helios.errors import Transient
from tests.support.venues.tape import Tape
from tests.support.venues.valr import StandIn
from tiers.live.feed import recorder
from tiers.live.feed.depth import Noted
from tiers.live.feed.session import Session
from trading.venues.valr.client import Client
from trading.venues.valr.market import Market, pairs

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def session() -> Iterator[Session]:
    with StandIn({("BTC", "ZAR"): Tape()}) as venue, Client(venue.url) as client:
        yield Session(Market(client), venue.url, list(pairs(client).values()))


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def write(*_: object) -> None:
        raise error

    monkeypatch.setattr(recorder, "write", write)


def told(session: Session) -> None:
    session._told.put(Noted(symbol="VALR:BTC-ZAR", ts=0, sequence=1, bids=[], asks=[]))


def test_a_thread_that_fails_ends_the_session(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ValueError("a defect"))
    told(session)
    with pytest.raises(ValueError, match="a defect"):
        asyncio.run(asyncio.wait_for(session.run(), 30))


def test_what_cannot_be_stored_keeps_no_session_from_its_end(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, Transient("the database is away"))
    told(session)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(session.run(), 2))
