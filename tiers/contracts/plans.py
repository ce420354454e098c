"""The orders of one bar, and what identifies each of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from tiers.contracts.messages import Denial, OrderIntent, Side

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The orders of one bar, sells first, and what was refused."""

    intents: tuple[OrderIntent, ...]
    denials: tuple[Denial, ...]


def client_order_id(key: str, bar_ts: datetime, symbol: str, side: Side) -> str:
    """Identity of an order: the same decision gives the same id, wherever and whenever it is made again.

    "h" and 24 hexadecimal digits of SHA-256; a bar time without a zone is UTC.
    """
    moment = bar_ts.astimezone(UTC) if bar_ts.tzinfo else bar_ts.replace(tzinfo=UTC)
    text = f"{key}|{moment.isoformat(timespec='microseconds')}|{symbol}|{side}"
    return "h" + hashlib.sha256(text.encode()).hexdigest()[:24]
