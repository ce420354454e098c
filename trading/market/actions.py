"""Corporate actions: splits and dividends, each at the moment from which the price is without it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from helios.errors import DataError
from trading.enums import ActionKind

ONE = Decimal(1)
LARGE: Final = 1.4  # a split that changes the price by less may hide in the moves of a night


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A split of `value` new shares for `per` old ones, or a dividend of `value` a share, in the quote currency.

    Bars that close after `ex_ts` are without it. Where a split and a dividend fall on one moment, the dividend is for
    each share of before. `close_before` is the last close up to `ex_ts`, None where no bar is known there.
    """

    symbol: str
    ex_ts: datetime
    kind: ActionKind
    value: Decimal
    per: Decimal = ONE
    close_before: float | None = None

    @property
    def shares(self) -> float:
        """New shares for an old one; 1 of a dividend."""
        return float(self.value / self.per) if self.is_split else 1.0

    @property
    def factor(self) -> float:
        """By what an old price is divided to compare with new ones, above 0.

        A split's is its ratio. A dividend's is 1 / (1 - D / close before), as at CRSP and Yahoo: the return into the
        ex-day is that of the price with the dividend, reinvested at the close before. Raises as `check`.
        """
        self.check()
        if self.is_split or self.close_before is None:
            return self.shares
        return 1.0 / (1.0 - float(self.value) / self.close_before)

    def check(self) -> None:
        """`DataError` where a dividend is not less than the close before it."""
        if not self.is_split and self.close_before is not None and float(self.value) >= self.close_before:
            raise DataError(
                f"a dividend must be less than the close before it, {self.symbol} has a {self} beside a close of "
                f"{self.close_before:.6g}"
            )

    @property
    def is_split(self) -> bool:
        return self.kind is ActionKind.SPLIT

    def is_missed_by(self, close_before: float, open_after: float) -> bool:
        """Whether prices go on over a split as if there had been none: they are adjusted for it already."""
        moved = math.log(open_after / close_before)
        large = abs(math.log(self.shares)) > math.log(LARGE)
        return large and abs(moved) < abs(moved + math.log(self.shares))

    def __str__(self) -> str:
        day = f"{self.ex_ts:%Y-%m-%d}"
        if self.is_split:
            return f"split {self.value.normalize():f} for {self.per.normalize():f} on {day}"
        return f"dividend of {self.value.normalize():f} on {day}"


def adjusted_already(symbol: str, missed: Iterable[tuple[Action, float, float]]) -> str:
    """A sentence where closes before and opens after go on over splits as if there had been none, else empty."""
    found = list(missed)
    if not found:
        return ""
    action, before, after = found[0]
    more = f", and so are {len(found) - 1} more" if found[1:] else ""
    return (
        f"{symbol} must have prices as they were traded where its splits are stored, and the {action} is not in them: "
        f"the close before is {before:.6g}, the open behind {after:.6g}{more}. Adjusted prices would be adjusted twice"
    )
