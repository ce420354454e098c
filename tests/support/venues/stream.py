"""The stream of the stand-in of VALR: what it sends to whom, and how it fails on demand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.support.venues.depth import Depth
from tests.support.venues.listeners import Client, Listeners
from tests.support.venues.tape import Minute, Trade, told_at
from trading.venues.valr.client import signature

KEY, SECRET = "stand-in-key", "stand-in-secret"


def signed(target: str, headers: dict[str, str]) -> bool:
    """Whether a request carries the right signature."""
    given = {name.lower(): value for name, value in headers.items()}
    right = signature(SECRET, int(given.get("x-valr-timestamp", "0")), "GET", target)
    return given.get("x-valr-api-key") == KEY and given.get("x-valr-signature") == right


@dataclass(slots=True)
class Stream(Listeners):
    """Everybody who listens, with a key or without."""

    admits: Callable[[], bool] = lambda: True
    depths: dict[str, Depth] = field(default_factory=dict)  # by pair

    def lets_in(self, headers: dict[str, str]) -> bool:
        return self.admits() and ("x-valr-api-key" not in headers or signed("/ws/trade", headers))

    def trade(self, pair: str, one: Trade) -> None:
        """Tell a trade to all who want to hear of it."""
        data = {"price": one.price, "quantity": one.quantity, "currencyPair": pair, "takerSide": one.side, "id": one.id}
        self._tell("NEW_TRADE", pair, {**data, "tradedAt": told_at(one.at)})

    def bucket(self, pair: str, one: Minute) -> None:
        """Tell the bar of a minute that is over."""
        prices = {name: getattr(one, name) for name in ("open", "high", "low", "close", "volume")}
        start = f"{one.start:%Y-%m-%dT%H:%M:%SZ}"
        data = {"currencyPairSymbol": pair, "bucketPeriodInSeconds": 60, "startTime": start, **prices}
        self._tell("NEW_TRADE_BUCKET", pair, data)

    def summary(self, pair: str, at: datetime, **figures: str) -> None:
        """Tell the state of the market."""
        names = ("askPrice", "bidPrice", "lastTradedPrice", "previousClosePrice", "baseVolume", "highPrice", "lowPrice")
        usual = dict.fromkeys((*names, "changeFromPrevious", "markPrice"), "0")
        self._tell("MARKET_SUMMARY_UPDATE", pair, {"currencyPair": pair, **usual, **figures, "created": told_at(at)})

    def offer(self, at: datetime, pair: str, side: str, name: str, price: str, quantity: str) -> None:
        """Tell what an order has now to all who follow the order book, and the best of it to who wants it whole."""
        depth = self.depths.setdefault(pair, Depth(pair))
        self.tell("FULL_ORDERBOOK_UPDATE", pair, depth.put(at, side, name, price, quantity))
        self._tell("AGGREGATED_ORDERBOOK_UPDATE", pair, depth.aggregated())

    def asked(self, client: Client, message: dict[str, Any]) -> None:
        if message["type"] == "PING" and not self.deaf:
            client.send(json.dumps({"type": "PONG"}))
        subscriptions = message.get("subscriptions", ())
        for one in subscriptions:
            client.wanted[one["event"]] = set(one["pairs"])
            for depth in (self.depths[pair] for pair in one["pairs"] if pair in self.depths and not self.deaf):
                if one["event"] == "FULL_ORDERBOOK_UPDATE":
                    client.send(depth.whole())
                elif one["event"] == "AGGREGATED_ORDERBOOK_UPDATE":
                    client.send(_text(one["event"], depth.pair, depth.aggregated()))
        self.n_subscribed += len(subscriptions)

    def _tell(self, kind: str, pair: str, data: dict[str, Any]) -> None:
        self.tell(kind, pair, _text(kind, pair, data))


def _text(kind: str, pair: str, data: dict[str, Any]) -> str:
    return json.dumps({"type": kind, "currencyPairSymbol": pair, "data": data})
