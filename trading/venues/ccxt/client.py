"""Calls to an exchange through ccxt: at its own pace, bounded in size and time, tried again, behind `ccxt_api`."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from typing import Any, Final

import ccxt
import orjson
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from helios.breakers import breaker
from helios.errors import Rejected, Transient
from trading.venues import rest
from trading.venues.answers import shown

BREAKER: Final = "ccxt_api"
UNREAD: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class Bounded(HTTPAdapter):
    """Takes an answer while it is neither too long nor too slow; ccxt would take any."""

    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        response = super().send(request, *args, **options)
        with contextlib.closing(response.raw) as raw:
            try:
                body = _whole(raw)
            except (HTTPError, OSError) as error:
                raise Transient(f"the answer broke off: {type(error).__name__}") from error
        if response.ok and not _is_json(body):  # ccxt would take it for an answer without bars
            raise Transient(f"the answer must be JSON, was {body[:60]!r}")
        response.raw = io.BytesIO(body)
        return response


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


def _whole(raw: BaseHTTPResponse) -> bytes:
    body, deadline = bytearray(), time.monotonic() + rest.ANSWER_S
    while part := raw.read1(1 << 16, decode_content=True):
        body += part
        if len(body) > rest.LARGEST:
            raise Transient(f"the answer must have {rest.LARGEST >> 20} MiB at most, went on")
        if time.monotonic() > deadline:
            raise Transient(f"the answer must come in {rest.ANSWER_S:.0f} s, went on")
    return bytes(body)


class Client(rest.Waiting):
    """One exchange."""

    def __init__(self, exchange: ccxt.Exchange, *, sleep: Callable[[float], None] | None = None) -> None:
        super().__init__(sleep)
        self.exchange = exchange
        self.name: str = exchange.id.upper()
        exchange.timeout = rest.TIMEOUT_S * 1_000
        for scheme in ("http://", "https://"):
            exchange.session.mount(scheme, Bounded())
        parse = exchange.parse_ohlcv

        def timed(row: Any, market: Any = None) -> list[Any]:
            """Ccxt leaves out what it cannot read, as if nobody had traded."""
            bar = parse(row, market)
            if not isinstance(bar, list) or bar[0] is None:
                raise Transient(f"a bar must have a time, was {shown(row)!r}")
            return bar

        exchange.parse_ohlcv = timed
        parse_trade = exchange.parse_trade

        def timed_trade(row: Any, market: Any = None) -> Any:
            """A trade without a time it leaves out, too."""
            trade = parse_trade(row, market)
            if not isinstance(trade, dict) or trade.get("timestamp") is None:
                raise Transient(f"a trade must have a time, was {shown(row)!r}")
            return trade

        exchange.parse_trade = timed_trade

    def close(self) -> None:
        super().close()
        self.exchange.session.close()

    def ask(self, call: Callable[..., Any], *args: Any) -> Any:
        """What a method of the exchange answers.

        Raises: `Transient` where the exchange does not answer properly after several tries, `CircuitOpen` while it is
        left alone, `Rejected` where it refuses.
        """
        return rest.tried(lambda: self._once(call, *args), self.sleep)

    def _once(self, call: Callable[..., Any], *args: Any) -> Any:
        with breaker(BREAKER, record_if=lambda error: not isinstance(error, rest.Throttled)):
            try:
                return call(*args)
            except (ccxt.DDoSProtection, ccxt.RateLimitExceeded) as error:
                sentence = f"{self.name} has had enough requests: {_told(error)}"
                raise rest.Throttled(sentence, pause_s=rest.MINUTE_S / 2) from error
            except ccxt.ExchangeError as error:
                if type(error) is ccxt.ExchangeError:  # of no further kind, as where a body was not understood
                    raise Transient(f"{self.name} answered with an error: {_told(error)}") from error
                raise Rejected(f"{self.name} refused: {_told(error)}") from error
            except ccxt.BaseError as error:
                raise Transient(f"{self.name} did not answer: {_told(error)}") from error
            except Transient as error:
                raise Transient(f"{self.name} did not answer: {error}") from error
            except UNREAD as error:
                raise Transient(f"{self.name} answered what ccxt cannot read: {type(error).__name__}") from error


def _told(error: Exception) -> str:
    """The kind of an error of ccxt, and what it says, in one line."""
    return f"{type(error).__name__}: {' '.join(shown(error).split())}"
