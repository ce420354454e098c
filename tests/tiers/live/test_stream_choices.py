"""What chooses how a venue is heard: two flags, a key, and whether the database can be written."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from helios.stack.processes import ProcessSpec
from tests.helios.stack.test_project_files import SERVICES
from tests.support.harness import Stack
from tests.support.venues.market import streaming
from tests.support.venues.stream import KEY, SECRET
from tests.support.venues.tape import MINUTE, Tape
from tests.support.venues.valr import StandIn
from tiers.management.commands.stream import ALIVE

pytestmark = pytest.mark.stack
WHOLE, CHANGES = "AGGREGATED_ORDERBOOK_UPDATE", "FULL_ORDERBOOK_UPDATE"


@pytest.fixture
def venue() -> Iterator[StandIn]:
    tape = Tape()
    tape.add(datetime.now(UTC) - timedelta(minutes=2), "100", "1")
    with StandIn({("BTC", "ZAR"): tape}) as made:
        yield made


def stream(stack: Stack, venue: StandIn, **environ: str) -> None:
    stack.environ |= {"HELIOS_VALR_URL": venue.url, **environ}
    stack.start(ProcessSpec(name="stream", argv=[sys.executable, "manage.py", "stream", "--pairs", "BTC-ZAR"]))


def books(venue: StandIn) -> set[str]:
    """How those who listen want to hear of order books."""
    return {kind for client in list(venue.stream.clients) for kind in (WHOLE, CHANGES) if client.wanted.get(kind)}


def test_flags_choose_whether_there_is_a_line_and_how_order_books_come(stack: Stack, venue: StandIn) -> None:
    stream(stack, venue)
    stack.wait_for(lambda: books(venue) == {WHOLE}, what="whole order books")
    alive = stack.root / "var" / ALIVE
    looked_at = alive.stat().st_mtime_ns
    stack.manage("flags", "enable", "websocket_v2")
    stack.manage("flags", "set-percentage", "websocket_v2", "100")
    stack.wait_for(lambda: books(venue) == {CHANGES}, timeout_s=60, what="order books by change")
    stack.manage("flags", "disable", "websocket_streaming")
    stack.wait_for(lambda: not venue.stream.clients, timeout_s=60, what="the end of the line")
    asked = venue.asked["/v1/public/BTCZAR/orderbook"]
    stack.wait_for(lambda: venue.asked["/v1/public/BTCZAR/orderbook"] > asked, timeout_s=90, what="a minute over REST")
    stack.manage("flags", "enable", "websocket_streaming")
    stack.wait_for(lambda: books(venue) == {CHANGES}, timeout_s=60, what="the line")
    assert alive.stat().st_mtime_ns > looked_at
    (_, asked_of_it) = SERVICES["stream"]["healthcheck"]["test"]
    assert asked_of_it.startswith(f"find /var/lib/helios/{ALIVE} -mmin -1 ")


@pytest.mark.parametrize("secret", [SECRET, "another"])
def test_a_key_signs_the_line_and_a_wrong_one_is_told(stack: Stack, venue: StandIn, secret: str) -> None:
    stream(stack, venue, VALR_API_KEY=KEY, VALR_API_SECRET=secret)
    if secret == SECRET:
        stack.wait_for(lambda: books(venue), what="a line that is let in")
    else:
        stack.wait_for(
            lambda: "rejected WebSocket connection: HTTP 403" in stack.log("stream").read_text(), what="a word"
        )
        assert not venue.stream.clients
    assert secret not in stack.log("stream").read_text()


def test_bars_wait_while_the_database_is_away_behind_its_breaker(stack: Stack, tmp_path: Path) -> None:
    first, tape = datetime(2026, 1, 5, 10, tzinfo=UTC), Tape()
    for number in range(30):
        tape.add(first + number * MINUTE, str(100 + number), "1")
    with streaming(stack, tmp_path, {("BTC", "ZAR"): tape}, first) as market:
        market.start()
        market.connected()
        market.minute(first)
        stack.wait_for(lambda: market.known_until(first + MINUTE), what="the first minute")
        with stack.closed_database():
            for number in range(1, 30):
                market.minute(first + number * MINUTE)
            opened = lambda: "circuit.transition" in stack.log("stream").read_text()  # noqa: E731
            stack.wait_for(opened, timeout_s=40, what="the breaker")
        stack.manage("breakers", "reset", "postgres_db")
        until = first + 30 * MINUTE
        stack.wait_for(lambda: market.known_until(until), timeout_s=60, what="the last minute")
        stored = market.bars("VALR:BTC-ZAR", "1m", first, until)
        assert [(row[0], row[4]) for row in stored] == [(first + (n + 1) * MINUTE, 100.0 + n) for n in range(30)]
        assert len(market.bars("VALR:BTC-ZAR", "5m", first, until)) == 6
