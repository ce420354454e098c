"""The figures of a backtest against numbers worked by hand and against slow plain twins."""

from __future__ import annotations

import math
import statistics
from dataclasses import fields, replace
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.backtests import of_closes
from tiers.backtest import metrics, sampling
from trading.market.calendars import ALWAYS_OPEN, US_EQUITIES, Calendar

DAY = np.timedelta64(1, "D")
XNYS, AROUND_THE_CLOCK = Calendar(US_EQUITIES), Calendar(ALWAYS_OPEN)
HOUR = np.timedelta64(1, "h")
KEYS = """
n_bars years total_return_pct cagr_pct sharpe sortino calmar max_drawdown_pct volatility_pct profit_factor
expectancy win_rate_pct n_trades n_reductions reductions_won_pct gross_weight_pct time_in_market_pct
turnover fees_paid buy_hold_return_pct
"""

curves = st.lists(st.floats(1.0, 1e6), min_size=3, max_size=60).map(np.array)


def days(n: int) -> np.ndarray:
    return np.datetime64("2020-01-01T21:00:00", "us") + np.arange(n) * DAY


def measured(equity: list[float], **changes: object) -> metrics.Metrics:
    arguments = {
        "ts": days(len(equity)),
        "equity": np.array(equity),
        "weights": np.zeros((len(equity), 1)),
        "pnl": [],
        "reduction_pnl": [],
        "traded_notional": Decimal(0),
        "fees_paid": Decimal(0),
    } | changes
    each = replace(of_closes(np.ones((len(equity), 1)), ts=arguments["ts"]), timeframe="1m")
    return metrics.measure(**({"sampling": sampling.sampling_of(each, {})} | arguments))


def paced(ts: np.ndarray, timeframe: str, calendar: Calendar) -> sampling.Sampling:
    bars = replace(of_closes(np.ones((len(ts), 1)), ts=ts), timeframe=timeframe)
    return sampling.sampling_of(bars, dict.fromkeys(bars.symbols, calendar))


def test_the_keys_are_those_the_command_promises() -> None:
    assert [field.name for field in fields(metrics.Metrics)] == KEYS.split()
    assert list(measured([100.0, 101.0]).as_dict()) == KEYS.split()


def test_a_curve_worked_by_hand() -> None:
    # 100 -> 110 -> 99 -> 108.9: returns +10 %, -10 %, +10 % in three days
    got = measured([100.0, 110.0, 99.0, 108.9])
    per_year = 365.25
    mean, spread = 0.1 / 3, math.sqrt(((0.2 / 3) ** 2 * 2 + (0.4 / 3) ** 2) / 2)
    assert got.n_bars == 4
    assert got.total_return_pct == pytest.approx(8.9)
    assert got.max_drawdown_pct == pytest.approx(10.0)
    assert got.volatility_pct == pytest.approx(100 * spread * math.sqrt(per_year))
    assert got.sharpe == pytest.approx(mean / spread * math.sqrt(per_year))
    assert got.sortino == pytest.approx(mean / math.sqrt(0.01 / 3) * math.sqrt(per_year))
    assert got.years == pytest.approx(3 / 365.25)
    assert (got.cagr_pct, got.calmar) == (None, None)
    slower = measured([100.0, 110.0, 99.0, 108.9], ts=days(91)[::30])
    assert slower.cagr_pct == pytest.approx(100 * (1.089 ** (365.25 / 90) - 1))
    assert slower.calmar == pytest.approx(slower.cagr_pct / 10.0)


def test_a_doubling_in_two_years_grows_41_percent_a_year() -> None:
    ts = np.array(["2020-01-01T00:00:00", "2021-12-31T12:00:00"], dtype="datetime64[us]")
    assert sampling.years_between(ts) == 2.0
    assert metrics.cagr(np.array([100.0, 200.0]), 2.0) == pytest.approx(math.sqrt(2) - 1)


def test_without_one_calendar_annualisation_follows_the_bars_that_came() -> None:
    ts = days(1462)  # four years and a quarter day short of it
    weekdays = ts[np.is_busday(ts.astype("datetime64[D]"))]
    equity = 100 * np.cumprod(1 + np.random.default_rng(1).normal(0.0, 0.01, len(weekdays)))
    per_year = (len(weekdays) - 1) / sampling.years_between(weekdays)
    assert 260 < per_year < 262
    got = measured(list(equity), ts=weekdays, weights=np.zeros((len(weekdays), 1)))
    assert got.volatility_pct == pytest.approx(
        100 * statistics.stdev(metrics.simple_returns(equity, np.arange(len(equity)))) * per_year**0.5
    )


def test_one_session_of_minutes_is_measured_by_the_year_of_its_calendar() -> None:
    ts = np.datetime64("2024-01-02T14:31:00", "us") + np.arange(390) * np.timedelta64(60, "s")
    equity = 100 * np.cumprod(1 + np.random.default_rng(2).normal(1e-5, 1e-4, 390))
    returns = [b / a - 1 for a, b in pairwise(equity.tolist())]
    changes = {"ts": ts, "weights": np.zeros((390, 1)), "traded_notional": Decimal(200)}
    got = measured(list(equity), sampling=paced(ts, "1m", XNYS), **changes)
    assert got.volatility_pct == pytest.approx(100 * statistics.stdev(returns) * math.sqrt(252 * 390))
    expected = statistics.mean(returns) / statistics.stdev(returns) * math.sqrt(252 * 390)
    assert got.sharpe == pytest.approx(expected)
    assert measured(list(equity), **changes).sharpe / got.sharpe == pytest.approx(2.313, abs=1e-3)
    assert got.years == pytest.approx(389 / 98_280)
    assert got.turnover == pytest.approx(100 / equity.mean() * 98_280 / 389)


@pytest.mark.parametrize(
    ("calendar", "timeframe", "first", "last", "per_year"),
    [
        (XNYS, "1d", "2018-01-01", "2022-01-01", 252),
        (XNYS, "1h", "2021-11-20", "2021-11-30", 1_764),  # a half day among them
        (XNYS, "1m", "2024-01-05T12:00", "2024-01-08T18:00", 98_280),  # over a weekend
        (AROUND_THE_CLOCK, "1h", "2022-01-01", "2022-02-01", 8_760),
    ],
)
def test_bars_that_all_came_are_measured_by_the_year_of_their_calendar(
    calendar: Calendar, timeframe: str, first: str, last: str, per_year: int
) -> None:
    ts = calendar.grid(timeframe, np.datetime64(first, "us"), np.datetime64(last, "us"))
    assert paced(ts, timeframe, calendar).per_year == per_year
    assert paced(ts[1::2], timeframe, calendar).per_year == pytest.approx(per_year / 2, rel=1 / len(ts))


def test_a_market_looks_no_riskier_for_the_bars_that_are_missing() -> None:
    rng, hours = np.random.default_rng(0), np.datetime64("2018-05-15T18:00:00", "us") + np.arange(20_000) * HOUR
    equity = 100 * np.cumprod(1 + rng.normal(1e-4, 0.01, len(hours)))
    came = np.sort(rng.choice(len(hours), len(hours) // 3, replace=False))
    came[[0, -1]] = 0, len(hours) - 1
    whole, thin = (
        measured(
            list(equity[rows]),
            ts=hours[rows],
            weights=np.zeros((len(rows), 1)),
            sampling=paced(hours[rows], "1h", AROUND_THE_CLOCK),
        )
        for rows in (np.arange(len(hours)), came)
    )
    assert thin.years == whole.years
    assert thin.volatility_pct == pytest.approx(whole.volatility_pct, rel=0.03)  # 1.73 times by the calendar's bars
    assert thin.sharpe == pytest.approx(whole.sharpe, rel=0.03)
    assert thin.sortino == pytest.approx(whole.sortino, rel=0.06)


def test_the_trade_figures_worked_by_hand() -> None:
    parts = [Decimal(20), Decimal(10), Decimal(-10), Decimal(0), Decimal(-5)]
    got = measured([100.0, 100.0], pnl=[Decimal(30), Decimal(-10), Decimal(0), Decimal(-5)], reduction_pnl=parts)
    assert (got.n_reductions, got.reductions_won_pct) == (5, 40.0)
    assert got.n_trades == 4
    assert got.profit_factor == 2.0
    assert got.expectancy == 3.75
    assert got.win_rate_pct == 25.0  # a trade that ends level is not a win


def test_how_much_was_held_and_how_often_are_two_figures() -> None:
    held = np.array([[0.0, 0.0], [0.1, 0.0], [0.5, 0.25], [-0.5, 0.25]])
    got = measured([100.0] * 4, weights=held)
    assert got.gross_weight_pct == pytest.approx(100 * (0.1 + 0.75 + 0.75) / 4)
    assert got.time_in_market_pct == 75.0


def test_turnover_of_one_is_the_whole_book_bought_and_sold_within_a_year() -> None:
    ts = np.array(["2020-01-01T00:00:00", "2020-12-31T06:00:00"], dtype="datetime64[us]")
    got = measured([100.0, 100.0], ts=ts, traded_notional=Decimal(200))
    assert got.turnover == pytest.approx(1.0)


def test_what_has_no_value_is_none_and_never_infinite() -> None:
    flat = measured([100.0, 100.0, 100.0])
    assert flat.total_return_pct == 0.0
    assert flat.volatility_pct == 0.0
    for name in ("sharpe", "sortino", "calmar", "profit_factor", "expectancy", "win_rate_pct"):
        assert getattr(flat, name) is None, name


def test_winning_only_leaves_the_ratios_against_losses_empty() -> None:
    rising = measured([100.0, 101.0, 103.0], pnl=[Decimal(3)])
    assert rising.sharpe is not None
    assert rising.sortino is None
    assert rising.calmar is None
    assert rising.profit_factor is None


def test_a_steady_gain_has_no_sharpe_ratio_because_its_spread_is_rounding() -> None:
    assert measured([100.0 * 1.01**i for i in range(50)]).sharpe is None


@pytest.mark.parametrize(("last", "n_days"), [(110.0, 2), (99.0, 2), (0.01, 90), (1e9, 91)])
def test_few_days_and_a_millionfold_have_no_growth_of_a_year(last: float, n_days: int) -> None:
    got = measured([100.0, last], ts=days(n_days)[[0, -1]])
    assert got.cagr_pct is None
    assert got.calmar is None
    assert got.total_return_pct == pytest.approx(last - 100.0)


def test_a_ruined_account_has_no_ratio() -> None:
    got = measured([100.0, 0.0, 0.0])
    assert got.total_return_pct == -100.0
    assert got.max_drawdown_pct == 100.0
    assert got.sharpe is None
    assert got.cagr_pct is None


def test_shapes_that_differ_are_named() -> None:
    with pytest.raises(ValueError, match=r"one row a bar, were \(2,\), \(2,\), \(3, 1\)"):
        measured([1.0, 2.0], weights=np.zeros((3, 1)))


@given(equity=curves)
def test_drawdown_equals_a_plain_loop(equity: np.ndarray) -> None:
    peak, worst = 0.0, 0.0
    for value in equity:
        peak = max(peak, value)
        worst = max(worst, 1 - value / peak)
    assert metrics.max_drawdown(equity) == pytest.approx(worst, abs=1e-15)


@given(equity=curves)
def test_ratios_equal_plain_python(equity: np.ndarray) -> None:
    returns = [b / a - 1 for a, b in pairwise(equity)]
    mean, spread = statistics.fmean(returns), statistics.stdev(returns)
    downside = math.sqrt(sum(min(r, 0.0) ** 2 for r in returns) / len(returns))
    got = measured(list(equity))
    if spread > 1e-9:
        assert got.sharpe == pytest.approx(mean / spread * math.sqrt(365.25), rel=1e-6, abs=1e-9)
    if downside > 1e-9:
        assert got.sortino == pytest.approx(mean / downside * math.sqrt(365.25), rel=1e-6, abs=1e-9)


@given(equity=curves, scale=st.floats(0.1, 100.0))
def test_the_currency_does_not_change_a_ratio(equity: np.ndarray, scale: float) -> None:
    one, other = measured(list(equity)), measured(list(equity * scale))
    for name in ("total_return_pct", "max_drawdown_pct", "volatility_pct", "sortino"):
        expected = getattr(one, name)
        assert getattr(other, name) == (None if expected is None else pytest.approx(expected, rel=1e-6, abs=1e-9))
