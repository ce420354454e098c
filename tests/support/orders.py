"""Orders as a decision writes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trading.models import Order, PipelineCycle
from trading.orders import outbox


def record_intents(cycle: PipelineCycle, intents: Iterable[Any], *, withhold: str = "") -> list[Order]:
    """Write intents to the outbox."""
    return Order.objects.bulk_create(outbox.orders_of(cycle, intents, withhold=withhold))
