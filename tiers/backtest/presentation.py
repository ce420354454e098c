"""Figures for people: their names, how they are written, and those of the bars the model had not seen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np

from tiers.backtest.engine import Result
from tiers.backtest.metrics import Metrics, measure, simple_returns
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
MIN_UNSEEN_BARS = 20


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


def columns(result: Result) -> dict[str, dict[str, float | int | None]]:
    """The figures of the strategy, and of what stands beside it over the same bars, by name."""
    found = {result.strategy: result.metrics.as_dict()}
    if result.frequencies is not None:
        found[result.frequencies.strategy] = result.frequencies.metrics.as_dict()
    if result.buy_hold is not None:
        found["buy and hold"] = result.buy_hold.metrics.as_dict()
        alike = same_volatility(result)
        if alike is not None:
            found["buy and hold, same volatility"] = alike
    return found


def same_volatility(result: Result) -> dict[str, float | int | None] | None:
    """Buy and hold with so much cash (or credit) beside it, at every bar, that it moves as much as the strategy.

    Its returns are those of buy and hold times the ratio of the volatilities; keeping that mix costs nothing here.
    None where either does not move.
    """
    held = result.baseline
    mine, theirs = result.metrics.volatility_pct, held.metrics.volatility_pct
    if not mine or not theirs:
        return None
    curve, part = held.run.equity_curve, mine / theirs
    returns = part * simple_returns(curve)
    if len(returns) == 0 or not bool((returns > -1.0).all()):
        return None
    figures = measure(
        ts=result.bar_ts,
        equity=np.cumprod(np.concatenate([curve[:1], 1.0 + returns])),
        weights=part * held.run.held,
        pnl=[],
        reduction_pnl=[],
        traded_notional=ZERO,
        fees_paid=ZERO,
        bars_per_year=result.bars_per_year,
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


def out_of_sample(result: Result, trained_until: datetime) -> tuple[Metrics, Metrics] | None:
    """Figures of the strategy and of buy and hold over the bars after the training data alone.

    None when all bars, or none, or too few to be worth a number lie behind `trained_until`.
    """
    first = sum(moment <= trained_until for moment in result.run.ts)
    if first == 0 or len(result.run.ts) - first < MIN_UNSEEN_BARS:
        return None
    return since(result, first), since(result.baseline, first)


def since(result: Result, row: int) -> Metrics:
    """The figures from the close of decided bar `row` on: trades and reductions count where they end."""
    fills = [fill for fills in result.run.fills[row + 1 :] for fill in fills]
    moment = result.run.ts[row]
    return measure(
        ts=result.bar_ts[row:],
        equity=result.run.equity_curve[row:],
        weights=result.run.held[row:],
        pnl=[pnl for ended, pnl in flat_to_flat(result.reductions) if ended > moment],
        reduction_pnl=[one.pnl for one in result.reductions if not one.is_open and one.closed_ts > moment],
        traded_notional=sum((fill.notional for fill in fills), ZERO),
        fees_paid=sum((fill.fee for fill in fills), ZERO),
        bars_per_year=result.bars_per_year,
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
