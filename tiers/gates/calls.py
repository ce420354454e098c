"""One call of every stage's `run`, as the pipeline makes it; the setting MODULE_CALLS names this table."""

from __future__ import annotations

import numpy as np

from helios.modules.suites import Call, Factory
from tiers.config import ExecuteParams, PortfolioParams, RiskParams
from tiers.contracts import Switches
from tiers.gates import worlds

__all__ = ["CALLS", "STRATEGY"]

STRATEGY = "strategy"  # code that turns closes straight into weights: run(close, start_row=0)


def ingest(seed: int) -> Call:
    rows = worlds.tables(seed)
    calendars = dict.fromkeys((table.symbol for table in rows), "24/7")
    return Call(args=(rows,), kwargs={"timeframe": "1m", "bar_ts": worlds.BAR_TS, "calendars": calendars})


def features(seed: int) -> Call:
    return Call(args=(worlds.bars(seed),))


def predict(seed: int) -> Call:
    from tiers.gates import predictors  # noqa: PLC0415 - torch loads only for this stage

    return Call(args=(predictors.predictor(seed), predictors.features(seed)))


def risk(seed: int) -> Call:
    return Call(
        kwargs={
            "forecast": worlds.forecast(seed),
            "volatility": worlds.volatility(seed),
            "book": worlds.book(seed, held=worlds.holdings(seed)),
            "returns": worlds.returns(seed),
            "switches": Switches(),
            "params": RiskParams(),
        }
    )


def llm(seed: int) -> Call:
    return Call(args=(worlds.context(seed),))


def portfolio(seed: int) -> Call:
    return Call(
        kwargs={
            "risk": worlds.decision(seed),
            "returns": worlds.returns(seed),
            "book": worlds.book(seed, held=worlds.holdings(seed)),
            "params": PortfolioParams(),
        }
    )


def execute(seed: int) -> Call:
    view = worlds.book(seed, held=worlds.holdings(seed))
    return Call(
        kwargs={
            "targets": worlds.targets(seed, view),
            "book": view,
            "lots": worlds.lots(),
            "params": ExecuteParams(),
            "key": f"gate:{seed}",
        }
    )


def strategy(seed: int) -> Call:
    close = worlds.bars(seed, n_bars=300).close
    return Call(args=(np.ascontiguousarray(close),), kwargs={"start_row": 0})


CALLS: dict[str, Factory] = {
    "ingest": ingest,
    "features": features,
    "predict": predict,
    "risk": risk,
    "llm": llm,
    "portfolio": portfolio,
    "execute": execute,
    STRATEGY: strategy,
}
