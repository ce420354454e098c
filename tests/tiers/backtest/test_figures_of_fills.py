"""The figures of a run, counted again from its fills alone in one plain loop."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.support.backtests import market
from tests.tiers.backtest.test_report import made
from tiers.backtest.engine import Result

START_ROW, N_BARS = 260, 700
NOTHING = 1e-9


@dataclass(kw_only=True)
class Counted:
    """What the fills say."""

    trades: list[float] = field(default_factory=list)  # profit of each position that came back to zero
    reductions: list[float] = field(default_factory=list)
    gross: list[float] = field(default_factory=list)  # weight at each close
    equity: list[float] = field(default_factory=list)
    fees: float = 0.0
    notional: float = 0.0


@dataclass(kw_only=True)
class Position:
    quantity: float = 0.0
    paid: float = 0.0  # for what is open, with its fees; negative of a short
    gained: float = 0.0  # by reductions since it left zero


def counted(result: Result) -> Counted:
    """Average cost; no fill of this market goes across zero."""
    found, close = Counted(), market(N_BARS, 3, seed=1).close
    positions = {symbol: Position() for symbol in result.symbols}
    cash = float(result.initial.cash)
    for row, fills in enumerate(result.run.fills):
        for fill in fills:
            sign = 1.0 if fill.side == "BUY" else -1.0
            quantity, value, fee = sign * float(fill.quantity), sign * float(fill.notional), float(fill.fee)
            cash -= value + fee
            found.fees, found.notional = found.fees + fee, found.notional + abs(value)
            held = positions[fill.symbol]
            if held.quantity * quantity >= 0:
                held.paid += value + fee
            else:
                assert abs(quantity) <= abs(held.quantity) + NOTHING
                given_up = held.paid * -quantity / held.quantity
                profit = -value - fee - given_up
                held.paid, held.gained = held.paid - given_up, held.gained + profit
                found.reductions.append(profit)
            held.quantity += quantity
            if abs(held.quantity) < NOTHING:
                found.trades.append(held.gained)
                positions[fill.symbol] = Position()
        values = [positions[symbol].quantity * close[START_ROW + row, i] for i, symbol in enumerate(result.symbols)]
        found.equity.append(cash + sum(values))
        found.gross.append(sum(map(abs, values)) / found.equity[-1])
    return found


def won_pct(profits: list[float]) -> float:
    return 100 * sum(profit > 0 for profit in profits) / len(profits)


def test_figures_of_a_run_are_those_of_its_fills() -> None:
    result = made()
    found, figures = counted(result), result.metrics
    assert found.equity == pytest.approx(result.run.equity_curve.tolist(), rel=1e-9)
    assert figures.n_trades == len(found.trades) == 75
    assert figures.n_reductions == len(found.reductions) == 88
    assert figures.win_rate_pct == pytest.approx(won_pct(found.trades)) == pytest.approx(100 * 55 / 75)
    assert figures.reductions_won_pct == pytest.approx(won_pct(found.reductions)) == pytest.approx(100 * 64 / 88)
    gains, losses = (sum(sign * p for p in found.trades if sign * p > 0) for sign in (1, -1))
    assert figures.profit_factor == pytest.approx(gains / losses)
    assert figures.expectancy == pytest.approx(sum(found.trades) / 75)
    assert figures.fees_paid == pytest.approx(found.fees) == pytest.approx(2604.04422762)
    years, n_bars = 439 / 365.25, len(found.equity)
    turnover = found.notional / 2 / (sum(found.equity) / n_bars) / years
    assert figures.turnover == pytest.approx(turnover) == pytest.approx(22.26909287)
    assert figures.gross_weight_pct == pytest.approx(100 * sum(found.gross) / n_bars) == pytest.approx(30.96767738)
    in_market = sum(weight > NOTHING for weight in found.gross)
    assert figures.time_in_market_pct == pytest.approx(100 * in_market / n_bars) == pytest.approx(100 * 257 / 440)
