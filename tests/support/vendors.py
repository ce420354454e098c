"""A vendor that is down, as its callers behind a breaker meet it."""

from __future__ import annotations

import pytest

from helios.breakers import breaker, process
from helios.breakers.catalog import SHIPPED


class VendorError(Exception):
    """What the guarded dependency raises."""


def broken() -> str:
    raise VendorError("the vendor is down")


async def abroken() -> str:
    raise VendorError("the vendor is down")


def window(name: str = "llm_api") -> str:
    return process.current().store.peek(name, SHIPPED[name].config).step.circuit.letters


def open_circuit(name: str = "llm_api") -> None:
    for _ in range(SHIPPED[name].config.failure_threshold):
        with pytest.raises(VendorError):
            breaker(name).call(broken)
