"""The numbers of an arm, and of the two beside each other, as analyses keep them and reports show them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from helios.rollouts.core import differences
from helios.rollouts.core.assignment import Arm
from helios.rollouts.core.differences import Difference
from helios.rollouts.core.measures import ArmMeasures
from helios.rollouts.core.statistics import Interval, mean_interval, quantile, wilson_interval


def arm_numbers(arms: Mapping[str, ArmMeasures]) -> dict[str, Any]:
    """Both arms' numbers and the difference of their means, as JSON; null where there is too little to say."""
    champion, challenger = arms[Arm.CHAMPION], arms[Arm.CHALLENGER]
    return {
        Arm.CHAMPION.value: summary(champion),
        Arm.CHALLENGER.value: summary(challenger),
        "difference": {
            "pnl_bps": _difference(differences.pnl, champion, challenger),
            "log_loss": _difference(differences.log_loss, champion, challenger),
        },
    }


def summary(arm: ArmMeasures) -> dict[str, Any]:
    """One arm in numbers, each mean and rate with its 95 % interval."""
    return {
        "decisions": arm.n_decisions,
        "exceptions": arm.n_errors,
        "exception_rate": _interval(wilson_interval(arm.n_errors, arm.n_decisions)),
        "pnl_bps": _mean(arm.pnl_bps),
        "log_loss": _mean(arm.losses),
        "latency_p50_ms": _number(quantile(arm.latency_ms, 0.5)),
        "latency_p95_ms": _number(quantile(arm.latency_ms, 0.95)),
        "bars_seen_in_training": arm.n_seen,
        "orders": arm.n_orders,
        "orders_rejected": arm.n_rejected,
        "exposure": _number(arm.exposure),
        "drawdown": _number(arm.drawdown),
    }


def _mean(values: Sequence[float]) -> dict[str, Any] | None:
    return {"n": len(values), **_interval(mean_interval(values))} if len(values) > 1 else None


def _difference(
    compare: Callable[[ArmMeasures, ArmMeasures], Difference], champion: ArmMeasures, challenger: ArmMeasures
) -> dict[str, Any] | None:
    try:
        return _interval(compare(champion, challenger).interval)
    except ValueError:  # too few in an arm
        return None


def _interval(interval: Interval) -> dict[str, float | None]:
    return {
        "estimate": _number(interval.estimate),
        "low": _number(interval.low),
        "high": _number(interval.high),
    }


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
