"""A venue's stream from its first message to the table, over lost connections, missed messages and restarts.

One thread hears (an event loop), one writes what closes, one asks for what was missed, and without a line one asks for
order books. A minute closes when the venue tells its bar; one that is overdue, or was missed while nothing was heard,
is asked for by request. The bars that a process which is killed has not written, its successor asks for.
"""

from __future__ import annotations

import asyncio
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache, partial
from math import inf

import numpy as np
from django.db import DatabaseError, close_old_connections, connections, transaction
from loguru import logger

from helios import events
from helios.db.failures import UNAVAILABLE
from helios.errors import UNREAD, HeliosError, Transient, error_text
from helios.events.bus import Bus, Event
from helios.logs import now_and_then
from tiers.ingest.minutes import GRACE, Closed, Minutes, sane
from tiers.live.feed import recorder, repair
from tiers.live.feed.clock import SKEW, Clock
from tiers.live.feed.depth import BookSnapshot, OrderBooks
from tiers.live.feed.recorder import KnownMinute
from tiers.live.feed.writer import Writer
from trading.enums import Timeframe
from trading.market import coverage, gaps
from trading.market.bars import BarValues
from trading.market.calendars import Calendar, calendar
from trading.market.instruments import ensure_instrument
from trading.market.lots import USUAL_CALENDARS
from trading.market.timestamps import MINUTE, SECOND, microseconds, moment
from trading.models import FeedCoverage
from trading.venues.base import MarketData, Pair
from trading.venues.streaming import SILENT_S, Depth, Message, MinuteBar, Stream, Ticker

LONGEST_PAUSE_S = 30.0
WATCH_S = 1.0
MOST_OPEN = 1_000_000  # trades of minutes that nothing closes; some 200 MB
COMPARE_S, DOUBTED_S = 600.0, 60.0  # between two looks at the venue's clock, while both agree and while they do not
TICKERS = 10 * SECOND  # between two of a pair that are told further
BACK = timedelta(days=1)  # of an instrument that was never streamed; `download_data` fetches more


@dataclass(slots=True)
class Session:
    """The streaming of some pairs of the venue; `run` it in an event loop until it is cancelled.

    Without a `stream` all is asked for by request, minute by minute.
    """

    venue: MarketData
    stream: Stream | None
    pairs: Sequence[Pair]
    bus: Bus
    silent_s: float = SILENT_S
    pause_s: float = 1.0  # before the first try after a connection that did not hold, doubled with each further one
    now_us: Callable[[], int] = lambda: time.time_ns() // 1_000
    _minutes: dict[str, Minutes] = field(default_factory=dict)
    _hours: dict[str, Calendar] = field(default_factory=dict)
    _books: OrderBooks = field(init=False)
    _again: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: queue.SimpleQueue[KnownMinute | BookSnapshot | Event | None] = field(default_factory=queue.SimpleQueue)
    _asked: queue.SimpleQueue[tuple[str, int, int] | None] = field(default_factory=queue.SimpleQueue)
    _asking: dict[str, float] = field(default_factory=dict)  # until when, by the monotonic clock, nothing is asked for
    _refused: Counter[str] = field(default_factory=Counter)  # how often, since something was last known
    _doubted: Counter[str] = field(default_factory=Counter)  # bars by symbol
    _tickers: dict[str, int] = field(default_factory=dict)  # when the last one was told further
    _connected: bool = False
    _passed_over: Counter[str] = field(default_factory=Counter)  # by what was wrong
    _ending: threading.Event = field(default_factory=threading.Event)
    _n_repaired: int = 0
    _writer: Writer = field(init=False)
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = Clock(self.venue, self.now_us)
        source = self.venue.source(self.pairs[0]) if self.stream is None else self.stream.source
        self._writer = Writer(
            bus=self.bus, source=source, n_pairs=len(self.pairs), waiting=self._waiting, ending=self._ending
        )

    @property
    def n_stored(self) -> int:
        """Bars so far."""
        return self._n_repaired + self._writer.n_stored

    async def run(self) -> None:
        """Hear the venue until cancelled; then write what is closed."""
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(self.clock.compare)
        self._minutes = await asyncio.to_thread(self._known)
        self._hours = {pair.code: calendar(USUAL_CALENDARS[pair.asset_class]) for pair in self.pairs}
        line = self.stream
        checksum = None if line is None else line.checksum
        self._books = OrderBooks({pair.code: pair.symbol for pair in self.pairs}, checksum)
        ended: asyncio.Future[None] = loop.create_future()  # a thread that fails fails the session
        looking = [self._ask_books] if line is None else []
        threads = [
            threading.Thread(target=_reporting, args=(target, loop, ended))
            for target in (self._writer.run, partial(self._repair, loop), *looking)
        ]
        for thread in threads:
            thread.start()
        hearing = [] if line is None else [self._connect(line)]
        tasks = [asyncio.ensure_future(each) for each in (self._watch(), self._compare_clocks(), *hearing)]
        try:
            await asyncio.gather(ended, *tasks)
        finally:
            for task in tasks:
                task.cancel()
            self._ending.set()
            self.venue.end_waits()
            self._waiting.put(None)
            self._asked.put(None)
            await asyncio.gather(*tasks, return_exceptions=True)
            for thread in threads:
                await asyncio.to_thread(thread.join)

    # --- in the event loop ---

    async def _connect(self, line: Stream) -> None:
        tries = 0
        while True:
            begun = time.monotonic()
            try:
                await line.listen(
                    [*self._minutes],
                    partial(self._heard, line),
                    subscribed=self._subscribed,
                    again=self._again,
                    silent_s=self.silent_s,
                )
            except Transient as error:
                self._connected = False
                lasted = time.monotonic() - begun > LONGEST_PAUSE_S  # as a line without a key, which is ended regularly
                for each in self._minutes.values():
                    each.lost()
                tries = 1 if lasted else tries + 1
                pause_s = _doubled(self.pause_s, tries - 1) * random.uniform(0.5, 1.0)  # noqa: S311
                logger.bind(error=error_text(error), pause_s=round(pause_s, 1)).warning("feed.lost")
                if not lasted:
                    await asyncio.to_thread(self._tell, "feed.lost", {"error": error_text(error), "try": tries})
                await asyncio.sleep(pause_s)

    def _subscribed(self) -> None:
        now, self._connected = self.clock.now(), True
        self._books.subscribed(now)
        self._again.clear()  # what the line before was not asked any more
        for each in self._minutes.values():
            each.heard_from = now
        logger.bind(pairs=len(self._minutes)).info("feed.subscribed")

    def _heard(self, line: Stream, message: bytes) -> None:
        try:
            for each in line.read(message):
                if each.code in self._minutes:
                    self._learn_of(each)
                else:
                    self._pass_over("pair", f"a message must be of a pair that is asked for, was of {each.code}")
        except (Transient, *UNREAD) as error:  # what it told is missed: the venue's bar, or a request, shows it
            self._pass_over("message", error_text(error))

    def _pass_over(self, what: str, why: str) -> None:
        self._passed_over[what] += 1
        if now_and_then(n := self._passed_over[what]):
            logger.bind(error=why, n=n).warning("feed.unreadable")

    def _learn_of(self, found: Message) -> None:
        minutes = self._minutes[found.code]
        now = self.clock.now()
        if isinstance(found, Depth):
            if (noted := self._books.apply(found, now)) is not None:
                self._waiting.put(noted)
        elif isinstance(found, Ticker):
            if now - self._tickers.get(found.code, 0) >= TICKERS and found.at <= now + SKEW:
                self._tickers[found.code] = now
                self._waiting.put(recorder.ticker_event(minutes.symbol, found))
        elif isinstance(found, MinuteBar):
            self._learn_of_bar(minutes, found, now)
        elif found.at <= now + SKEW:
            minutes.trade(found.at, found.price, found.quantity, found.side, found.trade_id)
        else:
            self.clock.told_later(found.at)

    def _learn_of_bar(self, minutes: Minutes, found: MinuteBar, now: int) -> None:
        self.clock.check()
        if found.close > now + SKEW:  # of a minute that is not over, it says nothing yet
            if found.close > now + SKEW + MINUTE:
                self._pass_over("time", f"a bar must be of a time that has come, was of {moment(found.close)}")
        elif _is_open(self._hours[found.code], found.close - MINUTE, found.close):
            if found.row is not None and sane(found.row) and (doubt := minutes.doubt(found.row)):
                self._doubt(minutes, doubt)
            else:
                self._close(minutes, found)

    def _doubt(self, minutes: Minutes, doubt: str) -> None:
        """The bar is asked for once it is overdue, and believed if it is told again."""
        self._doubted[minutes.symbol] += 1
        if now_and_then(n := self._doubted[minutes.symbol]):
            logger.bind(symbol=minutes.symbol, problem=f"a bar {doubt}", n=n).warning("feed.doubted")

    def _close(self, minutes: Minutes, found: MinuteBar) -> None:
        before = min(minutes.until, found.close - MINUTE)  # of a minute that was known, a bar above is corrected too
        closed = minutes.bar(found.close, found.row)
        if closed is not None:
            if closed.differs:
                logger.bind(symbol=closed.symbol, close=moment(closed.close)).info("feed.trades_differ")
            if self._writer.behind:
                closed = replace(closed, trades=())  # for want of room; its bar is kept
            self._waiting.put(KnownMinute(closed=closed, higher=minutes.higher(before), until=minutes.until))

    async def _watch(self) -> None:
        """Ask for what is overdue, each pair's in one request at a time, and for order books that are lost."""
        while True:
            self.clock.check()
            self._forget_open()
            if self._connected and not self._again.is_set() and self._books.to_ask(self.clock.now()):
                self._again.set()  # of all books: who names some may leave the others
            for code, minutes in self._minutes.items():
                wanted = minutes.overdue(self.clock.now())
                if wanted is None or time.monotonic() < self._asking.get(code, 0.0):
                    continue
                if not _is_open(self._hours[code], *wanted):
                    self._know(minutes, *wanted, {})
                else:
                    self._asking[code] = inf
                    self._asked.put((code, *wanted))
            await asyncio.sleep(WATCH_S)

    def _forget_open(self) -> None:
        """Of too many trades of open minutes those of whoever has most go: these minutes keep none, later ones do."""
        while sum(each.n_open for each in self._minutes.values()) > MOST_OPEN:
            most = max(self._minutes.values(), key=lambda each: each.n_open)
            logger.bind(symbol=most.symbol, n=most.n_open).warning("feed.trades_forgotten")
            most.lost(None if most.heard_from is None else self.clock.now())

    def _repaired(self, code: str, after: int, found: repair.Fetched | None) -> None:
        known = after if found is None else microseconds(found.until)
        if found is not None and known > after:
            minutes = self._minutes[code]
            self._n_repaired += sum(one.inserted + one.corrected for one in found.stored.values())
            for close, row in found.rows.items():
                if after < close <= known and minutes.known.get(close) != row:  # else it was told by the stream
                    self._waiting.put(recorder.bar_event(minutes.symbol, Timeframe.M1, close, row))
            self._know(minutes, after, known, found.rows, [each for each in found.unusable if each > after])
        self._refused[code] = 0 if known > after else self._refused[code] + 1
        pause_s = _doubled(WATCH_S, self._refused[code]) if self._refused[code] else 0.0
        self._asking[code] = time.monotonic() + pause_s

    def _know(
        self, minutes: Minutes, after: int, known: int, rows: dict[int, BarValues], unusable: Sequence[int] = ()
    ) -> None:
        """All of (after, known] is known, and with it what was told behind it: a bar above may be whole by that."""
        before = minutes.until
        minutes.answered(after, known, rows, unusable)
        if minutes.until > before:
            closed = Closed(symbol=minutes.symbol, close=minutes.until, row=None)
            self._waiting.put(KnownMinute(closed=closed, higher=minutes.higher(before), until=minutes.until))

    async def _compare_clocks(self) -> None:
        """What the venue names by its clock is judged by its clock."""
        while True:
            await asyncio.sleep(COMPARE_S if self.clock.agreed else DOUBTED_S)
            await asyncio.to_thread(self.clock.compare_again)

    # --- in threads of their own ---

    def _tell(self, kind: str, data: dict[str, object]) -> None:
        try:
            events.record(kind=kind, severity="warning", source="tiers.feed", subject=self.venue.name, data=data)
        except UNAVAILABLE:
            close_old_connections()

    def _known(self) -> dict[str, Minutes]:
        """What is stored of each instrument: up to where all is known, and the minutes of its hour, by code."""
        line = self.stream
        grace, of_trades = (GRACE, True) if line is None else (int(line.grace_s * SECOND), line.of_trades)
        for pair in self.pairs:
            ensure_instrument(pair.symbol, pair.asset_class, lot=pair.lot)
        now = moment(self.clock.now())
        beginning = (now - BACK).replace(minute=0, second=0, microsecond=0)
        stored = dict(FeedCoverage.objects.filter(pk__in=[p.symbol for p in self.pairs]).values_list("symbol", "until"))
        for symbol, claimed in stored.items():
            if self.clock.is_to_come(microseconds(claimed)):
                self.clock.check()
                coverage.take_back(symbol, claimed, beginning, now if self.clock.agreed else None)
                stored[symbol] = beginning
        for symbol, until in stored.items():
            if until < beginning:
                left = gaps.Gap(after=until, until=beginning, reason="nobody streamed then; repair_data asks for it")
                with transaction.atomic():
                    gaps.note(symbol, Timeframe.M1, until, beginning, [left])
        found = {}
        for pair in self.pairs:
            until, tick = max(stored.get(pair.symbol, beginning), beginning), _tick(pair)
            found[pair.code] = repair.resumed(pair.symbol, until, grace=grace, of_trades=of_trades, tick=tick)
        return found

    def _repair(self, loop: asyncio.AbstractEventLoop) -> None:
        pairs = {pair.code: pair for pair in self.pairs}
        while (asked := self._asked.get()) is not None:
            code, after, until = asked
            found = None
            try:
                self.clock.check()
                found = repair.repair(self.venue, pairs[code], after, until, now=self.clock.now())
            except (HeliosError, DatabaseError, *UNREAD) as error:  # of a venue's words, or of a database that is away
                logger.bind(symbol=pairs[code].symbol, error=error_text(error)).warning("feed.not_repaired")
                close_old_connections()
            loop.call_soon_threadsafe(self._repaired, code, after, found)

    def _ask_books(self) -> None:
        """Ask for the order books at the end of each minute, where no line tells of them."""
        while not self._ending.wait((MINUTE - self.clock.now() % MINUTE) / SECOND):
            for pair in self.pairs:
                try:
                    noted = self._books.answered(self.venue.depth(pair), self.clock.now())
                except (HeliosError, *UNREAD) as error:
                    logger.bind(symbol=pair.symbol, error=error_text(error)).warning("feed.no_book")
                    continue
                if noted is not None:
                    self._waiting.put(noted)


def _reporting(target: Callable[[], None], loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> None:
    """Run a thread's work, and close its connection; what ends it otherwise than by its end ends the session."""

    def fail(error: BaseException) -> None:
        if not ended.done():
            ended.set_exception(error)

    try:
        target()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where the session is awaited
        loop.call_soon_threadsafe(fail, error)
    finally:
        connections.close_all()


def _doubled(pause_s: float, n: int) -> float:
    """A pause doubled so often, however often: a venue may be away for days."""
    return min(LONGEST_PAUSE_S, pause_s * float(2 ** min(n, 16)))


def _tick(pair: Pair) -> float:
    return 0.0 if pair.lot is None else float(pair.lot.price_tick)


@lru_cache(maxsize=64)  # all symbols of a calendar tell the same minutes
def _is_open(hours: Calendar, after: int, until: int) -> bool:
    """Whether any minute of (after, until], in microseconds, lies in a session."""
    first, last = hours.index("1m", np.array([after, until], "datetime64[us]"))
    return bool(last > first)
