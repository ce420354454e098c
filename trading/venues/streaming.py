"""What a venue's stream tells, in our words, and what whoever hears it needs of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from helios.errors import Transient
from trading.market.bars import BarValues
from trading.market.order_book import Checksum, Offer
from trading.market.timestamps import microseconds

OPEN_S: Final = 10.0
CLOSE_S: Final = 2.0  # for the venue's answer to the end of a line
LARGEST: Final = 1 << 22  # bytes of a message; a whole order book is the largest
LONG: Final = 1 << 16
AT_ONCE: Final = 1 << 12  # bytes that are parsed in a turn of the loop: they may be 2,048 pings, each to be answered
MOST_UNREAD: Final = 1 << 20  # bytes that the venue has not taken
LEFT: Final = "must be read by the venue too, which left what it was sent"
SILENT_S: Final = 45.0  # a connection over which nothing comes for so long is dead, whatever the socket says
YEARS: Final = range(1970, 2200)


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade that the venue has just told."""

    code: str
    at: int  # microseconds since 1970
    price: float
    quantity: float
    side: str  # of the taker; empty where it is not told
    trade_id: str = ""  # empty where the venue tells none


@dataclass(frozen=True, slots=True)
class MinuteBar:
    """The venue's bar of a minute; `row` is None where nobody traded."""

    code: str
    close: int  # microseconds since 1970
    row: BarValues | None


@dataclass(frozen=True, slots=True)
class Depth:
    """What is offered: all of it, or, unless `whole`, the changes of numbers `first` to `sequence`.

    A quantity of 0 ends an offer.
    """

    code: str
    at: int  # microseconds since 1970
    sequence: int
    bids: list[Offer]
    asks: list[Offer]
    whole: bool
    first: int = 0
    checksum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticker:
    """The state of a market as the venue sums it up; what it does not tell, as where nobody offers, is None.

    `high`, `low`, `volume` and `change`, in percent, are of the last 24 hours.
    """

    code: str
    at: int  # microseconds since 1970
    bid: float | None
    ask: float | None
    last: float | None
    mark: float | None
    high: float | None
    low: float | None
    volume: float
    change: float


Message = Trade | MinuteBar | Depth | Ticker


class Stream(Protocol):
    """One line to a venue, on which it tells of some of its instruments."""

    @property
    def source(self) -> str:
        """How stored bars name where they came from."""
        ...

    @property
    def of_trades(self) -> bool:
        """Whether its bars are made of just the trades that it tells: then it shows where one was missed."""
        ...

    @property
    def grace_s(self) -> float:
        """So long after its end a minute of which no bar was told is asked for by request."""
        ...

    @property
    def checksum(self) -> Checksum | None:
        """Of an order book, as the venue makes it; None where it tells none."""
        ...

    def read(self, message: bytes) -> Sequence[Message]:
        """What a message says. Raises: `Transient` where it cannot be read."""
        ...

    async def listen(
        self,
        codes: Sequence[str],
        heard: Callable[[bytes], None],
        *,
        subscribed: Callable[[], None],
        again: asyncio.Event,
        silent_s: float,
    ) -> None:
        """Hear one connection out, from subscribing to its end; `heard` is called with each message.

        Where `again` is set, it is cleared, and the order books of all codes are asked for once more. Raises:
        `Transient`, always: it tells how the connection ended.
        """
        ...


def read_time(text: str) -> int:
    """A time such as 2019-04-25T19:51:55.393Z in microseconds since 1970. Raises: ValueError where none has it."""
    found = datetime.fromisoformat(text)
    if found.year not in YEARS:  # else it may have no date in another zone
        raise ValueError(text)
    return microseconds(found)


class Line(ClientConnection, asyncio.BufferedProtocol):
    """A connection that ends where the other side leaves unread what it is sent, as the answers to its own pings.

    It reads a little at a time, through TLS too, whatever is there. `fault` is why we ended it.
    """

    fault = ""

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        self._read = memoryview(bytearray(AT_ONCE))
        return self._read

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._read[:nbytes]))

    def data_received(self, data: bytes) -> None:
        if self.transport.get_write_buffer_size() > MOST_UNREAD:
            self.end_for(LEFT)
        else:
            super().data_received(data)

    async def told(self) -> bytes:
        """The next message; before a long one the lines of other venues get their turn."""
        message = await self.recv(decode=False)
        if len(message) > LONG:
            await asyncio.sleep(0)
        return message

    def end_for(self, fault: str) -> None:
        """End it without a word to the other side."""
        self.fault = fault
        self.transport.abort()


class _Straight(connect):
    """A connection to the venue itself: what it is redirected to would get the key and a signature."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


@asynccontextmanager
async def line_to(venue: str, url: str, path: str, **options: Any) -> AsyncIterator[Line]:
    """One open connection at a server that is named as one of HTTP. Raises: `Transient`, which tells how it ended."""
    line = None
    try:
        async with _Straight(
            url.rstrip("/").replace("http", "ws", 1) + path,
            create_connection=Line,
            open_timeout=OPEN_S,
            close_timeout=CLOSE_S,
            max_size=LARGEST,
            compression=None,  # packed, 40 kB may be a message of 16 MB
            proxy=None,
            **options,
        ) as opened:
            line = cast("Line", opened)
            yield line
    except (OSError, WebSocketException) as error:  # a time-out is an OSError
        if line is not None and line.fault:
            raise Transient(f"{venue}'s stream {line.fault}") from error
        raise Transient(f"{venue}'s stream ended: {type(error).__name__}: {error}"[:200]) from error
