import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.risk import prices, use_plain_twins
from tiers.contracts.errors import DataError
from tiers.contracts.parameters import PipelineParams, VolatilityParams
from tiers.risk import ewma, garch, volatility
from tiers.risk.volatility import EWMA, GARCH, UNKNOWN, window_bars

DAY = np.timedelta64(1, "D")
SMALL = VolatilityParams(
    window_bars=120, min_returns=60, bucket_s=20 * 86_400, ewma_bars=40, ewma_min_bars=20, mean="zero"
)


def weekdays(n):
    """Closes at 21:00 UTC on n weekdays."""
    start = np.datetime64("2004-08-20T21:00", "us")
    days = [start + k * DAY for k in range(2 * n)]
    return np.array([d for d in days if (d.astype("datetime64[D]").view("int64") - 4) % 7 < 5][:n])


def holed(close, seed=7, share=0.2):
    out = close.copy()
    out[np.random.default_rng(seed).random(close.shape) < share] = np.nan
    return out


def path(ts, close, params=SMALL, *, use_garch=True, **more):
    return volatility.volatility(ts, close, params=params, garch=use_garch, **more)


@pytest.fixture(scope="module")
def world():
    """Three symbols, one of them with holes and one that is listed late."""
    close = prices(420, 3, seed=11)
    close[:, 1] = holed(close)[:, 1]
    close[:150, 2] = np.nan
    ts = weekdays(420)
    return ts, close, path(ts, close)


def test_the_method_goes_from_unknown_to_ewma_to_garch(world):
    _, _, batch = world
    first = batch.method[:, 0]
    assert (first[:20] == UNKNOWN).all()
    assert np.isnan(batch.sigma[:20, 0]).all()
    assert (first[20:60] == EWMA).all()
    begin = int(np.argmax(first == GARCH))
    assert 60 <= begin < 60 + 20
    assert np.mean(first[begin:] == GARCH) > 0.8  # short windows now and then have no stationary fit
    assert (first[begin:] != UNKNOWN).all()
    assert batch.methods(0) == ("", "", "")
    assert set(batch.methods(-1)) <= {"garch", "ewma"}
    assert np.isfinite(batch.sigma[20:, 0]).all()


def test_a_live_window_gives_the_batch_value_bit_for_bit(world):
    ts, close, batch = world
    needed = window_bars(SMALL, "1d")
    for row in (419, 400, 377, 333, 300):
        # The symbol with holes needs more rows for as many bars of its own.
        for begin in (max(0, row - int(1.6 * needed)), 7, 0):
            live = path(ts[begin : row + 1], close[begin : row + 1], first_row=row - begin)
            np.testing.assert_array_equal(live.sigma[-1], batch.sigma[row])
            np.testing.assert_array_equal(live.method[-1], batch.method[row])
            assert np.isnan(live.sigma[:-1]).all()


def test_exactly_the_promised_number_of_own_bars_is_enough():
    close, ts = prices(700, 1, seed=2), weekdays(700)
    for use_garch in (True, False):
        batch = path(ts, close, use_garch=use_garch)
        needed = window_bars(SMALL, "1d")
        for row in range(500, 560, 7):
            part = slice(row + 1 - needed, row + 1)
            live = path(ts[part], close[part], use_garch=use_garch, first_row=needed - 1)
            assert live.sigma[-1, 0] == batch.sigma[row, 0]


def test_minute_bars_refit_once_a_day_and_agree_live():
    params = VolatilityParams(window_bars=100, min_returns=60, bucket_s=86_400, ewma_bars=40)
    minutes = [
        np.datetime64("2018-01-02T14:31", "us") + d * DAY + m * np.timedelta64(60, "s")
        for d in range(5)
        for m in range(50)
    ]
    ts, close = np.array(minutes), prices(250, 1, seed=8)
    cache = {}
    batch = path(ts, close, params, cache=cache)
    assert len(cache) == 3  # the first two sessions lack the returns
    live = path(ts[100:], close[100:], params, first_row=149, cache=cache)
    assert live.sigma[-1, 0] == batch.sigma[-1, 0]
    assert len(cache) == 3


def test_the_value_is_the_filter_of_the_fit_at_the_anchor():
    close, ts = prices(200, 1, seed=4), weekdays(200)
    batch = path(ts, close)
    returns = np.diff(np.log(close[:, 0]))
    bucket = ts.astype("datetime64[s]").astype(np.int64) // SMALL.bucket_s
    anchor = int(np.flatnonzero(np.diff(bucket))[-1]) + 1
    window = returns[anchor - 120 : anchor]
    fit = garch.fit(window, mean="zero")
    h = fit.omega + fit.persistence * np.mean(window**2)
    for r in returns[anchor - 120 :]:
        h = fit.omega + fit.alpha * r**2 + fit.beta * h
    assert batch.sigma[-1, 0] == pytest.approx(math.sqrt(h), rel=1e-7)


def test_a_shock_after_t_changes_nothing_up_to_t(world):
    ts, close, batch = world
    for row in (180, 301):
        shocked = close.copy()
        shocked[row + 1 :] *= 1.5
        shocked[row + 2 :: 2] *= 0.5
        after = path(ts, shocked)
        np.testing.assert_array_equal(after.sigma[: row + 1], batch.sigma[: row + 1])
        assert not np.array_equal(after.sigma[row + 1 :], batch.sigma[row + 1 :], equal_nan=True)


def test_a_row_without_a_bar_repeats_the_forecast_for_the_next_own_bar(world):
    _, close, batch = world
    empty = np.flatnonzero(np.isnan(close[:, 1]))
    empty = empty[empty > 30]
    assert len(empty) > 20
    np.testing.assert_array_equal(batch.sigma[empty, 1], batch.sigma[empty - 1, 1])


def test_holes_of_the_timeline_change_nothing_for_the_own_bars(world):
    ts, close, batch = world
    own = np.isfinite(close[:, 1])
    alone = path(ts[own], close[own, 1:2])
    np.testing.assert_array_equal(alone.sigma[:, 0], batch.sigma[own, 1])


def test_a_symbol_listed_late_is_unknown_until_then(world):
    _, _, batch = world
    assert (batch.method[:170, 2] == UNKNOWN).all()
    assert batch.method[170, 2] == EWMA


def test_switching_garch_off_gives_ewma_everywhere(world):
    ts, close, _ = world
    off = path(ts, close, use_garch=False)
    assert set(np.unique(off.method)) == {UNKNOWN, EWMA}


def test_a_failed_fit_falls_back_to_ewma(world, monkeypatch):
    ts, close, _ = world
    off = path(ts, close, use_garch=False)
    monkeypatch.setattr(garch, "fit", lambda *_, **__: None)
    failed = path(ts, close)
    np.testing.assert_array_equal(failed.sigma, off.sigma)


def test_the_cache_spares_fits_and_changes_no_value(world, monkeypatch):
    ts, close, batch = world
    cache = {}
    path(ts, close, cache=cache)
    monkeypatch.setattr(garch, "fit", lambda *_, **__: pytest.fail("fitted again"))
    np.testing.assert_array_equal(path(ts, close, cache=cache).sigma, batch.sigma)


def test_only_the_needed_anchors_are_fitted(world):
    ts, close, _ = world
    cache = {}
    path(ts, close[:, :1], first_row=419, cache=cache)
    assert len(cache) == 1


def test_a_price_that_never_moves_has_no_volatility():
    still = np.full((200, 2), 50.0)
    still[:, 1] = prices(200, 1)[:, 0]
    seen = path(weekdays(200), still)
    assert np.isnan(seen.sigma[:, 0]).all()
    assert (seen.method[:, 0] == UNKNOWN).all()
    assert np.isfinite(seen.sigma[-1, 1])


def test_no_bars_at_all_stay_unknown():
    nothing = path(weekdays(30), np.full((30, 1), np.nan))
    assert np.isnan(nothing.sigma).all()
    assert path(weekdays(30)[:0], np.empty((0, 2))).sigma.shape == (0, 2)


@pytest.mark.parametrize("shape", [(30,), (29, 1), (30, 1, 1)])
def test_a_wrong_shape_is_refused(shape):
    with pytest.raises(DataError, match=r"close must be \(n_bars, n_symbols\) with n_bars = 30"):
        path(weekdays(30), np.ones(shape))


def test_a_price_that_is_not_positive_is_named_with_its_place():
    close = prices(30, 2)
    close[17, 1] = -3.0
    with pytest.raises(DataError, match=r"was -3.0 in row 17, column 1"):
        path(weekdays(30), close)


@pytest.mark.parametrize(("timeframe", "bars"), [("1d", 91), ("1h", 168), ("15m", 96), ("5m", 288), ("1m", 1_440)])
def test_the_window_covers_the_fit_and_the_longest_bucket(timeframe, bars):
    params = PipelineParams.of(timeframe, closes=True, cost_bps=7.0).volatility
    assert window_bars(params, timeframe) == params.window_bars + bars + 2


@given(
    st.lists(st.floats(-0.1, 0.1), min_size=1, max_size=50),
    st.integers(0, 60),
    st.floats(0.5, 0.99),
    st.integers(2, 12),
)
def test_ewma_is_the_weighted_mean_of_the_last_squares(values, first, decay, window):
    returns = np.array(values)
    compiled = ewma.ewma_variance(returns, first, decay, window, 2)
    plain = ewma.ewma_variance.py_func(returns, first, decay, window, 2)
    for k in range(len(returns)):
        if k < max(first, 2):
            assert math.isnan(compiled[k])
            assert math.isnan(plain[k])
            continue
        last = returns[max(1, k - window + 1) : k + 1][::-1] ** 2
        expected = np.average(last, weights=decay ** np.arange(len(last)))
        assert compiled[k] == pytest.approx(expected, rel=1e-12, abs=1e-300)
        assert plain[k] == pytest.approx(expected, rel=1e-12, abs=1e-300)


def test_the_plain_twins_give_the_same_path(world, monkeypatch):
    ts, close, batch = world
    use_plain_twins(monkeypatch, volatility, ewma)
    part = slice(0, 130)
    plain = path(ts[part], close[part])
    np.testing.assert_allclose(plain.sigma, batch.sigma[part], rtol=1e-7)
