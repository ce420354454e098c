"""Prepared evaluation against its plain twin, and what preparing must never change."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios.flags.core.context import NOBODY, FlagContext
from helios.flags.core.definition import FlagDefinition, Reason, Strategy
from helios.flags.core.evaluation import compile_flags
from helios.flags.core.evaluation_context import EvaluationContext
from helios.flags.core.parts import Constraint, Prerequisite, Rule, ScheduleStep, Segment, Variant
from tests.support import flags as made
from tests.support.flags import evaluate
from tests.support.plain_flags import World, constraint_holds, is_on, variant_name

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = datetime(2027, 3, 1, 12, tzinfo=UTC)
HERE = EvaluationContext(environment="prod", hostname="here", draw=lambda: 0.37)


@given(
    flags=made.tables(),
    segments=made.segment_tables(),
    context=made.contexts,
    now=made.moments,
    chains=st.booleans(),
)
def test_prepared_flags_answer_like_their_plain_twin(
    flags: dict[str, FlagDefinition], segments: dict[str, Segment], context: FlagContext, now: datetime, chains: bool
) -> None:
    """And what they promise holds: a fixed answer is the answer, and one that needs no clock is the same later."""
    world = World(flags, segments, HERE, now, chains)
    for name, flag in compile_flags(flags, segments, HERE, chains=chains).items():
        decision, chosen = flag.decide(context, now), flag.choose(context, now)
        assert (decision.enabled, decision.rule) == is_on(name, context, world)
        assert chosen.name == variant_name(name, context, world)
        assert flag.fixed in {None, decision.enabled}
        assert flag.timed or (flag.decide(context, LATER), flag.choose(context, LATER)) == (decision, chosen)


@given(constraint=made.constraints(), context=made.contexts, now=made.moments)
def test_a_prepared_constraint_holds_like_its_plain_twin(
    constraint: Constraint, context: FlagContext, now: datetime
) -> None:
    flag = FlagDefinition(name="a", enabled=True, constraints=(constraint,))
    expected = constraint_holds(constraint, context, World({}, {}, HERE, now))
    assert evaluate(flag, context, now, evaluation_context=HERE).enabled is expected


BAR = Constraint(context_name="currentTime", operator="DATE_AFTER", value="2026-06-01T00:00:00Z")
TIMED = FlagDefinition(name="timed", enabled=True, constraints=(BAR,))


@pytest.mark.parametrize(
    "flag",
    [
        TIMED,
        FlagDefinition(name="a", enabled=True, segments=("season",)),
        FlagDefinition(name="a", enabled=True, prerequisites=(Prerequisite(feature="timed"),)),
        FlagDefinition(
            name="a", enabled=True, strategy=Strategy.RULES, rules=(Rule(name="default", constraints=(BAR,)),)
        ),
        FlagDefinition(
            name="a", enabled=True, strategy=Strategy.RULES, rules=(Rule(name="default", segments=("season",)),)
        ),
        FlagDefinition(
            name="a", enabled=True, strategy=Strategy.PERCENTAGE, schedule=(ScheduleStep(at=LATER, percentage=100),)
        ),
    ],
)
def test_what_hangs_on_the_time_says_so(flag: FlagDefinition) -> None:
    segments = {"season": Segment(name="season", constraints=(BAR,))}
    prepared = compile_flags({"timed": TIMED, flag.name: flag}, segments, HERE)[flag.name]
    assert prepared.timed
    assert [prepared.decide(NOBODY, moment).enabled for moment in (NOW, LATER)] == [False, True]


def test_constraints_environments_segments_and_prerequisites_stand_in_front_of_every_strategy() -> None:
    apart = {"name": "a", "enabled": True}
    bar = Constraint(context_name="desk", operator="IN", values=("crypto",))
    others = {"parent": FlagDefinition(name="parent")}
    segments = {"crypto": Segment(name="crypto", constraints=(bar,))}
    serving = [
        {"strategy": Strategy.ALL_ON},
        {"strategy": Strategy.PERCENTAGE, "percentage": 100},
        {"strategy": Strategy.WHITELIST, "whitelist": frozenset({"AAPL"})},
        {"strategy": Strategy.BLACKLIST},
        {"strategy": Strategy.RULES},
    ]
    gates = [
        ({"constraints": (bar,)}, Reason.CONSTRAINT, "desk IN crypto"),
        ({"segments": ("crypto",)}, Reason.SEGMENT, "crypto"),
        ({"segments": ("gone",)}, Reason.SEGMENT, "gone"),
        ({"environments": frozenset({"dev"})}, Reason.ENVIRONMENT, ""),
        ({"prerequisites": (Prerequisite(feature="parent"),)}, Reason.PREREQUISITE, "parent"),
        ({"prerequisites": (Prerequisite(feature="gone"),)}, Reason.PREREQUISITE, "gone"),
    ]
    aapl = FlagContext(symbol="AAPL")
    for fields in serving:
        assert evaluate(FlagDefinition(**apart, **fields), aapl, NOW, evaluation_context=HERE)
        for gate, reason, detail in gates:
            flag = FlagDefinition(**apart, **fields, **gate)
            decision = evaluate(flag, aapl, NOW, others=others, segments=segments, evaluation_context=HERE)
            assert (decision.enabled, decision.reason, decision.detail) == (False, reason, detail)


def test_a_killed_or_disabled_flag_says_so_whatever_stands_in_front() -> None:
    gate = {"environments": frozenset({"dev"})}
    assert evaluate(FlagDefinition(name="a", **gate), NOBODY, NOW).reason is Reason.DISABLED
    killed = FlagDefinition(name="a", strategy=Strategy.KILL_SWITCH, **gate)
    assert evaluate(killed, NOBODY, NOW).reason is Reason.KILLED


@pytest.mark.parametrize(("environment", "on"), [("dev", True), ("prod", False), ("", False)])
def test_a_context_without_an_environment_has_that_of_its_process(environment: str, on: bool) -> None:
    flag = FlagDefinition(name="a", enabled=True, environments=frozenset({"dev"}))
    by_constraint = FlagDefinition(
        name="a",
        enabled=True,
        constraints=(Constraint(context_name="environment", operator="IN", values=("dev",)),),
    )
    around = EvaluationContext(environment=environment)
    for each in (flag, by_constraint):
        assert evaluate(each, NOBODY, NOW, evaluation_context=around).enabled is on
        assert evaluate(each, FlagContext(environment="dev"), NOW, evaluation_context=around)
        assert not evaluate(each, FlagContext(environment="staging"), NOW, evaluation_context=around)


@given(constraint=made.constraints(), context=made.contexts, now=made.moments)
def test_an_inverted_constraint_is_the_opposite_unless_nobody_knows_its_operator(
    constraint: Constraint, context: FlagContext, now: datetime
) -> None:
    answers = [
        evaluate(
            FlagDefinition(
                name="a",
                enabled=True,
                constraints=(
                    Constraint(
                        context_name=constraint.context_name,
                        operator=constraint.operator,
                        values=constraint.values,
                        value=constraint.value,
                        case_insensitive=constraint.case_insensitive,
                        inverted=inverted,
                    ),
                ),
            ),
            context,
            now,
        ).enabled
        for inverted in (False, True)
    ]
    known = constraint.operator != "NOT_YET_INVENTED"
    assert sorted(answers) == ([False, True] if known else [False, False])


def test_the_variant_of_a_rule_comes_before_that_of_the_flag() -> None:
    red, blue = Variant(name="red", weight=1), Variant(name="blue", weight=1)
    vip = Constraint(context_name="userId", operator="IN", values=("ada",))
    flag = FlagDefinition(
        name="a",
        enabled=True,
        strategy=Strategy.RULES,
        variants=(blue,),
        rules=(Rule(name="default", constraints=(vip,), variants=(red,)), Rule(name="default")),
    )
    prepared = compile_flags({"a": flag}, {}, HERE)["a"]
    assert prepared.choose(FlagContext(user="ada"), NOW).name == "red"
    assert prepared.choose(FlagContext(user="bob"), NOW).name == "blue"
    assert prepared.decide(FlagContext(user="bob"), NOW).detail == "rule 2: default"
