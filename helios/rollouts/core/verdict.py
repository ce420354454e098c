"""From the readings of both arms to one verdict. The strongest word wins, and silence is never a Success.

a hard guard failed            Failed, hard      roll back
a soft guard failed            Failed            pause
a value that is not finite     Error             pause after a limit
too few samples                Inconclusive      pause after a limit
bars seen in training          Inconclusive      pause after a limit
everything required passed     Success           next step
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from helios.errors import error_text
from helios.rollouts.core.assignment import Arm
from helios.rollouts.core.guards import Guard, GuardResult, Outcome, Strength, judge_guard
from helios.rollouts.core.machine import Verdict
from helios.rollouts.core.measures import ArmMeasures
from helios.rollouts.core.rollout_plan import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict with its reason and every guard's numbers. `hard`: a hard guard failed."""

    verdict: Verdict
    hard: bool = False
    reason: str = ""
    results: tuple[GuardResult, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)


def judge(
    arms: Mapping[str, ArmMeasures], guards: Iterable[Guard], step: Step, *, seed: int, look: int = 0
) -> Judgement:
    """The verdict of one step's readings; pure.

    `look`: which look this is at a step that has to show that the challenger is not worse; 0: it has not.
    """
    results = tuple(judge_guard(guard, arms, step, seed=seed, look=look) for guard in guards)
    n_decisions = arms[Arm.CHALLENGER].n_decisions
    for verdict, hard, reasons in (
        (Verdict.FAILED, True, _said(results, Outcome.FAILED, Strength.HARD)),
        (Verdict.FAILED, False, _said(results, Outcome.FAILED, Strength.SOFT)),
        (Verdict.ERROR, False, _said(results, Outcome.UNUSABLE)),
        (Verdict.INCONCLUSIVE, False, [*_short(n_decisions, step), *_said(results, Outcome.TOO_FEW), *_seen(arms)]),
    ):
        if reasons:
            return Judgement(verdict=verdict, hard=hard, reason="; ".join(reasons), results=results)
    return Judgement(verdict=Verdict.SUCCESS, reason=f"{n_decisions} decisions, every guard kept", results=results)


def breach(arms: Mapping[str, ArmMeasures], guards: Iterable[Guard], step: Step, *, seed: int) -> Judgement | None:
    """The hard failure that the readings show, if any: what is asked after every cycle."""
    hard = [guard for guard in guards if guard.kind is Strength.HARD]
    judgement = judge(arms, hard, step, seed=seed)
    return judgement if judgement.hard else None


def unreadable(error: BaseException) -> Judgement:
    """The verdict where no readings could be had."""
    return Judgement(verdict=Verdict.ERROR, reason=f"no measures: {error_text(error)}"[:500])


def _said(results: Iterable[GuardResult], outcome: Outcome, kind: Strength | None = None) -> list[str]:
    return [each.sentence for each in results if each.outcome is outcome and kind in (None, each.guard.kind)]


def _seen(arms: Mapping[str, ArmMeasures]) -> list[str]:
    arm = max(arms.values(), key=lambda each: each.n_seen)
    told = f"{arm.n_seen:,} of the {arm.n_bars:,} bars were seen in training: what they show is no evidence"
    return [told] if arm.n_seen else []


def _short(n_decisions: int, step: Step) -> list[str]:
    few = n_decisions < step.min_samples
    return [f"the step needs {step.min_samples} decisions of the challenger, has {n_decisions}"] if few else []
