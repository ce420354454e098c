import json
from dataclasses import replace
from decimal import Decimal

import pytest

from tiers.contracts.errors import DataError
from tiers.contracts.parameters import ExecuteParams, PipelineParams, PortfolioParams, RiskParams, VolatilityParams
from trading.market.timeframes import TIMEFRAMES


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
@pytest.mark.parametrize("closes", [True, False])
def test_defaults_of_every_timeframe_survive_a_round_trip(timeframe, closes):
    params = PipelineParams.of(timeframe, closes=closes, cost_bps=7.0)
    assert PipelineParams.from_json(params.to_json()) == params
    assert PipelineParams.from_json(json.dumps(params.to_json())) == params


@pytest.mark.parametrize(
    ("timeframe", "closes", "bars", "target", "cvar"),
    [
        ("1m", False, 525_600, 0.3, 0.001581),
        ("5m", False, 105_120, 0.3, 0.003536),
        ("15m", False, 35_040, 0.3, 0.006124),
        ("1h", False, 8_760, 0.3, 0.012247),
        ("1d", False, 365, 0.3, 0.06),
        ("1m", True, 98_280, 0.15, 0.001519),
        ("5m", True, 19_656, 0.15, 0.003397),
        ("15m", True, 6_552, 0.15, 0.005883),
        ("1h", True, 1_764, 0.15, 0.011339),
        ("1d", True, 252, 0.15, 0.03),
    ],
)
def test_the_figures_of_a_year_are_those_of_the_hours_in_which_the_market_is_open(
    timeframe, closes, bars, target, cvar
):
    risk = PipelineParams.of(timeframe, closes=closes, cost_bps=7.0).risk
    assert (risk.bars_per_year, risk.target_volatility, risk.max_cvar) == (bars, target, cvar)


@pytest.mark.parametrize(("timeframe", "bars", "in_one"), [("1h", 8_760, 8_760 / 1_764), ("1d", 365, 365 / 252)])
def test_a_book_of_both_counts_the_bars_of_each_symbol(timeframe, bars, in_one):
    both = PipelineParams.of(timeframe, closes=True, around_the_clock=["BTC/USD"], cost_bps=7.0)
    stocks = PipelineParams.of(timeframe, closes=True, cost_bps=7.0)
    assert both == replace(
        stocks,
        risk=replace(stocks.risk, own_bars_per_year={"BTC/USD": bars}),
        portfolio=replace(stocks.portfolio, own_bars={"BTC/USD": in_one}),
    )
    assert PipelineParams.from_json(json.dumps(both.to_json())) == both
    coins = PipelineParams.of(timeframe, closes=False, around_the_clock=["BTC/USD"], cost_bps=7.0)
    assert coins == PipelineParams.of(timeframe, closes=False, cost_bps=7.0)


def test_own_values_stand_over_those_of_the_timeframe_and_its_market():
    own = {"risk": {"max_weight": 0.25}, "execute": {"cash_buffer": "0.05"}}
    usual = PipelineParams.of("1m", closes=False, cost_bps=7.0)
    params = PipelineParams.of("1m", closes=False, cost_bps=7.0, own=own)
    assert params == replace(
        usual,
        risk=replace(usual.risk, max_weight=0.25),
        execute=replace(usual.execute, cash_buffer=Decimal("0.05")),
    )


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"risks": {}}, "PipelineParams has no parameter 'risks'"),
        ({"risk": 3}, "RiskParams must be an object of named values, was int"),
        ({"risk": {"leverage": 2}}, "RiskParams has no parameter 'leverage'"),
    ],
)
def test_own_values_that_break_a_rule_are_one_sentence(own, message):
    with pytest.raises(DataError, match=message):
        PipelineParams.of("1d", closes=True, cost_bps=7.0, own=own)


def test_changed_values_survive_the_round_trip():
    params = replace(
        PipelineParams(),
        risk=RiskParams(max_weight=0.25),
        execute=ExecuteParams(cash_buffer=Decimal("0.025"), max_notional=Decimal("1234.56")),
    )
    again = PipelineParams.from_json(json.dumps(params.to_json()))
    assert again == params
    assert again.execute.max_notional == Decimal("1234.56")


def test_what_is_left_out_keeps_its_default():
    params = PipelineParams.from_json({"portfolio": {"cost_bps": 2}})
    assert params == replace(PipelineParams(), portfolio=PortfolioParams(cost_bps=2))


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_the_cost_believed_is_what_the_venue_charges_over_the_horizon_of_the_forecast(timeframe):
    usual = PipelineParams.of(timeframe, closes=True, cost_bps=7.0).portfolio
    assert usual.held_for((5, 5)).cost_per_bar == pytest.approx(0.000_14)  # 7 bps over 5 bars: 1.4 bps a bar
    assert usual.held_for((5, 2)).cost_per_bar == pytest.approx(0.000_35)  # the shortest of two horizons
    own = replace(usual, holding_bars=20)  # somebody's word for a book
    assert own.held_for((5, 2)).cost_per_bar == pytest.approx(0.000_035)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"risk": {"max_weight": -1}}, r"RiskParams.max_weight must be from 0.0 to 10.0, was -1"),
        ({"risk": {"max_weight": "0.3"}}, "RiskParams.max_weight must be a float, was '0.3'"),
        ({"risk": {"max_weight": True}}, "RiskParams.max_weight must be a float, was True"),
        ({"risk": {"max_weight": float("nan")}}, "RiskParams.max_weight must be from"),
        ({"risk": {"bars_per_year": 252.0}}, "RiskParams.bars_per_year must be a int, was 252.0"),
        ({"risk": {"own_bars_per_year": [365]}}, "RiskParams.own_bars_per_year must be an object of named values"),
        ({"risk": {"own_bars_per_year": {"X": 0}}}, "own_bars_per_year of X must be from 1 to 525600, was 0"),
        ({"portfolio": {"own_bars": {"X": 0}}}, "PortfolioParams.own_bars of X must be from 0.01 to 100.0, was 0"),
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
        ({"risk": {"min_history": 121}}, "risk.min_history must be at most portfolio.window_bars, were 121 and 120"),
    ],
)
def test_a_value_that_breaks_a_rule_is_one_sentence(data, message):
    with pytest.raises(DataError, match=message):
        PipelineParams.from_json(data)


def test_an_unknown_timeframe_is_refused():
    with pytest.raises(DataError, match="timeframe must be one of"):
        PipelineParams.of("2h", closes=True, cost_bps=7.0)


def test_parameters_are_frozen_and_checked_when_replaced():
    params = VolatilityParams()
    with pytest.raises(AttributeError):
        params.window_bars = 3
    with pytest.raises(DataError, match="window_bars"):
        replace(params, window_bars=10)
