"""A vendor that is down, as its callers behind a breaker meet it."""

from __future__ import annotations

import os

import pytest
from redis import Redis

from helios.breakers import breaker, process
from helios.breakers.catalog import SHIPPED
from helios.breakers.shared_state import SharedStore
from helios.redis_client import connect


class VendorError(Exception):
    """What the guarded dependency raises."""


def broken() -> str:
    raise VendorError("the vendor is down")


async def abroken() -> str:
    raise VendorError("the vendor is down")


def window(name: str = "llm_api") -> str:
    """The outcomes that processes share of a breaker, asked for with more patience than a guarded call has."""
    with connect(os.environ["HELIOS_REDIS_URL"], timeout_s=60.0) as client:
        return SharedStore(client).peek(name, SHIPPED[name].config).step.circuit.letters


def open_circuit(name: str = "llm_api") -> None:
    for _ in range(SHIPPED[name].config.failure_threshold):
        with pytest.raises(VendorError):
            breaker(name).call(broken)


def half_open(redis: Redis, name: str = "llm_api") -> None:
    """Open it, and let the interval be over."""
    open_circuit(name)
    redis.hset(f"helios:{{breakers}}:{name}", "open_until", "1")
    process.forget()
