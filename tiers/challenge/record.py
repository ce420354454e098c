"""What the arms said, as rows: one a symbol and arm, in the transaction of the stage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from helios.rollouts import arm_decisions
from helios.rollouts.arm_decisions import ArmDecision
from helios.rollouts.core.assignment import Arm, Assignment
from tiers.challenge.arms import Answer, Values
from tiers.contracts import BUY, SELL, BookView, Forecast, RiskDecision, TargetWeights
from tiers.contracts.plans import Plan
from trading.enums import Side
from trading.models import PipelineCycle

T = TypeVar("T")


def record(cycle: PipelineCycle, answer: Answer[T], *, error: str = "") -> None:
    """Write the decisions of both arms of every trial; `error` is the champion's, where its answer is a fallback.

    In a live step also what each arm forecast of the other's symbols. It decided nothing, and by it alone losses can
    be compared of the same symbols at the same bars.
    """
    rows: list[ArmDecision] = []
    for trial in answer.trials:
        symbols = cycle.book.symbols
        own = [s for s in symbols if trial.assignment.shadow or s not in trial.assigned]
        other = [s for s in symbols if s in trial.assigned]
        values = answer.values(answer.value)
        rows += _rows(cycle, trial.assignment, Arm.CHAMPION, own, values, answer.latency_ms, error)
        rows += _rows(cycle, trial.assignment, Arm.CHALLENGER, other, trial.values or {}, trial.latency_ms, trial.error)
        if not trial.assignment.shadow and not error and trial.values is not None:
            rows += _beside(cycle, trial.assignment, Arm.CHAMPION, other, values)
            rows += _beside(cycle, trial.assignment, Arm.CHALLENGER, own, trial.values)
    if rows:
        arm_decisions.record(rows)


def _rows(
    cycle: PipelineCycle,
    assignment: Assignment,
    arm: Arm,
    symbols: list[str],
    values: Values,
    latency_ms: float | None,
    error: str,
) -> list[ArmDecision]:
    return [
        ArmDecision(
            rollout_id=assignment.rollout_id,
            step=assignment.step,
            cycle_id=cycle.pk,
            bar_ts=cycle.bar_ts,
            symbol=symbol,
            arm=arm.value,
            shadow=assignment.shadow,
            value=values.get(symbol, {}),
            latency_ms=latency_ms,
            error=error,
        )
        for symbol in symbols
    ]


def _beside(
    cycle: PipelineCycle, assignment: Assignment, arm: Arm, symbols: list[str], values: Values
) -> list[ArmDecision]:
    """What an arm forecast of symbols that the other one decided: no weight follows from it, no time counts."""
    forecasts = {
        symbol: {name: said for name, said in values[symbol].items() if name != "weight"}
        for symbol in symbols
        if "probability" in values.get(symbol, {})
    }
    rows = _rows(cycle, assignment, arm, list(forecasts), forecasts, None, "")
    return [replace(row, shadow=True) for row in rows]


# --- what is kept of each answer; `weight` is what the answer alone would hold, as a fraction of equity, `held` what an
# answer that starts from a book was given as held ---


def of_forecast(forecast: Forecast) -> Values:
    """Probabilities, and as weight an equal part of the equity times what buying has over selling.

    Empty where nothing is known.
    """
    n_symbols = len(forecast.symbols)
    return {
        symbol: {
            "weight": max(0.0, float(row[BUY] - row[SELL])) / n_symbols,
            "probability": row.tolist(),
            "horizon_bars": horizon,
            "model": name,
        }
        if np.isfinite(row).all()
        else {}
        for symbol, row, horizon, name in zip(
            forecast.symbols, forecast.probability, forecast.horizon_bars, forecast.model_names, strict=True
        )
    }


def of_risk(decision: RiskDecision) -> Values:
    """The largest book that the decision allows, in proportion to its bounds."""
    bounds = np.minimum(decision.size, decision.max_weight)
    total = float(bounds.sum())
    part = min(1.0, decision.leverage / total) if total > 0.0 else 1.0
    return {symbol: {"weight": bound} for symbol, bound in zip(decision.symbols, (bounds * part).tolist(), strict=True)}


def of_targets(targets: TargetWeights) -> Values:
    """The wanted weights."""
    weights = zip(targets.symbols, targets.weights.tolist(), targets.previous.tolist(), strict=True)
    return {symbol: {"weight": weight, "held": held} for symbol, weight, held in weights}


def of_plan(plan: Plan, book: BookView) -> Values:
    """Signed quantities, and the weights that they lead to from those held."""
    weights, equity = dict(zip(book.symbols, book.weights.tolist(), strict=True)), float(book.equity)
    values: Values = {s: {"weight": weight, "held": weight, "quantity": "0"} for s, weight in weights.items()}
    for intent in plan.intents:
        signed = intent.quantity if intent.side == Side.BUY else -intent.quantity
        change = float(signed * intent.reference_price) / equity if equity > 0 else 0.0
        held = weights[intent.symbol]
        values[intent.symbol] = {"weight": held + change, "held": held, "quantity": str(signed)}
    return values


def of_book(symbols: Iterable[str], value: dict[str, object]) -> Values:
    """One answer for every symbol of the book."""
    return dict.fromkeys(symbols, value)
