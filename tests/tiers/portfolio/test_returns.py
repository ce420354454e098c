import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.backtests import of_closes
from tests.support.risk import prices, use_plain_twins
from tiers.contracts import returns as module
from tiers.contracts.ended import ended
from tiers.contracts.errors import DataError
from tiers.contracts.parameters import PipelineParams
from tiers.contracts.returns import rows_read, window_returns
from tiers.portfolio.covariance import shrunk_correlation
from tiers.risk.limits import mean_correlations
from trading.market.calendars import ALWAYS_OPEN, US_EQUITIES, calendar


def twin(close, row, n_window):
    """Forward-fill the window's closes, then divide."""
    rows = [list(close[i]) if i >= 0 else [math.nan] * close.shape[1] for i in range(row - n_window, row + 1)]
    for before, after in pairwise(rows):
        for j, price in enumerate(after):
            after[j] = before[j] if math.isnan(price) else price
    filled = np.array(rows)
    return filled[1:] / filled[:-1] - 1.0


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(0, 29))
def test_the_window_is_that_of_the_plain_twin(seed, n_window, row):
    close = prices(30, 2, seed=seed % 50)
    close[np.random.default_rng(seed).random(close.shape) < 0.3] = np.nan
    bars = of_closes(close)
    seen = window_returns(bars, row, n_window)
    assert seen.shape == (n_window, 2)
    np.testing.assert_allclose(seen, twin(close, row, n_window), rtol=1e-13, atol=1e-16)
    live = bars.rows(slice(max(0, row - n_window), row + 1))
    np.testing.assert_array_equal(window_returns(live, live.n_bars - 1, n_window), seen)


def test_bars_after_the_row_are_never_read():
    close = prices(40, 3)
    before = window_returns(of_closes(close), 20, 10)
    close[21:] *= 3
    np.testing.assert_array_equal(window_returns(of_closes(close), 20, 10), before)


def test_a_symbol_without_a_bar_has_not_moved_and_one_not_listed_is_unknown():
    close = np.array([[math.nan, 10.0], [20.0, math.nan], [22.0, 11.0]])
    seen = window_returns(of_closes(close), 2, 3)
    np.testing.assert_allclose(seen, [[math.nan, math.nan], [math.nan, 0.0], [0.1, 0.1]])


@given(st.integers(0, 10_000), st.integers(20, 59))
def test_a_symbol_has_ended_a_week_behind_its_last_bar_and_then_has_not_moved(seed, row):
    close = prices(60, 3, seed=seed % 50)
    close[np.random.default_rng(seed).random(close.shape) < 0.8] = np.nan
    close[row] = np.nan if seed % 2 else close[row]
    bars = of_closes(close)
    found = ended(bars)
    for r, j in np.ndindex(close.shape):
        ages = [r - k for k in range(r + 1) if np.isfinite(close[k, j])]
        assert found[r, j] == (min(ages, default=0) > 7)  # a row is a day
    live = bars.rows(slice(max(0, row + 1 - rows_read(15, "1d")), row + 1))
    gone = found[row]
    kept = np.isfinite(close[: row + 1, ~gone]).any(axis=1) | ~np.isfinite(close[: row + 1]).any(axis=1)
    seen, plain = window_returns(bars, row, 15), twin(close[: row + 1][kept], kept.sum() - 1, 15)
    np.testing.assert_allclose(seen[:, ~gone], plain[:, ~gone], rtol=1e-13, atol=1e-16)
    assert not np.nan_to_num(seen[:, gone]).any()
    np.testing.assert_array_equal(window_returns(live, live.n_bars - 1, 15), seen)


@pytest.mark.parametrize("row", [-1, 5])
def test_a_row_off_the_timeline_is_refused(row):
    with pytest.raises(DataError, match=f"row must be from 0 to 4, was {row}"):
        window_returns(of_closes(prices(5, 1)), row, 3)


def mixed_book(n_days=400, *, seed=0):
    """A stock and a coin that moves with it on session days, daily: closes of the session and of midnight UTC."""
    first = np.datetime64("2023-01-01T00:00", "us")
    sessions = calendar(US_EQUITIES).grid("1d", first, first + np.timedelta64(n_days, "D"))
    midnights = calendar(ALWAYS_OPEN).grid("1d", first, first + np.timedelta64(n_days, "D"))
    rng = np.random.default_rng(seed)
    days = sessions.astype("datetime64[D]")
    moves = rng.normal(0.0, 0.01, len(sessions))
    follows = rng.normal(0.0, 0.002, len(midnights))
    named = midnights.astype("datetime64[D]") - 1  # the day that ends at the midnight
    follows[np.isin(named, days)] += 2 * moves
    ts = np.union1d(sessions, midnights)
    close = np.full((len(ts), 2), np.nan)
    close[np.searchsorted(ts, sessions), 0] = 100 * np.exp(np.cumsum(moves))
    close[np.searchsorted(ts, midnights), 1] = 30_000 * np.exp(np.cumsum(follows))
    return of_closes(close, ts=ts)


def joined_table(bars, row):
    """Simple returns of a table with one line a session: its close, and the coin's at the midnight behind it."""
    known = [np.flatnonzero(np.isfinite(column)) for column in bars.close.T]
    days = bars.ts.astype("datetime64[D]")
    stock = {days[i]: bars.close[i, 0] for i in known[0]}
    coin = {days[i] - 1: bars.close[i, 1] for i in known[1]}
    over = [day for day in stock if day + 1 <= bars.ts[row]]
    table = np.array([[stock[day], coin[day]] for day in over])
    return table[1:] / table[:-1] - 1.0


@pytest.mark.parametrize("at", ["session", "midnight", "weekend"])
def test_a_coin_that_moves_with_a_stock_is_correlated_with_it_in_daily_bars(at):
    bars = mixed_book()
    hour = bars.ts.astype("datetime64[h]").astype(int) % 24
    weekday = (bars.ts.astype("datetime64[D]").astype(int) + 3) % 7  # 0 is Monday
    fits = {"session": hour > 0, "midnight": (hour == 0) & (weekday < 5), "weekend": (hour == 0) & (weekday == 6)}
    row = int(np.flatnonzero(fits[at])[-2])
    seen, expected = window_returns(bars, row, 120), joined_table(bars, row)[-120:]
    np.testing.assert_allclose(seen, expected, rtol=1e-12)
    together = np.corrcoef(expected.T)[0, 1]
    assert together > 0.95
    correlation, shrinkage = shrunk_correlation(seen, 60)
    assert correlation[0, 1] == pytest.approx((1 - shrinkage) * together)
    np.testing.assert_allclose(mean_correlations(seen, 60), together)


def test_a_live_window_of_a_mixed_book_gives_the_batch_values_and_the_future_none():
    bars, n_rows = mixed_book(n_days=500), rows_read(60, "1d")
    for row in range(bars.n_bars - 30, bars.n_bars - 10):
        seen = window_returns(bars, row, 60)
        assert np.isfinite(seen).all()
        live = bars.rows(slice(row + 1 - n_rows, row + 1))
        np.testing.assert_array_equal(window_returns(live, live.n_bars - 1, 60), seen)
        changed = bars.close.copy()
        changed[row + 1 :] *= 3
        np.testing.assert_array_equal(window_returns(of_closes(changed, ts=bars.ts), row, 60), seen)


@pytest.mark.parametrize("ended", [0, 1])
@pytest.mark.parametrize("days", [8, 30, 200])
def test_where_one_market_of_a_daily_book_has_ended_the_other_goes_by_its_own_days(ended, days):
    bars = mixed_book(500)
    stop = int(np.searchsorted(bars.ts, bars.ts[-1] - np.timedelta64(days, "D")))
    bars.close[stop:, ended] = np.nan
    kept = np.isfinite(bars.close).any(axis=1)
    bars = of_closes(bars.close[kept], ts=bars.ts[kept])
    row = bars.n_bars - 1
    own = bars.close[np.isfinite(bars.close[:, 1 - ended]), 1 - ended]
    seen = window_returns(bars, row, 100)
    np.testing.assert_allclose(seen[:, 1 - ended], (own[1:] / own[:-1] - 1.0)[-100:], rtol=1e-12)
    assert not np.nan_to_num(seen[:, ended]).any()
    live = bars.rows(slice(row + 1 - rows_read(100, "1d"), row + 1))
    np.testing.assert_array_equal(window_returns(live, live.n_bars - 1, 100), seen)


def test_the_rows_behind_a_window_hold_its_sessions_through_the_longest_closure():
    first, last = np.datetime64("2001-01-01T00:00", "us"), np.datetime64("2002-06-01T00:00", "us")
    sessions, midnights = (calendar(name).grid("1d", first, last) for name in (US_EQUITIES, ALWAYS_OPEN))
    ts = np.union1d(sessions, midnights)
    bars = of_closes(np.full((len(ts), 1), 1.0), ts=ts)
    for n_window in (1, 2, 5, 120):
        for row in range(rows_read(n_window, "1d"), len(ts)):
            assert np.isfinite(window_returns(bars, row, n_window)).all()


def hourly_book(n_days=90, *, seed=0):
    """A stock and a coin that follows it through nights and weekends, hourly; the coin's part is 1."""
    first = np.datetime64("2023-01-01T00:00", "us")
    hours, session = (
        calendar(name).grid("1h", first, first + np.timedelta64(n_days, "D")) for name in (ALWAYS_OPEN, US_EQUITIES)
    )
    rng = np.random.default_rng(seed)
    path = np.cumsum(rng.normal(0.0, 0.01, len(hours)))
    close = np.full((len(hours), 2), np.nan)
    at = np.searchsorted(hours, session)
    close[at, 0] = 100 * np.exp(path[at])
    close[:, 1] = 30_000 * np.exp(path + np.cumsum(rng.normal(0.0, 0.002, len(hours))))
    return replace(of_closes(close, ts=hours), timeframe="1h")


@pytest.mark.parametrize("back", [0, 5, 12, 40])
def test_hours_of_a_stock_and_a_coin_are_compared_over_bars_that_both_have(back):
    bars = hourly_book()
    row = bars.n_bars - 1 - back
    seen = window_returns(bars, row, 240, ["S01"])
    both = bars.close[: row + 1][np.isfinite(bars.close[: row + 1, 0])]
    np.testing.assert_allclose(seen, (both[1:] / both[:-1] - 1.0)[-240:], rtol=1e-12)
    assert mean_correlations(seen, 60)[0] > 0.9
    assert mean_correlations(window_returns(bars, row, 240), 60)[0] < 0.5  # a row each: its nights are zeros
    assert shrunk_correlation(seen, 60)[0][0, 1] > 0.8


@pytest.mark.parametrize("n_sessions", [1, 5, 40])
def test_before_the_first_bar_of_a_stock_the_coin_of_its_book_goes_by_its_own_days(n_sessions):
    bars = mixed_book(500)
    sessions = np.flatnonzero(np.isfinite(bars.close[:, 0]))
    bars.close[sessions[:-n_sessions], 0] = np.nan
    kept = np.isfinite(bars.close).any(axis=1)
    bars = of_closes(bars.close[kept], ts=bars.ts[kept])
    row = bars.n_bars - 1
    first = int(np.flatnonzero(np.isfinite(bars.close[:, 0]))[0])
    seen = window_returns(bars, row, 100)
    assert np.isfinite(seen[:, 1]).all()
    before = bars.close[:first, 1]
    n_own = 100 - n_sessions
    np.testing.assert_allclose(seen[:n_own, 1], (before[1:] / before[:-1] - 1.0)[-n_own:], rtol=1e-12)
    live = bars.rows(slice(row + 1 - rows_read(100, "1d"), row + 1))
    np.testing.assert_array_equal(window_returns(live, live.n_bars - 1, 100), seen)


def test_where_the_stock_of_an_hourly_book_has_ended_the_coin_goes_by_its_own_hours():
    bars = hourly_book()
    bars.close[-10 * 24 :, 0] = np.nan
    own = bars.close[:, 1]
    seen = window_returns(bars, bars.n_bars - 1, 240, ["S01"])
    np.testing.assert_allclose(seen[:, 1], (own[1:] / own[:-1] - 1.0)[-240:], rtol=1e-12)


def test_a_live_window_of_hours_of_both_gives_the_batch_values_and_the_future_none():
    bars, n_rows = hourly_book(), rows_read(240, "1h", both=True)
    for row in range(bars.n_bars - 60, bars.n_bars - 10, 7):
        seen = window_returns(bars, row, 240, ["S01"])
        assert np.isfinite(seen).all()
        live = bars.rows(slice(row + 1 - n_rows, row + 1))
        np.testing.assert_array_equal(window_returns(live, live.n_bars - 1, 240, ["S01"]), seen)
        changed = bars.close.copy()
        changed[row + 1 :] *= 3
        np.testing.assert_array_equal(window_returns(replace(bars, close=changed), row, 240, ["S01"]), seen)


@pytest.mark.parametrize("timeframe", ["1m", "5m", "15m", "1h"])
def test_the_rows_behind_a_window_of_both_hold_its_bars_through_the_longest_closure(timeframe):
    first, last = np.datetime64("2001-01-01T00:00", "us"), np.datetime64("2002-06-01T00:00", "us")
    ts = calendar(ALWAYS_OPEN).grid(timeframe, first, last)
    common = np.concatenate([[0], np.cumsum(calendar(US_EQUITIES).has_close(timeframe, ts))])
    n_window = PipelineParams.of(timeframe, closes=True, cost_bps=7.0).portfolio.window_bars
    n_rows = rows_read(n_window, timeframe, both=True)
    assert (common[n_rows:] - common[:-n_rows]).min() > n_window


def test_before_a_day_of_both_markets_is_over_no_return_is_known():
    bars = mixed_book().rows(slice(2, 4))
    assert np.isnan(window_returns(bars, 1, 5)).all()


def test_the_plain_twin_of_the_kernel_agrees(monkeypatch):
    close = prices(20, 2)
    close[3:6, 0] = np.nan
    compiled = window_returns(of_closes(close), 15, 14)
    use_plain_twins(monkeypatch, module)
    np.testing.assert_array_equal(window_returns(of_closes(close), 15, 14), compiled)
