"""The book of a strategy that decides in shadow: what it would hold by now, had its own answers been followed.

It begins its step with nothing held. What the risk tier allows, and the state, are those of the real book.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np

from helios.rollouts.core.assignment import Arm, Assignment
from helios.rollouts.models import RolloutDecision
from tiers.contracts import Bars, BookView, FloatArray
from trading.books.accounting import ZERO
from trading.market.timestamps import stamp


def view(real: BookView, bars: Bars, assignment: Assignment) -> BookView:
    """The real book's view with the weights of the challenger's last answer, carried by prices to the last bar."""
    weights = _weights(real, bars, assignment).tolist()
    values = [real.equity * Decimal(weight) for weight in weights]
    quantity = tuple(value / price if price else ZERO for value, price in zip(values, real.price, strict=True))
    return replace(real, quantity=quantity, cash=real.equity - sum(values, ZERO), waiting={})


def _weights(real: BookView, bars: Bars, assignment: Assignment) -> FloatArray:
    said = RolloutDecision.objects.filter(
        rollout=assignment.rollout_id,
        step=assignment.step,
        arm=Arm.CHALLENGER.value,
        error="",
        symbol__in=real.symbols,
        bar_ts__lt=real.bar_ts,
    ).order_by("-recorded_at")
    rows = list(said.values_list("bar_ts", "symbol", "value")[: len(real.symbols)])
    if not rows:
        return np.zeros(len(real.symbols))
    then = rows[0][0]
    last = {symbol: value.get("weight") or 0.0 for bar_ts, symbol, value in rows if bar_ts == then}
    row = int(np.searchsorted(bars.ts, stamp(then), side="right")) - 1
    return drifted(np.array([last.get(symbol, 0.0) for symbol in real.symbols]), bars.close, max(0, row))


def drifted(weights: FloatArray, close: FloatArray, row: int) -> FloatArray:
    """(n_symbols,) weights at the last row of `close` (n_bars, n_symbols) of what had these `weights` at `row`.

    Closes are carried forward; a symbol without one at `row` keeps its value.
    """
    growth = _last_known(close) / _last_known(close[: row + 1])
    grown: FloatArray = weights * np.where(np.isfinite(growth), growth, 1.0)
    total = 1.0 + float((grown - weights).sum())
    return grown / total if total > 0.0 else np.zeros_like(weights)


def _last_known(close: FloatArray) -> FloatArray:
    known = ~np.isnan(close)
    last = len(close) - 1 - known[::-1].argmax(axis=0)
    out: FloatArray = close[last, np.arange(close.shape[1])]
    return out


__all__ = ["drifted", "view"]
