"""The stream of the stand-in of Alpaca: whom it knows, what it sends to whom, and how it fails on demand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.support.venues.listeners import Client, Listeners

KEY_ID, SECRET = "stand-in-id", "stand-in-secret-key"
Row = tuple[datetime, float, float, float, float, float]  # the beginning of a bar, and its figures
KINDS = {"b": "bars", "u": "updatedBars", "t": "trades", "q": "quotes"}


def told(row: Row) -> dict[str, Any]:
    """A bar as the venue writes it."""
    start, *figures = row
    named = dict(zip(("o", "h", "l", "c", "v"), figures, strict=True))
    return {"t": f"{start.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", **named, "n": 1, "vw": figures[3]}


@dataclass(slots=True)
class Stream(Listeners):
    """Everybody who listens, once it has said the key."""

    quotes: dict[str, dict[str, Any]] = field(default_factory=dict)  # the newest of each
    most: int = 1_000  # symbols of which trades and quotes are told
    n_trades: int = 0

    def greet(self, client: Client) -> None:
        client.send(said(T="success", msg="connected"))

    def bar(self, code: str, row: Row, kind: str = "b") -> None:
        """Tell a bar whose minute is over, or, of kind "u", one that is corrected."""
        self._tell(kind, code, told(row))

    def trade(self, code: str, at: datetime, price: float, size: float, taker: str = "") -> None:
        """Tell a trade, with its taker if it is one of a coin."""
        self.n_trades += 1
        of_coin = {"tks": taker} if taker else {}
        self._tell("t", code, {"t": _nanoseconds(at), "p": price, "s": size, "i": self.n_trades, **of_coin})

    def quote(self, code: str, at: datetime, bid: tuple[float, float], ask: tuple[float, float]) -> None:
        """Tell the best bid and the best ask, each with its size; a price of 0 for none."""
        told = dict(zip(("bp", "bs", "ap", "as"), (*bid, *ask), strict=True))
        self.quotes[code] = {"t": _nanoseconds(at), **told}
        self._tell("q", code, self.quotes[code])

    def asked(self, client: Client, message: dict[str, Any]) -> None:
        if message["action"] == "auth":
            if (message["key"], message["secret"]) == (KEY_ID, SECRET):
                client.send(said(T="success", msg="authenticated"))
            else:
                client.send(said(T="error", code=402, msg="auth failed"))
            return
        if len(message.get("trades", ())) > self.most:
            client.send(said(T="error", code=405, msg="symbol limit exceeded"))
            return
        client.wanted |= {kind: message[kind] for kind in KINDS.values() if kind in message}
        client.send(said(T="subscription", **(dict.fromkeys(KINDS.values(), ()) | client.wanted)))
        self.n_subscribed += 1

    def _tell(self, kind: str, code: str, figures: dict[str, Any]) -> None:
        self.tell(KINDS[kind], code, said(T=kind, S=code, **figures))


def _nanoseconds(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}789Z"


def said(**message: Any) -> str:
    """What one message looks like."""
    return json.dumps([message])
