import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.risk import BAR_TS, SYMBOLS, book, forecast, prices, use_plain_twins
from tiers.contracts.errors import DataError
from tiers.llm import market_context
from tiers.llm.market_context import FAST, RECENT, SLOW, TYPICAL, WINDOW_BARS, ContextPath, context, regime, statistics


def twin(close):
    """The figures of the last bar of one symbol, as their definition reads."""
    fast, slow = close[-FAST:].mean(), close[-SLOW:].mean()
    returns = np.diff(np.log(close))
    typical = math.sqrt((returns[-TYPICAL:] ** 2).mean())
    recent = math.sqrt((returns[-RECENT:] ** 2).mean())
    return math.log(fast / slow) / typical / math.sqrt(SLOW), recent / typical, float(close[-1] > slow)


@pytest.fixture(scope="module")
def world():
    close = prices(600, 3, seed=21)
    close[np.random.default_rng(1).random(600) < 0.2, 1] = np.nan
    close[:250, 2] = np.nan
    return close, statistics(close)


def test_the_figures_are_means_over_the_symbols(world):
    close, path = world
    for row in (520, 577, 599):
        own = [close[: row + 1, j][np.isfinite(close[: row + 1, j])] for j in range(3)]
        expected = np.mean([twin(c) for c in own], axis=0)
        seen = (path.trend[row], path.volatility_ratio[row], path.breadth[row])
        np.testing.assert_allclose(seen, expected, rtol=1e-9, atol=1e-12)


def test_figures_begin_when_the_history_is_there(world):
    _, path = world
    assert np.isnan(path.breadth[: SLOW - 1]).all()
    assert np.isfinite(path.breadth[SLOW - 1 :]).all()
    assert np.isnan(path.trend[:TYPICAL]).all()
    assert np.isfinite(path.trend[TYPICAL:]).all()
    assert len(path) == 600


def test_a_live_window_gives_the_batch_figures_bit_for_bit(world):
    close, path = world
    for row in (420, 510, 599):
        begin = row + 1 - int(WINDOW_BARS * 1.6)  # holes: more rows for as many own bars
        live = statistics(close[max(0, begin) : row + 1])
        for name in ("trend", "volatility_ratio", "breadth"):
            assert getattr(live, name)[-1] == getattr(path, name)[row]


def test_exactly_the_promised_number_of_bars_is_enough():
    close = prices(400, 2)
    path, live = statistics(close), statistics(close[-WINDOW_BARS:])
    assert (live.trend[-1], live.volatility_ratio[-1]) == (path.trend[-1], path.volatility_ratio[-1])


def test_a_shock_after_t_changes_nothing_up_to_t(world):
    close, path = world
    shocked = close.copy()
    shocked[451:] *= 1.7
    after = statistics(shocked)
    np.testing.assert_array_equal(after.trend[:451], path.trend[:451])
    np.testing.assert_array_equal(after.breadth[:451], path.breadth[:451])
    assert after.trend[460] != path.trend[460]


def test_prices_that_never_move_have_no_regime():
    path = statistics(np.full((300, 1), 10.0))
    assert np.isnan(path.trend).all()
    assert path.breadth[-1] == 0.0


def test_a_symbol_that_has_ended_is_shown_no_more(world):
    close, path = world
    gone = np.zeros(close.shape, dtype=np.bool_)
    gone[500:, 1] = True
    without = statistics(close[:, [0, 2]])
    seen = statistics(close, gone)
    for name in ("trend", "volatility_ratio", "breadth"):
        np.testing.assert_array_equal(getattr(seen, name)[:500], getattr(path, name)[:500])
        np.testing.assert_array_equal(getattr(seen, name)[500:], getattr(without, name)[500:])


def test_no_symbol_and_no_bar_are_unknown():
    assert np.isnan(statistics(np.full((5, 2), np.nan)).trend).all()
    assert len(statistics(np.empty((0, 2)))) == 0
    with pytest.raises(DataError, match=r"close must be \(n_bars, n_symbols\), was \(5,\)"):
        statistics(np.ones(5))


def test_the_plain_twin_of_the_kernel_agrees(monkeypatch):
    close = prices(260, 1)
    compiled = statistics(close)
    use_plain_twins(monkeypatch, market_context)
    np.testing.assert_allclose(statistics(close).trend, compiled.trend, rtol=1e-10)


@pytest.mark.parametrize(
    ("trend", "ratio", "name"),
    [
        (0.0, 1.0, "ranging"),
        (0.5, 1.0, "trending_up"),
        (-0.7, 1.2, "trending_down"),
        (2.0, 1.75, "turbulent"),
        (math.nan, 1.0, "unknown"),
        (1.0, math.nan, "unknown"),
    ],
)
def test_the_regime_is_named(trend, ratio, name):
    assert regime(trend, ratio) == name


def one_bar(trend=0.8, ratio=1.1, breadth=0.7):
    return ContextPath(trend=np.array([trend]), volatility_ratio=np.array([ratio]), breadth=np.array([breadth]))


def test_the_context_of_a_bar_joins_market_forecasts_and_book():
    seen = context(
        one_bar(),
        0,
        bar_ts=BAR_TS,
        symbols=SYMBOLS,
        forecast=forecast((0.1, -0.3, math.nan)),
        book=book((0.2, 0.3, 0.0), peak="125000"),
    )
    assert (seen.bar_ts, seen.symbols, seen.regime) == (BAR_TS, SYMBOLS, "trending_up")
    assert (seen.trend, seen.volatility_ratio, seen.breadth) == (0.8, 1.1, 0.7)
    assert seen.mean_edge == pytest.approx(-0.1)
    assert seen.drawdown == pytest.approx(0.2)
    assert seen.gross_exposure == pytest.approx(0.5)


def test_missing_forecasts_leave_the_edge_unknown():
    seen = context(one_bar(), 0, bar_ts=BAR_TS, symbols=SYMBOLS, forecast=forecast((math.nan,) * 3), book=book())
    assert math.isnan(seen.mean_edge)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1_000), st.floats(0.01, 100))
def test_the_unit_of_the_price_does_not_matter(seed, unit):
    close = prices(300, 1, seed=seed)
    one, other = statistics(close), statistics(close * unit)
    np.testing.assert_allclose(other.trend, one.trend, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(other.volatility_ratio, one.volatility_ratio, rtol=1e-6)
