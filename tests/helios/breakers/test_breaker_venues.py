"""A venue behind its breaker: nothing leaves while it is open, except what only takes risk away."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from helios.breakers import CircuitOpen, process
from helios.breakers.catalog import SHIPPED
from helios.breakers.shared_state import SharedStore
from helios.errors import Ambiguous, Rejected
from trading.venues.base import Ack, Guarded

pytestmark = pytest.mark.usefixtures("clean_redis", "settings_read")


class Venue:
    """A venue's client that notes what reached it, and fails when told to."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.error: Exception | None = None

    def submit(self, order: Any) -> Ack:
        return self._answer(f"{order.side} {order.symbol}")

    def find(self, client_order_id: str) -> Ack | None:
        return self._answer(f"find {client_order_id}")

    def cancel(self, client_order_id: str) -> Ack | None:
        return self._answer(f"cancel {client_order_id}")

    def _answer(self, what: str) -> Ack:
        self.heard.append(what)
        if self.error is not None:
            raise self.error
        return Ack(venue_order_id="1", status="ACCEPTED")


BUY, SELL = SimpleNamespace(side="BUY", symbol="BTCZAR"), SimpleNamespace(side="SELL", symbol="BTCZAR")


@pytest.fixture
def venue() -> Venue:
    return Venue()


@pytest.fixture
def broker(venue: Venue) -> Guarded:
    return Guarded(venue=venue, breaker="valr_api", reduces=lambda order: order.side == "SELL")


def time_out(venue: Venue, broker: Guarded) -> None:
    """Orders without an answer until the breaker opens."""
    venue.error = Ambiguous("no answer within 5 s")
    for _ in range(SHIPPED["valr_api"].config.failure_threshold):
        with pytest.raises(Ambiguous):
            broker.submit(BUY)
    venue.heard.clear()


def test_a_healthy_venue_is_asked(venue, broker):
    assert broker.submit(BUY).status == "ACCEPTED"
    assert broker.find("h-1") is not None
    assert broker.cancel("h-1") is not None
    assert venue.heard == ["BUY BTCZAR", "find h-1", "cancel h-1"]


def test_orders_without_an_answer_open_the_breaker_and_the_next_never_leaves(venue, broker):
    time_out(venue, broker)
    with pytest.raises(CircuitOpen, match="valr_api"):
        broker.submit(BUY)
    assert venue.heard == []


def test_what_only_takes_risk_away_reaches_the_venue_all_the_same(venue, broker):
    time_out(venue, broker)
    venue.error = None
    broker.submit(SELL)
    broker.cancel("h-1")
    broker.find("h-1")
    assert venue.heard == ["SELL BTCZAR", "cancel h-1", "find h-1"]


def test_orders_that_the_venue_rejects_do_not_open_the_breaker(venue, broker):
    venue.error = Rejected("insufficient funds")
    for _ in range(20):
        with pytest.raises(Rejected):
            broker.submit(BUY)
    venue.error = None
    assert broker.submit(BUY).status == "ACCEPTED"


def test_without_the_shared_state_only_reductions_leave(venue, broker, tmp_path):
    process.current().__dict__["store"] = SharedStore.from_url(f"unix://{tmp_path}/nobody.sock?db=0")
    with pytest.raises(CircuitOpen, match="orders are not sent without it"):
        broker.submit(BUY)
    broker.submit(SELL)
    assert venue.heard == ["SELL BTCZAR"]
