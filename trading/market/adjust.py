"""Adjusted prices: the moves of a price without the jumps of its splits and dividends. Pure."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Any

import numpy as np

from trading.market.bars import PRICES, Bars, FloatArray
from trading.market.timestamps import stamp


def adjusted(bars: Bars) -> Bars:
    """The bars as features, volatility and returns see them; stored bars, orders and money are the real ones.

    From an ex-time on prices are multiplied, and volumes divided, by the factors of `Action`: (n_bars, n_symbols) each,
    of all actions of a symbol up to the bar. So a bar's prices depend on what was known when it closed and on nothing
    later, and every window that holds the bar has them to the last bit. Divided by the factors of bar t, they are the
    prices before t as they are adjusted backward from it: ratios of prices are the same in both. NaN stays NaN. Without
    actions the bars are returned as they are; what is returned has none.

    Source: Center for Research in Security Prices, Data Descriptions Guide, cumulative factors to adjust prices and
    shares; for dividends, the factor 1 - D / close before of total returns.
    """
    if not bars.actions:
        return bars
    prices, shares = factors(bars)
    fields: dict[str, Any] = {name: getattr(bars, name) * prices for name in PRICES}
    return replace(bars, **fields, volume=bars.volume / shares, actions=())


def factors(bars: Bars) -> tuple[FloatArray, FloatArray]:
    """(n_bars, n_symbols) each: what prices are multiplied, and volumes divided by; 1 before the first action."""
    prices, shares = np.ones(bars.close.shape), np.ones(bars.close.shape)
    for symbol, own in groupby(sorted(bars.actions, key=attrgetter("symbol")), key=attrgetter("symbol")):
        actions, column = list(own), bars.symbols.index(symbol)
        come = np.searchsorted(np.array([stamp(each.ex_ts) for each in actions]), bars.ts)
        prices[:, column] = np.cumprod([1.0, *(each.factor for each in actions)])[come]
        shares[:, column] = np.cumprod([1.0, *(each.shares for each in actions)])[come]
    return prices, shares
