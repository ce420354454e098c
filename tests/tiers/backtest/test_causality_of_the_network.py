"""The whole path with a real network: the future changes nothing, and a shorter history changes no decision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.backtests import lots, market, shocked, short_params
from tests.tiers.backtest.test_engine import assert_equal_until
from tiers.backtest.engine import Config, Result, run_helios
from tiers.backtest.history import ServingModels
from tiers.contracts import Bars, Switches
from tiers.features import catalog
from tiers.predict.artefact import Card, Predictor
from tiers.predict.network import CausalNetwork, preset

START = 260


def predictor(seed: int = 3) -> Predictor:
    """A compact network as it comes from initialisation: it has opinions, though no merit."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = CausalNetwork(preset("compact"), len(catalog.NAMES))
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(0.15 * torch.randn_like(weight))
    n_features = len(catalog.NAMES)
    card = Card(
        name="random",
        preset="compact",
        feature_set=catalog.FEATURE_SET,
        feature_version=catalog.SET_VERSION,
        feature_names=list(catalog.NAMES),
        mean=[0.0] * n_features,
        scale=[1.0] * n_features,
        prior=[0.3, 0.4, 0.3],
        temperature=1.0,
        receptive_bars=preset("compact").receptive_bars,
        horizon_bars=5,
        theta=0.5,
        seed=seed,
        timeframe="1d",
        symbols=["S00"],
        trained_from="2000-01-01T00:00:00+00:00",
        trained_to="2001-01-01T00:00:00+00:00",
        n_rows=1,
        data_sha256="0" * 64,
        weights_sha256="0" * 64,
        code_version="test",
        params={},
        metrics={},
        folds=[],
    )
    return Predictor(card, network)


def run(bars: Bars) -> Result:
    return run_helios(
        bars,
        ServingModels(champion=predictor(), champion_name="random"),
        Config(lots=lots(bars), start_row=START),
        params=short_params(),
        switches=Switches(auto_trading=True, advanced_risk_engine=("S00",)),
    )


@pytest.fixture(scope="module")
def bars() -> Bars:
    return market(400, 3, seed=8, gaps=0.03)


@pytest.fixture(scope="module")
def result(bars: Bars) -> Result:
    return run(bars)


def test_the_network_speaks_and_trades(result: Result) -> None:
    assert result.log is not None
    known = result.log.probability[np.isfinite(result.log.probability).all(axis=2)]
    assert len(known) > 200
    assert known.std(axis=0).min() > 0.01
    assert len(result.run.all_fills) > 5


@pytest.mark.parametrize("row", [0, 47, 138])
def test_shocking_every_bar_after_t_changes_no_tier_at_or_before_t(result: Result, bars: Bars, row: int) -> None:
    assert_equal_until(result, run(shocked(bars, START + row)), row + 1)


def test_history_that_ends_at_t_gives_the_same_forecasts_and_orders(result: Result, bars: Bars) -> None:
    short = run(bars.rows(slice(0, START + 60)))
    assert result.log is not None
    assert short.log is not None
    np.testing.assert_allclose(short.log.probability, result.log.probability[:60], atol=1e-12)
    np.testing.assert_allclose(short.log.weights, result.log.weights[:60], atol=1e-9)
    assert short.run.orders == result.run.orders[:60]


def test_the_same_run_twice_is_the_same_bit_for_bit(result: Result, bars: Bars) -> None:
    again = run(bars)
    assert again.metrics == result.metrics
    assert_equal_until(result, again, len(result.run.ts))
