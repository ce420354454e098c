"""The order books of the stand-in: what is offered, as the venue would tell it, by plain loops."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.support.venues.tape import told_at

Offer = tuple[str, str]  # price and quantity


@dataclass(slots=True)
class Depth:
    """The offers in one pair by their ids, in the order in which they came, and the number of the last change."""

    pair: str
    bids: dict[str, Offer] = field(default_factory=dict)
    asks: dict[str, Offer] = field(default_factory=dict)
    sequence: int = 1_000
    at: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    def put(self, at: datetime, side: str, name: str, price: str, quantity: str) -> str:
        """Offer this much by this order, or nothing more of it; the message that tells it."""
        offers = self.bids if side == "buy" else self.asks
        if Decimal(quantity) == 0 or offers.get(name, (price,))[0] != price:
            offers.pop(name, None)  # who moves to another price stands last in its turn there
        if Decimal(quantity) != 0:
            offers[name] = price, quantity
        self.at, self.sequence = at, self.sequence + 1
        one = [{"Price": price, "Orders": [{"orderId": name, "quantity": quantity}]}]
        bids, asks = (one, []) if side == "buy" else ([], one)
        return self._message("FULL_ORDERBOOK_UPDATE", bids, asks)

    def whole(self) -> str:
        """The message that tells every order."""
        return self._message("FULL_ORDERBOOK_SNAPSHOT", *(self._by_price(offers) for offers in self.sides()))

    def aggregated(self) -> dict[str, Any]:
        """What is offered at the best 40 prices of either side."""
        found: list[list[dict[str, Any]]] = []
        for side, offers in zip(("buy", "sell"), self.sides(), strict=True):
            found.append([])
            for price, orders in self._levels(offers)[:40]:
                quantity = str(sum(Decimal(offers[name][1]) for name in orders))
                level = {"side": side, "quantity": quantity, "price": price, "orderCount": len(orders)}
                found[-1].append({**level, "currencyPair": self.pair})
        return {"Bids": found[0], "Asks": found[1], "LastChange": told_at(self.at), "SequenceNumber": self.sequence}

    def best(self, n: int) -> tuple[list[Offer], list[Offer]]:
        """The best levels as texts."""
        told = self.aggregated()
        bids, asks = ([(row["price"], row["quantity"]) for row in told[side][:n]] for side in ("Bids", "Asks"))
        return bids, asks

    def sides(self) -> tuple[dict[str, Offer], dict[str, Offer]]:
        return self.bids, self.asks

    def _levels(self, offers: dict[str, Offer]) -> list[tuple[str, list[str]]]:
        levels: dict[str, list[str]] = {}
        for name, (price, _) in offers.items():
            levels.setdefault(price, []).append(name)
        return sorted(levels.items(), key=lambda level: Decimal(level[0]), reverse=offers is self.bids)

    def _by_price(self, offers: dict[str, Offer]) -> list[dict[str, Any]]:
        return [
            {"Price": price, "Orders": [{"orderId": name, "quantity": offers[name][1]} for name in names]}
            for price, names in self._levels(offers)
        ]

    def _checksum(self) -> int:
        told: list[list[str]] = []
        for offers in self.sides():
            names = [name for _, at_it in self._levels(offers) for name in at_it][:25]
            told.append([f"{name}:{offers[name][1]}" for name in names])
        bids, asks = told
        turns = []
        for n in range(25):
            turns += bids[n : n + 1] + asks[n : n + 1]
        return zlib.crc32(":".join(turns).encode())

    def _message(self, kind: str, bids: list[Any], asks: list[Any]) -> str:
        data = {"LastChange": int(self.at.timestamp() * 1_000), "Asks": asks, "Bids": bids}
        data |= {"SequenceNumber": self.sequence, "Checksum": self._checksum()}
        return json.dumps({"type": kind, "currencyPairSymbol": self.pair, "data": data})
