"""What a flag is: its fields, the rules between them, and what an evaluation answers."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise

from helios.flags.core.parts import Constraint, Prerequisite, Rule, ScheduleStep, Variant

BUCKETS = 100
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.~-]{0,99}")


class Strategy(StrEnum):
    """Whom an enabled flag serves."""

    ALL_ON = "all_on"
    ALL_OFF = "all_off"
    PERCENTAGE = "percentage"
    GRADUAL = "gradual"
    WHITELIST = "whitelist"
    BLACKLIST = "blacklist"
    RULES = "rules"
    KILL_SWITCH = "kill_switch"


class Reason(StrEnum):
    """Why an evaluation ended as it did."""

    UNKNOWN = "unknown flag"
    DISABLED = "disabled"
    KILLED = "killed"
    ENVIRONMENT = "not served in this environment"
    PREREQUISITE = "a prerequisite is not met"
    CONSTRAINT = "a constraint does not hold"
    SEGMENT = "outside a segment"
    ALL_ON = "on for everybody"
    ALL_OFF = "off for everybody"
    IN_SHARE = "inside the percentage"
    OUTSIDE_SHARE = "outside the percentage"
    NO_IDENTITY = "the context names nobody to hold a percentage on"
    LISTED = "on the list"
    NOT_LISTED = "not on the list"
    RULE = "a rule holds"
    NO_RULE = "no rule holds"


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer and its reason; true in a condition when the flag is on.

    `detail` names the part that decided, where there are several: a prerequisite, a constraint, a segment.
    `rule` is the number, from 0, of the rule that holds.
    """

    enabled: bool
    reason: Reason
    detail: str = ""
    rule: int | None = None

    def __bool__(self) -> bool:
        return self.enabled


UNKNOWN = Decision(enabled=False, reason=Reason.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagDefinition:
    """One flag as it is evaluated. `percentage` is the share served, or that at which a gradual ramp ends.

    Prerequisites, environments, constraints and segments stand in front of every strategy: all must let a context
    pass. Raises ValueError with one sentence when the fields contradict each other.
    """

    name: str
    enabled: bool = False
    strategy: Strategy = Strategy.ALL_ON
    percentage: int = 0
    whitelist: frozenset[str] = frozenset()
    blacklist: frozenset[str] = frozenset()
    gradual_from: int = 0  # the share at which a gradual ramp begins
    gradual_start: datetime | None = None
    gradual_end: datetime | None = None
    schedule: tuple[ScheduleStep, ...] = ()  # the share of a percentage flag over time; before it: `percentage`
    stickiness: str = ""  # the field or attribute that a percentage holds on; "": the first identity given
    group_id: str = ""  # flags of one group serve the same share; "": the flag's own name
    environments: frozenset[str] = frozenset()  # on only in these; empty: in all
    prerequisites: tuple[Prerequisite, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    segments: tuple[str, ...] = ()  # names; one that no segment has serves nobody
    rules: tuple[Rule, ...] = ()  # of the strategy `rules`: one must hold; none at all serves everybody
    variants: tuple[Variant, ...] = ()

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem:
            raise ValueError(problem)


def check_product(flag: FlagDefinition) -> FlagDefinition:
    """The flag, held to the rules of Helios's own table, which are tighter than those of Unleash's files.

    Raises ValueError with one sentence.
    """
    problem = _problem_of_product(flag)
    if problem:
        raise ValueError(problem)
    return flag


def _problem_of_product(flag: FlagDefinition) -> str:
    if not NAME.fullmatch(flag.name):
        return f"a flag's name must be 1 to 100 letters, digits or _ . ~ -, was {flag.name!r}"
    twice = [name for name, times in Counter(each.name for each in flag.variants).items() if times > 1]
    if twice:
        return f"variants must have names of their own, came twice: {twice[0]}"
    asked = Counter(each.feature for each in flag.prerequisites)
    if asked[flag.name]:
        return f"a flag must not be its own prerequisite, {flag.name} was"
    again = [name for name, times in asked.items() if times > 1]
    return f"prerequisites must name a flag once, came twice: {again[0]}" if again else ""


def _problem(flag: FlagDefinition) -> str:
    """What is wrong with the definition, as one sentence; empty when nothing is."""
    if not flag.name:
        return "a flag's name must be 1 to 100 letters, digits or _ . ~ -, was ''"
    for field, value in (("percentage", flag.percentage), ("gradual_from", flag.gradual_from)):
        if not _is_share(value):
            return f"{field} must be a whole number from 0 to 100, was {value!r}"
    if "" in flag.whitelist or "" in flag.blacklist or "" in flag.environments:
        return "entries of a list must not be empty, one was"
    if flag.enabled and flag.strategy is Strategy.KILL_SWITCH:
        return "a killed flag must be disabled, was enabled"
    return _problem_of_ramp(flag) or _problem_of_schedule(flag.schedule)


def _is_share(value: object) -> bool:
    return type(value) is int and 0 <= value <= BUCKETS


def _problem_of_ramp(flag: FlagDefinition) -> str:
    start, end = flag.gradual_start, flag.gradual_end
    if flag.strategy is Strategy.GRADUAL and flag.gradual_from > flag.percentage:
        return f"a gradual ramp must not fall, was from {flag.gradual_from} to {flag.percentage}"
    if start is None and end is None:
        return ""
    if start is None or end is None:
        return "a gradual ramp must have both a start and an end, was given one of them"
    if start.tzinfo is None or end.tzinfo is None:
        return "the times of a gradual ramp must carry a time zone, were naive"
    if end <= start:
        return f"a gradual ramp must end after its start, was {start.isoformat()} to {end.isoformat()}"
    return ""


def _problem_of_schedule(steps: tuple[ScheduleStep, ...]) -> str:
    for step in steps:
        if step.at.tzinfo is None:
            return "the times of a schedule must carry a time zone, one was naive"
        if not _is_share(step.percentage):
            return f"percentages of a schedule must be whole numbers from 0 to 100, was {step.percentage!r}"
    for earlier, later in pairwise(steps):
        if later.at <= earlier.at:
            times = f"{later.at.isoformat()} after {earlier.at.isoformat()}"
            return f"the steps of a schedule must come in order of time, was {times}"
    return ""
