"""One call of every stage's `run`, as the pipeline makes it; the setting MODULE_CALLS names this table."""

from __future__ import annotations

import numpy as np
from numba.core.registry import cpu_target

from helios.modules.suites import Call, Factory
from tiers.contracts import Switches
from tiers.contracts.parameters import ExecuteParams, PortfolioParams, RiskParams
from tiers.gates import samples

__all__ = ["CALLS", "STRATEGY"]

# A second of each process's first compiled call, done once for all that are forked from one that has this module.
for context in (cpu_target.typing_context, cpu_target.target_context):
    context.refresh()

STRATEGY = "strategy"  # code that turns closes straight into weights: run(close, start_row=0)


def ingest(seed: int) -> Call:
    rows = samples.tables(seed)
    calendars = dict.fromkeys((table.symbol for table in rows), "24/7")
    return Call(args=(rows,), kwargs={"timeframe": "1m", "bar_ts": samples.BAR_TS, "calendars": calendars})


def features(seed: int) -> Call:
    return Call(args=(samples.by_timeframe(seed),))


def predict(seed: int) -> Call:
    from tiers.gates import predictors  # noqa: PLC0415 - torch loads only for this stage

    return Call(args=(predictors.predictor(seed), predictors.features(seed)))


def risk(seed: int) -> Call:
    return Call(
        kwargs={
            "forecast": samples.forecast(seed),
            "volatility": samples.volatility(seed),
            "book": samples.book(seed, held=samples.holdings(seed)),
            "returns": samples.returns(seed),
            "switches": Switches(),
            "params": RiskParams(),
        }
    )


def llm(seed: int) -> Call:
    return Call(args=(samples.context(seed),))


def portfolio(seed: int) -> Call:
    return Call(
        kwargs={
            "risk": samples.decision(seed),
            "returns": samples.returns(seed),
            "book": samples.book(seed, held=samples.holdings(seed)),
            "params": PortfolioParams(holding_bars=samples.HORIZON_BARS),
        }
    )


def execute(seed: int) -> Call:
    view = samples.book(seed, held=samples.holdings(seed))
    return Call(
        kwargs={
            "targets": samples.targets(seed, view),
            "book": view,
            "lots": samples.lots(),
            "params": ExecuteParams(),
            "key": f"gate:{seed}",
        }
    )


def strategy(seed: int) -> Call:
    close = samples.bars(seed, n_bars=300).close
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
