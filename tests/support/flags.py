"""A flag evaluated alone, and what hypothesis makes up: contexts, constraints, rules, variants, whole tables."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from hypothesis import strategies as st

from helios.flags.core.activation import STRATEGY_NAMES
from helios.flags.core.context import FlagContext
from helios.flags.core.definition import Decision, FlagDefinition, Strategy
from helios.flags.core.evaluation import compile_flags
from helios.flags.core.evaluation_context import NOWHERE, EvaluationContext
from helios.flags.core.parts import (
    Constraint,
    Operator,
    Override,
    Payload,
    Prerequisite,
    Rule,
    ScheduleStep,
    Segment,
    Variant,
)

NO_FLAGS: Mapping[str, FlagDefinition] = MappingProxyType({})
NO_SEGMENTS: Mapping[str, Segment] = MappingProxyType({})
WORDS = ["", "AAPL", "aapl", "ada", "12", "12.5", "-3", "1e1", "1.2.3", "1.2.3-rc.1", "2.0.0+build", "10.0.0.7", "::1"]
MOMENTS = ["2026-01-01T00:00:00Z", "2026-03-01T12:00:00+02:00", "2026-05-01T00:00:00.500Z", "yesterday"]
NAMES = ["userId", "user", "symbol", "environment", "currentTime", "desk", "sessionId", "remoteAddress"]
FLAGS = ["alpha", "beta", "gamma"]
SEGMENTS = ["crypto", "large_caps"]


def evaluate(
    flag: FlagDefinition,
    context: FlagContext,
    now: datetime,
    *,
    others: Mapping[str, FlagDefinition] = NO_FLAGS,
    segments: Mapping[str, Segment] = NO_SEGMENTS,
    evaluation_context: EvaluationContext = NOWHERE,
) -> Decision:
    """Whether the flag is on for this context, and why; `others` are the flags that it may ask."""
    return compile_flags({**others, flag.name: flag}, segments, evaluation_context)[flag.name].decide(context, now)


words = st.sampled_from(WORDS)
moments = st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
shares = st.integers(0, 100)
contexts = st.builds(
    FlagContext,
    symbol=st.sampled_from(["", "AAPL", "MSFT", "BTC/USD", "é"]),
    user=st.sampled_from(["", "ada", "12"]),
    strategy=st.sampled_from(["", "helios"]),
    system=st.sampled_from(["", "replay"]),
    environment=st.sampled_from(["", "dev", "prod"]),
    attributes=st.dictionaries(st.sampled_from(NAMES), words | st.sampled_from(MOMENTS), max_size=4),
)


@st.composite
def constraints(draw: st.DrawFn) -> Constraint:
    operator = draw(st.sampled_from([*Operator, "NOT_YET_INVENTED"]))
    return Constraint(
        context_name=draw(st.sampled_from(NAMES)),
        operator=operator,
        values=tuple(draw(st.lists(words | st.sampled_from(["10.0.0.0/8", "::/0"]), max_size=3))),
        value=draw(_limits(operator)),
        inverted=draw(st.booleans()),
        case_insensitive=draw(st.booleans()),
    )


def _limits(operator: str) -> st.SearchStrategy[str]:
    if operator.startswith("DATE"):
        return st.sampled_from(MOMENTS)
    if operator == "REGEX":
        return st.sampled_from(["a+", "^A", "L$", "[0-9]+", "1[.]2", "("])
    return words


@st.composite
def variant_lists(draw: st.DrawFn) -> tuple[Variant, ...]:
    names = draw(st.lists(st.sampled_from(["red", "green", "blue", "disabled"]), max_size=3, unique=True))
    stickiness = draw(st.sampled_from(["default", "default", "userId", "desk", "random"]))
    return tuple(
        Variant(
            name=name,
            weight=draw(st.sampled_from([0, 1, 33, 500, 1000])),
            stickiness=stickiness,
            payload=draw(st.none() | st.builds(Payload, type=st.just("string"), value=words)),
            overrides=draw(st.just(()) | st.tuples(overrides)),
        )
        for name in names
    )


overrides = st.builds(
    Override, context_name=st.sampled_from(NAMES), values=st.tuples(st.sampled_from(["AAPL", "ada", "12"]))
)
parameters = st.fixed_dictionaries(
    {},
    optional={
        "percentage": shares.map(str),
        "rollout": shares.map(str) | st.just("half"),
        "groupId": st.sampled_from(["g", "é"]),
        "stickiness": st.sampled_from(["default", "random", "userId", "desk"]),
        "userIds": st.sampled_from(["ada", "12, ada"]),
        "IPs": st.sampled_from(["10.0.0.0/8, nonsense", "::1"]),
        "hostNames": st.sampled_from(["Here, there", "elsewhere"]),
    },
)
rules = st.builds(
    Rule,
    name=st.sampled_from([*STRATEGY_NAMES, "homeMade"]),
    parameters=parameters,
    constraints=st.lists(constraints(), max_size=2).map(tuple),
    segments=st.lists(st.sampled_from([*SEGMENTS, "gone"]), max_size=1).map(tuple),
    variants=variant_lists(),
)
prerequisites = st.builds(
    Prerequisite,
    feature=st.sampled_from([*FLAGS, "gone"]),
    enabled=st.booleans(),
    variants=st.lists(st.sampled_from(["red", "disabled"]), max_size=1).map(tuple),
)


@st.composite
def schedules(draw: st.DrawFn) -> tuple[ScheduleStep, ...]:
    times = sorted(draw(st.sets(moments, max_size=4)))
    return tuple(ScheduleStep(at=at, percentage=draw(shares)) for at in times)


@st.composite
def definitions(draw: st.DrawFn, name: str) -> FlagDefinition:
    strategy = draw(st.sampled_from([*Strategy, Strategy.RULES, Strategy.PERCENTAGE]))
    start, percentage = draw(st.none() | moments), draw(shares)
    entries = st.frozensets(st.sampled_from(["AAPL", "MSFT", "ada", "helios"]), max_size=3)
    return FlagDefinition(
        name=name,
        enabled=draw(st.sampled_from([True, True, True, False])) and strategy is not Strategy.KILL_SWITCH,
        strategy=strategy,
        percentage=percentage,
        whitelist=draw(entries),
        blacklist=draw(entries),
        gradual_from=draw(st.integers(0, percentage)),
        gradual_start=start,
        gradual_end=start + timedelta(hours=draw(st.integers(1, 500))) if start else None,
        schedule=draw(st.just(()) | schedules()),
        stickiness=draw(st.sampled_from(["", "userId", "desk"])),
        group_id=draw(st.sampled_from(["", "g"])),
        environments=draw(st.just(frozenset()) | st.frozensets(st.sampled_from(["dev", "prod"]), max_size=2)),
        prerequisites=tuple(draw(st.just([]) | st.lists(prerequisites, max_size=2))),
        constraints=tuple(draw(st.just([]) | st.lists(constraints(), max_size=2))),
        segments=tuple(draw(st.just([]) | st.lists(st.sampled_from([*SEGMENTS, "gone"]), max_size=1))),
        rules=tuple(draw(st.lists(rules, max_size=2))),
        variants=draw(variant_lists()),
    )


@st.composite
def tables(draw: st.DrawFn) -> dict[str, FlagDefinition]:
    """Three flags that may ask each other, in circles too."""
    return {name: draw(definitions(name)) for name in FLAGS}


@st.composite
def segment_tables(draw: st.DrawFn) -> dict[str, Segment]:
    return {name: Segment(name=name, constraints=tuple(draw(st.lists(constraints(), max_size=2)))) for name in SEGMENTS}
