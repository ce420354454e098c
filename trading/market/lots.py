"""The steps in which an instrument is traded, and what is usual for its asset class. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Final

from helios.errors import DataError
from trading.enums import AssetClass
from trading.market.calendars import ALWAYS_OPEN, US_EQUITIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """What the venue accepts for one instrument: steps of quantity and price, and the least notional."""

    quantity_step: Decimal
    min_notional: Decimal
    price_tick: Decimal

    def __post_init__(self) -> None:
        if self.quantity_step <= 0 or self.price_tick <= 0 or self.min_notional < 0:
            raise DataError(
                "a lot needs a positive quantity_step and price_tick and a min_notional of at least 0, were "
                f"{self.quantity_step}, {self.price_tick} and {self.min_notional}"
            )


# Of instruments that nobody described better.
USUAL_LOTS: Final = {
    AssetClass.EQUITY: Lot(quantity_step=Decimal(1), price_tick=Decimal("0.01"), min_notional=Decimal(1)),
    AssetClass.CRYPTO: Lot(quantity_step=Decimal("0.00001"), price_tick=Decimal("0.01"), min_notional=Decimal(5)),
}
USUAL_CALENDARS: Final = {AssetClass.EQUITY: US_EQUITIES, AssetClass.CRYPTO: ALWAYS_OPEN}


def in_lots(quantity: Decimal, step: Decimal) -> Decimal:
    """A signed quantity rounded towards zero to a multiple of `step`."""
    return (quantity / step).to_integral_value(rounding=ROUND_DOWN) * step


def smallest_steps(lots: Mapping[str, Lot]) -> dict[str, Decimal]:
    """The quantity step of each symbol, as the paper venue wants it."""
    return {symbol: lot.quantity_step for symbol, lot in lots.items()}
