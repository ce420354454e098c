import json
import math
import warnings

import numpy as np
import polars as pl
import pytest
from arch.univariate import GARCH, ConstantMean, ZeroMean
from hypothesis import given
from hypothesis import strategies as st

from tests.support.places import ROOT, SHARED
from tests.support.risk import simulated_returns, use_plain_twins
from tiers.risk import garch, garch_fit

REFERENCE = SHARED / "reference" / "garch"


def twin_filter(returns, parameters, start):
    """The recursion as the book writes it."""
    mu, omega, alpha, beta = parameters
    squares = [start] + [(r - mu) ** 2 for r in returns]
    h = [start]
    for square in squares:
        h.append(omega + alpha * square + beta * h[-1])
    return np.array(h[2:])


def made(**changes):
    values = {"mu": 0.0, "omega": 1e-6, "alpha": 0.1, "beta": 0.8, "loglikelihood": 0.0}
    return garch.GarchFit(**(values | changes))


@given(
    st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=60),
    st.tuples(st.floats(-0.01, 0.01), st.floats(1e-8, 1e-3), st.floats(0, 0.5), st.floats(0, 0.49)),
    st.floats(1e-8, 0.01),
)
def test_the_compiled_filter_is_the_recursion_of_the_book(values, parameters, start):
    returns = np.array(values)
    compiled = garch.filter_variance(returns, parameters, start)
    np.testing.assert_allclose(compiled, twin_filter(values, parameters, start), rtol=1e-12)
    np.testing.assert_allclose(garch.filter_variance.py_func(returns, parameters, start), compiled, rtol=1e-12)


@pytest.mark.parametrize("mean", [True, False])
def test_the_start_variance_is_around_the_mean_or_around_zero(mean):
    values = np.array([0.01, -0.02, 0.04])
    expected = np.var(values) if mean else np.mean(values**2)
    assert garch.start_variance(values, mean=mean) == pytest.approx(expected, rel=1e-14)
    assert garch.start_variance.py_func(values, mean=mean) == pytest.approx(expected, rel=1e-14)


def oracle(returns, mean):
    """What arch says of returns of unit variance."""
    model = ConstantMean if mean == "constant" else ZeroMean
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = garch.start_variance(returns, mean=mean == "constant")
        return model(returns, volatility=GARCH(), rescale=False).fit(disp="off", show_warning=False, backcast=start)


def test_the_filter_gives_the_conditional_variance_of_arch():
    returns = simulated_returns(600, seed=3)
    returns /= returns.std()
    result = oracle(returns, "constant")
    start = garch.start_variance(returns, mean=True)
    variance = garch.filter_variance(returns, tuple(result.params), start)
    np.testing.assert_allclose(np.sqrt(variance[:-1]), result.conditional_volatility[1:], rtol=1e-7)
    expected = result.forecast(horizon=1, reindex=False).variance.to_numpy()[0, 0]
    assert variance[-1] == pytest.approx(expected, rel=1e-7)


def daily_windows():
    """Windows of 1,000 bundled daily returns, and simulated ones from calm to nearly without an end."""
    for symbol in ("AAPL", "GOOG", "IBM", "MSFT"):
        close = pl.read_parquet(ROOT / "trading" / "sample_data" / f"{symbol}-1d.parquet")["close"].to_numpy()
        returns = np.diff(np.log(close))
        yield from (returns[end - 1_000 : end] for end in range(1_000, len(returns), 1_700))
    for alpha, beta in ((0.09, 0.86), (0.3, 0.5), (0.05, 0.0), (0.1, 0.88)):
        yield simulated_returns(1_000, seed=8, omega=1 - alpha - beta, alpha=alpha, beta=beta)


@pytest.mark.parametrize("mean", ["constant", "zero"])
def test_no_fit_is_less_likely_than_that_of_arch(mean):
    checked = 0
    for window in daily_windows():
        unit = window / window.std()
        theirs, ours = oracle(unit, mean), garch.fit(unit, mean=mean)
        if theirs.convergence_flag or ours is None:
            continue
        checked += 1
        assert ours.loglikelihood >= theirs.loglikelihood - 1e-6 * abs(theirs.loglikelihood)
        assert ours.loglikelihood <= theirs.loglikelihood + 1e-4 * abs(theirs.loglikelihood)
    assert checked >= 10


def test_where_volatility_clusters_the_parameters_are_those_of_arch():
    unit = simulated_returns(2_000, seed=5)
    unit /= unit.std()
    ours, theirs = garch.fit(unit), oracle(unit, "constant").params
    assert ours.parameters == pytest.approx(tuple(theirs), rel=2e-3, abs=1e-4)


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference data of the GARCH benchmark is absent")
def test_the_fit_reproduces_the_published_benchmark():
    percent = np.loadtxt(REFERENCE / "MarkPound.csv", delimiter=",", skiprows=1, usecols=2)
    published = json.loads((REFERENCE / "fcp_benchmark.json").read_text())["published"]
    fit = garch.fit(percent / 100)
    assert fit.mu * 100 == pytest.approx(published["mu"], abs=2e-4)
    assert fit.omega * 1e4 == pytest.approx(published["omega"], rel=5e-3)
    assert fit.alpha == pytest.approx(published["alpha"], rel=5e-3)
    assert fit.beta == pytest.approx(published["beta"], rel=5e-3)
    loglikelihood = fit.loglikelihood - len(percent) * math.log(100)
    assert loglikelihood == pytest.approx(published["loglik"], rel=1e-5)


@pytest.mark.parametrize("scale", [3e-4, 0.012, 1.0])
def test_the_fit_finds_the_process_at_any_scale(scale):
    fit = garch.fit(simulated_returns(4_000, seed=5, scale=scale), mean="zero")
    assert fit.mu == 0.0
    assert fit.alpha == pytest.approx(0.09, abs=0.03)
    assert fit.beta == pytest.approx(0.86, abs=0.05)
    assert fit.omega / (1 - fit.persistence) == pytest.approx(scale**2, rel=0.2)
    assert fit.persistence < 1


def test_the_same_returns_give_the_same_bits():
    returns = simulated_returns(400, seed=9)
    assert garch.fit(returns) == garch.fit(returns.copy())


def test_a_fit_knows_nothing_of_the_one_before():
    returns = simulated_returns(1_400, seed=9)
    alone = garch.fit(returns[400:])
    for begin in range(0, 400, 100):
        garch.fit(returns[begin : begin + 1_000])
    assert garch.fit(returns[400:]) == alone


def test_fitting_is_silent(capfd):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        garch.fit(simulated_returns(300, seed=1))
    assert not seen
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("values", [[], [0.0] * 300, [0.01] * 300, [math.nan] * 300])
def test_returns_that_never_move_have_no_fit(values):
    assert garch.fit(np.array(values)) is None


def test_a_search_that_does_not_converge_gives_no_fit(monkeypatch):
    monkeypatch.setattr(garch_fit, "MAX_ITERATIONS", 1)
    assert garch.fit(simulated_returns(300, seed=1)) is None


def test_an_explosive_process_gives_no_fit():
    rng = np.random.default_rng(0)
    returns = rng.standard_normal(400) * np.exp(np.linspace(-6, 2, 400))
    assert garch.fit(returns) is None


@pytest.mark.parametrize(
    ("changes", "stationary"),
    [
        ({}, True),
        ({"alpha": 0.2}, False),
        ({"alpha": 0.3}, False),
        ({"omega": 0.0}, False),
        ({"alpha": -0.01}, False),
        ({"beta": -0.01}, False),
        ({"mu": math.inf}, False),
        ({"beta": math.nan}, False),
    ],
)
def test_only_stationary_parameters_are_used(changes, stationary):
    assert garch.is_stationary(made(**changes)) is stationary


def test_the_cache_is_keyed_by_content_and_model(monkeypatch):
    calls = []
    monkeypatch.setattr(garch, "fit", lambda _, *, mean: calls.append(mean) or made())
    first, second = simulated_returns(300, seed=1), simulated_returns(300, seed=2)
    cache: dict[str, garch.GarchFit | None] = {}
    for values, mean in [(first, "zero"), (first.copy(), "zero"), (first, "constant"), (second, "zero")]:
        garch.fit_cached(values, mean=mean, cache=cache)
    assert calls == ["zero", "constant", "zero"]
    assert len(cache) == 3


def test_a_failed_fit_is_remembered_too(monkeypatch):
    calls = []
    monkeypatch.setattr(garch, "fit", lambda _, *, mean: calls.append(mean))
    cache: dict[str, garch.GarchFit | None] = {}
    for _ in range(3):
        assert garch.fit_cached(np.zeros(300), mean="zero", cache=cache) is None
    assert calls == ["zero"]


def test_the_plain_twins_fit_the_same(monkeypatch):
    returns = simulated_returns(300, seed=4)
    compiled = garch.fit(returns)
    use_plain_twins(monkeypatch, garch, garch_fit)
    assert garch.fit(returns).parameters == pytest.approx(compiled.parameters, rel=1e-6)
