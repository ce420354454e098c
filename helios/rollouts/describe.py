"""Rollouts in plain words: what one does now, and what each button would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from helios.rollouts.core.assignment import Mode, arm_symbols
from helios.rollouts.core.guards import METRICS, Strength
from helios.rollouts.core.machine import State
from helios.rollouts.core.rollout_plan import Step
from helios.rollouts.models import Rollout, RolloutAnalysis
from helios.rollouts.selectors import seen_symbols, step_of, steps_of

MAX_NAMED: Final = 8


def serves(row: Rollout) -> str:
    """What the challenger does now, as one sentence."""
    if row.state == State.PENDING:
        return f"waits; {row.champion} serves"
    if row.state == State.SUCCEEDED:
        return f"{row.challenger} serves {row.target}"
    if row.state in (State.ROLLED_BACK, State.ABORTED):
        return f"over; {row.champion} serves"
    return f"{_of(row, step_of(row))} (step {row.step + 1} of {len(row.steps)})"


def promoting(row: Rollout) -> str:
    """What a promotion would do, as one sentence."""
    if row.state not in (State.RUNNING, State.PAUSED):
        return f"promote would be refused: the rollout is {row.state}"
    steps = steps_of(row)
    if row.step == len(steps) - 1:
        return f"promote will put {row.challenger} in the place of {row.champion} in {row.target}"
    following = steps[row.step + 1]
    if following.kind is Mode.LIVE:
        return f"promote will serve {_of(row, following)}"
    return f"promote will go on to {following.serves}"


def aborting(row: Rollout) -> str:
    """What an abort would do, as one sentence."""
    return f"abort will leave every symbol to {row.champion} from the next cycle on"


def progress(row: Rollout) -> str:
    """The steps, the present one marked: replay > shadow > [1 %] > 5 % > 100 %."""
    words = [f"{step.percentage} %" if step.kind is Mode.LIVE else step.kind.value for step in steps_of(row)]
    if row.state in (State.RUNNING, State.PAUSED, State.PROMOTING):
        words[row.step] = f"[{words[row.step]}]"
    return " > ".join(words)


def plan(row: Rollout) -> list[str]:
    """The steps, a sentence each."""
    return [f"{number}. {_step(step)}" for number, step in enumerate(steps_of(row), start=1)]


def guard(each: Mapping[str, Any]) -> str:
    """One guard, from its JSON."""
    follows = "rolled back at once" if each["kind"] == Strength.HARD else "paused for a person"
    silent = "" if each["required"] else "; a step may succeed without it"
    meaning = METRICS[each["metric"]].meaning
    return f"{meaning}: above {each['limit']:g} {follows} (from {each['min_samples']} samples on{silent})"


def numbered(analysis: RolloutAnalysis) -> str:
    """The step that an analysis read, counted from one as people do."""
    serves = [step.serves for step in steps_of(analysis.rollout)[analysis.step : analysis.step + 1]]
    return ": ".join([str(analysis.step + 1), *serves])


def short(reason: str) -> str:
    """The first clause of a reason, for a list."""
    first, *others = reason.split("; ")
    return f"{first}; {len(others)} more" if others else first


def _step(step: Step) -> str:
    when = "analysed at once" if step.kind is Mode.REPLAY else f"analysed every {step.interval_s:g} s"
    return f"{step.serves}, {when}, from {step.min_samples} decisions of the challenger on"


def _of(row: Rollout, step: Step) -> str:
    """What a step serves, with the names of the symbols as far as cycles have shown them."""
    if step.kind is not Mode.LIVE:
        return step.serves
    names = arm_symbols(row.name, seen_symbols(row), step.percentage)
    if not names:
        return step.serves
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"{step.serves}: {', '.join(names[:MAX_NAMED])}{more}"
