"""Windows of bars that processes share: what one has read from the table, others take from Valkey as they start.

It is the second layer of a cache whose first one is each process's own (`trading.market.kept_windows`). Nothing is
believed of it but by the tokens of the instruments' stored bars, which the table renews; what is away, old or broken
is read from the table.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from django.conf import settings
from loguru import logger

from helios.breakers import breaker
from helios.breakers.errors import CircuitOpen
from helios.errors import error_text
from helios.redis_client import connect
from trading.market.bars import FIELDS, Bars

if TYPE_CHECKING:  # see helios.redis_client
    import redis

KEPT_S: Final = 3_600  # a window is of use to who starts while a cycle or two have passed
TIMEOUT_S: Final = 0.25
BREAKER: Final = "redis_cache"
YEARS: Final = np.datetime64("1000", "us"), np.datetime64("9000", "us")  # times that every kind of clock can name


def get(symbols: Sequence[str], timeframe: str, n_bars: int, tokens: Sequence[str]) -> Bars | None:
    """The window that was shared, where it is of bars with these tokens; it may end before the newest bar."""
    data = _asked("get", lambda client: client.get(_key(symbols, timeframe, n_bars)))
    if not isinstance(data, bytes):
        return None
    try:
        return _read(data, symbols, timeframe, tokens)
    except Exception as error:  # noqa: BLE001 - whatever lies there, the table has the window
        logger.bind(error=error_text(error)).warning("cache.unreadable")
        return None


def put(bars: Bars, n_bars: int, tokens: Sequence[str]) -> None:
    """Share a window for a while."""
    head = json.dumps({"tokens": list(tokens), "n": bars.n_bars}).encode()
    parts = [bars.ts.astype("datetime64[us]").astype("<i8"), *(getattr(bars, name).astype("<f8") for name in FIELDS)]
    data = b"".join([len(head).to_bytes(4, "little"), head, *(part.tobytes() for part in parts)])
    _asked("put", lambda client: client.set(_key(bars.symbols, bars.timeframe, n_bars), data, ex=KEPT_S))


def _read(data: bytes, symbols: Sequence[str], timeframe: str, tokens: Sequence[str]) -> Bars | None:
    size = 4 + int.from_bytes(data[:4], "little")
    head = json.loads(data[4:size])
    if head["tokens"] != list(tokens):
        return None
    n, body = int(head["n"]), memoryview(data)[size:]
    if n < 1 or len(body) != 8 * n * (1 + len(FIELDS) * len(symbols)):
        raise ValueError(f"a shared window must have {n} bars of {len(symbols)} symbols, had {len(body)} bytes")
    grids = np.frombuffer(body[8 * n :], "<f8").reshape(len(FIELDS), n, len(symbols))
    ts = np.frombuffer(body[: 8 * n], "<i8").astype("datetime64[us]")
    in_order = (ts[1:] > ts[:-1]).all() and YEARS[0] <= ts[0] and ts[-1] <= YEARS[1]  # NaT is neither
    if not in_order or np.isinf(grids).any():
        raise ValueError("a shared window must have times in their order and prices that are numbers, had others")
    fields: dict[str, Any] = {name: grid.astype(np.float64) for name, grid in zip(FIELDS, grids, strict=True)}
    return Bars(timeframe=timeframe, symbols=tuple(symbols), ts=ts, **fields)


def _key(symbols: Sequence[str], timeframe: str, n_bars: int) -> str:
    names = hashlib.sha256("\n".join(symbols).encode()).hexdigest()[:32]
    return f"helios:window:{timeframe}:{n_bars}:{names}"


def _asked(what: str, call: Callable[[redis.Redis], object]) -> object:
    """What Valkey says; None where it is away: then nothing is shared."""
    from redis import RedisError  # noqa: PLC0415 - see helios.redis_client

    try:
        with breaker(BREAKER):
            return call(_client(settings.REDIS_URL))
    except (RedisError, OSError, CircuitOpen) as error:
        logger.bind(what=what, error=error_text(error)).debug("cache.away")
        return None


@functools.lru_cache(maxsize=1)
def _client(url: str) -> redis.Redis:
    return connect(url, timeout_s=TIMEOUT_S)
