"""The minutes of one symbol as a stream tells of them: trades, and the venue's own bar when a minute is over. Pure.

The bar of a minute is made of its trades. The venue's bar says that the minute is over, and whether all trades of it
were heard: where the two differ, the venue's counts. What neither has told in time is asked for by request. Times are
microseconds since 1970, in UTC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from math import inf, isclose
from typing import Final

from tiers.contracts import MINUTE, SECOND, BarValues, timeframes
from tiers.ingest.aggregate import INTRADAY

GRACE: Final = 5 * SECOND
CORRECTED: Final = 60 * MINUTE  # so far back a venue's bar corrects what is known
JUMP: Final = 2.0
MOST_TOLD: Final = 10  # bars of one minute that a stream may tell; a later correction is found by request
TICK_ERROR: Final = 1e-9  # relative, of a multiple of a step as a double
KEPT: Final = 2 * CORRECTED  # so that all minutes of each higher bar that holds a corrected one are known

HeardTrade = tuple[int, float, float, str, str]  # time, price, quantity, side of the taker, id


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A minute that is over; `row` is None where nobody traded. `differs` where the trades told something else."""

    symbol: str
    close: int
    row: BarValues | None
    trades: tuple[HeardTrade, ...] = ()
    differs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DueBar:
    """A bar all of whose minutes are known. It is made of those that are stored, of which there must be `n`."""

    timeframe: str
    close: int
    n: int


@dataclass(slots=True)
class OpenMinute:
    """The trades of a minute that is not over, and the bar that they make, in the order in which they came.

    It is made as they come: hundreds of minutes end at once, and their bars are waited for.
    """

    open: float
    high: float
    low: float
    close: float
    volume: float = 0.0
    trades: list[HeardTrade] = field(default_factory=list)

    @property
    def row(self) -> BarValues:
        return self.open, self.high, self.low, self.close, self.volume


@dataclass(slots=True, kw_only=True)
class Minutes:
    """What is known of one symbol: all minutes up to `until`, and some behind it.

    `heard_from` is the moment from which every trade has been heard; None while nothing is heard. `of_trades` says
    whether the venue makes its bars of just these: then one that differs shows that a trade was missed.
    """

    symbol: str
    until: int
    grace: int = GRACE  # after its end, a minute of which the venue has told no bar is asked for
    heard_from: int | None = None
    of_trades: bool = True
    last: float | None = None  # the newest close that is known
    tick: float = 0.0  # of which the venue's prices are multiples; 0: it names none
    known: dict[int, BarValues | None] = field(
        default_factory=dict
    )  # by close: the last hour, and those behind `until`
    unusable: set[int] = field(default_factory=set)  # of those, the ones of which the venue has no right bar
    open: dict[int, OpenMinute] = field(default_factory=dict)
    n_open: int = 0  # trades of minutes that are not closed
    _last_at: int = 0
    _n_told: Counter[int] = field(default_factory=Counter)  # how often the stream told a minute's bar anew
    _forgotten: int = field(init=False)  # up to where nothing is kept

    def __post_init__(self) -> None:
        self._forgotten = self.until

    def trade(self, at: int, price: float, quantity: float, side: str, trade_id: str = "") -> None:
        """A trade was told; `trade_id` is empty where the venue names none. One of a minute that is known is late."""
        close = at // MINUTE * MINUTE + MINUTE
        if close > self.until and close not in self.known:
            self.n_open += 1
            if (minute := self.open.get(close)) is None:
                minute = self.open[close] = OpenMinute(price, price, price, price)
            minute.trades.append((at, price, quantity, side, trade_id))
            minute.close = price
            minute.volume += quantity
            if price > minute.high:
                minute.high = price
            elif price < minute.low:
                minute.low = price

    def bar(self, close: int, row: BarValues | None) -> Closed | None:
        """The venue's bar of a minute that is over; None where that was known before, and is the same.

        A bar that no market has makes nothing known.
        """
        if close <= self.until - CORRECTED or (close <= self.until and close not in self.known):
            return None  # too long ago; a correction of it is found by request
        if self._n_told[close] >= MOST_TOLD or (close in self.known and self.known[close] == row):
            return None
        if row is not None and not sane(row):
            self._n_told[close] += 1
            return Closed(symbol=self.symbol, close=close, row=row)
        made, trades = self._closed(close)
        whole = self.heard_from is not None and self.heard_from <= close - MINUTE and close not in self.known
        differs = whole and self.of_trades and not _same(made, row)
        self._know(close, row)
        self._n_told[close] += 1
        self.unusable.discard(close)
        self._advance()
        told = trades if whole and not differs else ()
        return Closed(symbol=self.symbol, close=close, row=row, trades=told, differs=differs)

    def doubt(self, row: BarValues) -> str:
        """Why a bar is to be asked for before it is believed, as one in another unit is; empty where it may be."""
        last = row[3] if self.last is None else self.last
        if max(row[1] / last, last / row[2]) > JUMP:
            return f"must be within {JUMP:g} times the newest close, {last:g}, was {row[2]:g} to {row[1]:g}"
        for price in row[:4] if self.tick else ():
            steps = price / self.tick
            if abs(steps - round(steps)) > TICK_ERROR * max(1.0, steps):
                return f"must have prices in steps of {self.tick:g}, was {price!r}"
        return ""

    def answered(self, after: int, until: int, rows: dict[int, BarValues], unusable: Collection[int] = ()) -> None:
        """All minutes in (after, until] are known by request, and of the `unusable` ones that they lack a bar."""
        self.unusable = (self.unusable | {*unusable}) - rows.keys()
        for close in range(after + MINUTE, until + MINUTE, MINUTE):
            self._closed(close)
            self._know(close, rows.get(close))
        self._advance()

    def overdue(self, now: int) -> tuple[int, int] | None:
        """The time, (after, until], of which the venue should have told by now, or that lies before what it told."""
        latest = (now - self.grace) // MINUTE * MINUTE
        behind = max((close - MINUTE for close in self.known if close > self.until), default=0)
        until = max(latest, behind)
        return (self.until, until) if until > self.until else None

    def higher(self, before: int) -> list[DueBar]:
        """The bars of 5m, 15m and 1h up to now that hold minutes behind `before`."""
        found = []
        for timeframe in INTRADAY:
            length = timeframes.seconds(timeframe) * SECOND
            for close in range(before // length * length + length, self.until + 1, length):
                minutes = range(close - length + MINUTE, close + 1, MINUTE)
                if minutes[0] not in self.known:  # else all are, since what is known goes on up to `until`
                    continue
                n = sum(row is not None for row in map(self.known.get, minutes))
                n += len(self.unusable.intersection(minutes)) if self.unusable else 0
                if n:
                    found.append(DueBar(timeframe=timeframe, close=close, n=n))
        return found

    def lost(self, heard_from: int | None = None) -> None:
        """Trades of open minutes may be missing; every one is heard anew from that moment on, None while none is."""
        self.heard_from = heard_from
        self.open.clear()
        self.n_open = 0

    def _know(self, close: int, row: BarValues | None) -> None:
        self.known[close] = row
        if row is not None and close >= self._last_at:
            self.last, self._last_at = row[3], close

    def _closed(self, close: int) -> tuple[BarValues | None, tuple[HeardTrade, ...]]:
        """The bar that its trades made, None of none, and they themselves."""
        if (minute := self.open.pop(close, None)) is None:
            return None, ()
        self.n_open -= len(minute.trades)
        return minute.row, tuple(minute.trades)

    def _advance(self) -> None:
        while self.until + MINUTE in self.known:
            self.until += MINUTE
        while self._forgotten < self.until - KEPT:
            self._forgotten += MINUTE
            self.known.pop(self._forgotten, None)
            self.unusable.discard(self._forgotten)
            self._n_told.pop(self._forgotten, None)


def sane(row: BarValues) -> bool:
    """Whether a market can have such a bar."""
    open_, high, low, close, volume = row
    return 0 < low <= min(open_, close) and max(open_, close) <= high < inf and 0 <= volume < inf


def _same(made: BarValues | None, told: BarValues | None) -> bool:
    """Whether trades give the venue's bar; a volume that is added up in another order differs in its last digits."""
    if made is None or told is None:
        return made is told
    return made[:4] == told[:4] and isclose(made[4], told[4], rel_tol=1e-9)
