"""Figures for people: their names, how they are written, and which bars they are of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np

from tiers.backtest.engine import Result
from tiers.backtest.metrics import measure, simple_returns
from trading.books.accounting import ZERO, amount
from trading.market.days import day_of

LABELS = {
    "total_return_pct": "Total return",
    "cagr_pct": "Growth a year",
    "sharpe": "Sharpe ratio",
    "sortino": "Sortino ratio",
    "calmar": "Calmar ratio",
    "max_drawdown_pct": "Largest drawdown",
    "volatility_pct": "Volatility a year",
    "profit_factor": "Profit factor",
    "expectancy": "Profit a trade",
    "n_trades": "Trades, flat to flat",
    "win_rate_pct": "Trades won",
    "n_reductions": "Reductions of positions",
    "reductions_won_pct": "Reductions won",
    "gross_weight_pct": "Mean gross weight",
    "time_in_market_pct": "Time in the market",
    "turnover": "Turnover a year",
    "fees_paid": "Fees paid",
    "n_bars": "Bars",
}
EVIDENCE_LABELS = {
    "gain": "gain on class frequencies, nats",
    "gain_on_moving": "of it on whether prices move",
    "gain_beyond_width": "of that, beyond the threshold's width",
    "gain_on_direction": "of it on where they go",
    "hit_rate_above_always_up": "sides named right, less always up",
    "sharpe": "Sharpe ratio of the backtest",
    "sharpe_above_class_frequencies": "Sharpe ratio, less class frequencies'",
}
SIGNED = ("total_return_pct", "cagr_pct", "expectancy")
_MONEY, _COUNTS, _TIMES = ("expectancy", "fees_paid"), ("n_trades", "n_reductions", "n_bars"), ("turnover",)
MISSING = "–"  # noqa: RUF001 - the dash of a table's empty cell
Columns = dict[str, dict[str, float | int | None]]  # figures by name, by what they are of
BUY_AND_HOLD = "buy and hold"


_OF_RETURNS = (
    "n_bars",
    "total_return_pct",
    "cagr_pct",
    "sharpe",
    "sortino",
    "calmar",
    "max_drawdown_pct",
    "volatility_pct",
    "gross_weight_pct",
)


def sample_note(result: Result, trained: Mapping[str, datetime]) -> str:
    """Which bars the figures are of, and what the models had seen of them; empty where no model was trained.

    `trained` is the end of each model's training, by what the sentence calls the model.
    """
    if not trained:
        return ""
    seen, total = result.n_seen, len(result.run.ts)
    each = [f"{model} was trained on data up to {until:%Y-%m-%d %H:%M} UTC" for model, until in trained.items()]
    told = " and ".join(each)
    saw = "saw" if len(each) == 1 else "one of them at least saw"
    if not seen:
        return f"Out of sample: {told}, before the first bar here."
    if result.in_sample:
        return (
            f"In sample: {told}, and {saw} {seen:,} of the {total:,} bars here. These figures say nothing about the "
            "future."
        )
    cash = amount(result.initial.cash, result.currency)
    return (
        f"Partly in sample: {told}, and {saw} {seen:,} of the {total:,} bars here. The figures are those of an "
        f"account that begins with {cash} on the {total - seen:,} bars since; what the column with the seen bars shows "
        "says nothing about the future."
    )


def period(result: Result) -> str:
    """The days that were decided on, and from where on the figures that lead count, if that is later."""
    lead = result.lead.start
    later = f", figures from {day_of(lead)}" if lead > result.start else ""
    return f"{day_of(result.start)} to {day_of(result.end)}{later}"


def columns(result: Result) -> Columns:
    """The figures that lead, and those of what stands beside them over the same bars, by name.

    Where a model was trained on some of all bars, the last column is the strategy's over all of them.
    """
    lead = result.lead
    found = {f"{result.strategy}, in sample" if result.in_sample else result.strategy: lead.metrics.as_dict()}
    if lead.frequencies is not None:
        found[lead.frequencies.strategy] = lead.frequencies.metrics.as_dict()
    if lead.buy_hold is not None:
        found[BUY_AND_HOLD] = lead.buy_hold.metrics.as_dict()
        alike = same_volatility(lead)
        if alike is not None:
            found[f"{BUY_AND_HOLD}, same volatility"] = alike
    if result.unseen is not None:
        found[f"{result.strategy}, with bars seen in training"] = result.metrics.as_dict()
    return found


def same_volatility(result: Result) -> dict[str, float | int | None] | None:
    """Buy and hold with so much cash (or credit) beside it that it moves as much as the strategy.

    Its returns are those of buy and hold times the ratio of the volatilities; the mix is restored where a return ends
    (`Sampling.rows`), and that costs nothing here. None where either does not move.
    """
    held = result.baseline
    mine, theirs = result.metrics.volatility_pct, held.metrics.volatility_pct
    if not mine or not theirs:
        return None
    curve, part, rows = held.run.equity_curve, mine / theirs, result.sampling.rows
    returns = part * simple_returns(curve, rows)
    since = np.searchsorted(rows, np.arange(1, len(curve))) - 1  # where the return ended that each bar follows
    within = 1.0 + part * (curve[1:] / curve[rows[since]] - 1.0)
    if not bool((within > 0.0).all()):
        return None
    closing = np.cumprod(np.concatenate([curve[:1], 1.0 + returns]))
    figures = measure(
        ts=result.bar_ts,
        equity=np.concatenate([curve[:1], closing[since] * within]),
        weights=part * held.run.held,
        pnl=[],
        reduction_pnl=[],
        traded_notional=ZERO,
        fees_paid=ZERO,
        sampling=result.sampling,
    ).as_dict()
    return {key: figures[key] for key in _OF_RETURNS}


def formatted(key: str, value: float | None, currency: str = "") -> str:
    """One figure as text, money in `currency`; a dash where it has no value."""
    if value is None:
        return MISSING
    if key.endswith("_pct"):
        return f"{value:+,.2f} %" if key in SIGNED else f"{value:,.2f} %"
    if key in _MONEY:
        return amount(value, currency)
    if key in _COUNTS:
        return f"{value:,.0f}"
    return f"{value:,.2f} x" if key in _TIMES else f"{value:,.2f}"


def flattened(params: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Nested parameters as dotted names and text."""
    rows: list[tuple[str, str]] = []
    for name, value in params.items():
        if isinstance(value, Mapping):
            rows += flattened(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", f"{value:g}" if isinstance(value, float) else str(value)))
    return rows
