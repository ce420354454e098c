"""The steps in which an instrument is traded, and what is usual for its asset class. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Final

from helios.errors import DataError
from trading.enums import AssetClass
from trading.market.asset_class import COINS
from trading.market.calendars import ALWAYS_OPEN, US_EQUITIES

_SMALLEST, _LARGEST = Decimal("1e-64"), Decimal("1e15")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """What the venue accepts for one instrument: steps of quantity and price, and the least notional."""

    quantity_step: Decimal
    min_notional: Decimal
    price_tick: Decimal

    def __post_init__(self) -> None:
        steps = (self.quantity_step, self.price_tick, self.min_notional or _SMALLEST)
        if not all(each.is_finite() and _SMALLEST <= each <= _LARGEST for each in steps):
            raise DataError(
                f"a lot needs a quantity_step and a price_tick of {_SMALLEST} to {_LARGEST} and a min_notional of 0 or "
                f"such a one, were {self.quantity_step}, {self.price_tick} and {self.min_notional}"
            )


USUAL_CALENDARS: Final = {AssetClass.EQUITY: US_EQUITIES, AssetClass.CRYPTO: ALWAYS_OPEN}
_FINEST_LOT, _LOT_VALUE = Decimal("1e-8"), Decimal("1e-6")


def usual_lot(asset_class: AssetClass, price: float, *, quote: str = "") -> Lot:
    """The steps of an instrument at `price` that nobody described better; `quote` is the currency of that, if known.

    Stocks trade whole, in cents, or hundredths of one below a dollar. Coins trade in the largest power of ten that is
    worth no more than a millionth of the quote currency, yet in no less than 1e-8, and in prices of five digits, or
    cents: a coin of 2.4e-8 loses no more to its steps than one of 60,000.
    """
    if asset_class == AssetClass.EQUITY:
        tick = Decimal("0.01") if price >= 1 else Decimal("0.0001")
        return Lot(quantity_step=Decimal(1), price_tick=tick, min_notional=Decimal(1))
    at = Decimal(str(price))
    return Lot(
        quantity_step=max(_FINEST_LOT, _power_of_ten((_LOT_VALUE / at).adjusted())),
        price_tick=min(Decimal("0.01"), _power_of_ten(at.adjusted() - 4)),
        min_notional=Decimal("0.0001") if quote in COINS else Decimal(5),
    )


def _power_of_ten(exponent: int) -> Decimal:
    return Decimal(f"1e{exponent}")


def in_lots(quantity: Decimal, step: Decimal) -> Decimal:
    """A signed quantity rounded towards zero to a multiple of `step`."""
    return (quantity / step).to_integral_value(rounding=ROUND_DOWN) * step


def quantity_steps(lots: Mapping[str, Lot]) -> dict[str, Decimal]:
    """The quantity step of each symbol, as the paper venue wants it."""
    return {symbol: lot.quantity_step for symbol, lot in lots.items()}
