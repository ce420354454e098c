"""A stock through Alpaca's stream: its session and nothing beside it, over bad lines, corrected bars and silence."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from helios.stack.processes import ProcessSpec
from tests.support.harness import Stack
from tests.support.us_minutes import goog_minutes
from tests.support.venues.alpaca import StandIn
from tests.support.venues.alpaca_stream import KEY_ID, SECRET, Row, said
from tests.support.venues.market import Clock, Streaming, by_fate
from tests.support.venues.tape import MINUTE

pytestmark = pytest.mark.stack
SYMBOL = "ALPACA:GOOG"
OPEN = datetime(2015, 12, 24, 14, 30, tzinfo=UTC)
CLOSE = datetime(2015, 12, 24, 18, 0, tzinfo=UTC)  # it was the day before Christmas
STORED = (("1m", 1), ("5m", 5), ("15m", 15), ("1h", 60))


class OfDay(Streaming):
    """It hears a day of a stock."""

    def __init__(self, stack: Stack, venue: StandIn, clock: Clock, rows: list[Row]) -> None:
        super().__init__(stack, venue, clock, {})
        self.symbols = [SYMBOL]
        self.by_start = {row[0]: row for row in rows}

    def minute(self, start: datetime) -> None:
        """The minute is over, and its bar is told if it has one."""
        self.clock.set(start + MINUTE + timedelta(seconds=1))
        if (row := self.by_start.get(start)) is not None:
            self.venue.stream.bar("GOOG", row)

    def expected(self, minutes: int, until: datetime) -> list[tuple[Any, ...]]:
        """The bars of a plain loop over the minutes of the session."""
        step, found = timedelta(minutes=minutes), []
        start = OPEN.replace(minute=0)
        while start < until:
            rows = [row for at, row in self.by_start.items() if max(start, OPEN) <= at < min(start + step, CLOSE)]
            if rows:
                highs, lows = [row[2] for row in rows], [row[3] for row in rows]
                volume = sum(row[5] for row in rows)
                found.append((start + step, rows[0][1], max(highs), min(lows), rows[-1][4], volume))
            start += step
        return found


@contextmanager
def streaming(stack: Stack, folder: Path, *, at: datetime) -> Iterator[OfDay]:
    stack.environ |= {"HELIOS_ALPACA_KEY_ID": KEY_ID, "HELIOS_ALPACA_SECRET": SECRET}
    clock, rows = Clock(folder / "clock"), sorted(goog_minutes("20151224"))
    clock.set(at)
    with StandIn({("GOOG", "1Min"): rows}, limit=10_000) as venue:
        yield OfDay(stack, venue, clock, rows)


def faulty(rng: random.Random) -> Any:
    """What a bad line makes of messages."""
    held: list[str] = []
    fates: list[tuple[float, Callable[[str], list[str]]]] = [
        (0.05, lambda message: []),
        (0.10, lambda message: [message, message]),
        (0.13, lambda message: [message[: len(message) // 2]]),
        (0.16, lambda message: [message.replace("GOOG", "MSFT", 1)]),
        (0.18, lambda message: ['[{"T":"b","S":"GOOG","t":"soon"}]', message]),
        (0.22, lambda message: held.append(message) or []),  # type: ignore[func-returns-value]  # behind the next one
        (1.00, lambda message: [message]),
    ]
    return by_fate(rng, fates, held)


def test_a_half_day_over_a_bad_line_to_a_process_that_is_killed_is_stored_exactly(stack: Stack, tmp_path: Path) -> None:
    rng, begin = random.Random(5), OPEN - 40 * MINUTE
    with streaming(stack, tmp_path, at=begin) as market:
        market.silent_s = 1.0
        market.start()
        market.connected()
        market.venue.stream.change = faulty(rng)
        for number in range(int((CLOSE - begin) / MINUTE) + 30):
            market.minute(begin + number * MINUTE)
            if number % 61 == 60:
                stack.kill("stream", signal.SIGKILL)
                market.start()
                market.connected()
            elif rng.random() < 0.04:
                rng.choice([market.venue.stream.drop_all, market.venue.stream.half_close_all])()
            elif rng.random() < 0.02:
                market.venue.stream.drop_all(said(T="error", code=407, msg="slow client"))
            market.venue.stream.late_s = rng.choice([0.0, 0.0, 0.0, 0.2])
            market.venue.stream.deaf = rng.random() < (0.9 if market.venue.stream.deaf else 0.03)
            if number % 80 == 79:  # more of them would open the breaker, for a minute of ours
                market.venue.faults.next("/bars", (200, {"message": "no"}))
        market.venue.stream.deaf = False
        stack.wait_for(lambda: market.known_until(CLOSE), what="the last minute of the session")
        for timeframe, minutes in STORED:
            assert market.bars(SYMBOL, timeframe, OPEN - MINUTE, CLOSE + timedelta(hours=8)) == market.expected(
                minutes, CLOSE
            )


def test_a_good_line_needs_one_request_for_each_quiet_minute_and_none_while_the_market_is_closed(
    stack: Stack, tmp_path: Path
) -> None:
    with streaming(stack, tmp_path, at=OPEN + timedelta(seconds=30)) as market:
        market.start()
        market.connected()
        stack.wait_for(lambda: market.known_until(OPEN - timedelta(hours=1)), what="the day before")
        asked, quiet = market.venue.asked.total(), 0
        for number in range(45):
            start = OPEN + number * MINUTE
            market.minute(start)
            if start not in market.by_start:
                quiet += 1
                market.clock.set(start + MINUTE + timedelta(seconds=21))
            stack.wait_for(lambda end=start + MINUTE: market.known_until(end), what="the minute")
        assert market.bars(SYMBOL, "1h", OPEN, OPEN + timedelta(hours=1)) == market.expected(
            60, OPEN + timedelta(minutes=30)
        )
        assert market.venue.asked.total() - asked == quiet
        market.clock.set(CLOSE + timedelta(hours=12))
        stack.wait_for(lambda: market.known_until(CLOSE), what="the rest of the session, in one request")
        assert market.venue.asked.total() - asked == quiet + 1


def test_a_bar_that_the_venue_corrects_is_corrected_with_those_that_are_made_of_it(
    stack: Stack, tmp_path: Path
) -> None:
    with streaming(stack, tmp_path, at=OPEN + timedelta(seconds=30)) as market:
        market.start()
        market.connected()
        last = OPEN + 4 * MINUTE
        for number in range(5):
            start, open_, high, low, close, volume = market.by_start[OPEN + number * MINUTE]
            market.clock.set(start + MINUTE + timedelta(seconds=1))
            market.venue.stream.bar("GOOG", (start, open_, high, low, close, volume + 7 * (start == last)))
        stack.wait_for(lambda: market.known_until(last + MINUTE), what="five minutes")
        wrong = market.bars(SYMBOL, "5m", OPEN, last + MINUTE)
        market.clock.set(last + timedelta(seconds=91))
        market.venue.stream.bar("GOOG", market.by_start[last], kind="u")
        right = market.expected(5, last + MINUTE)
        stack.wait_for(lambda: market.bars(SYMBOL, "5m", OPEN, last + MINUTE) == right, what="the correction")
        assert wrong != right
        assert market.bars(SYMBOL, "1m", OPEN, last + MINUTE) == market.expected(1, last + MINUTE)


def test_what_was_told_before_the_minutes_ahead_of_it_were_known_makes_higher_bars_too(
    stack: Stack, tmp_path: Path
) -> None:
    told = Event()
    with streaming(stack, tmp_path, at=OPEN + timedelta(seconds=30)) as market:
        market.venue.faults.next("/bars", lambda: (503, b"" * told.wait(60)))
        market.start()
        market.connected()
        for number in range(5):
            market.minute(OPEN + number * MINUTE)
        until = OPEN + 5 * MINUTE
        stack.wait_for(lambda: len(market.bars(SYMBOL, "1m", OPEN, until)) == 5, what="five minutes")
        told.set()
        stack.wait_for(lambda: market.known_until(until), what="what was before them")
        assert market.bars(SYMBOL, "5m", OPEN, until) == market.expected(5, until)


def test_trades_without_a_side_and_the_best_bids_and_asks_are_stored_beside_the_venues_own_bars(
    stack: Stack, tmp_path: Path
) -> None:
    start = OPEN + MINUTE
    with streaming(stack, tmp_path, at=OPEN + timedelta(seconds=30)) as market:
        market.start()
        market.connected()
        stream = market.venue.stream
        stack.wait_for(lambda: stream.n_subscribed == 2, what="trades and quotes")
        market.minute(OPEN)
        market.clock.set(start + timedelta(seconds=8))  # what is told of a time ahead is not believed
        stream.trade("GOOG", start + timedelta(seconds=7), 747.5, 30)
        stream.quote("GOOG", start + timedelta(seconds=8), (747.25, 2), (747.5, 1))
        market.minute(start)
        stack.wait_for(lambda: market.known_until(start + MINUTE), what="two minutes")
        market.clock.set(start + MINUTE + timedelta(seconds=30))
        stream.quote("GOOG", start + MINUTE + timedelta(seconds=25), (740, 2), (0, 0))
        told = "SELECT ts, side, price::float, quantity::float, trade_id FROM market_trades"
        traded = [(start + timedelta(seconds=7), "", 747.5, 30.0, "1")]
        stack.wait_for(lambda: stack.query(told) == traded, what="its trade")
        stack.wait_for(lambda: stack.query("SELECT 1 FROM orderbook_snapshots"), what="the minute's end")
        assert market.bars(SYMBOL, "1m", OPEN, start + MINUTE) == market.expected(1, start + MINUTE)
    noted = "SELECT ts, bids, asks FROM orderbook_snapshots"
    assert stack.query(noted) == [(start + MINUTE, [["747.25", "2"]], [["747.5", "1"]])]


def test_who_may_not_hear_the_trades_of_so_many_hears_their_bars(stack: Stack, tmp_path: Path) -> None:
    with streaming(stack, tmp_path, at=OPEN + timedelta(seconds=30)) as market:
        market.venue.stream.most = 0
        market.start()
        market.connected()
        for number in range(3):
            market.minute(OPEN + number * MINUTE)
        stack.wait_for(lambda: market.known_until(OPEN + 3 * MINUTE), what="three minutes")
        assert market.venue.stream.n_subscribed == 1
        assert stack.query("SELECT count(*) FROM system_events WHERE kind = 'feed.lost'") == [(0,)]


def test_a_wrong_key_is_told_and_tried_again_and_nothing_is_stored(stack: Stack, tmp_path: Path) -> None:
    with streaming(stack, tmp_path, at=OPEN) as market:
        stack.environ |= {"HELIOS_ALPACA_SECRET": "not-the-secret"}
        market.start()
        told = "SELECT data->>'error' FROM system_events WHERE kind = 'feed.lost'"
        stack.wait_for(lambda: len(stack.query(told)) > 1, what="two tries")
        assert set(stack.query(told)) == {("Alpaca's stream ended with an error: 402 auth failed",)}
        assert market.venue.stream.n_subscribed == 0
        assert market.bars(SYMBOL, "1m", OPEN - timedelta(days=2), CLOSE) == []


def test_the_command_hears_stocks_and_coins_on_their_lines_until_it_is_told_to_end(stack: Stack) -> None:
    with StandIn({("GOOG", "1Min"): []}) as venue:
        urls = {f"HELIOS_ALPACA_{name}_URL": venue.url for name in ("DATA", "STREAM")}
        stack.environ |= {"HELIOS_ALPACA_KEY_ID": KEY_ID, "HELIOS_ALPACA_SECRET": SECRET, **urls}
        words = ["--exchange", "alpaca", "--pairs", "GOOG", "BTC/USD"]
        stack.start(ProcessSpec(name="stream", argv=[sys.executable, "manage.py", "stream", *words]))
        stack.wait_for(lambda: venue.stream.n_subscribed == 4, what="bars, and trades and quotes, of both lines")
        wanted = [(client.wanted["bars"], client.wanted["quotes"]) for client in venue.stream.clients]
        assert sorted(wanted) == [(["BTC/USD"], ["BTC/USD"]), (["GOOG"], ["GOOG"])]
        process = stack.processes["stream"]
        stack.kill("stream", signal.SIGTERM)
        stack.wait_for(lambda: process.poll() is not None, what="its end")
        assert process.poll() == 0


def test_without_a_key_the_command_refuses_in_one_sentence() -> None:
    with pytest.raises(CommandError, match=r"^Alpaca needs HELIOS_ALPACA_KEY_ID and HELIOS_ALPACA_SECRET$"):
        call_command("stream", "--exchange", "alpaca", "--pairs", "AAPL")
