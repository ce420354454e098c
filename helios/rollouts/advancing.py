"""What time does to a rollout: analyses at their intervals, hard guards after every cycle, the final swap.

Measuring and swapping may take long and happen outside of transactions, under the claim of one process. What
they found is written only if the rollout still stands where it stood.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone
from loguru import logger

from helios.db.locks import claimed
from helios.errors import Rejected, Transient, error_text, plain
from helios.liveness import told_to_end
from helios.rollouts import providers, rows, targets
from helios.rollouts.core import machine
from helios.rollouts.core.arm_summary import arm_numbers
from helios.rollouts.core.assignment import Kind, Mode
from helios.rollouts.core.guards import parse_guards
from helios.rollouts.core.machine import SERVING, Cause, Progress, State, Verdict
from helios.rollouts.core.verdict import Judgement, breach, judge, unreadable
from helios.rollouts.models import Rollout, RolloutAnalysis
from helios.rollouts.rows import CLAIMS, ROLLOUTS, SYSTEM
from helios.rollouts.selectors import get, step_of

WATCHED_FOR: Final = timedelta(days=90)  # after a promotion: 20 first calls of a book with a bar a day take a month


def advance(rollout_id: int, now: datetime | None = None) -> RolloutAnalysis | None:
    """Do what is due: analyse the step when its interval is over, or put a promoted challenger in its place.

    Returns the analysis, if one was made. Of two calls at once, in whatever processes, the second does nothing.
    """
    moment = now or timezone.now()
    with claimed(CLAIMS, rollout_id) as mine:
        if not mine:
            return None
        row = get(rollout_id)
        analysis = _analyse(row, moment) if _due(row, moment) else None
        if analysis is not None:
            row = get(rollout_id)
        if row.state == State.PROMOTING:
            _promote(row, moment)
        return analysis


def react(rollout_id: int, now: datetime | None = None) -> RolloutAnalysis | None:
    """Roll back at once when a hard guard fails on what the running step has shown so far; called after every cycle.

    Returns the analysis that rolled back, else None. A provider that raises is left to the next analysis.
    """
    moment, row = now or timezone.now(), get(rollout_id)
    if row.state not in SERVING or step_of(row).kind is Mode.REPLAY:
        return None
    if row.state != State.PROMOTING:
        return _react(row, moment)
    with claimed(CLAIMS, rollout_id) as idle:  # a promotion that waits can still be stopped, one under way cannot
        row = get(rollout_id)
        return _react(row, moment) if idle and row.state == State.PROMOTING else None


def _react(row: Rollout, now: datetime) -> RolloutAnalysis | None:
    try:
        if row.state == State.RUNNING and _arms_changed(row, now):
            return None
        if row.state == State.PROMOTING and targets.champion(row) != row.champion:
            return None  # it was done already, or somebody else was quicker: the next promotion finds out
        judgement = _breach(row)
    except Exception as error:  # noqa: BLE001 - measures come from another floor, and a cycle must not end by them
        logger.bind(rollout=row.name, error=error_text(error)).warning("rollout.unmeasured")
        return None
    return _write(row, judgement, now) if judgement else None


def run_due(now: datetime | None = None) -> list[int]:
    """`advance` every rollout that is due; returns their numbers. A defect in one leaves the others their turn."""
    moment = now or timezone.now()
    due = [row.pk for row in Rollout.objects.filter(state__in=(State.RUNNING, State.PROMOTING)) if _open(row, moment)]
    for pk in due:
        try:
            advance(pk, moment)
        except Exception as error:  # noqa: BLE001 - logged; the next beat tries again
            logger.bind(rollout=pk).opt(exception=plain(error)).error("rollout.advance_failed")
    _follow_watches(moment)
    return due


def _follow_watches(now: datetime) -> None:
    """A promoted module that its watch took back leaves a rollout that was rolled back, with the watch's reason."""
    labels = targets.labels_taken_back(since=now - WATCHED_FOR)
    done = Rollout.objects.filter(state=State.SUCCEEDED, kind=Kind.MODULE, challenger__in=labels) if labels else ()
    for row in done:
        if failure := targets.taken_back(row):
            why = f"{row.challenger} was put in place and taken back by its watch: {failure}"
            _if_unmoved(row, machine.taken_back, why, now)


def _open(row: Rollout, now: datetime) -> bool:
    return row.state == State.PROMOTING or _due(row, now)


def _due(row: Rollout, now: datetime) -> bool:
    return row.state == State.RUNNING and row.next_analysis_at is not None and row.next_analysis_at <= now


def _analyse(row: Rollout, now: datetime) -> RolloutAnalysis | None:
    if _arms_changed(row, now):
        return None
    return _write(row, _judgement(row), now)


def _judgement(row: Rollout) -> Judgement:
    try:
        arms = providers.measure(row)
    except BaseException as error:  # whatever the provider does, it becomes a verdict
        if told_to_end(error):
            raise
        return unreadable(error)
    step = step_of(row)
    look = row.n_inconclusive + 1 if row.step == 0 else 0
    found = judge(arms, parse_guards(row.guards), step, seed=_seed(row), look=look)
    return replace(found, numbers=arm_numbers(arms))


def _breach(row: Rollout) -> Judgement | None:
    arms = providers.reading(row)
    found = breach(arms, parse_guards(row.guards), step_of(row), seed=_seed(row))
    return replace(found, numbers=arm_numbers(arms)) if found else None


def _seed(row: Rollout) -> int:
    return row.pk * 1_000 + row.step


def _write(seen: Rollout, judgement: Judgement, now: datetime) -> RolloutAnalysis | None:
    """Write the analysis and what follows from it, unless the rollout has moved since it was read."""
    with rows.unmoved(seen) as row:
        if row is None:
            return None
        analysis = RolloutAnalysis.objects.create(
            rollout=row,
            at=now,
            step=row.step,
            verdict=judgement.verdict.value,
            hard=judgement.hard,
            reason=judgement.reason,
            numbers={"guards": [each.to_json() for each in judgement.results], "arms": dict(judgement.numbers)},
        )
        rows.write(row, _after(rows.progress(row), judgement), actor=SYSTEM, now=now, reason=judgement.reason)
        _announce(row, analysis)
    return analysis


def _after(progress: Progress, judgement: Judgement) -> Progress:
    if judgement.hard:
        return machine.breached(progress, idle=True)  # who judges while it is PROMOTING has the claim
    return machine.analysed(progress, judgement.verdict)


def _announce(row: Rollout, analysis: RolloutAnalysis) -> None:
    found = {name: getattr(analysis, name) for name in ("step", "verdict", "hard", "reason")}
    severity = "info" if analysis.verdict == Verdict.SUCCESS else "warning"
    ROLLOUTS.record("rollout.analysed", row.name, {"rollout": row.pk, **found}, severity=severity)


def _arms_changed(row: Rollout, now: datetime) -> bool:
    """Pause when another version stands in the champion's place, or the challenger was taken out of use."""
    why, cause = _champion_changed(row), Cause.CHAMPION_CHANGED
    if not why:
        why, cause = targets.unready(row), Cause.ERROR
    if why:
        _if_unmoved(row, lambda progress: machine.pause(progress, cause), why, now)
    return bool(why)


def _champion_changed(row: Rollout) -> str:
    """How; empty where it stayed: the arms would compare something else."""
    try:
        current = targets.champion(row)
        became = f"is now {current or 'nothing'}"
    except Rejected as error:
        current, became = "", f"does not: {error_text(error)}"
    return "" if current == row.champion else f"the champion must stay {row.champion} while it is compared, {became}"


def _promote(row: Rollout, now: datetime) -> None:
    """Swap, then say so. A process that died between the two leaves PROMOTING, and the next call begins anew."""
    try:
        targets.promote(row)
    except Transient as error:
        logger.bind(rollout=row.name, error=error_text(error)).info("rollout.promotion_waits")
        return
    except Exception as error:  # noqa: BLE001 - whatever kept the challenger out, a person has to look
        if targets.in_place(row):
            logger.bind(rollout=row.name, error=error_text(error)).info("rollout.promoted_already")
            _if_unmoved(row, machine.promoted, "", now)
            return
        logger.bind(rollout=row.name, error=error_text(error)).warning("rollout.promotion_failed")
        _if_unmoved(row, machine.promotion_failed, f"promotion failed: {error_text(error)}", now)
        return
    _if_unmoved(row, machine.promoted, f"{row.challenger} serves {row.target}", now)


def _if_unmoved(seen: Rollout, transition: rows.Move, reason: str, now: datetime) -> None:
    with rows.unmoved(seen) as row:
        if row is not None:
            rows.write(row, transition(rows.progress(row)), actor=SYSTEM, now=now, reason=reason)
