"""A venue's market through a stream that fails in every way, into the table: exactly the bars of the market."""

from __future__ import annotations

import random
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from helios.events.bus import Bus
from helios.redis_client import connect
from tests.support.harness import Stack
from tests.support.venues.market import NESTED, faulty, streaming
from tests.support.venues.tape import MINUTE, Tape
from tests.support.xrp_eth import real_tape
from trading.events import KINDS

pytestmark = pytest.mark.stack
SYMBOL = "VALR:XRP-ETH"
HOURS = 5
FIRST = datetime(2019, 10, 11, tzinfo=UTC)


def expected(tape: Tape, minutes: int, until: datetime) -> list[tuple[Any, ...]]:
    """The bars of a plain loop over the trades."""
    step, found = timedelta(minutes=minutes), []
    start = FIRST
    while start < until:
        of_it = tape.between(start, start + step)
        if of_it:
            prices = [float(one.price) for one in of_it]
            volume = sum(float(one.quantity) for one in of_it)
            found.append((start + step, prices[0], max(prices), min(prices), prices[-1], volume))
        start += step
    return found


def test_a_market_over_a_bad_line_to_a_process_that_is_killed_is_stored_exactly(stack: Stack, tmp_path: Path) -> None:
    rng, tape = random.Random(7), real_tape()
    until = FIRST + timedelta(hours=HOURS)
    with streaming(stack, tmp_path, {("XRP", "ETH"): tape}, FIRST) as market:
        market.silent_s = 1.0
        market.start()
        market.connected()
        market.venue.stream.change = faulty(rng, ("XRPETH", "BTCZAR"))
        for number in range(HOURS * 60):
            market.minute(FIRST + number * MINUTE)
            if number % 47 == 46:
                stack.kill("stream", signal.SIGKILL)
                market.start()
                market.connected()
            elif rng.random() < 0.05:
                rng.choice([market.venue.stream.drop_all, market.venue.stream.half_close_all])()
            market.venue.stream.late_s = rng.choice([0.0, 0.0, 0.0, 0.2])
            if rng.random() < 0.03:
                market.venue.stream.deaf = not market.venue.stream.deaf
            if rng.random() < 0.02:
                market.venue.faults.next("/buckets", (200, {"code": -1, "message": "no"}), (200, NESTED))
        market.venue.stream.deaf = False
        market.clock.set(until + timedelta(seconds=30))
        stack.wait_for(lambda: market.known_until(until), what="the last minute")
        for timeframe, minutes in (("1m", 1), ("5m", 5), ("15m", 15), ("1h", 60)):
            assert market.bars(SYMBOL, timeframe, FIRST, until) == expected(tape, minutes, until), timeframe


def test_an_order_book_over_a_bad_line_is_the_venues_or_is_not_noted(stack: Stack, tmp_path: Path) -> None:
    rng, tape = random.Random(11), real_tape()
    venues, n_minutes = dict[datetime, Any](), 40
    with streaming(stack, tmp_path, {("XRP", "ETH"): tape}, FIRST) as market:
        heard = market.venue.stream
        for n in range(30):
            heard.offer(FIRST, "XRPETH", "buy", f"b{n}", f"0.{1400 - n}", f"{n + 1}.5")
            heard.offer(FIRST, "XRPETH", "sell", f"s{n}", f"0.{1401 + n}", f"{n + 1}")
        venues[FIRST] = heard.depths["XRPETH"].best(20)
        market.start()
        market.connected()
        heard.change = faulty(rng, ("XRPETH", "BTCZAR"))
        for number in range(n_minutes):
            start = FIRST + number * MINUTE
            for second in range(3, 60, 6):
                if second > 54:
                    time.sleep(0.1)  # for a lost book to come again
                at = start + timedelta(seconds=second)
                market.clock.set(at)
                side, name = rng.choice([("buy", "b"), ("sell", "s")])
                k = rng.randrange(30)
                price = f"0.{1400 - k if side == 'buy' else 1401 + k}"
                heard.offer(at, "XRPETH", side, f"{name}{k}", price, rng.choice(["0", "0.25", "3"]))
            venues[start + MINUTE] = heard.depths["XRPETH"].best(20)
            market.minute(start)
            if rng.random() < 0.03:
                heard.drop_all()
        market.clock.set(FIRST + (n_minutes + 1) * MINUTE)
        stack.wait_for(lambda: market.known_until(FIRST + n_minutes * MINUTE), what="the last minute")
    noted = stack.query("SELECT ts, bids, asks FROM orderbook_snapshots WHERE symbol = %s", [SYMBOL])
    for ts, bids, asks in noted:
        assert [[tuple(level) for level in side] for side in (bids, asks)] == list(venues[ts]), ts
    assert len(noted) > n_minutes / 4


def test_a_minute_whose_bar_no_market_has_holds_up_nothing_but_the_bars_it_is_part_of(
    stack: Stack, tmp_path: Path
) -> None:
    tape = real_tape()
    bad = next(bar.start for bar in tape.minutes(FIRST + 17 * MINUTE, FIRST + 40 * MINUTE))
    with streaming(stack, tmp_path, {("XRP", "ETH"): tape}, FIRST) as market:
        right = market.venue.answer

        def answer(target: str, headers: dict[str, str]) -> Any:
            status, found = right(target, headers)
            if "/buckets" in target:
                for row in (row for row in found if row["startTime"] == f"{bad:%Y-%m-%dT%H:%M:%SZ}"):
                    row["low"] = "0"
            return status, found

        market.venue.answer = answer  # type: ignore[method-assign]
        market.start()
        market.connected()
        until = FIRST + timedelta(hours=1)
        market.clock.set(until + timedelta(minutes=20))
        stack.wait_for(lambda: market.known_until(until), what="the hour")
    whole = expected(tape, 1, until)
    assert market.bars(SYMBOL, "1m", FIRST, until) == [row for row in whole if row[0] != bad + MINUTE]
    for timeframe, minutes in (("5m", 5), ("15m", 15), ("1h", 60)):
        length = timedelta(minutes=minutes)
        assert market.bars(SYMBOL, timeframe, FIRST, until) == [
            row for row in expected(tape, minutes, until) if not row[0] - length <= bad < row[0]
        ], timeframe
    assert stack.value("SELECT after FROM market_gaps WHERE symbol = %s", [SYMBOL]) == bad
    assert stack.value("SELECT count(*) FROM system_events WHERE kind = 'feed.bad_bar'") == 1


def test_a_good_line_gives_each_minute_with_its_trades_and_no_request(stack: Stack, tmp_path: Path) -> None:
    tape = real_tape()
    with streaming(stack, tmp_path, {("XRP", "ETH"): tape}, FIRST) as market:
        market.start()
        market.connected()
        market.clock.set(FIRST + timedelta(seconds=10))
        stack.wait_for(lambda: market.known_until(FIRST), what="the day before")
        asked, silent, until = market.venue.asked.total(), 0, FIRST + 30 * MINUTE
        for number in range(30):
            start = FIRST + number * MINUTE
            market.minute(start)
            if not tape.between(start, start + MINUTE):  # of which this venue tells no bar
                silent += 1
                market.clock.set(start + timedelta(seconds=66))
            stack.wait_for(lambda end=start + MINUTE: market.known_until(end), what="the minute")
        assert market.bars(SYMBOL, "1m", FIRST, until) == expected(tape, 1, until)
        market.venue.stream.summary("XRPETH", until, lastTradedPrice="0.0014", baseVolume="31")
        told = Bus(connect(stack.valkey.url(), timeout_s=60), KINDS)
        stack.wait_for(lambda: told.read("ticker"), what="the state of the market")
        assert [(one.event.symbol, one.event.last, one.event.volume) for one in told.read("ticker")] == [
            (SYMBOL, 0.0014, 31.0)
        ]
        bars = [one.event for one in told.read("market", n=1_000)]
        assert {one.symbol for one in bars} == {SYMBOL}
        for timeframe, minutes in (("1m", 1), ("5m", 5), ("15m", 15), ("1h", 60)):
            of_length = [one for one in bars if one.timeframe == timeframe]
            figures = [(one.bar_ts, one.open, one.high, one.low, one.close, one.volume) for one in of_length]
            assert figures == [row for row in expected(tape, minutes, until) if row[0] <= until], timeframe
        of_it = "SELECT ts, trade_id FROM market_trades WHERE symbol = %s ORDER BY 1, 2"
        traded = [(one.at, one.id) for one in tape.between(FIRST, until)]
        stack.wait_for(lambda: stack.query(of_it, [SYMBOL]) == traded, what="its trades")
        assert market.venue.asked.total() - asked == silent


def test_bars_that_the_venue_corrects_minutes_later_are_corrected_with_those_above(
    stack: Stack, tmp_path: Path
) -> None:
    tape, until = real_tape(), FIRST + timedelta(hours=1)
    wrong = list(tape.minutes(FIRST, until - timedelta(minutes=20)))[::5]
    with streaming(stack, tmp_path, {("XRP", "ETH"): tape}, FIRST) as market:
        starts = [f"{bar.start:%Y-%m-%dT%H:%M:%SZ}" for bar in wrong]
        line = market.venue.stream
        line.change = lambda told: [told.replace('"volume": "', '"volume": "7') if told_of(told, starts) else told]
        market.start()
        market.connected()
        for number in range(60):
            market.minute(start := FIRST + number * MINUTE)
            for bar in (bar for bar in wrong if bar.start == start - 18 * MINUTE):
                stack.wait_for(lambda end=bar.start + MINUTE: market.known_until(end), what="the wrong bar")
                starts.remove(f"{bar.start:%Y-%m-%dT%H:%M:%SZ}")
                line.bucket("XRPETH", bar)
        market.clock.set(until + timedelta(seconds=66))
        stack.wait_for(lambda: market.known_until(until), what="the hour")
        for timeframe, minutes in (("1m", 1), ("5m", 5), ("15m", 15), ("1h", 60)):
            assert market.bars(SYMBOL, timeframe, FIRST, until) == expected(tape, minutes, until), timeframe
    replaced = stack.query("SELECT bar_ts - '1 min'::interval FROM bar_corrections WHERE timeframe = '1m'")
    assert {start for (start,) in replaced} == {bar.start for bar in wrong}


def told_of(message: str, starts: list[str]) -> bool:
    return "NEW_TRADE_BUCKET" in message and any(start in message for start in starts)


def test_a_process_that_starts_within_an_hour_makes_the_higher_bars_that_it_completes(
    stack: Stack, tmp_path: Path
) -> None:
    tape, first = Tape(), FIRST.replace(hour=3)
    for number in range(60):
        tape.add(first + number * MINUTE + timedelta(seconds=30), f"{100 + number % 7}", "1")
    with streaming(stack, tmp_path, {("XRP", "ETH"): tape}, first) as market:
        market.start()
        market.connected()
        market.clock.set(first + timedelta(seconds=10))
        stack.wait_for(lambda: market.known_until(first), what="the day before")
        asked = market.venue.asked["/v1/public/XRPETH/buckets"]
        for number in range(60):
            market.minute(first + number * MINUTE)
            stack.wait_for(lambda end=first + (number + 1) * MINUTE: market.known_until(end), what="the minute")
            if number % 20 == 17:
                stack.kill("stream", signal.SIGKILL)
                market.start()
                market.connected()
        assert market.venue.asked["/v1/public/XRPETH/buckets"] == asked  # nothing was missed
        for timeframe, minutes in (("5m", 5), ("15m", 15), ("1h", 60)):
            found = market.bars(SYMBOL, timeframe, first, first + timedelta(hours=1))
            assert found == expected(tape, minutes, first + timedelta(hours=1)), timeframe
