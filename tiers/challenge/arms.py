"""Champion and challenger of one stage in one cycle: the champion always answers, a challenger may.

The champion's call goes through the watch of a version that was switched in a moment ago. A challenger works on copies
of its input, under a time limit; whatever it does wrong is noted, and the champion's answer stands for its symbols.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import wraps
from typing import Any, Final, Generic, TypeVar, cast

import numpy as np
from loguru import logger

from helios.db.failures import lost, savepoint
from helios.errors import error_text
from helios.liveness import out_of_time, told_to_end
from helios.modules import process as modules
from helios.modules import watch
from helios.modules.errors import RolledBackMeanwhile, WatchedCallFailed
from helios.modules.loading import ActiveModule, Implementation
from helios.modules.models import ModuleSwap
from helios.rollouts.core.assignment import Assignment, Kind
from tiers.challenge import checks
from tiers.challenge.deadline import within
from tiers.contracts import protocols
from tiers.contracts.errors import DataError, Rejected
from trading.models import PipelineCycle, Stage

T = TypeVar("T")
Run = Callable[..., Any]
Values = dict[str, dict[str, Any]]  # of a symbol: what its arm said
PATIENCE: Final = 3  # tries of a stage that came to nothing, before that is held to be the new code's doing
TIME_LIMIT_S = 10.0  # of a challenger's answer; its gate tests have set a budget far below
BY_BOOK = (Stage.INGEST, Stage.FEATURES, Stage.LLM)  # one answer for the whole book; the others answer by symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial(Generic[T]):
    """What one challenger said. `served`: the symbols it decides, none in shadow mode or when it failed.

    `merged` is what the book goes by once it has its say, `values` what is kept of its answer.
    """

    assignment: Assignment
    assigned: frozenset[str]  # the symbols it was to decide
    merged: T
    values: Values | None = None  # None where it gave no answer
    latency_ms: float = 0.0
    error: str = ""

    @property
    def served(self) -> frozenset[str]:
        return frozenset() if self.error or self.assignment.shadow else self.assigned


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[T]):
    """The champion's answer with how long it took and what is kept of it, and those of its challengers."""

    value: T
    latency_ms: float
    values: Callable[[T], Values]
    trials: tuple[Trial[T], ...] = ()

    @property
    def merged(self) -> T:
        """The answer that the book goes by: each challenger that serves symbols is merged into the champion's."""
        return self.trials[-1].merged if self.trials else self.value

    def version(self, champion: str) -> str:
        """The version that gave `merged` for a whole book: the champion's label, or the serving challenger's."""
        serving = [t.assignment.challenger for t in self.trials if t.served and t.values is not None]
        return serving[-1] if serving else champion

    def summary(self) -> list[dict[str, Any]]:
        """The trials as the ledger keeps them."""
        return [
            {
                "rollout": trial.assignment.rollout_id,
                "challenger": trial.assignment.challenger,
                "mode": trial.assignment.mode,
                "symbols": sorted(trial.served),
                "error": trial.error,
            }
            for trial in self.trials
        ]


def ask(
    cycle: PipelineCycle,
    stage: Stage,
    call: Callable[[Any], T],
    *,
    values: Callable[[T], Values],
    merge: Callable[[T, T, frozenset[str]], T] = lambda _own, other, _served: other,
    trial: Callable[[Any], T] | None = None,
    strategy: Callable[[Assignment], T] | None = None,
    excused: tuple[type[Exception], ...] = (),
) -> Answer[T]:
    """Ask the pinned module of a stage, then the challengers that the cycle pinned for it.

    `call` works with the module that it is given, a tier of `contracts.protocols`; `trial` does the same for a
    challenger where that differs (no breaker, no fallback); `strategy` answers for a challenging strategy. `merge` puts
    a challenger's answer for its symbols into the one before it (without it, in its place), and `values` are what is
    kept of an answer: both belong to the trial, since an answer may look right and fail them. An error in `excused` is
    not the challenger's: it then did not take part. After `PATIENCE` tries of the stage none is asked. Raises what the
    champion raises.
    """
    started = time.perf_counter()
    value = call(champion(cycle, stage))
    answer = Answer(value=value, latency_ms=(time.perf_counter() - started) * 1e3, values=values)
    for assignment in assignments(cycle, stage):
        assigned = _assigned(assignment, stage, cycle)
        asked: Trial[T] = Trial(assignment=assignment, assigned=assigned, merged=answer.merged)
        if not assigned:
            made: Trial[T] | None = asked
        elif cycle.tries >= PATIENCE:
            made = replace(asked, error=f"was not asked: {cycle.tries} tries of the stage with it came to nothing")
        elif assignment.kind == Kind.MODULE:
            _load_ahead(stage, assignment)
            made = _attempted(asked, _module_trial(trial or call, stage, assignment), values, merge, excused)
        elif strategy is not None:
            made = _attempted(asked, _strategy_trial(strategy, assignment), values, merge, excused)
        else:
            raise ValueError(f"{stage.value} has no place for a strategy, rollout {assignment.rollout_id} asks for one")
        answer = replace(answer, trials=(*answer.trials, made)) if made is not None else answer
    return answer


def champion(cycle: PipelineCycle, stage: Stage) -> Any:
    """The version that the cycle is pinned to, checked, and watched when it was just switched in.

    A failure of a version that the slot has left since the cycle began is told as one of a watched version is.
    """
    label = cycle.modules.get(stage.value)
    if label is None:
        raise Rejected(f"module {stage.value} must be in use when a cycle starts, none was")
    tier = _guarded(stage, label)
    return (
        tier if not replacement_label(cycle, stage) else _Around(tier, lambda part: _failing_over(part, stage, label))
    )


def serving(cycle: PipelineCycle, stage: Stage) -> Any:
    """The module whose answer of a stage that has run stands for the whole book."""
    return _guarded(stage, serving_label(cycle, stage))


def _guarded(stage: Stage, label: str) -> Any:
    return _checked(modules.resolve_pinned(stage.value, label), stage)


def _checked(active: ActiveModule, stage: Stage) -> Any:
    """The version with its answers checked; what it raises is one of our errors, as `watch` has it."""
    return watch.guarded(replace(active, implementation=cast("Implementation", _Checked(active.implementation, stage))))


def _challenger(stage: Stage, label: str) -> Any:
    """A version on trial, whose failures are told by its trial and nobody's else."""
    return _checked(replace(modules.resolve_pinned(stage.value, label), watch=None), stage)


def serving_label(cycle: PipelineCycle, stage: Stage) -> str:
    """Its label: the pinned one, unless a challenger served the book."""
    if not assignments(cycle, stage):
        return str(cycle.modules[stage.value])
    (label,) = (run.module_version for run in cycle.stage_runs.all() if run.stage == stage)
    return label


def challengers(cycle: PipelineCycle, stage: Stage) -> list[Any]:
    """The challengers of a stage, as far as they can be loaded here: what goes wrong is told by their own trial."""
    found = []
    for one in assignments(cycle, stage):
        if one.kind == Kind.MODULE and cycle.tries < PATIENCE:
            with contextlib.suppress(Exception), savepoint():
                found.append(_challenger(stage, one.challenger))
    return found


def replacement_label(cycle: PipelineCycle, stage: Stage) -> str:
    """The version that serves new cycles, where it is not the one that this cycle is pinned to; else empty."""
    serving = modules.pins().get(stage.value, "")
    return "" if serving == cycle.modules[stage.value] else serving


def fallback_version(cycle: PipelineCycle, stage: Stage) -> str:
    """The version to run a stage with whose pinned version failed; empty where there is none."""
    failed = cycle.modules[stage.value]
    chosen = replacement_label(cycle, stage) or watch.fallback_label(stage.value)
    if chosen == failed:  # somebody has rolled the slot back since this task began
        modules.refresh_if_behind()
        chosen = replacement_label(cycle, stage)
    return chosen


def rolled_back(cycle: PipelineCycle, stage: Stage) -> RolledBackMeanwhile | None:
    """Why a stage that was tried before is not run with its pinned version again; None where it is."""
    label = cycle.modules.get(stage.value)
    if label is None or not (cycle.redriven or cycle.tries) or not replacement_label(cycle, stage):
        return None
    backs = ModuleSwap.objects.filter(
        module__name=stage.value, kind=ModuleSwap.Kind.ROLLBACK, started_at__gte=cycle.started_at
    ).select_related("from_version")
    left = any(back.from_version is not None and back.from_version.label == label for back in backs)
    return RolledBackMeanwhile(stage.value, label) if left else None


def _failing_over(run: Run, stage: Stage, label: str) -> Run:
    @wraps(run)
    def attempt(*args: Any, **named: Any) -> Any:
        try:
            return run(*args, **named)
        except WatchedCallFailed:
            raise
        except BaseException as error:
            if told_to_end(error):
                raise
            raise WatchedCallFailed(stage.value, label, error) from None

    return attempt


def assignments(cycle: PipelineCycle, stage: Stage) -> list[Assignment]:
    """The rollouts of a cycle that have a say in this stage."""
    return [one for one in map(Assignment.from_json, cycle.rollouts) if _concerns(one, stage, cycle)]


def _concerns(assignment: Assignment, stage: Stage, cycle: PipelineCycle) -> bool:
    if assignment.kind == Kind.STRATEGY:
        return stage is Stage.PORTFOLIO and assignment.target == cycle.book.name
    return assignment.target == stage.value


def _assigned(assignment: Assignment, stage: Stage, cycle: PipelineCycle) -> frozenset[str]:
    """The symbols that the challenger is asked about: all in shadow mode; of a stage of whole books all or none."""
    if assignment.shadow or (stage in BY_BOOK and assignment.serves_book(cycle.book.name)):
        return frozenset(cycle.book.symbols)
    return frozenset() if stage in BY_BOOK else frozenset(assignment.symbols)


def _load_ahead(stage: Stage, assignment: Assignment) -> None:
    """Load a challenger before its clock starts; what goes wrong here goes wrong again, and is told, in its trial."""
    with contextlib.suppress(Exception), savepoint():
        modules.resolve_pinned(stage.value, assignment.challenger)


def _module_trial(call: Callable[[Any], T], stage: Stage, assignment: Assignment) -> Callable[[], T]:
    def work() -> T:
        return call(_Around(_challenger(stage, assignment.challenger), _isolated))

    return work


def _strategy_trial(strategy: Callable[[Assignment], T], assignment: Assignment) -> Callable[[], T]:
    return lambda: strategy(assignment)


def _attempted(
    trial: Trial[T],
    work: Callable[[], T],
    values: Callable[[T], Values],
    merge: Callable[[T, T, frozenset[str]], T],
    excused: tuple[type[Exception], ...],
) -> Trial[T] | None:
    """The trial with the challenger's answer, or its error; a database that is away, the task's own limit and the
    process's end are not its own.

    Where the stage runs in a transaction, the savepoint keeps it usable after an error of the trial and takes back what
    that wrote. Stages that wait on a network or a model run in none: there, what a trial writes stays.
    """
    started = time.perf_counter()
    try:
        with savepoint(), within(TIME_LIMIT_S):
            value = work()
            answered = (time.perf_counter() - started) * 1e3
            merged = merge(trial.merged, value, trial.served) if trial.served else trial.merged
            return replace(trial, merged=merged, values=values(value), latency_ms=answered)
    except excused:
        return None
    except BaseException as raised:  # a challenger may fail in any way; the champion serves then
        if lost(raised) or out_of_time(raised) or told_to_end(raised):
            raise
        error, said = error_text(raised), trial.assignment
        logger.bind(rollout=said.rollout_id, challenger=said.challenger, error=error).warning("arm.failed")
        return replace(trial, latency_ms=(time.perf_counter() - started) * 1e3, error=error)


class _Checked:
    """A module of a tier whose answers are checked; a part that it lacks is told in a sentence."""

    def __init__(self, implementation: Any, stage: Stage) -> None:
        self._implementation, self._stage = implementation, stage

    def run(self, *args: Any, **named: Any) -> Any:
        return checks.checked(self._implementation, self._stage.value, args, named)

    def ask_model(self, *args: Any, **named: Any) -> Any:
        return checks.of_ask_model(self._part("ask_model")(*args, **named))

    def enforce(self, risk: Any, *args: Any, **named: Any) -> Any:
        return checks.of_enforce(self._part("enforce")(risk, *args, **named), risk)

    def __getattr__(self, name: str) -> Any:
        return self._part(name)

    def _part(self, name: str) -> Any:
        try:
            return getattr(self._implementation, name)
        except AttributeError as error:
            raise DataError(protocols.lacks(self._stage.value, name)) from error


class _Around:
    """A module each of whose functions is called through `around`."""

    def __init__(self, implementation: Any, around: Callable[[Run], Run]) -> None:
        self._implementation, self._around = implementation, around

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._implementation, name)
        return self._around(found) if callable(found) else found


def _isolated(run: Run) -> Run:
    """`run` on copies of every array, so that a challenger that writes into its input changes nothing for others."""

    @wraps(run)
    def call(*args: Any, **named: Any) -> Any:
        return run(*map(private_copy, args), **{name: private_copy(value) for name, value in named.items()})

    return call


def private_copy(value: Any) -> Any:
    """A copy of an array, of the arrays in a frozen message, in a sequence or in a mapping; anything else as it is."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {name: private_copy(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(private_copy, cast("Sequence[Any]", value)))
    if is_dataclass(value) and not isinstance(value, type):
        arrays = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
        copies = {name: held.copy() for name, held in arrays.items() if isinstance(held, np.ndarray)}
        return replace(value, **copies) if copies else value
    return value


__all__ = ["BY_BOOK", "Answer", "Trial", "ask", "assignments", "champion"]
