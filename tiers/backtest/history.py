"""The seven-tier strategy over history: what can be computed at once, then one decision a bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tiers.backtest.decide import Decision, DecisionInputs, decide_bar
from tiers.backtest.exact import Step
from tiers.backtest.shipped import BUILT_IN
from tiers.contracts import (
    Bars,
    BarsByTimeframe,
    BookView,
    FloatArray,
    Forecast,
    Switches,
    TimeArray,
    VolatilityPath,
    shortest,
)
from tiers.contracts.feature_sets import joined_lookbacks
from tiers.contracts.parameters import PipelineParams
from tiers.contracts.protocols import Model, Tiers
from tiers.contracts.returns import window_returns
from trading.market.lots import Lot
from trading.market.timestamps import utc_times

Progress = Callable[[str, int, int], None]  # what is being done, how much of it is, of how much


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingModels:
    """Who speaks: the champion, and the challenger for its share of symbols (`neural_network_v2`)."""

    champion: Model
    champion_name: str = "model"
    challenger: Model | None = None
    challenger_name: str = ""

    @property
    def receptive_bars(self) -> int:
        """Feature rows that the longest-sighted of the models looks at."""
        models = [model for model in (self.champion, self.challenger) if model is not None]
        return max(model.receptive_bars for model in models)

    def names(self, symbols: Sequence[str], chosen: Sequence[str]) -> tuple[str, ...]:
        """The name of the model that serves each symbol."""
        if self.challenger is None:
            return (self.champion_name,) * len(symbols)
        return tuple(self.challenger_name if s in chosen else self.champion_name for s in symbols)

    def models(self, symbols: Sequence[str], chosen: Sequence[str]) -> tuple[Model, ...]:
        """The model that serves each symbol."""
        other = self.champion if self.challenger is None else self.challenger
        return tuple(other if s in chosen else self.champion for s in symbols)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Tiers 2 to 4 and the context of tier 5 for every bar; rows are those of the bars, warm-up included."""

    features: FloatArray  # (n_bars, n_symbols, n_features)
    probability: FloatArray  # (n_bars, n_symbols, 3)
    horizon_bars: tuple[int, ...]  # (n_symbols,) of the model that serves each
    volatility: VolatilityPath
    context: Any  # whatever the llm module says of its `market_statistics`


@dataclass(slots=True, kw_only=True)
class DecisionLog:
    """What the tiers said at each decided bar, row 0 being the first; orders and fills are in `Run`."""

    ts: TimeArray  # (n_rows,)
    symbols: tuple[str, ...]
    features: FloatArray  # (n_rows, n_symbols, n_features)
    probability: FloatArray  # (n_rows, n_symbols, 3)
    sigma: FloatArray  # (n_rows, n_symbols)
    method: npt.NDArray[np.int8]  # (n_rows, n_symbols) codes of the names of its `VolatilityPath`
    expected_return: FloatArray  # (n_rows, n_symbols)
    size: FloatArray
    max_weight: FloatArray
    leverage: FloatArray  # (n_rows,) of the risk tier
    risk_multiplier: FloatArray  # (n_rows,) of the analyst
    bounded_leverage: FloatArray  # (n_rows,) after the analyst
    weights: FloatArray  # (n_rows, n_symbols) targets
    stances: list[str] = field(default_factory=list)


def warmup_bars(
    params: PipelineParams, timeframe: str, *, receptive_bars: int, tiers: Tiers = BUILT_IN
) -> dict[str, int]:
    """Own bars of each symbol and timeframe before the first decision, so that its windows are as full as live ones."""
    made = tiers.features.feature_set(timeframe)
    return joined_lookbacks(
        {name: n_bars + receptive_bars for name, n_bars in made.lookback.items()},
        *(tier.lookback_bars(params, timeframe) for tier in (tiers.risk, tiers.llm, tiers.portfolio)),
    )


def prepare(
    bars: BarsByTimeframe,
    served: ServingModels,
    *,
    params: PipelineParams,
    switches: Switches,
    start_row: int,
    progress: Progress,
    tiers: Tiers,
) -> History:
    """Features, probabilities, volatility and context of the whole history, each from the past alone."""
    progress("features", 0, 4)
    features = tiers.features.run(bars)
    progress("model", 1, 4)
    probability = _probabilities(features, shortest(bars).symbols, served, switches, tiers)
    progress("volatility", 2, 4)
    volatility = tiers.risk.forecast_volatility(
        bars, params=params.volatility, garch=switches.garch_volatility, first_row=start_row
    )
    progress("market statistics", 3, 4)
    context = tiers.llm.market_statistics(bars)
    return History(
        features=features,
        probability=probability,
        horizon_bars=tuple(m.horizon_bars for m in served.models(shortest(bars).symbols, switches.neural_network_v2)),
        volatility=volatility,
        context=context,
    )


def _probabilities(
    features: FloatArray, symbols: Sequence[str], served: ServingModels, switches: Switches, tiers: Tiers
) -> FloatArray:
    probability = tiers.predict.run(served.champion, features)
    chosen = np.array([symbol in switches.neural_network_v2 for symbol in symbols])
    if served.challenger is None or not chosen.any():
        return probability
    other = tiers.predict.run(served.challenger, features)
    return np.where(chosen[None, :, None], other, probability)


class HeliosDecider:
    """Decides bar after bar with the functions of the live chain, and keeps a log of what they said."""

    def __init__(
        self,
        bars: Bars,
        history: History,
        *,
        params: PipelineParams,
        switches: Switches,
        lots: Mapping[str, Lot],
        key: str,
        served: ServingModels,
        start_row: int,
        tiers: Tiers,
    ) -> None:
        self.bars, self.history, self.params, self.switches = bars, history, params, switches
        self.lots, self.key, self.start_row, self.tiers = lots, key, start_row, tiers
        self.times = utc_times(bars.ts)
        known = np.isfinite(history.probability).all(axis=2)
        names = np.array(served.names(bars.symbols, switches.neural_network_v2))
        self.spoke = np.where(known, names, "")  # (n_bars, n_symbols)
        self.log = _empty_log(bars, history, start_row)

    def __call__(self, row: int, book: BookView) -> Step:
        """Tiers 4 to 7 at this row."""
        decision = decide_bar(self._inputs(row, book), self.params, self.switches, self.tiers)
        self._record(row - self.start_row, decision)
        return Step(
            targets=decision.targets,
            intents=decision.plan.intents,
            state=decision.risk.state,
            denials=(*decision.risk.denials, *decision.targets.denials, *decision.plan.denials),
        )

    def _inputs(self, row: int, book: BookView) -> DecisionInputs:
        history, symbols, portfolio = self.history, self.bars.symbols, self.params.portfolio
        forecast = Forecast(
            bar_ts=book.bar_ts,
            symbols=symbols,
            probability=history.probability[row],
            horizon_bars=history.horizon_bars,
            model_names=tuple(self.spoke[row].tolist()),
        )
        volatility = history.volatility.at(row, bar_ts=book.bar_ts, symbols=symbols)
        return DecisionInputs(
            forecast=forecast,
            volatility=volatility,
            returns=window_returns(self.bars, row, portfolio.window_bars, portfolio.own_bars),
            context=self.tiers.llm.context(
                history.context, row, bar_ts=book.bar_ts, symbols=symbols, forecast=forecast, book=book
            ),
            book=book,
            lots=self.lots,
            key=self.key,
        )

    def _record(self, index: int, decision: Decision) -> None:
        log, risk = self.log, decision.risk
        log.expected_return[index] = risk.expected_return
        log.size[index] = risk.size
        log.max_weight[index] = risk.max_weight
        log.leverage[index] = risk.leverage
        log.risk_multiplier[index] = decision.view.risk_multiplier
        log.bounded_leverage[index] = decision.bounded.leverage
        log.weights[index] = decision.targets.weights
        log.stances.append(decision.view.stance.value)


def _empty_log(bars: Bars, history: History, start_row: int) -> DecisionLog:
    shape = (bars.n_bars - start_row, bars.n_symbols)
    return DecisionLog(
        ts=bars.ts[start_row:],
        symbols=bars.symbols,
        features=history.features[start_row:],
        probability=history.probability[start_row:],
        sigma=history.volatility.sigma[start_row:],
        method=history.volatility.method[start_row:],
        expected_return=np.full(shape, np.nan),
        size=np.full(shape, np.nan),
        max_weight=np.full(shape, np.nan),
        leverage=np.full(shape[0], np.nan),
        risk_multiplier=np.full(shape[0], np.nan),
        bounded_leverage=np.full(shape[0], np.nan),
        weights=np.full(shape, np.nan),
    )
