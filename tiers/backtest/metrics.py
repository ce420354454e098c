"""The figures of a backtest: pure functions of the equity curve, the trades and the weights.

Returns are simple returns of the equity from bar close to bar close, of a book whose symbols do not all have each
bar over several (`sampling`); the risk-free rate is zero. Annual figures use the bars that came of those that a year
of the market's calendar has, so that one session of minutes is a 252nd of a year and not the hours from its first
bar to its last; docs/figures.md says each convention. A figure that has no value (no trade, no loss, no time passed) is
None, which JSON writes as null.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal

import numpy as np

from tiers.backtest.sampling import YEAR_DAYS, Sampling, years_between
from tiers.contracts import FloatArray, IntArray, TimeArray

FEWEST_DAYS = 90  # a growth of fewer, to the fourth power and more, is none of a year
_MOST_GROWTH = 1e6  # of the equity in a year
_ROUNDING = 1e-12  # a spread this small beside the mean is float rounding, not risk


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What a backtest is judged by; percentages are times 100, money is in the account's currency."""

    n_bars: int
    years: float  # that growth and turnover a year rest on
    total_return_pct: float
    cagr_pct: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    max_drawdown_pct: float
    volatility_pct: float | None
    profit_factor: float | None
    expectancy: float | None
    win_rate_pct: float | None
    n_trades: int  # positions from flat to flat; profit factor, expectancy and win rate are theirs
    n_reductions: int  # fills that made a position smaller, full exits included
    reductions_won_pct: float | None
    gross_weight_pct: float
    time_in_market_pct: float
    turnover: float | None
    fees_paid: float
    buy_hold_return_pct: float | None

    def as_dict(self) -> dict[str, float | int | None]:
        """The figures by name, in the order in which they are printed."""
        return asdict(self)


def measure(
    *,
    ts: TimeArray,
    equity: FloatArray,
    weights: FloatArray,
    pnl: Sequence[Decimal],
    reduction_pnl: Sequence[Decimal],
    traded_notional: Decimal,
    fees_paid: Decimal,
    sampling: Sampling,
    buy_hold_return_pct: float | None = None,
) -> Metrics:
    """All figures of one run, of two bars and more, the equity of the first above zero.

    `ts` and `equity` are (n_bars,), `weights` is (n_bars, n_symbols) held at each close, `pnl` holds the
    profit after fees of each position from flat to flat, `reduction_pnl` that of each reduction, `traded_notional`
    sums the value of all fills, `sampling` is that of the bars. Raises ValueError when the shapes differ.
    """
    if ts.shape != equity.shape or weights.shape[:1] != equity.shape:
        raise ValueError(
            f"ts, equity, weights must have one row a bar, were {ts.shape}, {equity.shape}, {weights.shape}"
        )
    per_year, returns = sampling.per_year, simple_returns(equity, sampling.rows)
    years = max(years_between(ts), (len(sampling.rows) - 1) / per_year)
    growth, drawdown = cagr(equity, years), max_drawdown(equity)
    return Metrics(
        n_bars=len(equity),
        years=years,
        total_return_pct=100.0 * total_return(equity),
        cagr_pct=_percent(growth),
        sharpe=sharpe(returns, per_year),
        sortino=sortino(returns, per_year),
        calmar=growth / drawdown if growth is not None and drawdown else None,
        max_drawdown_pct=100.0 * drawdown,
        volatility_pct=_percent(volatility(returns, per_year)),
        profit_factor=profit_factor(pnl),
        expectancy=float(sum(pnl, Decimal(0)) / len(pnl)) if pnl else None,
        win_rate_pct=_won_pct(pnl),
        n_trades=len(pnl),
        n_reductions=len(reduction_pnl),
        reductions_won_pct=_won_pct(reduction_pnl),
        gross_weight_pct=100.0 * gross_weight(weights),
        time_in_market_pct=100.0 * time_in_market(weights),
        turnover=turnover(equity, traded_notional, years),
        fees_paid=float(fees_paid),
        buy_hold_return_pct=buy_hold_return_pct,
    )


def simple_returns(equity: FloatArray, rows: IntArray) -> FloatArray:
    """From each of the rows to the next, (n_rows - 1,); empty when the equity ever reached zero or less."""
    if not bool((equity > 0).all()):
        return np.empty(0)
    closing = equity[rows]
    out: FloatArray = closing[1:] / closing[:-1] - 1.0
    return out


def total_return(equity: FloatArray) -> float:
    """Last equity over first, minus one."""
    return float(equity[-1] / equity[0] - 1.0)


def cagr(equity: FloatArray, years: float) -> float | None:
    """Compound annual growth, `(last / first) ** (1 / years) - 1`.

    None of fewer than 90 days, when no equity is left, or would grow a millionfold.
    """
    if years * YEAR_DAYS < FEWEST_DAYS or equity[-1] <= 0:
        return None
    exponent = math.log(equity[-1] / equity[0]) / years
    return math.expm1(exponent) if exponent < math.log(_MOST_GROWTH) else None


def volatility(returns: FloatArray, per_year: float) -> float | None:
    """Standard deviation of the returns (n - 1 below the line) times sqrt(bars per year)."""
    if len(returns) < 2:
        return None
    return float(returns.std(ddof=1)) * math.sqrt(per_year)


def sharpe(returns: FloatArray, per_year: float) -> float | None:
    """Mean over standard deviation, annualised; None without spread.

    Sharpe (1994), J. of Portfolio Management 21(1).
    """
    if len(returns) < 2:
        return None
    return _ratio(float(returns.mean()), float(returns.std(ddof=1)), per_year)


def sortino(returns: FloatArray, per_year: float) -> float | None:
    """Mean over downside deviation against zero, annualised; None without a loss.

    The downside deviation is sqrt(mean(min(r, 0)^2)) over all n returns, not only over the losing ones.
    Sortino and Price (1994), J. of Investing 3(3).
    """
    if len(returns) == 0:
        return None
    downside = math.sqrt(float(np.square(np.minimum(returns, 0.0)).mean()))
    return _ratio(float(returns.mean()), downside, per_year)


def drawdowns(equity: FloatArray) -> FloatArray:
    """Loss from the highest equity so far at each bar, (n_bars,), 0 to 1."""
    out: FloatArray = 1.0 - equity / np.maximum.accumulate(equity)
    return out


def max_drawdown(equity: FloatArray) -> float:
    """The largest loss from a peak, 0 to 1 (a positive number)."""
    return float(drawdowns(equity).max())


def profit_factor(pnl: Sequence[Decimal]) -> float | None:
    """Profit of the winning trades over loss of the losing ones; None without a loss."""
    lost = -sum((p for p in pnl if p < 0), Decimal(0))
    return float(sum((p for p in pnl if p > 0), Decimal(0)) / lost) if lost else None


def gross_weight(weights: FloatArray) -> float:
    """Mean over bars of the sum of absolute weights: how much of the equity was at risk on average."""
    return float(np.abs(weights).sum(axis=1).mean())


def time_in_market(weights: FloatArray) -> float:
    """Share of the bars at whose close anything was held, however little."""
    return float((weights != 0.0).any(axis=1).mean())


def turnover(equity: FloatArray, traded_notional: Decimal, years: float) -> float | None:
    """How often a year the whole book is replaced.

    Half of all value bought and sold, over the mean equity, over the years; None where that mean is not positive.
    """
    if equity.mean() <= 0:
        return None
    return float(traded_notional) / 2.0 / float(equity.mean()) / years


def _ratio(mean: float, spread: float, per_year: float) -> float | None:
    return mean / spread * math.sqrt(per_year) if spread > _ROUNDING * abs(mean) else None


def _won_pct(pnl: Sequence[Decimal]) -> float | None:
    return 100.0 * sum(p > 0 for p in pnl) / len(pnl) if pnl else None


def _percent(value: float | None) -> float | None:
    return None if value is None else 100.0 * value
