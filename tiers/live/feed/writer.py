"""The thread that stores what a session hears: bars as they close, and what nobody waits for behind them."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter

from django.db import DatabaseError, close_old_connections
from loguru import logger

from helios.db.failures import UNAVAILABLE
from helios.errors import HeliosError, Transient, error_text
from helios.events.bus import Bus, Event
from tiers.ingest.minutes import Closed
from tiers.live.feed import recorder
from tiers.live.feed.depth import BookSnapshot
from tiers.live.feed.recorder import KnownMinute

LONGEST_PAUSE_S = 30.0
AT_ONCE = 1_000  # that wait to be stored, in one transaction
QUIET_S = 0.005  # in which nothing more came: the bars of a minute come together, and are stored faster together
GATHERED_S = 0.02
LOOK_S = 0.001
A_PART = 1_000  # trades and offers; some 15 ms, which a bar may have to wait for
LATER_S = 5.0  # before a part that could not be stored is tried again
MOST_WAITING = 2_000  # behind which the trades of further minutes are not kept


@dataclass(slots=True, kw_only=True)
class Writer:
    """What waits to be stored, and how much has been; `run` it in a thread until None is told."""

    bus: Bus
    source: str  # of the bars
    n_pairs: int = AT_ONCE  # whose bars come together
    waiting: queue.SimpleQueue[KnownMinute | BookSnapshot | Event | None] = field(default_factory=queue.SimpleQueue)
    ending: threading.Event = field(default_factory=threading.Event)
    n_stored: int = 0  # bars so far
    _unknown: list[KnownMinute] = field(default_factory=list)  # stored, but for the bars above and how far all is known
    _was_away: bool = False  # the database, since they were: it may have lost what its disk did not have yet
    _trades_and_books: deque[Closed | BookSnapshot] = field(  # stored while no bar waits
        default_factory=partial(deque, maxlen=2 * MOST_WAITING)
    )

    @property
    def behind(self) -> bool:
        """Whether so much waits that there is no room for more trades."""
        return self.waiting.qsize() + len(self._trades_and_books) > MOST_WAITING

    def run(self) -> None:
        """Store what closes, then the bars above it, and in parts, while nothing closes, the trades and order books."""
        self._store(self._write_known, [])  # so that the first minute waits for no connection
        more, again = True, 0.0  # when a part that could not be stored is tried again, by the monotonic clock
        while more or self._trades_and_books:
            told = self._gathered(again - time.monotonic()) if more else []
            more = more and None not in told
            closed = [one for one in told if isinstance(one, KnownMinute)]
            if closed and not self._store(recorder.write, closed):
                return
            self._unknown += closed
            self._trades_and_books.extend(one for one in told if isinstance(one, BookSnapshot))
            if published := [one for one in told if isinstance(one, Event)]:
                self._publish(published)
            if self._unknown and (not more or self.waiting.empty() or len(self._unknown) > AT_ONCE):
                if not self._store(self._write_known, self._unknown):
                    return
                self._was_away = False
                self._trades_and_books.extend(part for one in self._unknown for part in _parts(one.closed))
                self._unknown = []
            elif self._trades_and_books and (not more or (self.waiting.empty() and time.monotonic() >= again)):
                again = 0.0 if self._store_part() else time.monotonic() + LATER_S

    def _gathered(self, pause_s: float) -> list[KnownMinute | BookSnapshot | Event | None]:
        """What came in short order, or since the last was stored; None ends it.

        Waits for it, but no longer than the pause before what is to be stored without haste.
        """
        try:
            found = [self.waiting.get(timeout=max(0.0, pause_s) if self._trades_and_books else None)]
        except queue.Empty:
            return []
        begun = heard = now = time.monotonic()
        n = self.waiting.qsize()
        if n + 1 < self.n_pairs and isinstance(found[0], KnownMinute):
            # What stores them has rested for a minute, and is slow to come back: it does while the others come.
            self._store(self._write_known, [])
        while n + 1 < self.n_pairs and now < min(begun + GATHERED_S, heard + QUIET_S):
            time.sleep(LOOK_S)  # asleep: woken by each it would take the interpreter from who hears them
            now = time.monotonic()
            if n != (n := self.waiting.qsize()):
                heard = now
        while found[-1] is not None and len(found) < AT_ONCE and not self.waiting.empty():
            found.append(self.waiting.get())
        return found

    def _write_known(self, told: Sequence[KnownMinute], source: str) -> list[Event]:
        if self._was_away and told:
            recorder.write(told, source)
        return recorder.write_known(told, source)

    def _store_part(self) -> bool:
        """Store the next trades and order books; what cannot be now waits, and is left at the end or for good."""
        part, size = list[Closed | BookSnapshot](), 0
        while self._trades_and_books and size < A_PART:
            part.append(one := self._trades_and_books.popleft())
            size += len(one.trades) if isinstance(one, Closed) else len(one.bids)
        try:
            recorder.write_trades_and_books(part)
        except (Transient, *UNAVAILABLE) as error:
            logger.bind(error=error_text(error), further=len(part)).warning("feed.not_stored")
            close_old_connections()
            if self.ending.is_set():
                self._trades_and_books.clear()
            else:
                self._trades_and_books.extendleft(reversed(part))
            return False
        except DatabaseError as error:  # as two trades of one name: it never can be stored
            logger.bind(error=error_text(error), further=len(part)).error("feed.left_out")
        return True

    def _store(self, write: Callable[[Sequence[KnownMinute], str], list[Event]], closed: Sequence[KnownMinute]) -> bool:
        """Try until they are stored, and tell them; what cannot be is left. False at the end: the next process asks.

        Nothing that comes later may be stored then: how far a symbol is known would pass over them.
        """
        pause_s = 0.1
        while True:
            try:
                stored = write(closed, self.source)
            except (Transient, *UNAVAILABLE) as error:
                logger.bind(error=error_text(error), bars=len(closed)).warning("feed.not_stored")
                self._was_away = True
                close_old_connections()
                if self.ending.wait(pause_s):
                    return False
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            except DatabaseError as error:
                if half := len(closed) // 2:
                    return self._store(write, closed[:half]) and self._store(write, closed[half:])
                logger.bind(error=error_text(error), bars=1).error("feed.left_out")
                below = [
                    replace(one, higher=[]) for one in closed if one.higher
                ]  # known all the same, and kept by that
                return not below or self._store(write, below)
            else:
                self.n_stored += len(stored)
                if stored:
                    self._publish(stored)
                return True

    def _publish(self, events: list[Event]) -> None:
        """Tell who follows the market; what the bus is not told is in the table."""
        try:
            self.bus.publish(events)
        except HeliosError as error:
            logger.bind(error=error_text(error)).warning("feed.not_published")


def _parts(closed: Closed) -> Iterator[Closed]:
    """A minute with some of its trades after the other, in the order of their time.

    Those of one moment stay together: without names they are told apart by how many there are.
    """
    trades, begin = sorted(closed.trades, key=itemgetter(0)), 0
    for number in range(1, len(trades) + 1):
        last = number == len(trades)
        if last or (number - begin >= A_PART and trades[number][0] != trades[number - 1][0]):
            yield replace(closed, trades=tuple(trades[begin:number]))
            begin = number
