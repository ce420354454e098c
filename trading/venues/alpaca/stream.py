"""Alpaca's streams of market data, one of stocks and one of coins: what they say, and one connection.

Bars come when their minute is over, and corrected ones half a minute later. Of the trades of a stock none tells who
took the offer, and only some make a bar, by rules for the conditions of each exchange. Of the order book the best of
each side is told. Source: alpaca-py 0.44, whose own stream is not used, as
docs/decisions/015-what-vendors-libraries-do.md says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from loguru import logger

from helios.errors import UNREAD, Transient
from trading.market.order_book import Checksum
from trading.market.timestamps import MINUTE
from trading.venues.alpaca.client import Key
from trading.venues.alpaca.market import FIELDS, SIDES, quote, trade_id
from trading.venues.answers import Answers, shown
from trading.venues.streaming import (
    OPEN_S,
    Line,
    Message,
    MinuteBar,
    Trade,
    line_to,
    read_time,
)

TOO_MANY: Final = 405
_ANSWERS: Final = Answers("Alpaca's stream")


@dataclass(frozen=True, slots=True)
class Stream:
    """One line of Alpaca; see `trading.venues.streaming.Stream`. `path` says which: of coins, or of a feed."""

    url: str
    path: str
    key: Key
    of_trades: bool = False
    grace_s: float = 20.0  # of a minute without a trade it tells nothing
    checksum: Checksum | None = None

    @property
    def source(self) -> str:
        return f"alpaca:{self.path.rpartition('/')[2]}"

    def read(self, message: bytes) -> Sequence[Message]:
        try:
            told = [_message(row) for row in orjson.loads(message)]
        except UNREAD as error:
            raise Transient(f"Alpaca's stream must send messages as documented, sent {message[:80]!r}") from error
        return [one for one in told if one is not None]

    async def listen(
        self,
        codes: Sequence[str],
        heard: Callable[[bytes], None],
        *,
        subscribed: Callable[[], None],
        again: asyncio.Event,  # noqa: ARG002 - each quote tells all that it tells of a book
        silent_s: float,
    ) -> None:
        # while the market is closed nothing comes but the answers to our pings
        pings = {"ping_interval": silent_s / 3, "ping_timeout": silent_s * 2 / 3}
        async with line_to("Alpaca", self.url, self.path, **pings) as line:
            async with asyncio.timeout(OPEN_S):
                await self._subscribe(line, codes)
            subscribed()
            while True:
                message = await line.told()
                _refuse(message)
                heard(message)

    async def _subscribe(self, line: Line, codes: Sequence[str]) -> None:
        await _answered(line, msg="connected")
        await _say(line, {"action": "auth", "key": self.key.key_id, "secret": self.key.secret})
        await _answered(line, msg="authenticated")
        await _say(line, {"action": "subscribe", **dict.fromkeys(("bars", "updatedBars"), tuple(codes))})
        await _answered(line, T="subscription")
        await _say(line, {"action": "subscribe", **dict.fromkeys(("trades", "quotes"), tuple(codes))})


async def _say(line: Line, message: Mapping[str, Any]) -> None:
    await line.send(orjson.dumps(message).decode())


async def _answered(line: Line, **expected: str) -> None:
    message = await line.told()
    _refuse(message)
    try:
        told = orjson.loads(message)[0]
        right = expected.items() <= told.items()
    except UNREAD:
        right = False
    if not right:
        raise Transient(f"Alpaca's stream must answer {shown(expected)}, sent {message[:80]!r}")


def _refuse(message: bytes) -> None:
    """Raises: `Transient` where the venue tells an error, after which it tells nothing more."""
    if b'"error"' not in message:
        return
    try:
        errors = [row for row in orjson.loads(message) if row["T"] == "error"]
    except UNREAD:
        return
    if errors and errors[0].get("code") == TOO_MANY:  # of trades and quotes, for which plans differ; the bars are told
        logger.bind(venue="ALPACA").warning("feed.no_trades")
    elif errors:
        told = " ".join(f"{shown(errors[0].get('code'))} {shown(errors[0].get('msg'))}".split())
        raise Transient(f"Alpaca's stream ended with an error: {told}")


def _message(row: Mapping[str, Any]) -> Message | None:
    kind = row["T"]
    if kind in ("b", "u"):
        return _bucket(row)
    if kind == "t":
        at, price, quantity = read_time(row["t"]), _ANSWERS.number(row, "p"), _ANSWERS.number(row, "s")
        return Trade(_code(row), at, price, quantity, SIDES[row.get("tks", "")], trade_id(row))
    if kind == "q":
        return quote(_code(row), row)
    return None


def _bucket(row: Mapping[str, Any]) -> MinuteBar:
    start = read_time(row["t"])
    if start % MINUTE:
        raise ValueError(row["t"])
    open_, high, low, close, volume = (_ANSWERS.number(row, name) for name in FIELDS)
    return MinuteBar(_code(row), start + MINUTE, None if volume == 0 else (open_, high, low, close, volume))


def _code(row: Mapping[str, Any]) -> str:
    code = row["S"]
    if not isinstance(code, str):
        raise TypeError(code)
    return code
