"""A stand-in of VALR on loopback: its routes over HTTP and its stream, with its limits and faults on demand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from tests.support.venues.depth import Depth
from tests.support.venues.server import Answer, Server
from tests.support.venues.stream import Stream
from tests.support.venues.tape import Minute, Tape, Trade, told_at

PUBLIC_A_MINUTE = 30
QUICK_A_SECOND = 20
SECOND_S = 0.5  # so that who keeps to it is not sent away for a request that came late
CONNECTS_A_MINUTE = 60
MOST_TRADES = 100
MOST_PLACES = 18


class StandIn(Server):
    """The venue: pairs with their tapes, a clock that may differ from ours, and what it was asked."""

    def __init__(
        self, tapes: dict[tuple[str, str], Tape], *, skew_s: float = 0.0, limited: bool = True, port: int = 0
    ) -> None:
        super().__init__(port=port)
        self.tapes = {f"{base}{quote}": tape for (base, quote), tape in tapes.items()}
        self.pairs = [_pair(*names, tape) for names, tape in tapes.items()]
        self.skew = timedelta(seconds=skew_s)
        self.limited = limited
        self.stream = Stream(admits=lambda: not limited or self.count(kind="connects") <= CONNECTS_A_MINUTE)

    def limits(self, status: int) -> dict[str, str]:
        return {"x-valr-ratelimited": "true"} if status == HTTPStatus.TOO_MANY_REQUESTS else {}

    def route(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        match path.split("/")[2:]:
            case ["public", "pairs"]:
                found: Any = self.pairs
            case ["public", "time"]:
                now = datetime.now(UTC) + self.skew
                found = {"epochTime": int(now.timestamp()), "time": f"{now:%Y-%m-%dT%H:%M:%S.%f}000Z"}
            case ["public", pair, "buckets"] if pair in self.tapes:
                found = self._buckets(pair, query)
            case ["public", pair, "orderbook"] if pair in self.tapes:
                found = self.stream.depths.get(pair, Depth(pair)).aggregated()
            case ["public", pair, "trades"] if pair in self.tapes:
                return self._trades(pair, query)
            case _:
                return HTTPStatus.NOT_FOUND, {"code": -21, "message": "Unknown route or currency pair"}
        return HTTPStatus.OK, found

    def refused(self, path: str) -> Answer | None:
        if path.endswith(("/buckets", "/time")):
            over = self.count(seconds=SECOND_S, kind="quick") > QUICK_A_SECOND
        else:
            over = self.count() > PUBLIC_A_MINUTE
        too_many = HTTPStatus.TOO_MANY_REQUESTS, {"code": -6, "message": "Too many requests"}
        return too_many if self.limited and over else None

    def _buckets(self, pair: str, query: dict[str, str]) -> list[dict[str, Any]]:
        since, until = (datetime.fromtimestamp(int(query[name]), UTC) for name in ("startTime", "endTime"))
        length = timedelta(seconds=int(query.get("periodSeconds", 60)))
        told = {one.start: one for one in self.tapes[pair].minutes(since, until, length)}
        if query.get("includeEmpty") == "true" and self.tapes[pair].trades:
            price = self.tapes[pair].trades[0].price
            for number in range(int((until - since) / length)):
                start = since + number * length
                flat = {"open": price, "high": price, "low": price, "close": price, "volume": "0"}
                price = told.setdefault(start, Minute(start=start, **flat)).close
        found = [_bucket(pair, told[start], length) for start in sorted(told)]
        return found[::-1][: int(query.get("limit", 300))]

    def _trades(self, pair: str, query: dict[str, str]) -> Answer:
        """The newest first, of times from the first one to the last one, both inclusive, before a trade's id."""
        limit = int(query.get("limit", "10"))
        if limit > MOST_TRADES:
            return HTTPStatus.BAD_REQUEST, {"code": -21, "message": f"limit must be at most {MOST_TRADES}"}
        since, until = (datetime.fromisoformat(query[name]) for name in ("startTime", "endTime"))
        found = self.tapes[pair].between(since, until + timedelta(microseconds=1))[::-1]
        if "beforeId" in query:
            places = [number for number, one in enumerate(found) if one.id == query["beforeId"]]
            if not places:
                return HTTPStatus.BAD_REQUEST, {"code": -21, "message": "Unknown trade id"}
            found = found[places[0] + 1 :]
        return HTTPStatus.OK, [trade_row(pair, one) for one in found[:limit]]


def trade_row(pair: str, one: Trade) -> dict[str, Any]:
    """A trade as the venue writes it."""
    return {
        "price": one.price,
        "quantity": one.quantity,
        "currencyPair": pair,
        "tradedAt": told_at(one.at),
        "takerSide": one.side,
        "sequenceId": one.number,
        "id": one.id,
        "quoteVolume": "0",
    }


def _pair(base: str, quote: str, tape: Tape) -> dict[str, Any]:
    places = min(MOST_PLACES, max((len(one.price.partition(".")[2]) for one in tape.trades), default=0))
    return {
        "symbol": f"{base}{quote}",
        "baseCurrency": base,
        "quoteCurrency": quote,
        "shortName": f"{base}/{quote}",
        "active": True,
        "minBaseAmount": "0.0001",
        "maxBaseAmount": "80",
        "minQuoteAmount": "10",
        "maxQuoteAmount": "5000000",
        "tickSize": f"{10 ** -max(2, places):.{max(2, places)}f}",
        "baseDecimalPlaces": "8",
        "currencyPairType": "SPOT",
    }


def _bucket(pair: str, one: Minute, length: timedelta) -> dict[str, Any]:
    prices = {name: getattr(one, name) for name in ("open", "high", "low", "close", "volume")}
    start = f"{one.start:%Y-%m-%dT%H:%M:%SZ}"
    seconds = int(length.total_seconds())
    told = {"currencyPairSymbol": pair, "bucketPeriodInSeconds": seconds, "startTime": start, **prices}
    return {**told, "quoteVolume": "0"}
