"""Figures for people: their names, how they are written, and those of the bars the model had not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from tiers.backtest import reasons
from tiers.backtest.engine import Result
from tiers.backtest.metrics import Metrics, measure, simple_returns, total_return
from tiers.backtest.trades import flat_to_flat
from trading.books.accounting import ZERO, amount

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
SIGNED = ("total_return_pct", "cagr_pct", "expectancy")
_MONEY, _COUNTS, _TIMES = ("expectancy", "fees_paid"), ("n_trades", "n_reductions", "n_bars"), ("turnover",)
MISSING = "–"  # noqa: RUF001 - the dash of a table's empty cell
Columns = dict[str, dict[str, float | int | None]]  # figures by name, by what they are of
MIN_UNSEEN_BARS = 20
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The bars whose figures lead: those from decided bar `row` on; `in_sample` where a model was trained on some."""

    row: int = 0
    in_sample: bool = False


def judged(result: Result, trained_until: datetime | None) -> Sample:
    """The bars that no model was trained on, where they are enough to be worth a number; else all bars."""
    seen = n_seen(result, trained_until)
    enough = len(result.run.ts) - seen >= MIN_UNSEEN_BARS
    return Sample(row=seen if enough else 0, in_sample=seen > 0 and not enough)


def n_seen(result: Result, trained_until: datetime | None) -> int:
    """Decided bars that a model was trained on."""
    return 0 if trained_until is None else sum(moment <= trained_until for moment in result.run.ts)


def sample_note(result: Result, model: str, trained_until: datetime) -> str:
    """Which bars the figures are of, and what the model had seen of them."""
    sample, seen = judged(result, trained_until), n_seen(result, trained_until)
    trained, total = f"{model} was trained on data up to {trained_until:%Y-%m-%d %H:%M} UTC", len(result.run.ts)
    if not seen:
        return f"Out of sample: {trained}, before the first bar here."
    if sample.in_sample:
        return (
            f"In sample: {trained}, and saw {seen:,} of the {total:,} bars here. These figures say nothing about the "
            "future."
        )
    return (
        f"Partly in sample: {trained}, and saw {seen:,} of the {total:,} bars here. The figures are those of the "
        f"{total - seen:,} bars since; what the column with the seen bars shows says nothing about the future."
    )


def columns(result: Result, sample: Sample) -> Columns:
    """The figures of the strategy, and of what stands beside it over the same bars, by name.

    Where a model was trained on some of all bars, the last column is the strategy's over all of them.
    """
    name = f"{result.strategy}, in sample" if sample.in_sample else result.strategy
    found = {name: since(result, sample.row).as_dict()}
    if result.frequencies is not None:
        found[result.frequencies.strategy] = since(result.frequencies, sample.row).as_dict()
    if result.buy_hold is not None:
        found[BUY_AND_HOLD] = since(result.buy_hold, sample.row).as_dict()
        alike = same_volatility(result, sample.row)
        if alike is not None:
            found[f"{BUY_AND_HOLD}, same volatility"] = alike
    if sample.row:
        found[f"{result.strategy}, with bars seen in training"] = result.metrics.as_dict()
    return found


def reasons_of(result: Result, sample: Sample) -> list[str]:
    """Why something was not traded, and why a figure of these bars has no value."""
    of_all = reasons.of_metrics(result.metrics)
    others = [sentence for sentence in result.reasons if sentence not in of_all]
    return [*others, *reasons.of_metrics(since(result, sample.row))]


def same_volatility(result: Result, row: int = 0) -> dict[str, float | int | None] | None:
    """Buy and hold with so much cash (or credit) beside it, at every bar, that it moves as much as the strategy.

    Its returns are those of buy and hold times the ratio of the volatilities; keeping that mix costs nothing here.
    None where either does not move.
    """
    held = result.baseline
    mine, theirs = (since(run, row).volatility_pct for run in (result, held))
    if not mine or not theirs:
        return None
    curve, part = held.run.equity_curve[row:], mine / theirs
    returns = part * simple_returns(curve)
    if len(returns) == 0 or not bool((returns > -1.0).all()):
        return None
    figures = measure(
        ts=result.bar_ts[row:],
        equity=np.cumprod(np.concatenate([curve[:1], 1.0 + returns])),
        weights=part * held.run.held[row:],
        pnl=[],
        reduction_pnl=[],
        traded_notional=ZERO,
        fees_paid=ZERO,
        bars_per_year=result.pace(row),
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


def since(result: Result, row: int) -> Metrics:
    """The figures from the close of decided bar `row` on: trades and reductions count where they end."""
    if row == 0:
        return result.metrics
    fills = [fill for fills in result.run.fills[row + 1 :] for fill in fills]
    moment = result.run.ts[row]
    held = total_return(result.baseline.run.equity_curve[row:])
    return measure(
        ts=result.bar_ts[row:],
        equity=result.run.equity_curve[row:],
        weights=result.run.held[row:],
        pnl=[pnl for ended, pnl in flat_to_flat(result.reductions) if ended > moment],
        reduction_pnl=[one.pnl for one in result.reductions if not one.is_open and one.closed_ts > moment],
        traded_notional=sum((fill.notional for fill in fills), ZERO),
        fees_paid=sum((fill.fee for fill in fills), ZERO),
        buy_hold_return_pct=None if held is None else 100.0 * held,
        bars_per_year=result.pace(row),
    )


def flattened(params: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Nested parameters as dotted names and text."""
    rows: list[tuple[str, str]] = []
    for name, value in params.items():
        if isinstance(value, Mapping):
            rows += flattened(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", f"{value:g}" if isinstance(value, float) else str(value)))
    return rows
