"""A venue's stream from its first message to the table, over lost connections, missed messages and restarts.

One thread hears (an event loop), one writes what closes, one asks for what was missed. A minute closes when the venue
tells its bar; one that is overdue, or was missed while nothing was heard, is asked for by request. What a process that
is killed has not written, its successor asks for.
"""

from __future__ import annotations

import asyncio
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf

from django.db import close_old_connections
from loguru import logger

from helios import events
from helios.db.failures import UNAVAILABLE
from helios.errors import HeliosError, Transient, error_text
from helios.events.bus import Bus, Event
from tiers.ingest.minutes import SECOND, Minutes
from tiers.live.feed import recorder, repair
from tiers.live.feed.depth import Noted, OrderBooks, now_and_then
from tiers.live.feed.recorder import Told
from trading.enums import AssetClass, Timeframe
from trading.market.instruments import ensure_instrument
from trading.models import FeedCoverage
from trading.venues.base import Pair
from trading.venues.valr import market as valr
from trading.venues.valr import messages, stream

SOURCE = "valr:stream"
LONGEST_PAUSE_S = 30.0
WATCH_S = 1.0
SKEW = SECOND  # by which what a venue tells may be ahead of its clock as we know it
SKEWED_S = 1.0  # a clock that differs by less is right; one that has moved by more is told
MOST_SKEW_S = 60.0  # a clock that differs more is not followed
COMPARE_S = 600.0
BACK_DAYS = 1.0  # of an instrument that was never streamed; `download_data` fetches more


@dataclass(slots=True)
class Session:
    """The streaming of some pairs of the venue; `run` it in an event loop until it is cancelled."""

    venue: valr.Market
    url: str
    pairs: Sequence[Pair]
    bus: Bus
    streaming: bool = True  # else all is asked for by request, minute by minute
    by_change: frozenset[str] = frozenset()  # instruments whose order books come change by change, not whole
    silent_s: float = stream.SILENT_S
    pause_s: float = 1.0  # before the first try after a connection that did not hold, doubled with each further one
    now_us: Callable[[], int] = lambda: time.time_ns() // 1_000
    _minutes: dict[str, Minutes] = field(default_factory=dict)
    _books: OrderBooks = field(init=False)
    _again: asyncio.Queue[stream.Wanted] = field(default_factory=asyncio.Queue)
    _told: queue.SimpleQueue[Told | Noted | Event | None] = field(default_factory=queue.SimpleQueue)
    _asked: queue.SimpleQueue[tuple[str, int, int] | None] = field(default_factory=queue.SimpleQueue)
    _asking: dict[str, float] = field(default_factory=dict)  # until when, by the monotonic clock, nothing is asked for
    _refused: Counter[str] = field(default_factory=Counter)  # how often, since something was last known
    _unread: int = 0
    _ahead: int = 0  # how far the venue's clock is ahead of ours, in microseconds
    _ending: threading.Event = field(default_factory=threading.Event)

    async def run(self) -> None:
        """Hear the venue until cancelled; then write what is closed."""
        loop = asyncio.get_running_loop()
        known = await asyncio.to_thread(self._known)
        self._minutes = {pair.code: Minutes(symbol=pair.symbol, until=known[pair.symbol]) for pair in self.pairs}
        self._books = OrderBooks({pair.code: pair.symbol for pair in self.pairs})
        ended: asyncio.Future[None] = loop.create_future()  # a thread that fails fails the session
        threads = [
            threading.Thread(target=_reporting, args=(target, loop, ended))
            for target in (self._write, partial(self._repair, loop))
        ]
        for thread in threads:
            thread.start()
        try:
            hearing = [self._connect()] if self.streaming else []
            await asyncio.gather(ended, self._watch(), self._compare_clocks(), *hearing)
        finally:
            self._ending.set()
            self._told.put(None)
            self._asked.put(None)
            for thread in threads:
                await asyncio.to_thread(thread.join)

    # --- in the event loop ---

    async def _connect(self) -> None:
        tries = 0
        while True:
            begun = time.monotonic()
            try:
                await stream.listen(
                    self.url,
                    self._wanted([*self._minutes], of_all=True),
                    self._heard,
                    subscribed=self._subscribed,
                    again=self._again,
                    key=self.venue.client.key,
                    silent_s=self.silent_s,
                )
            except Transient as error:
                for each in self._minutes.values():
                    each.lost()
                tries = 1 if time.monotonic() - begun > LONGEST_PAUSE_S else tries + 1
                pause_s = min(LONGEST_PAUSE_S, self.pause_s * 2 ** (tries - 1)) * random.uniform(0.5, 1.0)  # noqa: S311
                logger.bind(error=error_text(error), pause_s=round(pause_s, 1)).warning("feed.lost")
                await asyncio.to_thread(_tell, "feed.lost", {"error": error_text(error), "try": tries})
                await asyncio.sleep(pause_s)

    def _wanted(self, codes: Sequence[str], *, of_all: bool = False) -> stream.Wanted:
        """What to subscribe to: the order books of these pairs, and, `of_all`, their trades and bars."""
        by_change = [code for code in codes if self._minutes[code].symbol in self.by_change]
        whole = [code for code in codes if code not in by_change]
        books = {messages.CHANGES: by_change, messages.AGGREGATED: whole}
        return {messages.TRADES: codes, messages.BUCKETS: codes, **books} if of_all else books

    def _subscribed(self) -> None:
        now = self._now()
        self._books.subscribed(now)
        for each in self._minutes.values():
            each.heard_from = now
        logger.bind(pairs=len(self._minutes)).info("feed.subscribed")

    def _heard(self, message: bytes) -> None:
        try:
            found = messages.read(message)
        except Transient as error:  # what it told is missed: the venue's bar, or a request, shows it
            self._unread += 1
            if now_and_then(self._unread):
                logger.bind(error=error_text(error), n=self._unread).warning("feed.unreadable")
            return
        if found is None or found.code not in self._minutes:
            return
        minutes = self._minutes[found.code]
        now = self._now()
        if isinstance(found, messages.Depth):
            if (noted := self._books.tell(found, now)) is not None:
                self._told.put(noted)
        elif isinstance(found, messages.Bucket):
            if found.close <= now + SKEW:  # the bar of a minute that is not over says nothing yet
                self._close(minutes, found)
        elif minutes.until <= found.at <= now + SKEW:
            minutes.trade(found.at, found.price, found.quantity, found.side)

    def _close(self, minutes: Minutes, found: messages.Bucket) -> None:
        before = minutes.until
        closed = minutes.bucket(found.close, found.row)
        if closed is not None:
            if closed.differs:
                logger.bind(symbol=closed.symbol, close=recorder.moment(closed.close)).info("feed.trades_differ")
            self._told.put(Told(closed=closed, higher=minutes.higher(before), until=minutes.until))

    async def _watch(self) -> None:
        """Ask for what is overdue, each pair's in one request at a time, and for order books that are lost."""
        while True:
            if self.streaming and (lost := self._books.to_ask(self._now())):
                self._again.put_nowait(self._wanted(lost))
            for code, minutes in self._minutes.items():
                wanted = minutes.overdue(self._now())
                if wanted is not None and time.monotonic() >= self._asking.get(code, 0.0):
                    self._asking[code] = inf
                    self._asked.put((code, *wanted))
            await asyncio.sleep(WATCH_S)

    def _repaired(self, code: str, after: int, found: repair.Fetched | None) -> None:
        known = after if found is None else repair.microseconds(found.until)
        if found is not None and known > after:
            unusable = [repair.microseconds(each.bar_ts) for each in found.bad if each.bar_ts is not None]
            minutes = self._minutes[code]
            before = minutes.until
            minutes.asked(after, known, found.rows, unusable)
            closed = [(close, row) for close, row in found.rows.items() if after < close <= known]
            bars = [(Timeframe.M1.value, *each) for each in closed]
            bars += [(bar.timeframe, bar.close, bar.row) for bar in minutes.higher(before)]
            for bar in bars:
                self._told.put(recorder.bar_event(minutes.symbol, *bar))
        self._refused[code] = 0 if known > after else self._refused[code] + 1
        pause_s = min(WATCH_S * 2 ** self._refused[code], LONGEST_PAUSE_S) if self._refused[code] else 0.0
        self._asking[code] = time.monotonic() + pause_s

    async def _compare_clocks(self) -> None:
        """What the venue names by its clock is judged by its clock."""
        while True:
            await asyncio.to_thread(self._measure)
            await asyncio.sleep(COMPARE_S)

    def _now(self) -> int:
        return self.now_us() + self._ahead

    # --- in threads of their own ---

    def _measure(self) -> None:
        try:
            skew_s = self.venue.skew_s() or 0.0
        except HeliosError as error:
            logger.bind(error=error_text(error)).warning("feed.clock_unknown")
            return
        moved_s = skew_s - self._ahead / SECOND
        self._ahead = round(skew_s * SECOND) if SKEWED_S < abs(skew_s) <= MOST_SKEW_S else 0
        if abs(moved_s) > SKEWED_S:
            logger.bind(ahead_s=round(skew_s, 3)).warning("feed.clock_skew")
            _tell("feed.clock_skew", {"ahead_s": round(skew_s, 3)})
        close_old_connections()

    def _known(self) -> dict[str, int]:
        """Up to where all is known of each instrument, in microseconds."""
        for pair in self.pairs:
            ensure_instrument(pair.symbol, AssetClass.CRYPTO, lot=pair.lot)
        stored = dict(FeedCoverage.objects.filter(pk__in=[p.symbol for p in self.pairs]).values_list("symbol", "until"))
        beginning = repair.back(recorder.moment(self._now()), BACK_DAYS)
        found = {pair.symbol: max(stored.get(pair.symbol, beginning), beginning) for pair in self.pairs}
        return {symbol: int(until.timestamp()) * 1_000_000 for symbol, until in found.items()}

    def _write(self) -> None:
        """Store what closes; all that came while the last was stored, together."""
        while (first := self._told.get()) is not None:
            told, more = [first], True
            while more and not self._told.empty():
                following = self._told.get()
                more = following is not None
                if following is not None:
                    told.append(following)
            self._stored(told)
            if not more:
                return

    def _stored(self, told: list[Told | Noted | Event]) -> None:
        pause_s = 0.1
        bars, books = [one for one in told if isinstance(one, Told)], [one for one in told if isinstance(one, Noted)]
        while True:
            try:
                recorder.write(bars, SOURCE, books)
            except (Transient, *UNAVAILABLE) as error:
                logger.bind(error=error_text(error), bars=len(bars)).warning("feed.not_stored")
                close_old_connections()
                if self._ending.wait(pause_s):
                    return  # the next process asks for it
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                events = [one for one in told if isinstance(one, Event)]
                self._publish([*events, *recorder.events_of(bars)])
                return

    def _publish(self, events: list[Event]) -> None:
        """Tell who follows the market; what the bus is not told is in the table."""
        try:
            self.bus.publish(events)
        except HeliosError as error:
            logger.bind(error=error_text(error)).warning("feed.not_published")

    def _repair(self, loop: asyncio.AbstractEventLoop) -> None:
        pairs = {pair.code: pair for pair in self.pairs}
        while (asked := self._asked.get()) is not None:
            code, after, until = asked
            found = None
            try:
                found = repair.repair(self.venue, pairs[code], after, until, now=self._now())
            except (HeliosError, *UNAVAILABLE) as error:
                logger.bind(symbol=pairs[code].symbol, error=error_text(error)).warning("feed.not_repaired")
                close_old_connections()
            loop.call_soon_threadsafe(self._repaired, code, after, found)


def _reporting(target: Callable[[], None], loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> None:
    """Run a thread's work; what ends it otherwise than by its end ends the session."""

    def fail(error: BaseException) -> None:
        if not ended.done():
            ended.set_exception(error)

    try:
        target()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where the session is awaited
        loop.call_soon_threadsafe(fail, error)


def _tell(kind: str, data: dict[str, object]) -> None:
    try:
        events.record(kind=kind, severity="warning", source="tiers.feed", subject="VALR", data=data)
    except UNAVAILABLE:
        close_old_connections()
