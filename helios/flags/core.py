"""What a flag is and when it is on: pure functions of a definition, a context and a moment."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

import mmh3

BUCKETS = 100
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.~-]{0,99}")
IDENTITIES = ("symbol", "user", "strategy", "system")  # in the order in which they serve as sticky id
FIELDS = frozenset({*IDENTITIES, "environment"})
_NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})


class Strategy(StrEnum):
    """Whom an enabled flag serves."""

    ALL_ON = "all_on"
    ALL_OFF = "all_off"
    PERCENTAGE = "percentage"
    GRADUAL = "gradual"
    WHITELIST = "whitelist"
    BLACKLIST = "blacklist"
    KILL_SWITCH = "kill_switch"


class Reason(StrEnum):
    """Why an evaluation ended as it did."""

    UNKNOWN = "unknown flag"
    DISABLED = "disabled"
    KILLED = "killed"
    ALL_ON = "on for everybody"
    ALL_OFF = "off for everybody"
    IN_SHARE = "inside the percentage"
    OUTSIDE_SHARE = "outside the percentage"
    NO_IDENTITY = "the context names nobody to hold a percentage on"
    LISTED = "on the list"
    NOT_LISTED = "not on the list"


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer and its reason; true in a condition when the flag is on."""

    enabled: bool
    reason: Reason

    def __bool__(self) -> bool:
        return self.enabled


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagContext:
    """For whom a flag is asked; an empty text means "not given"."""

    symbol: str = ""
    strategy: str = ""
    user: str = ""
    system: str = ""
    environment: str = ""
    attributes: Mapping[str, str] = field(default_factory=lambda: _NO_ATTRIBUTES)

    def value(self, name: str) -> str:
        """The field or attribute called `name`, or an empty text."""
        if name in FIELDS:
            return str(getattr(self, name))
        return self.attributes.get(name, "")


NOBODY = FlagContext()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagDefinition:
    """One flag as it is evaluated. `percentage` is the share served, or that at which a gradual ramp ends.

    Raises ValueError with one sentence when the fields contradict each other.
    """

    name: str
    enabled: bool = False
    strategy: Strategy = Strategy.ALL_ON
    percentage: int = 0
    whitelist: frozenset[str] = frozenset()
    blacklist: frozenset[str] = frozenset()
    gradual_start: datetime | None = None
    gradual_end: datetime | None = None
    stickiness: str = ""  # the field or attribute that a percentage holds on; "": the first identity given
    group_id: str = ""  # flags of one group serve the same share; "": the flag's own name

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem:
            raise ValueError(problem)


def _problem(flag: FlagDefinition) -> str:
    """What is wrong with the definition, as one sentence; empty when nothing is."""
    if not NAME.fullmatch(flag.name):
        return f"a flag's name must be 1 to 100 letters, digits or _ . ~ -, was {flag.name!r}"
    if type(flag.percentage) is not int or not 0 <= flag.percentage <= BUCKETS:
        return f"percentage must be a whole number from 0 to 100, was {flag.percentage!r}"
    if "" in flag.whitelist or "" in flag.blacklist:
        return "entries of a list must not be empty, one was"
    if flag.enabled and flag.strategy is Strategy.KILL_SWITCH:
        return "a killed flag must be disabled, was enabled"
    return _problem_of_ramp(flag.gradual_start, flag.gradual_end)


def _problem_of_ramp(start: datetime | None, end: datetime | None) -> str:
    if start is None and end is None:
        return ""
    if start is None or end is None:
        return "a gradual ramp must have both a start and an end, was given one of them"
    if start.tzinfo is None or end.tzinfo is None:
        return "the times of a gradual ramp must carry a time zone, were naive"
    if end <= start:
        return f"a gradual ramp must end after its start, was {start.isoformat()} to {end.isoformat()}"
    return ""


def bucket(group_id: str, sticky_id: str) -> int:
    """The bucket 1..100 of a sticky id: murmur3 x86 32 bit with seed 0, as in Unleash's specification."""
    return int(mmh3.hash(f"{group_id}:{sticky_id}", 0, False)) % BUCKETS + 1  # noqa: FBT003 - positional in C


def share(flag: FlagDefinition, now: datetime) -> float:
    """The percentage served at `now`: fixed, or for a gradual flag rising from 0 to `percentage`.

    A gradual flag without times has not begun: 0.
    """
    if flag.strategy is not Strategy.GRADUAL:
        return flag.percentage
    if flag.gradual_start is None or flag.gradual_end is None or now < flag.gradual_start:
        return 0.0
    if now >= flag.gradual_end:
        return flag.percentage
    return flag.percentage * ((now - flag.gradual_start) / (flag.gradual_end - flag.gradual_start))


def sticky_id(flag: FlagDefinition, context: FlagContext) -> str:
    """Whom a percentage holds on: the flag's stickiness, or symbol, user, strategy, system; "" is nobody."""
    if flag.stickiness:
        return context.value(flag.stickiness)
    return context.symbol or context.user or context.strategy or context.system


def evaluate(flag: FlagDefinition, context: FlagContext, now: datetime) -> Decision:
    """Whether the flag is on for this context at `now` (UTC), and why.

    A percentage of 100 serves everybody and 0 nobody; between them a context without a sticky id is off,
    so that the answer never hangs on chance. List entries match any identity of the context exactly.
    """
    if not flag.enabled and flag.strategy is not Strategy.KILL_SWITCH:
        return _DISABLED
    return _RULES[flag.strategy](flag, context, now)


def constant(flag: FlagDefinition) -> bool | None:
    """The answer when it hangs on neither context nor time, else None: what a snapshot can hold ready."""
    if not flag.enabled or flag.strategy in {Strategy.ALL_OFF, Strategy.KILL_SWITCH}:
        return False
    if flag.strategy is Strategy.ALL_ON:
        return True
    if flag.strategy is Strategy.PERCENTAGE and flag.percentage in {0, BUCKETS}:
        return flag.percentage == BUCKETS
    if flag.strategy is Strategy.WHITELIST and not flag.whitelist:
        return False
    if flag.strategy is Strategy.BLACKLIST and not flag.blacklist:
        return True
    return None


def _by_share(flag: FlagDefinition, context: FlagContext, now: datetime) -> Decision:
    served = share(flag, now)
    if served >= BUCKETS:
        return _IN_SHARE
    if served <= 0:
        return _OUTSIDE_SHARE
    held_on = sticky_id(flag, context)
    if not held_on:
        return _NO_IDENTITY
    return _IN_SHARE if bucket(flag.group_id or flag.name, held_on) <= served else _OUTSIDE_SHARE


def _on(entries: frozenset[str], context: FlagContext) -> bool:
    return (
        context.symbol in entries or context.user in entries or context.strategy in entries or context.system in entries
    )


def _by_whitelist(flag: FlagDefinition, context: FlagContext, _now: datetime) -> Decision:
    return _LISTED if _on(flag.whitelist, context) else _UNLISTED


def _by_blacklist(flag: FlagDefinition, context: FlagContext, _now: datetime) -> Decision:
    return _BARRED if _on(flag.blacklist, context) else _FREE


def _always(decision: Decision) -> Callable[[FlagDefinition, FlagContext, datetime], Decision]:
    return lambda _flag, _context, _now: decision


UNKNOWN = Decision(enabled=False, reason=Reason.UNKNOWN)
_DISABLED = Decision(enabled=False, reason=Reason.DISABLED)
_IN_SHARE = Decision(enabled=True, reason=Reason.IN_SHARE)
_OUTSIDE_SHARE = Decision(enabled=False, reason=Reason.OUTSIDE_SHARE)
_NO_IDENTITY = Decision(enabled=False, reason=Reason.NO_IDENTITY)
_LISTED = Decision(enabled=True, reason=Reason.LISTED)
_UNLISTED = Decision(enabled=False, reason=Reason.NOT_LISTED)
_BARRED = Decision(enabled=False, reason=Reason.LISTED)
_FREE = Decision(enabled=True, reason=Reason.NOT_LISTED)
_RULES: Mapping[Strategy, Callable[[FlagDefinition, FlagContext, datetime], Decision]] = {
    Strategy.ALL_ON: _always(Decision(enabled=True, reason=Reason.ALL_ON)),
    Strategy.ALL_OFF: _always(Decision(enabled=False, reason=Reason.ALL_OFF)),
    Strategy.KILL_SWITCH: _always(Decision(enabled=False, reason=Reason.KILLED)),
    Strategy.PERCENTAGE: _by_share,
    Strategy.GRADUAL: _by_share,
    Strategy.WHITELIST: _by_whitelist,
    Strategy.BLACKLIST: _by_blacklist,
}
