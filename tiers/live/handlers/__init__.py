"""The seven stages on live data: load a window, call the same tier as the backtest, save the last row."""

from __future__ import annotations

from tiers.live.handlers import execute, features, ingest, llm, portfolio, predict, risk
from tiers.live.stage_context import Handler
from trading.models import Stage

HANDLERS: dict[Stage, Handler] = {
    Stage.INGEST: ingest.run,
    Stage.FEATURES: features.run,
    Stage.PREDICT: predict.run,
    Stage.RISK: risk.run,
    Stage.LLM: llm.run,
    Stage.PORTFOLIO: portfolio.run,
    Stage.EXECUTE: execute.run,
}
# May wait on a network (a source of bars, the state that breakers share, a language model): the handler runs before the
# stage's transaction, and `write`s in it. Portfolio waits for nothing, and has but one statement to write.
WAITS = frozenset({Stage.INGEST, Stage.PREDICT, Stage.LLM, Stage.PORTFOLIO})
