"""One bar through tiers 4 to 7."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from tiers.backtest.decide import DecisionInputs, decide_bar
from tiers.backtest.shipped import BUILT_IN
from tiers.contracts import (
    BookView,
    Forecast,
    MarketContext,
    Stance,
    StrategicView,
    Switches,
    TargetWeights,
    TradingState,
    VolatilityForecast,
)
from tiers.contracts.parameters import PipelineParams
from tiers.contracts.protocols import Replaced
from trading.market.lots import Lot, quantity_steps

NOW = datetime(2020, 6, 1, 20, tzinfo=UTC)
SYMBOLS = ("AAPL", "IBM")
PARAMS = PipelineParams.of("1d", closes=True, cost_bps=7.0)
LOT = Lot(quantity_step=Decimal("0.01"), min_notional=Decimal(1), price_tick=Decimal("0.01"))


def inputs(*, equity: int = 100_000, peak: int = 100_000, held: int = 0) -> DecisionInputs:
    returns = np.random.default_rng(1).normal(0, 0.01, (PARAMS.portfolio.window_bars, 2))
    return DecisionInputs(
        forecast=Forecast(
            bar_ts=NOW,
            symbols=SYMBOLS,
            probability=np.array([[0.1, 0.2, 0.7], [0.3, 0.4, 0.3]]),
            horizon_bars=(5, 5),
            model_names=("m", "m"),
        ),
        volatility=VolatilityForecast(
            bar_ts=NOW, symbols=SYMBOLS, sigma=np.array([0.01, 0.012]), methods=("garch", "ewma")
        ),
        returns=returns,
        context=MarketContext(
            bar_ts=NOW,
            symbols=SYMBOLS,
            regime="trending_down",
            trend=-1.0,
            volatility_ratio=1.0,
            breadth=0.2,
            mean_edge=0.3,
            drawdown=0.0,
            gross_exposure=0.0,
        ),
        book=BookView(
            bar_ts=NOW,
            symbols=SYMBOLS,
            equity=Decimal(equity),
            peak_equity=Decimal(peak),
            cash=Decimal(equity - held * 100),
            quantity=(Decimal(held), Decimal(0)),
            price=(Decimal(100), Decimal(50)),
            tradable=np.array([True, True]),
        ),
        lots=dict.fromkeys(SYMBOLS, LOT),
        key="book:1",
    )


def test_with_the_analyst_off_its_input_passes_through() -> None:
    decision = decide_bar(inputs(), PARAMS, Switches(llm_strategic_analysis=False), BUILT_IN)
    assert decision.view.provider == "off"
    assert decision.bounded is decision.risk


def test_another_analyst_can_speak() -> None:
    def bold(context: MarketContext) -> StrategicView:
        return StrategicView(
            bar_ts=context.bar_ts,
            provider="test",
            stance=Stance.RISK_OFF,
            conviction=1.0,
            risk_multiplier=0.0,
            reasoning="Nothing may be held.",
        )

    decision = decide_bar(inputs(), PARAMS, Switches(), replace(BUILT_IN, llm=Replaced(BUILT_IN.llm, run=bold)))
    assert decision.bounded.leverage == 0.0
    assert decision.plan.intents == ()


def test_the_optimiser_spreads_the_cost_over_the_horizon_of_the_forecast() -> None:
    asked = []

    def spied(**given: Any) -> TargetWeights:
        asked.append(given["params"])
        return BUILT_IN.portfolio.run(**given)

    given, tiers = inputs(), replace(BUILT_IN, portfolio=Replaced(BUILT_IN.portfolio, run=spied))
    for horizon in ((5, 5), (5, 2)):
        decide_bar(replace(given, forecast=replace(given.forecast, horizon_bars=horizon)), PARAMS, Switches(), tiers)
    assert [one.holding_bars for one in asked] == [5, 2]
    assert [one.cost_per_bar for one in asked] == pytest.approx([7e-4 / 5, 7e-4 / 2])


def test_a_halt_decided_at_this_bar_reaches_the_orders_of_this_bar() -> None:
    given = inputs(equity=50_000, peak=100_000, held=100)

    def selling(**given: Any) -> TargetWeights:
        return replace(BUILT_IN.portfolio.run(**given), weights=np.array([0.0, 0.0]))

    tiers = replace(BUILT_IN, portfolio=Replaced(BUILT_IN.portfolio, run=selling))
    decision = decide_bar(given, PARAMS, Switches(), tiers)
    assert given.book.state is TradingState.ACTIVE
    assert decision.risk.state is TradingState.HALTED
    assert decision.plan.intents == ()
    assert [denial.code for denial in decision.plan.denials] == ["BOOK_HALTED"]


def test_the_venue_learns_the_steps_of_quantity() -> None:
    assert quantity_steps({"AAPL": LOT}) == {"AAPL": Decimal("0.01")}
