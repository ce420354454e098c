"""Strategies that speak in weights, run through the same orders, fills and account as the seven tiers."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import numpy as np

from tiers.backtest.exact import Step
from tiers.contracts import BookView, BoolArray, FloatArray, TargetWeights, TradingState
from tiers.contracts.parameters import ExecuteParams
from tiers.execute.plan import plan
from trading.market.lots import Lot

# A baseline is invested in full: no buffer is held back (the venue never overdraws), no order is too large.
FULLY_INVESTED = ExecuteParams(cash_buffer=Decimal(0), max_notional=Decimal(10**15))


class WeightsDecider:
    """Turns the rows of a weight matrix, (n_bars, n_symbols) with NaN for "leave it", into orders.

    They are parts of the equity, or always of the money `of` where that is given.
    """

    def __init__(
        self, weights: FloatArray, *, name: str, lots: Mapping[str, Lot], key: str, of: Decimal | None = None
    ) -> None:
        self.weights, self.name, self.lots, self.key, self.of = weights, name, lots, key, of

    @property
    def decided(self) -> BoolArray:
        """The rows that want something, (n_bars,)."""
        return np.asarray(np.isfinite(self.weights).any(axis=1), dtype=np.bool_)

    def __call__(self, row: int, book: BookView) -> Step:
        """The orders that bring the named symbols to their weights."""
        wanted, previous = self.weights[row], book.weights
        if self.of is not None and book.equity > 0:
            wanted = wanted * float(self.of / book.equity)
        named = np.isfinite(wanted)
        target = np.where(named, wanted, previous)
        targets = TargetWeights(
            bar_ts=book.bar_ts,
            symbols=book.symbols,
            weights=target,
            previous=previous,
            turnover=float(np.abs(target - previous).sum()),
            method=self.name,
            reason="signal",
        )
        planned = plan(targets=targets, book=book, lots=self.lots, params=FULLY_INVESTED, key=self.key)
        return Step(targets=targets, intents=planned.intents, state=TradingState.ACTIVE, denials=planned.denials)
