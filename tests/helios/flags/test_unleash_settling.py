"""States made fit for the tables: what is changed answers as it did, and everything that is left can be written."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios.flags.core import constraints
from helios.flags.core.activation import problem as problem_of_rule
from helios.flags.core.context import FlagContext
from helios.flags.core.definition import FlagDefinition, Strategy
from helios.flags.core.evaluation import compile_flags
from helios.flags.core.evaluation_context import EvaluationContext
from helios.flags.core.parts import Constraint, Rule, Segment
from helios.flags.unleash.settling import settle
from helios.flags.unleash.state import State
from tests.support import flags as made

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FLAGS = ["alpha", "beta"]


@st.composite
def states(draw: st.DrawFn) -> State:
    """Flags by rules that use segments and each other, also such as are not there."""
    features = {
        name: FlagDefinition(
            name=name,
            enabled=True,
            strategy=Strategy.RULES,
            rules=tuple(draw(st.lists(made.rules, max_size=3))),
            prerequisites=tuple(draw(st.lists(made.prerequisites, max_size=1))) if name == "beta" else (),
        )
        for name in FLAGS
    }
    return State(features=features, segments=draw(made.segment_tables()))


@given(state=states(), context=made.contexts)
def test_a_settled_state_answers_as_it_did_and_can_be_written(state: State, context: FlagContext) -> None:
    settled = settle(state, FLAGS)
    before = compile_flags(state.features, state.segments, EvaluationContext())
    after = compile_flags(settled.features, settled.segments, EvaluationContext())
    for name in FLAGS:
        assert after[name].decide(context, NOW).enabled is before[name].decide(context, NOW).enabled
    held = [each for segment in settled.segments.values() for each in segment.constraints]
    for flag in settled.features.values():
        held += [*flag.constraints, *(each for rule in flag.rules for each in rule.constraints)]
        assert not [problem for rule in flag.rules if (problem := problem_of_rule(rule))]
        assert {name for rule in flag.rules for name in rule.segments} <= settled.segments.keys()
        assert {each.feature for each in flag.prerequisites} <= settled.features.keys()
    assert not [problem for each in held if (problem := constraints.problem(each))]


@given(state=states())
def test_what_can_be_written_stays_as_it_is(state: State) -> None:
    once = settle(state, FLAGS)
    again = settle(State(features=once.features, segments=once.segments), FLAGS)
    assert (again.features, again.segments) == (once.features, once.segments)
    assert not any(again.notes.values())


@pytest.mark.parametrize(("given", "share"), [("half", "0"), ("", "0"), ("150", "100"), ("-3", "0"), ("1e9", "100")])
def test_a_share_out_of_range_is_what_it_served(given: str, share: str) -> None:
    rule = Rule(name="flexibleRollout", parameters={"rollout": given, "groupId": "g"})
    flag = FlagDefinition(name="a", strategy=Strategy.RULES, rules=(rule,))
    settled = settle(State(features={"a": flag}, segments={}), ())
    assert settled.features["a"].rules[0].parameters == {"rollout": share, "groupId": "g"}
    assert settled.notes[FlagDefinition, "a"] == [
        f"strategies[0].parameters.rollout must be a number from 0 to 100, was {given!r}: {share} % are served"
    ]


@pytest.mark.parametrize(
    ("constraint", "note"),
    [
        (Constraint(context_name="p", operator="NUM_GT", value="x"), "value must be a number, was 'x': it never holds"),
        (
            Constraint(context_name="p", operator="NUM_GT", value="x", inverted=True),
            "value must be a number, was 'x': it always holds",
        ),
        (
            Constraint(context_name="p", operator="IN_CIDR", values=("10.0.0.0/8", "ten")),
            "values must be networks such as 10.0.0.0/8, one was 'ten': it is left out",
        ),
        (
            Constraint(context_name="", operator="IN"),
            "contextName must name a field of the context, was empty: it never holds",
        ),
    ],
)
def test_a_note_says_where_and_what_it_means(constraint: Constraint, note: str) -> None:
    segment = Segment(name="s", constraints=(constraint,))
    assert settle(State(features={}, segments={"s": segment}), ()).notes[Segment, "s"] == [f"constraints[0].{note}"]
