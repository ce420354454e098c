"""What several symbols did at one time counts as one return, whatever the hours of their bars and what is missing."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.backtests import lots, of_closes
from tiers.backtest import presentation, sampling
from tiers.backtest.engine import Config, Result, run_strategy
from tiers.backtest.exact import Costs
from tiers.contracts import Bars, FloatArray, TimeArray
from trading.market.calendars import ALWAYS_OPEN, LONGEST_CLOSURE, US_EQUITIES, Calendar
from trading.strategies import BuyAndHold, SmaCross, Strategy

FIRST, LAST = np.datetime64("2018-01-01T00:00", "us"), np.datetime64("2021-04-01T00:00", "us")
SESSIONS, MIDNIGHT = Calendar(US_EQUITIES), Calendar(ALWAYS_OPEN)
STOCKS_AND_COIN = {"S00": SESSIONS, "S01": MIDNIGHT}
FREE = Costs(fee_bps=Decimal(0), slippage_bps=Decimal(0))


def walk(n_bars: int, *, spread: float = 0.01) -> FloatArray:
    return 100 * np.exp(np.cumsum(np.random.default_rng(4).normal(0.0005, spread, n_bars)))


def on_one_timeline(timeframe: str, *series: tuple[TimeArray, FloatArray]) -> Bars:
    ts = np.unique(np.concatenate([times for times, _ in series]))
    close = np.full((len(ts), len(series)), np.nan)
    for column, (times, closes) in enumerate(series):
        close[np.searchsorted(ts, times), column] = closes
    return replace(of_closes(close, ts=ts), timeframe=timeframe)


def held(bars: Bars, calendars: dict[str, Calendar], strategy: Strategy = BuyAndHold()) -> Result:  # noqa: B008 - frozen
    config = Config(lots=lots(bars), costs=FREE, calendars=calendars)
    return run_strategy(bars, strategy, config)


def as_stock_and_as_coin() -> Bars:
    """One asset twice: closing with the sessions, and at midnight, through the weekends, where it does not move."""
    sessions, days = (calendar.grid("1d", FIRST, LAST) for calendar in (SESSIONS, MIDNIGHT))
    closes = walk(len(sessions))
    begun = days[days >= sessions[0]]
    return on_one_timeline("1d", (sessions, closes), (begun, closes[np.searchsorted(sessions, begun) - 1]))


def test_half_in_a_stock_and_half_in_a_coin_that_moves_as_it_does_is_no_calmer_than_either() -> None:
    both = as_stock_and_as_coin()
    of_stock = np.isfinite(both.close[:, 0])
    alone = held(on_one_timeline("1d", (both.ts[of_stock], both.close[of_stock, 0])), STOCKS_AND_COIN).metrics
    got = held(both, STOCKS_AND_COIN).metrics
    assert got.n_bars == both.n_bars
    assert got.volatility_pct == pytest.approx(alone.volatility_pct, rel=0.01)  # 0.71 of it from bar to bar
    assert got.sharpe == pytest.approx(alone.sharpe, rel=0.01)
    assert got.sortino == pytest.approx(alone.sortino, rel=0.01)
    assert got.cagr_pct == pytest.approx(alone.cagr_pct, rel=0.01)


def test_what_stands_beside_a_book_of_both_is_counted_as_the_book_is() -> None:
    result = held(as_stock_and_as_coin(), STOCKS_AND_COIN, SmaCross(fast=5, slow=20))
    beside = presentation.same_volatility(result)
    assert beside is not None
    assert beside["volatility_pct"] == pytest.approx(result.metrics.volatility_pct)
    assert beside["sharpe"] == pytest.approx(result.baseline.metrics.sharpe)
    assert result.baseline.sampling.rows.tolist() == result.sampling.rows.tolist()


def test_hours_that_one_symbol_lacks_make_a_book_no_calmer() -> None:
    hours = SESSIONS.grid("1h", FIRST, FIRST + np.timedelta64(365, "D"))
    closes = walk(len(hours), spread=0.004)
    came = np.random.default_rng(1).random(len(hours)) < 0.25
    came[[0, -1]] = True
    thin = (hours[came], closes[came])
    calendars = {"S00": SESSIONS, "S01": SESSIONS}
    alone = held(on_one_timeline("1h", thin), calendars).metrics
    result = held(on_one_timeline("1h", (hours, closes), thin), calendars)
    assert result.metrics.volatility_pct == pytest.approx(alone.volatility_pct, rel=0.01)  # 0.78 of it from bar to bar
    assert result.metrics.sharpe == pytest.approx(alone.sharpe, rel=0.01)
    assert result.sampling.per_year == pytest.approx(1_764 * (came.sum() - 1) / (len(hours) - 1))
    (told,) = [sentence for sentence in result.reasons if "did not come" in sentence]
    assert told == (
        f"Bars that the calendar has and that did not come: S01 {(~came).sum():,} of {len(hours):,}. Figures of a year "
        f"are those of the {came.sum() - 1:,} returns from one bar that no symbol lacks to the next (one without bars "
        "for more than a week, which seldom has such pauses, counts at its last close meanwhile)."
    )


@pytest.mark.parametrize("part", [0.08, 0.2])
def test_a_symbol_that_often_pauses_for_a_week_makes_a_book_no_calmer(part: float) -> None:
    sessions = SESSIONS.grid("1d", FIRST - np.timedelta64(2_000, "D"), LAST)
    closes = walk(len(sessions))
    came = np.random.default_rng(1).random(len(sessions)) < part
    came[[0, 1, -1]] = True
    whole, calendars = (sessions, closes), {"S00": SESSIONS, "S01": SESSIONS}
    alone = held(on_one_timeline("1d", (sessions[came], closes[came])), calendars).metrics
    both = held(on_one_timeline("1d", whole, (sessions[came], closes[came])), calendars)
    assert both.metrics.volatility_pct == pytest.approx(alone.volatility_pct, rel=0.02)
    assert both.metrics.sharpe == pytest.approx(alone.sharpe, rel=0.02)


def test_minutes_that_hardly_ever_come_together_are_counted_by_days() -> None:
    minutes = MIDNIGHT.grid("1m", FIRST, FIRST + np.timedelta64(20, "D"))
    rng, closes = np.random.default_rng(2), walk(len(minutes), spread=1e-4)
    kept = [rng.random(len(minutes)) < 0.02 for _ in range(3)]
    bars = on_one_timeline("1m", *((minutes[came], closes[came]) for came in kept))
    result = held(bars, dict.fromkeys(bars.symbols, MIDNIGHT))
    assert result.sampling.of_days
    assert len(result.sampling.rows) == 21  # the first bar, and the last one of each day
    assert result.sampling.per_year == pytest.approx(365.25, rel=0.01)
    assert any("the 20 returns from one day that no symbol lacks" in sentence for sentence in result.reasons)


@pytest.mark.parametrize(("n_missing", "n_rows"), [(4, 56), (7, 60)])
def test_over_more_than_a_week_a_symbol_counts_at_its_last_close(n_missing: int, n_rows: int) -> None:
    days = MIDNIGHT.grid("1d", FIRST, FIRST + np.timedelta64(60, "D"))
    came = ~np.isin(np.arange(60), 20 + np.arange(n_missing))
    bars = on_one_timeline("1d", (days, walk(60)), (days[came], walk(60)[came]))
    result = held(bars, dict.fromkeys(bars.symbols, MIDNIGHT))
    assert len(result.sampling.rows) == n_rows
    assert any(f"did not come: S01 {n_missing} of 60. " in sentence for sentence in result.reasons)


def test_each_symbol_misses_bars_of_its_own_calendar() -> None:
    bars = as_stock_and_as_coin()
    assert not [sentence for sentence in held(bars, STOCKS_AND_COIN).reasons if "did not come" in sentence]
    own = np.flatnonzero(np.isfinite(bars.close[:, 1]))
    close = bars.close.copy()
    close[own[100:466], 1] = np.nan  # a year of the coin's, in which the stock has all
    (told,) = [s for s in held(replace(bars, close=close, open=close), STOCKS_AND_COIN).reasons if "did not come" in s]
    assert f"did not come: S01 366 of {len(own):,}. " in told


def test_a_symbol_that_is_left_out_changes_no_figure_of_a_year() -> None:
    sessions = SESSIONS.grid("1d", FIRST - np.timedelta64(100, "D"), LAST)
    bars = on_one_timeline("1d", (sessions, walk(len(sessions))))
    nothing = np.full((bars.n_bars, 1), np.nan)
    both = replace(
        bars,
        symbols=("S00", "COIN-USDT"),
        **{name: np.hstack([getattr(bars, name), nothing]) for name in ("open", "high", "low", "close", "volume")},
    )
    alone = sampling.sampling_of(bars, {"S00": SESSIONS})
    assert sampling.sampling_of(both, {"S00": SESSIONS, "COIN-USDT": MIDNIGHT}).per_year == alone.per_year == 252


def plain_twin(bars: Bars) -> list[int]:
    """Rows between no two bars of a symbol that lie up to a week apart, or of one whose bars often lie further."""
    found = []
    for row in range(bars.n_bars):
        lacking = False
        for column in np.flatnonzero(np.isnan(bars.close[row])):
            own = bars.ts[np.isfinite(bars.close[:, column])]
            before, behind = own[own < bars.ts[row]], own[own > bars.ts[row]]
            often = np.mean(np.diff(own) > np.timedelta64(LONGEST_CLOSURE)) > 0.02 if len(own) > 1 else False
            lacking |= bool(
                len(before) and len(behind) and (often or behind[0] - before[-1] <= np.timedelta64(LONGEST_CLOSURE))
            )
        if not lacking:
            found.append(row)
    return found


@given(st.integers(0, 1_000), st.integers(1, 30))
def test_the_rows_at_which_returns_end_are_those_of_the_plain_twin(seed: int, hours_apart: int) -> None:
    rng = np.random.default_rng(seed)
    close = np.where(rng.random((40, 3)) < 0.4, np.nan, 1.0)
    close[np.isnan(close).all(axis=1), 0] = 1.0
    bars = replace(of_closes(close, ts=FIRST + np.arange(40) * np.timedelta64(hours_apart, "h")), timeframe="1h")
    found = sampling.sampling_of(bars, {})
    expected = plain_twin(bars)
    assert found.of_days or found.rows.tolist() == expected
    assert found.rows[[0, -1]].tolist() == [0, 39]
    assert len(found.rows) >= len(expected)
