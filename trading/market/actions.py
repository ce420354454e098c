"""Corporate actions: splits and dividends, each at the moment from which the price is without it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from helios.errors import DataError
from trading.enums import ActionKind

ONE = Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A split of `value` new shares for `per` old ones, or a dividend of `value` a share, in the quote currency.

    Bars that close after `ex_ts` are without it. Where a split and a dividend fall on one moment, the dividend is for
    each share of before. `close_before` is the last close up to `ex_ts`, of a dividend that of a share of then, None
    where no bar is known there.
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

    def __str__(self) -> str:
        day = f"{self.ex_ts:%Y-%m-%d}"
        if self.is_split:
            return f"split {self.value.normalize():f} for {self.per.normalize():f} on {day}"
        return f"dividend of {self.value.normalize():f} on {day}"


def shares_since(actions: Iterable[Action], since: datetime, until: datetime) -> float:
    """New shares for an old one, by the splits between a bar that closed at `since` and the moment `until`."""
    return math.prod(each.shares for each in actions if each.is_split and since <= each.ex_ts < until)
