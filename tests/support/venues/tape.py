"""What a stand-in venue has seen traded: trades by time, and the bars of a minute that a plain loop makes of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

MINUTE = timedelta(minutes=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One trade, with the figures as the venue writes them."""

    at: datetime
    price: str
    quantity: str
    side: str = "buy"
    number: int = 0

    @property
    def id(self) -> str:
        """As the venue names it."""
        return f"{self.number:08x}-0000-7000-8000-000000000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """The bar of the minute that begins at `start`."""

    start: datetime
    open: str
    high: str
    low: str
    close: str
    volume: str


@dataclass(slots=True)
class Tape:
    """The trades of one pair, in order."""

    trades: list[Trade] = field(default_factory=list)

    def add(self, at: datetime, price: str, quantity: str, side: str = "buy") -> Trade:
        """Trade once more, no earlier than before."""
        made = Trade(at=at, price=price, quantity=quantity, side=side, number=len(self.trades) + 1)
        assert not self.trades or self.trades[-1].at <= at, "a tape runs forward"
        self.trades.append(made)
        return made

    def between(self, since: datetime, until: datetime) -> list[Trade]:
        """The trades in [since, until)."""
        first, last = (bisect_left(self.trades, moment, key=lambda one: one.at) for moment in (since, until))
        return self.trades[first:last]

    def minutes(self, since: datetime, until: datetime, length: timedelta = MINUTE) -> Iterator[Minute]:
        """The bars of the minutes, or of such lengths, that begin in [since, until) and had a trade."""
        made: dict[datetime, list[Trade]] = {}
        for one in self.between(since, until + length):
            start = one.at - (one.at - _EPOCH) % length
            if since <= start < until:
                made.setdefault(start, []).append(one)
        for start, of_it in made.items():
            prices = [one.price for one in of_it]
            yield Minute(
                start=start,
                open=prices[0],
                high=max(prices, key=Decimal),
                low=min(prices, key=Decimal),
                close=prices[-1],
                volume=str(sum(Decimal(one.quantity) for one in of_it)),
            )


def told_at(at: datetime) -> str:
    """A time as VALR writes it."""
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def taped(rows: Iterable[tuple[datetime, str, str] | tuple[datetime, str, str, str]]) -> Tape:
    """Rows of time, price and quantity, and of the side of the taker where it matters."""
    tape = Tape()
    for row in rows:
        tape.add(*row)
    return tape
