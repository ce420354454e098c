"""What happened after a forecast: the class that its model was trained to name, once its horizon has passed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from tiers.challenge import observations
from tiers.contracts import Bars, FloatArray, adjusted
from tiers.predict import labels
from trading.market import read as market
from trading.market.timestamps import utc_times
from trading.models import MLModel, PipelineCycle

if TYPE_CHECKING:
    from tiers.challenge.measures import Decision

Rule = tuple[int, str, int, float, int]  # book, timeframe, horizon in bars, threshold, bars of volatility


def losses(decisions: Sequence[Decision]) -> dict[int, float]:
    """The log loss of each decision that holds a forecast whose horizon has passed, by its place in `decisions`."""
    forecasts = {
        place: one
        for place, one in enumerate(decisions)
        if "probability" in one.value and one.close is not None and not one.failed
    }
    rules = _rules({one.value["model"] for one in forecasts.values()})
    groups: defaultdict[Rule, list[int]] = defaultdict(list)
    for index, one in forecasts.items():
        if one.value["model"] in rules:
            theta, volatility_bars = rules[one.value["model"]]
            groups[one.book_id, one.timeframe, one.value["horizon_bars"], theta, volatility_bars].append(index)
    found: dict[int, float] = {}
    for rule, places in groups.items():
        happened = _happened(rule, [decisions[place] for place in places])
        for place in places:
            outcome = happened.get((decisions[place].symbol, decisions[place].bar_ts))
            if outcome is not None:
                found[place] = observations.log_loss(decisions[place].value["probability"], outcome)
    return found


def _rules(models: set[str]) -> dict[str, tuple[float, int]]:
    """Threshold and volatility window that the labels of each model were made with."""
    found = {}
    for name, card in MLModel.objects.filter(name__in=models).values_list("name", "card"):
        bars = card.get("params", {}).get("volatility_bars")
        if bars and "theta" in card:
            found[name] = (float(card["theta"]), int(bars))
    return found


def _happened(rule: Rule, decisions: list[Decision]) -> dict[tuple[str, datetime], int]:
    """The outcome at each bar from the first decision to the last bar that the book has reached."""
    book, timeframe, horizon, theta, volatility_bars = rule
    symbols = tuple(sorted({one.symbol for one in decisions}))
    first = min(one.bar_ts for one in decisions)
    reached = PipelineCycle.objects.filter(book=book).order_by("-bar_ts").values_list("bar_ts", flat=True).first()
    bars = market.bar_range(symbols, timeframe, first, reached, at_least_one=False)
    before = market.plain_window(symbols, timeframe, first, volatility_bars + 1, at_least_one=False)
    close, times = _joined(adjusted(replace(before, actions=bars.actions)), adjusted(bars))
    outcome = labels.make(close, horizon_bars=horizon, theta=theta, volatility_bars=volatility_bars).outcome
    return {
        (symbol, times[row]): int(outcome[row, column])
        for column, symbol in enumerate(symbols)
        for row in np.flatnonzero(outcome[:, column] != labels.UNKNOWN)
    }


def _joined(before: Bars, after: Bars) -> tuple[FloatArray, tuple[datetime, ...]]:
    """Closes and times of the two stretches; the later one begins where the earlier one ends."""
    fresh = ~np.isin(after.ts, before.ts, assume_unique=True)
    times = utc_times(np.concatenate([before.ts, after.ts[fresh]]))
    return np.concatenate([before.close, after.close[fresh]]), times
