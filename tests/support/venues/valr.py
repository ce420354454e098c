"""A stand-in of VALR on loopback: its routes over HTTP and its stream, with its limits and faults on demand."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import uvicorn

from tests.support.venues.stream import Stream, signed
from tests.support.venues.tape import MINUTE, Minute, Tape, Trade

PUBLIC_A_MINUTE = 30
Answer = tuple[int, Any]


@dataclass(slots=True)
class Faults:
    """What goes wrong from now on, by the end of a route: each answer is used once, in order."""

    answers: dict[str, list[Answer | Callable[[], Answer]]] = field(default_factory=dict)

    def next(self, route: str, *answers: Answer | Callable[[], Answer]) -> None:
        """Give these answers to the next requests of a route instead of the right one."""
        self.answers.setdefault(route, []).extend(answers)

    def taken(self, path: str) -> Answer | None:
        for route, waiting in self.answers.items():
            if path.endswith(route) and waiting:
                found = waiting.pop(0)
                return found() if callable(found) else found
        return None


class StandIn:
    """The venue: pairs with their tapes, a clock that may differ from ours, and what it was asked."""

    def __init__(
        self, tapes: dict[tuple[str, str], Tape], *, skew_s: float = 0.0, limited: bool = True, port: int = 0
    ) -> None:
        self.tapes = {f"{base}{quote}": tape for (base, quote), tape in tapes.items()}
        self.pairs = [_pair(*each) for each in tapes]
        self.skew = timedelta(seconds=skew_s)
        self.limited = limited
        self.faults = Faults()
        self.asked: Counter[str] = Counter()
        self.stream = Stream()
        self._minute, self._public = 0, 0
        self._lock = threading.Lock()
        config = uvicorn.Config(
            self._app,
            host="127.0.0.1",
            port=port,
            interface="asgi3",
            log_level="error",
            lifespan="off",
            log_config=None,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + 60
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.force_exit = self._server.should_exit = True
        self._thread.join(30)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        if scope["type"] == "websocket":
            await self.stream.serve(headers, receive, send)
            return
        query = scope["query_string"].decode()
        target = scope["raw_path"].decode() + (f"?{query}" if query else "")
        status, found = await asyncio.to_thread(self.answer, target, headers)
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        limited = [(b"x-valr-ratelimited", b"true")] if status == HTTPStatus.TOO_MANY_REQUESTS else []
        known = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *limited]
        await send({"type": "http.response.start", "status": status, "headers": known})
        await send({"type": "http.response.body", "body": body})

    def answer(self, target: str, headers: dict[str, str]) -> Answer:
        """What a GET of a path with its query is answered with."""
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        with self._lock:
            self.asked[parts.path] += 1
            if self._too_many(parts.path):
                return HTTPStatus.TOO_MANY_REQUESTS, {"code": -6, "message": "Too many requests"}
            wrong = self.faults.taken(parts.path)
        if wrong is not None:
            return wrong
        match parts.path.split("/")[2:]:
            case ["public", "pairs"]:
                found: Any = self.pairs
            case ["public", "time"]:
                now = datetime.now(UTC) + self.skew
                found = {"epochTime": int(now.timestamp()), "time": f"{now:%Y-%m-%dT%H:%M:%S.%f}000Z"}
            case ["public", pair, "buckets"] if pair in self.tapes:
                found = self._buckets(pair, query)
            case ["marketdata", pair, "tradehistory"] if pair in self.tapes and not signed(target, headers):
                return HTTPStatus.FORBIDDEN, {"code": -93, "message": "Request has an invalid signature"}
            case ["public", pair, "trades"] | ["marketdata", pair, "tradehistory"] if pair in self.tapes:
                found = self._trades(pair, query)
            case _:
                return HTTPStatus.NOT_FOUND, {"code": -21, "message": "Unknown route or currency pair"}
        return HTTPStatus.OK, found

    def _too_many(self, path: str) -> bool:
        if not self.limited or not path.startswith("/v1/public/") or path.endswith(("/buckets", "/time")):
            return False
        minute = int(time.time() // 60)
        self._minute, self._public = minute, self._public + 1 if minute == self._minute else 1
        return self._public > PUBLIC_A_MINUTE

    def _buckets(self, pair: str, query: dict[str, str]) -> list[dict[str, Any]]:
        since, until = (datetime.fromtimestamp(int(query[name]), UTC) for name in ("startTime", "endTime"))
        told = {one.start: one for one in self.tapes[pair].minutes(since, until)}
        if query.get("includeEmpty") == "true":
            price = self.tapes[pair].trades[0].price
            for number in range(int((until - since) / MINUTE)):
                start = since + number * MINUTE
                flat = {"open": price, "high": price, "low": price, "close": price, "volume": "0"}
                price = told.setdefault(start, Minute(start=start, **flat)).close
        found = [_bucket(pair, told[start]) for start in sorted(told)]
        return found[::-1][: int(query.get("limit", 300))]

    def _trades(self, pair: str, query: dict[str, str]) -> list[dict[str, Any]]:
        since, until = (datetime.fromisoformat(query[name]) for name in ("startTime", "endTime"))
        found = self.tapes[pair].between(since, until + timedelta(microseconds=1))[::-1]
        if "beforeId" in query:
            place = next(n for n, one in enumerate(found) if one.id == query["beforeId"])
            found = found[place + 1 :]
        return [_trade(pair, one) for one in found[: int(query.get("limit", 100))]]


def _pair(base: str, quote: str) -> dict[str, Any]:
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
        "tickSize": "0.01",
        "baseDecimalPlaces": "8",
        "currencyPairType": "SPOT",
    }


def _bucket(pair: str, one: Minute) -> dict[str, Any]:
    prices = {name: getattr(one, name) for name in ("open", "high", "low", "close", "volume")}
    start = f"{one.start:%Y-%m-%dT%H:%M:%SZ}"
    return {"currencyPairSymbol": pair, "bucketPeriodInSeconds": 60, "startTime": start, **prices, "quoteVolume": "0"}


def _trade(pair: str, one: Trade) -> dict[str, Any]:
    return {
        "price": one.price,
        "quantity": one.quantity,
        "currencyPair": pair,
        "tradedAt": f"{one.at:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
        "takerSide": one.side,
        "sequenceId": one.number,
        "id": one.id,
        "quoteVolume": "0",
    }
