"""The order book of one instrument, made of what its venue tells: all of it once, then what changed. Pure.

A book is of use only while nothing was missed. So each change must follow the one before it, by number and, where the
venue tells one, by checksum, and no bid may reach an ask. A book that fails is lost until all of it is told again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

Offer = tuple[str, str, str]  # id, price, quantity, as the venue writes them; of a whole level the price is the id
Level = tuple[str, str]  # a price, and all that is offered at it
Checksum = Callable[[Iterator[Level], Iterator[Level]], int]  # of bids and asks, best first: id and quantity of each
MOST_OFFERS: Final = 50_000  # a side; a venue that tells more is mistaken


class OutOfStep(Exception):  # noqa: N818 - it says what the book is
    """What is known of a book is not what the venue has; the sentence says how that showed."""


@dataclass(slots=True)
class _Side:
    """One side of a book: offers by level, levels by `order`, which ascends from the best price on."""

    sign: int
    orders: list[float] = field(default_factory=list)
    levels: dict[float, dict[str, Level]] = field(default_factory=dict)
    places: dict[str, float] = field(default_factory=dict)  # the order of the level that an offer stands at

    def set_offer(self, offer: Offer) -> None:
        """An offer has this quantity now; 0 is its end. It keeps its turn at its price."""
        name, price, quantity = offer
        order, gone = self.sign * float(price), float(quantity) == 0
        before = self.places.get(name)
        if before is not None and (gone or before != order):
            self._remove(name, before)
        if gone:
            return
        if order not in self.levels:
            self.levels[order] = {}
            self.orders.insert(bisect_left(self.orders, order), order)
        self.levels[order][name] = price, quantity
        self.places[name] = order

    def replace(self, offers: Sequence[Offer]) -> None:
        self.orders, self.levels, self.places = [], {}, {}
        for offer in sorted(offers, key=lambda each: self.sign * float(each[1])):  # so each is put behind the last
            self.set_offer(offer)

    def offers(self) -> Iterator[Level]:
        """Id and quantity of each offer, from the best price on, in their turn."""
        for order in self.orders:
            for name, (_, quantity) in self.levels[order].items():
                yield name, quantity

    def best(self, n: int) -> list[Level]:
        return [_together(self.levels[order].values()) for order in self.orders[:n]]

    def _remove(self, name: str, order: float) -> None:
        del self.places[name], self.levels[order][name]
        if not self.levels[order]:
            del self.levels[order]
            del self.orders[bisect_left(self.orders, order)]


@dataclass(slots=True, kw_only=True)
class OrderBook:
    """The offers in one instrument as of `at`, in microseconds since 1970; of no use while `sequence` is None."""

    symbol: str
    checksum: Checksum | None = None  # the venue's own, where it tells one
    sequence: int | None = None
    at: int = 0
    _bids: _Side = field(default_factory=lambda: _Side(-1))
    _asks: _Side = field(default_factory=lambda: _Side(1))

    def whole(
        self, at: int, sequence: int, bids: Sequence[Offer], asks: Sequence[Offer], told: int | None = None
    ) -> None:
        """All of it was told; what is older than what is known says nothing. Raises: `OutOfStep`."""
        if self.sequence is not None and sequence < self.sequence and at <= self.at:
            return  # a later one counts anew, as after a restart of the venue
        self._bids.replace(bids)
        self._asks.replace(asks)
        self._settle(at, sequence, told)

    def change(
        self, at: int, first: int, last: int, bids: Sequence[Offer], asks: Sequence[Offer], told: int | None = None
    ) -> None:
        """The changes of numbers `first` to `last` were told: what each offer has now, a quantity of 0 for its end.

        What was told before says nothing again; while the book is lost nothing does. Raises: `OutOfStep`.
        """
        if self.sequence is None or last <= self.sequence:
            return
        if first > self.sequence + 1:
            raise self._lost(f"go on with change {self.sequence + 1}, was {first}")
        for side, offers in ((self._bids, bids), (self._asks, asks)):
            for offer in offers:
                side.set_offer(offer)
        self._settle(at, last, told)

    def best(self, n: int) -> tuple[list[Level], list[Level]]:
        """The best bids and the best asks by price, best first, `n` a side at most."""
        return self._bids.best(n), self._asks.best(n)

    def not_after(self, at: int, limit: int) -> None:
        """Something was told as of `at`. Raises: `OutOfStep` where that is later than can be."""
        if at > limit:
            raise self._lost(f"be of {limit} at most, in microseconds since 1970, was of {at}")

    def lose(self) -> None:
        """Something was missed: nothing is known until all of it is told."""
        self.sequence = None
        self._bids.replace(())
        self._asks.replace(())

    def _settle(self, at: int, sequence: int, told: int | None) -> None:
        self.sequence, self.at = sequence, max(self.at, at)
        bids, asks = self._bids, self._asks
        if bids.orders and asks.orders and -bids.orders[0] >= asks.orders[0]:
            raise self._lost(f"have its best bid below its best ask, was {bids.best(1)[0][0]} to {asks.best(1)[0][0]}")
        if max(len(bids.places), len(asks.places)) > MOST_OFFERS:
            raise self._lost(f"have at most {MOST_OFFERS} offers a side, had more")
        if told is not None and self.checksum is not None:
            found = self.checksum(bids.offers(), asks.offers())
            if found != told:
                raise self._lost(f"give the venue's checksum {told}, gave {found}")

    def _lost(self, sentence: str) -> OutOfStep:
        self.lose()
        return OutOfStep(f"the order book of {self.symbol} must {sentence}")


def _together(offers: Iterable[Level]) -> Level:
    (price, quantity), *others = offers
    if not others:
        return price, quantity
    return price, f"{sum((Decimal(each) for _, each in others), Decimal(quantity)):f}"
