"""What time it is at a venue, by which a stream judges what is over, and when that was judged wrongly."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from django.db import close_old_connections
from loguru import logger

from helios import events
from helios.db.failures import UNAVAILABLE
from helios.errors import HeliosError, Transient, error_text
from tiers.live.feed.repair import SKEWED_S
from trading.market.timestamps import SECOND
from trading.venues.base import MarketData

SKEW = SECOND  # by which what a venue tells may be ahead of its clock as we know it
MOST_SKEW_S = 60.0  # a clock that is further ahead is not followed
FARTHEST_S = 86_400.0  # nothing is streamed while a clock is further behind
WITNESSES: Final = 10  # trades of `WITNESSED` that are later than the venue's clock says
WITNESSED: Final = 3_600 * SECOND


def offset() -> float:
    """How far our clock is ahead of the monotonic one, in seconds: constant until it is set, or the machine sleeps."""
    return time.time() - time.monotonic()


@dataclass(slots=True)
class Clock:
    """Ours and a venue's, in microseconds since 1970. A session lives as long as neither is set.

    Of two clocks that differ one is wrong, and nobody knows which: the earlier counts, so that nothing is taken for
    over that is still to come by one; but for a venue's that is ahead by a minute at most, which is followed.
    """

    venue: MarketData
    now_us: Callable[[], int]
    agreed: bool = False  # both, when they were last compared
    _ahead: int = 0  # how far the venue's, as far as it is followed, is ahead of ours
    _latest: int = 0  # how far the later of both is
    _told_s: float = 0.0  # the difference that was last told
    _offset: float = field(default_factory=offset)  # of our clock
    _later: deque[tuple[int, int]] = field(default_factory=deque)  # trades later than its clock: how far ahead of ours
    _shown: int | None = None  # how far ahead it is at least, by its trades; None while its clock is as far
    _untold: bool = False  # that they show it

    def now(self) -> int:
        """What time it is at the venue."""
        return self.now_us() + self._ahead

    def is_to_come(self, at: int) -> bool:
        """Whether a moment lies behind now by both clocks."""
        return at > self.now_us() + self._latest + 2 * SKEW

    def check(self) -> None:
        """Raises: `Transient` once ours was set; who begins anew judges anew what is over."""
        if abs(set_s := offset() - self._offset) > SKEWED_S:
            raise Transient(f"this machine's clock was set by {set_s:.1f} s: what is over is judged anew")

    def compare(self) -> None:
        """Ask the venue, at first. Raises: `Transient` where its clock is days behind ours."""
        try:
            told_s = self.venue.skew_s()
        except HeliosError as error:
            logger.bind(error=error_text(error)).warning("feed.clock_unknown")
            self.agreed = False
            return
        skew_s = told_s or 0.0
        if skew_s < -FARTHEST_S:
            raise Transient(f"this machine's clock is {-skew_s / 86_400:,.1f} days ahead of that of {self.venue.name}")
        self._latest = max(0, round(skew_s * SECOND))
        self.agreed = told_s is not None and abs(skew_s) <= MOST_SKEW_S
        ahead = round(skew_s * SECOND) if abs(skew_s) > SKEWED_S and skew_s <= MOST_SKEW_S else 0
        if (shown := self._shown) is not None and self._untold:
            self._untold = False
            self._tell("feed.clock_contradicted", shown / SECOND)
        if shown is None or shown <= ahead + SKEW:
            self._ahead, self._shown = ahead, None
        if abs(skew_s - self._told_s) > SKEWED_S:
            self._told_s = skew_s
            logger.bind(ahead_s=round(skew_s, 3)).warning("feed.clock_skew")
            self._tell("feed.clock_skew", skew_s)
        close_old_connections()

    def compare_again(self) -> None:
        """The same, later. Raises: as `check`, and where the venue's clock was set."""
        before = self._ahead
        self.compare()
        self.check()
        self._offset = offset()  # small steps do not add up
        if abs(self._ahead - before) > MOST_SKEW_S * SECOND:
            raise Transient(f"the clock of {self.venue.name} was set: what is over is judged anew")

    def told_later(self, at: int) -> None:
        """A trade was told of a time that is still to come by the venue's clock, or by ours.

        A venue tells nothing of what is to come: several show that its clock is wrong, as an answer from a
        cache is, and that it is at least so late there, by each of them.
        """
        if (ahead := at - self.now_us()) <= SKEW:
            self._later.append((at, ahead))
            while self._later[0][0] < at - WITNESSED:
                self._later.popleft()
            if len(self._later) == WITNESSES:
                self._ahead = self._shown = min(ahead for _, ahead in self._later)
                self._untold = True
                self._later.clear()
                logger.bind(ahead_s=round(self._ahead / SECOND, 3)).warning("feed.clock_contradicted")

    def _tell(self, kind: str, ahead_s: float) -> None:
        data = {"ahead_s": round(ahead_s, 3)}
        try:
            events.record(kind=kind, severity="warning", source="tiers.feed", subject=self.venue.name, data=data)
        except UNAVAILABLE:
            close_old_connections()
