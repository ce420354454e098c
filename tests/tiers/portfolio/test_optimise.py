import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from tests.support.risk import returns, use_plain_twins
from tiers.contracts.errors import DataError
from tiers.portfolio import optimise
from tiers.portfolio.covariance import shrunk_correlation
from tiers.portfolio.optimise import solve


def problem(seed, n=5):
    """A random book of n symbols on correlated returns."""
    rng = np.random.default_rng(seed)
    sigma = rng.uniform(0.005, 0.05, n)
    return {
        "mu": rng.normal(0.02, 0.06, n) * sigma,
        "sigma": sigma,
        "correlation": shrunk_correlation(returns(120, n, common=rng.uniform(0, 0.9), seed=seed), 60)[0],
        "previous": rng.dirichlet(np.ones(n)) * rng.uniform(0, 1),
        "low": np.zeros(n),
        "high": rng.uniform(0.02, 0.5, n),
        "budget": float(rng.uniform(0.2, 1.0)),
        "risk_aversion": float(rng.choice([1.0, 4.0, 20.0])),
        "cost": rng.choice([0.0, 1e-5, 1e-4, 1e-3], n),
    }


def value(weights, p):
    """What `solve` maximises, per bar."""
    sigma = np.nan_to_num(p["sigma"])
    covariance = sigma[:, None] * p["correlation"] * sigma
    risk = 0.5 * p["risk_aversion"] * weights @ covariance @ weights
    return weights @ p["mu"] - risk - p["cost"] @ np.abs(weights - p["previous"])


def slsqp(p):
    """The same problem with the turnover split into buys and sells, so that it is smooth."""
    n = len(p["mu"])
    covariance = p["sigma"][:, None] * p["correlation"] * p["sigma"]

    def loss(x):
        w = p["previous"] + x[:n] - x[n:]
        gain = w @ p["mu"] - 0.5 * p["risk_aversion"] * w @ covariance @ w - p["cost"] @ (x[:n] + x[n:])
        return -1e4 * gain

    def slope(x):
        w = p["previous"] + x[:n] - x[n:]
        g = p["mu"] - p["risk_aversion"] * covariance @ w
        return -1e4 * np.r_[g - p["cost"], -g - p["cost"]]

    difference = np.hstack([np.eye(n), -np.eye(n)])
    inside = [
        {
            "type": "ineq",
            "fun": lambda x: p["previous"] + difference @ x - p["low"],
            "jac": lambda _: difference,
        },
        {
            "type": "ineq",
            "fun": lambda x: p["high"] - p["previous"] - difference @ x,
            "jac": lambda _: -difference,
        },
        {
            "type": "ineq",
            "fun": lambda x: p["budget"] - (p["previous"] + difference @ x).sum(),
            "jac": lambda _: -difference.sum(axis=0),
        },
    ]
    start = np.r_[np.zeros(n), p["previous"]]
    found = minimize(
        loss,
        start,
        jac=slope,
        bounds=[(0, None)] * 2 * n,
        constraints=inside,
        method="SLSQP",
        options={"maxiter": 1_000, "ftol": 1e-13},
    )
    return p["previous"] + difference @ found.x


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("n", [2, 5, 12])
def test_the_optimum_is_that_of_a_general_solver(seed, n):
    p = problem(seed, n)
    ours, iterations = solve(**p)
    theirs = slsqp(p)
    assert iterations < 1_000
    assert value(ours, p) >= value(theirs, p) - 1e-10
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


@pytest.mark.parametrize("seed", range(5))
def test_no_point_of_a_fine_grid_is_better(seed):
    p = problem(seed, 2)
    ours, _ = solve(**p)
    for a in np.linspace(0, p["high"][0], 101):
        for b in np.linspace(0, p["high"][1], 101):
            if a + b <= p["budget"]:
                assert value(np.array([a, b]), p) <= value(ours, p) + 1e-12


@given(st.integers(0, 100_000), st.integers(1, 20))
def test_the_weights_keep_every_bound_and_beat_random_ones(seed, n):
    p = problem(seed, n)
    weights, _ = solve(**p)
    assert (weights >= p["low"]).all()
    assert (weights <= p["high"]).all()
    assert weights.sum() <= p["budget"] + 1e-12
    rng = np.random.default_rng(seed)
    for _ in range(20):
        other = rng.uniform(p["low"], p["high"])
        other *= min(1.0, p["budget"] / other.sum())
        mixed = weights + rng.uniform(0, 1) * (other - weights)
        assert value(mixed, p) <= value(weights, p) + 1e-12


@given(st.integers(0, 100_000))
def test_the_order_of_the_symbols_does_not_matter(seed):
    p = problem(seed, 6)
    turn = np.random.default_rng(seed).permutation(6)
    turned = p | {k: p[k][turn] for k in ("mu", "sigma", "previous", "low", "high", "cost")}
    turned["correlation"] = p["correlation"][np.ix_(turn, turn)]
    np.testing.assert_allclose(solve(**turned)[0], solve(**p)[0][turn], atol=1e-7)


def test_the_same_problem_gives_the_same_bits():
    assert (solve(**problem(3, 20))[0] == solve(**problem(3, 20))[0]).all()


def test_high_costs_keep_what_is_held():
    p = problem(1) | {"cost": np.ones(5), "high": np.ones(5), "budget": 1.0}
    np.testing.assert_array_equal(solve(**p)[0], p["previous"])


def test_one_symbol_without_costs_has_the_textbook_weight():
    p = {
        "mu": np.array([0.0004]),
        "sigma": np.array([0.02]),
        "correlation": np.eye(1),
        "previous": np.zeros(1),
        "low": np.zeros(1),
        "high": np.ones(1),
        "budget": 1.0,
        "risk_aversion": 4.0,
        "cost": np.zeros(1),
    }
    assert solve(**p)[0] == pytest.approx([0.0004 / (4 * 0.02**2)])


def test_equal_bounds_hold_a_weight_also_when_its_volatility_is_unknown():
    p = problem(2)
    p["sigma"][1] = np.nan
    p["low"][1] = p["high"][1] = 0.1
    p["budget"] = 0.3
    weights, _ = solve(**p)
    assert weights[1] == 0.1
    assert weights.sum() <= 0.3 + 1e-12


def test_a_budget_that_the_fixed_weights_fill_leaves_nothing():
    p = problem(2) | {"mu": np.full(5, 0.01)}
    p["low"][0] = p["high"][0] = 0.25
    p["budget"] = 0.25
    np.testing.assert_allclose(solve(**p)[0], [0.25, 0, 0, 0, 0], atol=1e-12)


def test_the_iterations_are_bounded():
    p = problem(4, 12)
    weights, iterations = solve(**p, tolerance=1e-14, max_iterations=3)
    assert iterations == 3
    assert (weights <= p["high"]).all()
    assert weights.sum() <= p["budget"] + 1e-12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low": np.full(5, 0.9)}, "low must be at most high, was 0.9 above"),
        ({"budget": -0.1}, "budget must be at least the sum of the lower bounds 0.0, was -0.1"),
        (
            {"sigma": np.full(5, np.nan)},
            "a symbol of unknown volatility needs equal bounds, was free in place 0",
        ),
    ],
)
def test_a_problem_without_an_answer_is_refused(changes, message):
    with pytest.raises(DataError, match=message):
        solve(**(problem(1) | changes))


@pytest.mark.parametrize("seed", range(8))
def test_the_plain_twins_find_the_same_weights(monkeypatch, seed):
    p = problem(seed, 4)
    compiled, _ = solve(**p)
    use_plain_twins(monkeypatch, optimise)
    np.testing.assert_allclose(optimise.solve(**p)[0], compiled, atol=1e-12)


def test_a_multiplier_lost_in_rounding_still_keeps_the_budget(monkeypatch):
    use_plain_twins(monkeypatch, optimise)
    monkeypatch.setattr(optimise, "_MULTIPLIER_STEPS", 1)
    p = problem(5, 6) | {"mu": np.full(6, 0.01), "budget": 0.2}
    assert optimise.solve(**p, max_iterations=5)[0].sum() <= 0.2 + 1e-12
