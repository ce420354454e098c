import json
from dataclasses import replace
from decimal import Decimal

import pytest

from tiers.contracts.errors import DataError
from tiers.contracts.parameters import ExecuteParams, PipelineParams, PortfolioParams, RiskParams, VolatilityParams
from tiers.contracts.timeframes import TIMEFRAMES


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
@pytest.mark.parametrize("always_open", [None, True, False])
def test_defaults_of_every_timeframe_survive_a_round_trip(timeframe, always_open):
    params = PipelineParams.for_timeframe(timeframe, always_open=always_open)
    assert PipelineParams.from_json(params.to_json()) == params
    assert PipelineParams.from_json(json.dumps(params.to_json())) == params


@pytest.mark.parametrize(
    ("timeframe", "always_open", "bars"),
    [("1d", None, 252), ("1d", True, 365), ("1h", None, 8_760), ("1h", False, 1_512), ("1m", None, 98_280)],
)
def test_a_year_has_as_many_bars_as_the_market_is_open(timeframe, always_open, bars):
    assert PipelineParams.for_timeframe(timeframe, always_open=always_open).risk.bars_per_year == bars


def test_changed_values_survive_the_round_trip():
    params = replace(
        PipelineParams(),
        risk=RiskParams(max_weight=0.25),
        execute=ExecuteParams(cash_buffer=Decimal("0.025"), max_notional_usd=Decimal("1234.56")),
    )
    again = PipelineParams.from_json(json.dumps(params.to_json()))
    assert again == params
    assert again.execute.max_notional_usd == Decimal("1234.56")


def test_what_is_left_out_keeps_its_default():
    params = PipelineParams.from_json({"portfolio": {"cost_bps": 2}})
    assert params == replace(PipelineParams(), portfolio=PortfolioParams(cost_bps=2))
    assert params.portfolio.cost_per_bar == pytest.approx(2e-4 / 5)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"risk": {"max_weight": -1}}, r"RiskParams.max_weight must be from 0.0 to 10.0, was -1"),
        ({"risk": {"max_weight": "0.3"}}, "RiskParams.max_weight must be a float, was '0.3'"),
        ({"risk": {"max_weight": True}}, "RiskParams.max_weight must be a float, was True"),
        ({"risk": {"max_weight": float("nan")}}, "RiskParams.max_weight must be from"),
        ({"risk": {"bars_per_year": 252.0}}, "RiskParams.bars_per_year must be a int, was 252.0"),
        ({"risk": {"leverage": 2}}, "RiskParams has no parameter 'leverage'; it has kelly_fraction"),
        ({"risks": {}}, "PipelineParams has no parameter 'risks'"),
        ({"risk": 3}, "RiskParams must be an object of named values, was int"),
        ("[1]", "PipelineParams must be an object of named values, was list"),
        ("{", "PipelineParams must be JSON"),
        (
            {"execute": {"cash_buffer": 0.01}},
            "ExecuteParams.cash_buffer must be a decimal number written as a string",
        ),
        ({"execute": {"cash_buffer": "a"}}, "ExecuteParams.cash_buffer must be a decimal number"),
        ({"execute": {"cash_buffer": "2"}}, "ExecuteParams.cash_buffer must be from 0 to 1, was 2"),
        (
            {"volatility": {"mean": "median"}},
            "VolatilityParams.mean must be one of constant, zero, was 'median'",
        ),
        (
            {"volatility": {"min_returns": 2_000}},
            "min_returns and ewma_bars must be at most window_bars = 1000",
        ),
        ({"volatility": {"ewma_min_bars": 251}}, "ewma_min_bars must be at most ewma_bars, were 251 and 250"),
        ({"risk": {"delever_start": 0.5}}, "delever_start must be below delever_end, were 0.5 and 0.3"),
        ({"risk": {"resume_drawdown": 0.35}}, "must ascend, were 0.35, 0.3 and 0.4"),
        ({"portfolio": {"min_history": 121}}, "min_history must be at most window_bars, were 121 and 120"),
    ],
)
def test_a_value_that_breaks_a_rule_is_one_sentence(data, message):
    with pytest.raises(DataError, match=message):
        PipelineParams.from_json(data)


def test_an_unknown_timeframe_is_refused():
    with pytest.raises(DataError, match="timeframe must be one of"):
        PipelineParams.for_timeframe("2h")


def test_parameters_are_frozen_and_checked_when_replaced():
    params = VolatilityParams()
    with pytest.raises(AttributeError):
        params.window_bars = 3
    with pytest.raises(DataError, match="window_bars"):
        replace(params, window_bars=10)
