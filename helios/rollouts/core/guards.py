"""What a challenger has to keep to: each guard is one measured value and one limit, hard or soft.

A hard guard that fails rolls back at once, a soft one pauses for a person. A guard with too few samples says
nothing: then the step cannot succeed, unless the guard is not `required`. Guards that compare means know three
answers: the challenger is surely worse than the limit (failed), surely not (passed), or it cannot be told yet. The
step that has to prove takes nothing but "surely not"; the later ones, of less data, only watch for "surely worse".
Who looks again and again sees what he hopes for in the end, so each look at a proof has to be surer than the last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from helios.rollouts.core import differences
from helios.rollouts.core.assignment import Arm, Kind, Mode
from helios.rollouts.core.differences import Difference
from helios.rollouts.core.measures import ArmMeasures, Place
from helios.rollouts.core.rollout_plan import Step, is_number
from helios.rollouts.core.statistics import quantile, samples_for
from helios.rollouts.errors import RolloutRefused

LATENCY_FLOOR_MS: Final = 5.0  # below it a ratio of latencies is noise
SURE, POWER = 0.95, 0.8  # of a guard that compares means: "worse" and "not worse" are each a test at 5 %
EITHER_END: Final = 2 * SURE - 1  # the confidence of an interval whose ends are such tests
FORECASTING: Final = frozenset({"predict"})  # slots whose decisions are forecasts that can be calibrated


class Strength(StrEnum):
    """What follows when the guard fails: rolled back at once, or paused for a person."""

    HARD = "hard"
    SOFT = "soft"


class Outcome(StrEnum):
    """What one guard says of one reading."""

    PASSED = "passed"
    FAILED = "failed"
    TOO_FEW = "too few samples"
    SKIPPED = "skipped"  # nothing to compare with, or not measured and not required
    UNUSABLE = "unusable"  # a value that is not finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """How a guard's value is computed. `relative`: it needs a champion to be compared with."""

    meaning: str
    value: Callable[[ArmMeasures, ArmMeasures, int], float]  # champion, challenger, seed
    samples: Callable[[ArmMeasures], int]
    relative: bool = False
    harm: Callable[[ArmMeasures, ArmMeasures, int, float], Difference] | None = None  # of means, at a confidence


def _latency_p95(arm: ArmMeasures) -> float:
    return quantile(arm.latency_ms, 0.95)


def _latency_ratio(champion: ArmMeasures, challenger: ArmMeasures, _seed: int) -> float:
    mine, theirs = _latency_p95(challenger), _latency_p95(champion)
    if math.isnan(mine) or math.isnan(theirs):
        return math.nan
    return max(mine, LATENCY_FLOOR_MS) / max(theirs, LATENCY_FLOOR_MS)


def _pnl_deficit(
    champion: ArmMeasures, challenger: ArmMeasures, _seed: int, confidence: float = EITHER_END
) -> Difference:
    found = differences.pnl(champion, challenger, confidence=confidence)
    return Difference(found.interval.scaled(-max(champion.rows_a_day, challenger.rows_a_day)), found.n)


def _log_loss_excess(
    champion: ArmMeasures, challenger: ArmMeasures, seed: int, confidence: float = EITHER_END
) -> Difference:
    return differences.log_loss(champion, challenger, confidence=confidence, seed=seed)


def _bars(values: Sequence[float], places: Sequence[Place]) -> int:
    """Symbols of one bar say much the same: bars are counted, or values where nobody knows their bars."""
    return len({bar for bar, _ in places}) if places else len(values)


def _measured(value: float | None) -> float:
    return math.nan if value is None else value


METRICS: Final[Mapping[str, Metric]] = {
    "exceptions": Metric(
        meaning="decisions of the challenger that raised",
        value=lambda _a, b, _seed: b.n_errors,
        samples=lambda arm: arm.n_decisions,
    ),
    "exception_rate": Metric(
        meaning="share of the challenger's decisions that raised",
        value=lambda _a, b, _seed: b.n_errors / b.n_decisions,
        samples=lambda arm: arm.n_decisions,
    ),
    "latency_p95_ms": Metric(
        meaning="95th percentile of the challenger's latency, ms",
        value=lambda _a, b, _seed: _latency_p95(b),
        samples=lambda arm: len(arm.latency_ms),
    ),
    "latency_p95_ratio": Metric(
        meaning="95th percentile of latency, challenger over champion",
        value=_latency_ratio,
        samples=lambda arm: len(arm.latency_ms),
        relative=True,
    ),
    "rejected_order_rate": Metric(
        meaning="share of the challenger's orders that were rejected",
        value=lambda _a, b, _seed: b.n_rejected / b.n_orders,
        samples=lambda arm: arm.n_orders,
    ),
    "exposure": Metric(
        meaning="gross notional of the challenger's symbols over equity",
        value=lambda _a, b, _seed: _measured(b.exposure),
        samples=lambda arm: int(arm.exposure is not None),
    ),
    "drawdown": Metric(
        meaning="fall of the challenger's PnL from its peak, fraction of equity",
        value=lambda _a, b, _seed: _measured(b.drawdown),
        samples=lambda arm: int(arm.drawdown is not None),
    ),
    "drawdown_excess": Metric(
        meaning="drawdown of the challenger above that of the champion, fraction of equity",
        value=lambda a, b, _seed: _measured(b.drawdown) - _measured(a.drawdown),
        samples=lambda arm: int(arm.drawdown is not None),
        relative=True,
    ),
    "pnl_deficit_bps": Metric(
        meaning="bps of equity a day and symbol, net of cost, that the challenger surely earns less than the champion",
        value=lambda a, b, seed: _pnl_deficit(a, b, seed).interval.low,
        harm=_pnl_deficit,
        samples=lambda arm: _bars(arm.pnl_bps, arm.pnl_of),
        relative=True,
    ),
    "log_loss_excess": Metric(
        meaning="log loss, nats, by which the challenger's forecasts are surely worse",
        value=lambda a, b, seed: _log_loss_excess(a, b, seed).interval.low,
        harm=_log_loss_excess,
        samples=lambda arm: _bars(arm.losses, arm.losses_of),
        relative=True,
    ),
}
_NEEDS_TWO: Final = frozenset(name for name, metric in METRICS.items() if metric.harm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """The challenger fails when the metric's value is above `limit`."""

    metric: str
    limit: float
    kind: Strength
    min_samples: int = 1  # fewer: the guard says nothing
    required: bool = True  # the step cannot succeed while the guard says nothing

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "kind": self.kind.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardResult:
    """What a guard said, with its numbers."""

    guard: Guard
    outcome: Outcome
    value: float | None
    samples: int
    unproven: str = ""  # why the means cannot be told apart yet

    @property
    def sentence(self) -> str:
        """The outcome in words that a person can act on."""
        guard = self.guard
        if self.outcome is Outcome.FAILED:
            return f"{guard.metric} {self.value:.4g} is above its {guard.kind} limit {guard.limit:g}"
        if self.unproven:
            return self.unproven
        if self.outcome is Outcome.TOO_FEW:
            return f"{guard.metric} needs {guard.min_samples} samples, has {self.samples}"
        if self.outcome is Outcome.UNUSABLE:
            return f"{guard.metric} must be a finite number, was {self.value}"
        return f"{guard.metric} {self.outcome}"

    def to_json(self) -> dict[str, Any]:
        finite = self.value is not None and math.isfinite(self.value)
        return {
            **self.guard.to_json(),
            "value": self.value if finite else None,
            "samples": self.samples,
            "outcome": self.outcome.value,
        }


def default_guards(kind: str, target: str) -> tuple[Guard, ...]:
    """The guards of a rollout that names none; calibration where the target makes forecasts."""
    hard, soft = Strength.HARD, Strength.SOFT
    guards = (
        Guard(metric="exceptions", limit=2, kind=hard),
        Guard(metric="exception_rate", limit=0.02, kind=hard, min_samples=20),
        Guard(metric="latency_p95_ms", limit=1_000, kind=hard, min_samples=20),
        Guard(metric="latency_p95_ratio", limit=3, kind=hard, min_samples=20),
        Guard(metric="rejected_order_rate", limit=0.2, kind=hard, min_samples=5, required=False),
        Guard(metric="exposure", limit=1.5, kind=hard, required=False),
        Guard(metric="drawdown", limit=0.25, kind=hard, required=False),
        Guard(metric="drawdown_excess", limit=0.05, kind=hard, required=False),
        Guard(metric="pnl_deficit_bps", limit=5, kind=soft, min_samples=30),
    )
    if kind == Kind.MODULE and target in FORECASTING:
        return (*guards, Guard(metric="log_loss_excess", limit=0.005, kind=soft, min_samples=30))
    return guards


def parse_guards(raw: Any) -> tuple[Guard, ...]:
    """The guards that a list of JSON objects describes.

    Raises `RolloutRefused` with one sentence for an unknown metric or field, a limit that is no number from 0,
    a metric named twice, and a list without a hard guard.
    """
    if isinstance(raw, str | bytes | Mapping) or not isinstance(raw, Iterable):
        raise RolloutRefused(f"guards must be a list of objects, was {raw!r}")
    guards = tuple(_guard(each) for each in raw)
    names = [guard.metric for guard in guards]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise RolloutRefused(f"a metric must be guarded once, {twice} was twice")
    if not any(guard.kind is Strength.HARD for guard in guards):
        raise RolloutRefused("a rollout must have a hard guard, had none")
    return guards


def _guard(raw: Any) -> Guard:
    if not isinstance(raw, Mapping) or not {"metric", "limit", "kind"} <= set(raw):
        raise RolloutRefused(f"a guard must be an object with metric, limit and kind, was {raw!r}")
    known = {"metric", "limit", "kind", "min_samples", "required"}
    if extra := sorted(set(map(str, raw)) - known):
        raise RolloutRefused(f"a guard must have no fields but {', '.join(sorted(known))}, had {extra[0]}")
    if not isinstance(raw["metric"], str) or raw["metric"] not in METRICS:
        raise RolloutRefused(f"metric must be one of {', '.join(METRICS)}, was {raw['metric']!r}")
    if raw["kind"] not in tuple(Strength):
        raise RolloutRefused(f"kind of guard {raw['metric']} must be hard or soft, was {raw['kind']!r}")
    guard = Guard(**{"min_samples": 2 if raw["metric"] in _NEEDS_TWO else 1, **raw, "kind": Strength(raw["kind"])})
    _check(guard)
    return guard


def _check(guard: Guard) -> None:
    limit = guard.limit
    if not is_number(limit) or limit < 0:
        raise RolloutRefused(f"limit of guard {guard.metric} must be a number from 0, was {limit!r}")
    least = 2 if guard.metric in _NEEDS_TWO else 1
    if type(guard.min_samples) is not int or guard.min_samples < least:
        raise RolloutRefused(
            f"min_samples of guard {guard.metric} must be a whole number from {least}, was {guard.min_samples!r}"
        )
    if not isinstance(guard.required, bool):
        raise RolloutRefused(f"required of guard {guard.metric} must be true or false, was {guard.required!r}")


def judge_guard(guard: Guard, arms: Mapping[str, ArmMeasures], step: Step, *, seed: int, look: int = 0) -> GuardResult:
    """What the guard says of one reading; pure, the same for the same seed.

    `look`: which look this is at a step that has to show "not worse", from 1; 0: nothing has to be shown.
    """
    metric = METRICS[guard.metric]
    champion, challenger = arms[Arm.CHAMPION], arms[Arm.CHALLENGER]
    samples = metric.samples(challenger)
    if metric.relative:
        if step.kind is Mode.LIVE and step.percentage == 100:
            return GuardResult(guard=guard, outcome=Outcome.SKIPPED, value=None, samples=samples)
        samples = min(samples, metric.samples(champion))
    if samples < guard.min_samples:
        outcome = Outcome.TOO_FEW if guard.required else Outcome.SKIPPED
        return GuardResult(guard=guard, outcome=outcome, value=None, samples=samples)
    value = float(metric.value(champion, challenger, seed))
    outcome, unproven = _compare(value, guard.limit), ""
    if look and metric.harm and outcome is Outcome.PASSED:
        sure = sure_at(look)
        unproven = _unproven(guard, metric.harm(champion, challenger, seed, 2 * sure - 1), sure)
        outcome = Outcome.TOO_FEW if unproven else outcome
    return GuardResult(guard=guard, outcome=outcome, value=value, samples=samples, unproven=unproven)


def sure_at(look: int) -> float:
    """The confidence of one look at a proof, so that all looks together err in 5 % at most, however many there are.

    1 - 0.05 · 6 / (π look)²: the shares 6 / (π k)² of all k add up to 1 (Euler), and chances of errors at most add up.
    """
    return 1 - (1 - SURE) * 6 / (math.pi * look) ** 2


def _unproven(guard: Guard, found: Difference, sure: float) -> str:
    """Why it is not shown that the harm keeps to the limit; empty where it is."""
    if found.interval.high <= guard.limit:
        return ""
    needed = samples_for(found.interval, found.n, guard.limit, confidence=sure, power=POWER)
    more = f"arms that are equal show less after about {needed:,}" if needed > found.n else "it looks worse"
    return f"{guard.metric} may be {found.interval.high:.4g}, above {guard.limit:g}, after {found.n:,} bars: {more}"


def _compare(value: float, limit: float) -> Outcome:
    if not math.isfinite(value):
        return Outcome.UNUSABLE
    return Outcome.FAILED if value > limit else Outcome.PASSED
