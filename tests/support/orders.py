"""Orders as a decision writes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from trading.models import Order, PipelineCycle
from trading.orders import outbox


@dataclass(frozen=True)
class Intent:
    """An order that a decision wants."""

    symbol: str = "AAPL"
    side: str = "BUY"
    quantity: Decimal = Decimal(10)
    reference_price: Decimal = Decimal(100)
    bar_ts: datetime = datetime(2024, 1, 2, 21, tzinfo=UTC)

    @property
    def client_order_id(self) -> str:
        return f"h-{self.symbol}-{self.side}-{self.bar_ts:%d}"


def record_intents(cycle: PipelineCycle, intents: Iterable[Any], *, withhold: str = "") -> list[Order]:
    """Write intents to the outbox."""
    return Order.objects.bulk_create(outbox.orders_of(cycle, intents, withhold=withhold))
