"""The end of a stream that asks a venue which has had enough of it."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import pytest

from helios.errors import Transient
from helios.stack.processes import ProcessSpec
from tests.support import warm
from tests.support.harness import Stack
from tests.support.venues.tape import MINUTE, Tape
from tests.support.venues.valr import StandIn
from tiers.management.commands import stream

pytestmark = pytest.mark.stack
PAUSE_S = 60


def test_it_ends_while_a_request_waits_out_the_venues_pause_and_what_is_closed_is_stored(stack: Stack) -> None:
    tape, now = Tape(), datetime.now(UTC)
    tape.add(now - timedelta(hours=2), "100", "1")
    with StandIn({("BTC", "ZAR"): tape}) as venue:
        enough = HTTPStatus.TOO_MANY_REQUESTS, {"code": -6, "message": "Too many requests"}
        venue.limits = lambda status: {"retry-after": str(PAUSE_S)} if status == enough[0] else {}  # type: ignore[method-assign]
        venue.faults.next("/buckets", *[enough] * 9)
        stack.environ["HELIOS_VALR_URL"] = venue.url
        stack.start(ProcessSpec(name="stream", argv=[sys.executable, "manage.py", "stream", "--pairs", "BTC-ZAR"]))
        stack.wait_for(lambda: venue.asked["/v1/public/BTCZAR/buckets"], what="a request for what was missed")
        stack.wait_for(lambda: venue.stream.n_subscribed, what="a subscription")
        closed = now.replace(second=0, microsecond=0)
        tape.add(closed - MINUTE / 2, "101", "1")
        (bar,) = tape.minutes(closed - MINUTE, closed)
        venue.stream.bucket("BTCZAR", bar)
        stored = "SELECT count(*) FROM market_ohlc WHERE symbol = 'VALR:BTC-ZAR' AND timeframe = '1m'"
        stack.wait_for(lambda: stack.value(stored) == 1, what="the closed minute")
        process, told = stack.processes["stream"], time.monotonic()
        stack.kill("stream", signal.SIGTERM)
        stack.wait_for(lambda: process.poll() is not None, what="its end")
    assert process.poll() == 0
    assert time.monotonic() - told < PAUSE_S / 3
    assert venue.asked["/v1/public/BTCZAR/buckets"] == 1


def test_who_starts_it_at_a_terminal_is_told_what_it_hears_and_why_it_hears_nothing(stack: Stack) -> None:
    tape = Tape()
    tape.add(datetime.now(UTC) - timedelta(hours=2), "100", "1")
    with StandIn({("BTC", "ZAR"): tape}) as venue:
        stack.environ["HELIOS_VALR_URL"] = venue.url
        stack.start(ProcessSpec(name="stream", argv=[sys.executable, "manage.py", "stream", "--pairs", "BTC-ZAR"]))
        stack.wait_for(lambda: venue.stream.n_subscribed, what="a subscription")
        argv, said = ["manage.py", "stream", "--pairs", "BTC-ZAR"], stack.log("second")
        stack.processes["second"] = warm.start(argv, env={**stack.environ, "HELIOS_COMPONENT": ""}, stdout=said)
        waits = "Nothing to hear at valr now: another process hears it already. Waiting.\n"
        stack.wait_for(lambda: said.read_text().endswith(waits), timeout_s=30, what="that it waits")
        stack.kill("stream", signal.SIGTERM)
        hears = f"{waits}Hearing VALR:BTC-ZAR; Ctrl-C ends it.\n"
        stack.wait_for(lambda: said.read_text().endswith(hears), timeout_s=30, what="that it hears")
    assert "work.taken" not in said.read_text()
    assert "Hearing" not in stack.log("stream").read_text()


def test_a_relay_that_has_ended_by_itself_ends_the_process_which_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hearing(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(stream.relay, "keep_telling", lambda _: None)
    monkeypatch.setattr(stream, "_stream", hearing)
    with pytest.raises(Transient, match="the relay to the event bus ended by itself"):
        asyncio.run(asyncio.wait_for(stream._until_told(None, None, print), 30))
