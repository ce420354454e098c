"""Calls to an exchange through ccxt: at its own pace, bounded in size and time, tried again, behind `ccxt_api`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import ccxt
import orjson
from requests import PreparedRequest, Response

from helios.breakers import breaker
from helios.errors import UNREAD, Rejected, Transient
from trading.venues import bounded, rest
from trading.venues.answers import shown

BREAKER: Final = "ccxt_api"


class _Json(bounded.Bounded):
    """Ccxt would take what is no JSON for an answer without bars."""

    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        response = super().send(request, *args, **options)
        if response.ok and not _is_json(response.content):
            raise Transient(f"the answer must be JSON, was {response.content[:60]!r}")
        return response


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


def _timed(parse: Callable[..., Any], kind: type[Any], place: Any, what: str) -> Callable[..., Any]:
    """Ccxt leaves out what has no time that it can read, as if nobody had traded."""

    def timed(row: Any, market: Any = None) -> Any:
        found = parse(row, market)
        if not isinstance(found, kind) or found[place] is None:
            raise Transient(f"a {what} must have a time, was {shown(row)!r}")
        return found

    return timed


class Client(rest.Waiting):
    """One exchange."""

    def __init__(self, exchange: ccxt.Exchange, *, sleep: Callable[[float], None] | None = None) -> None:
        super().__init__(sleep)
        self.exchange = exchange
        self.name: str = exchange.id.upper()
        exchange.timeout = rest.TIMEOUT_S * 1_000
        bounded.mounted(exchange.session, _Json)
        exchange.parse_ohlcv = _timed(exchange.parse_ohlcv, list, 0, "bar")
        exchange.parse_trade = _timed(exchange.parse_trade, dict, "timestamp", "trade")

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
