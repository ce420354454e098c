"""The states of a rollout and what moves it between them. Nothing here knows a clock or a table.

    PENDING -> RUNNING <-> PAUSED -> PROMOTING -> SUCCEEDED
               any that serves -> ROLLED_BACK (a hard guard), ABORTED (a person)
                                     SUCCEEDED -> ROLLED_BACK (the watch over a module's first calls)

Argo Rollouts' vocabulary: an analysis is Success, Failed, Inconclusive or Error. Only a Success or a person
moves a rollout forward; a hard failure ends it at once, unless it is being swapped in at that moment. Nothing
leaves an end, but that a success which did not last is told as what it became.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from helios.rollouts.errors import RolloutRefused


class State(StrEnum):
    """Where a rollout stands."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    PROMOTING = "PROMOTING"
    SUCCEEDED = "SUCCEEDED"
    ROLLED_BACK = "ROLLED_BACK"
    ABORTED = "ABORTED"


LIVE: Final = frozenset({State.PENDING, State.RUNNING, State.PAUSED, State.PROMOTING})
SERVING: Final = frozenset({State.RUNNING, State.PAUSED, State.PROMOTING})  # the challenger runs in cycles


class Verdict(StrEnum):
    """What an analysis came to."""

    SUCCESS = "Success"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"
    ERROR = "Error"


class Cause(StrEnum):
    """Why a rollout is paused."""

    NONE = ""
    PERSON = "person"
    SOFT_GUARD = "soft guard"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"
    CHAMPION_CHANGED = "champion changed"
    PROMOTION_FAILED = "promotion failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A rollout as the machine sees it. `n_inconclusive` and `n_errors`: analyses since the last Success."""

    state: State = State.PENDING
    step: int = 0
    n_steps: int
    n_inconclusive: int = 0
    n_errors: int = 0
    cause: Cause = Cause.NONE
    inconclusive_limit: int = 3
    error_limit: int = 3

    @property
    def at_last_step(self) -> bool:
        return self.step == self.n_steps - 1


def start(now: Progress) -> Progress:
    """Begin with the first step."""
    _expect(now, "started", State.PENDING)
    return replace(now, state=State.RUNNING)


def pause(now: Progress, cause: Cause = Cause.PERSON) -> Progress:
    """Stay at this step, with its share of symbols, until a person resumes."""
    _expect(now, "paused", State.RUNNING)
    return replace(now, state=State.PAUSED, cause=cause)


def resume(now: Progress) -> Progress:
    """Go on with the step that was paused; analyses that said nothing are forgotten."""
    _expect(now, "resumed", State.PAUSED)
    return replace(now, state=State.RUNNING, cause=Cause.NONE, n_inconclusive=0, n_errors=0)


def promote(now: Progress, *, full: bool = False) -> Progress:
    """A person takes the next step without waiting for an analysis, or with `full` all of them at once."""
    _expect(now, "promoted", State.RUNNING, State.PAUSED)
    return _promoting(now) if full else _forward(now)


def abort(now: Progress, *, idle: bool = False) -> Progress:
    """A person ends it: the champion serves everything again. `idle`: nobody is putting the challenger in place now."""
    _expect(now, "aborted", State.PENDING, State.RUNNING, State.PAUSED, *[State.PROMOTING] * idle)
    return replace(now, state=State.ABORTED, cause=Cause.NONE)


def analysed(now: Progress, verdict: Verdict) -> Progress:
    """Follow an analysis of the running step in which no hard guard failed."""
    _expect(now, "analysed", State.RUNNING)
    if verdict is Verdict.SUCCESS:
        return _forward(now)
    if verdict is Verdict.FAILED:
        return pause(now, Cause.SOFT_GUARD)
    if verdict is Verdict.INCONCLUSIVE:
        counted = replace(now, n_inconclusive=now.n_inconclusive + 1)
        over, cause = counted.n_inconclusive >= now.inconclusive_limit, Cause.INCONCLUSIVE
    else:
        counted = replace(now, n_errors=now.n_errors + 1)
        over, cause = counted.n_errors >= now.error_limit, Cause.ERROR
    return pause(counted, cause) if over else counted


def breached(now: Progress, *, idle: bool = False) -> Progress:
    """A hard guard failed: the champion serves everything from the next cycle on. `idle` as in `abort`."""
    _expect(now, "rolled back", State.RUNNING, State.PAUSED, *[State.PROMOTING] * idle)
    return replace(now, state=State.ROLLED_BACK, cause=Cause.NONE)


def promoted(now: Progress) -> Progress:
    """The challenger stands where the champion stood."""
    _expect(now, "completed", State.PROMOTING)
    return replace(now, state=State.SUCCEEDED)


def taken_back(now: Progress) -> Progress:
    """The first calls in the champion's place failed, and the champion stands there again."""
    _expect(now, "taken back", State.SUCCEEDED)
    return replace(now, state=State.ROLLED_BACK)


def promotion_failed(now: Progress) -> Progress:
    """The challenger could not be put in the champion's place: a person has to look."""
    _expect(now, "paused", State.PROMOTING)
    return replace(now, state=State.PAUSED, cause=Cause.PROMOTION_FAILED)


def _forward(now: Progress) -> Progress:
    if now.at_last_step:
        return _promoting(now)
    return replace(now, state=State.RUNNING, step=now.step + 1, cause=Cause.NONE, n_inconclusive=0, n_errors=0)


def _promoting(now: Progress) -> Progress:
    return replace(now, state=State.PROMOTING, cause=Cause.NONE, n_inconclusive=0, n_errors=0)


def _expect(now: Progress, done: str, *states: State) -> None:
    if now.state not in states:
        expected = " or ".join(filter(None, (", ".join(states[:-1]), states[-1])))
        raise RolloutRefused(f"a rollout must be {expected} to be {done}, was {now.state}")
