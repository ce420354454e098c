"""Unleash's JSON read and written: what comes back is what went out, and what is wrong is named by its path."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios.flags.core.codec import (
    constraint_from_json,
    constraint_to_json,
    prerequisite_from_json,
    prerequisite_to_json,
    rule_from_json,
    rule_to_json,
    step_from_json,
    variant_from_json,
    variant_to_json,
)
from helios.flags.core.context import FlagContext
from helios.flags.core.definition import FlagDefinition, Strategy
from helios.flags.core.parts import Constraint, Prerequisite, Rule, ScheduleStep, Variant
from helios.flags.unleash.context import context_from_json
from helios.flags.unleash.state import feature_from_json, parse_state, segment_from_json, segment_to_json
from tests.support import flags as made

Json = dict


@given(constraint=made.constraints())
def test_a_constraint_comes_back_as_it_was_written(constraint: Constraint) -> None:
    assert constraint_from_json(constraint_to_json(constraint), strict=False) == constraint


@given(variants=made.variant_lists())
def test_a_variant_comes_back_as_it_was_written(variants: tuple[Variant, ...]) -> None:
    assert tuple(variant_from_json(variant_to_json(each)) for each in variants) == variants


@given(prerequisite=made.prerequisites)
def test_a_prerequisite_comes_back_as_it_was_written(prerequisite: Prerequisite) -> None:
    assert prerequisite_from_json(prerequisite_to_json(prerequisite)) == prerequisite


@given(step=st.builds(ScheduleStep, at=made.moments, percentage=made.shares))
def test_a_step_comes_back_as_it_was_written(step: ScheduleStep) -> None:
    assert step_from_json({"at": step.at.isoformat(), "percentage": step.percentage}) == step


@given(rule=made.rules)
def test_a_rule_comes_back_as_it_was_written(rule: Rule) -> None:
    assert rule_from_json(rule_to_json(rule), strict=False) == rule


def feature(flag: FlagDefinition) -> Json:
    """A flag whose strategy is its rules as a feature of a state file."""
    return {
        "name": flag.name,
        "enabled": flag.enabled,
        "strategies": [rule_to_json(each) for each in flag.rules],
        "variants": [variant_to_json(each) for each in flag.variants],
        "dependencies": [prerequisite_to_json(each) for each in flag.prerequisites],
        "segments": list(flag.segments),
    }


@given(rules=st.lists(made.rules, max_size=2), variants=made.variant_lists(), enabled=st.booleans())
def test_a_feature_comes_back_as_it_was_written(
    rules: list[Rule], variants: tuple[Variant, ...], enabled: bool
) -> None:
    flag = FlagDefinition(
        name="a",
        enabled=enabled,
        strategy=Strategy.RULES,
        rules=tuple(rules),
        variants=variants,
        segments=("crypto",),
        prerequisites=(Prerequisite(feature="b"),),
    )
    assert feature_from_json(feature(flag), strict=False) == flag


def test_a_segment_comes_back_as_it_was_written() -> None:
    plain = {"id": 7, "name": "crypto", "constraints": [{"contextName": "desk", "operator": "IN", "values": ["c"]}]}
    segment = segment_from_json(plain)
    assert segment_from_json(segment_to_json(segment, 7)) == segment
    assert segment_to_json(segment, 7)["id"] == 7


STATE: Json = {
    "version": 2,
    "features": [
        {
            "name": "a",
            "description": "the first",
            "type": "release",
            "enabled": True,
            "strategies": [{"name": "default", "segments": [3], "parameters": {}}],
            "variants": None,
            "dependencies": [{"feature": "b"}],
        },
        {"name": "b", "enabled": False},
    ],
    "segments": [{"id": 3, "name": "crypto", "constraints": []}],
}


def test_a_state_is_read_with_its_segments_by_name() -> None:
    state = parse_state(STATE)
    assert list(state.features) == ["a", "b"]
    assert state.features["a"].rules[0].segments == ("crypto",)
    assert state.features["a"].prerequisites == (Prerequisite(feature="b"),)
    assert state.features["a"].strategy is Strategy.RULES
    assert list(state.segments) == ["crypto"]
    assert state.descriptions == {"a": "the first", "b": ""}


def test_segments_without_a_name_of_their_own_are_called_after_their_number() -> None:
    segments = [{"id": 1, "name": "twin"}, {"id": 2, "name": "twin"}, {"id": 3}]
    feature = {"name": "a", "strategies": [{"name": "default", "segments": [1, 2, 3, 4]}]}
    state = parse_state({"features": [feature], "segments": segments}, strict=False)
    assert list(state.segments) == ["#1", "#2", "#3"]
    assert state.features["a"].rules[0].segments == ("#1", "#2", "#3", "#4")


def at(path: str, value: object) -> Json:
    """The state above with one field replaced; the path is that of the sentence."""
    data = copy.deepcopy(STATE)
    place: object = data
    *way, last = path.replace("]", "").replace("[", ".").split(".")
    for part in way:
        place = place[int(part) if isinstance(place, list) else part]
    place[int(last) if isinstance(place, list) else last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("features", {}, "features must be a list"),
        ("features[0]", 1, "features[0] must be an object, was 1"),
        ("features[0].name", None, "features[0].name must be a text, was missing"),
        ("features[0].name", "a b", "features[0].name must be 1 to 100 letters, digits or _ . ~ -, was 'a b'"),
        ("features[1].name", "a", "features must have names of their own, came twice: a"),
        ("features[0].enabled", "yes", "features[0].enabled must be true or false, was 'yes'"),
        ("features[0].strategies", {}, "features[0].strategies must be a list, was {}"),
        ("features[0].strategies[0].name", "mine", "features[0].strategies[0].name must be one of default, "),
        ("features[0].strategies[0].parameters", [1], "features[0].strategies[0].parameters must be an object"),
        (
            "features[0].strategies[0].parameters",
            {"x": [1]},
            "features[0].strategies[0].parameters.x must be a text, was [1]",
        ),
        ("features[0].strategies[0].segments", ["a", 2.5], "segments[1] must be the name or the number of a segment"),
        ("features[0].strategies[0].segments", [9], "segments[0] must be the number of a segment of the file, was 9"),
        ("features[0].variants", [{"name": "x"}], "features[0].variants[0].weight must be a whole number from 0 to"),
        ("features[0].variants", [{"name": "x", "weight": True}], "weight must be a whole number from 0 to"),
        ("features[0].variants", [{"name": "x", "weight": -1}], "weight must be a whole number from 0 to"),
        ("features[0].variants", [{"name": "", "weight": 1}], "variants[0].name must be a text of at least one"),
        (
            "features[0].variants",
            [{"name": "x", "weight": 1, "payload": "p"}],
            "features[0].variants[0].payload must be an object, was 'p'",
        ),
        (
            "features[0].variants",
            [{"name": "x", "weight": 1, "overrides": [{}]}],
            "features[0].variants[0].overrides[0].contextName must be a text, was missing",
        ),
        ("features[0].dependencies", [{"feature": ""}], "dependencies[0].feature must be the name of a flag, was ''"),
        ("segments[0].constraints", [{"contextName": "x"}], "segments[0].constraints[0].operator must be a text"),
        (
            "segments[0].constraints",
            [{"contextName": "x", "operator": "LIKE"}],
            "segments[0].constraints[0].operator must be one of IN, ",
        ),
        (
            "segments[0].constraints",
            [{"contextName": "x", "operator": "NUM_GT", "value": "ten"}],
            "segments[0].constraints[0].value must be a number, was 'ten'",
        ),
        ("segments[0].name", ["x" * 99], "segments[0].name must be a text, was ['xxx"),
    ],
)
def test_what_is_wrong_is_named_by_its_path_in_one_sentence(path: str, value: object, sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_state(at(path, value))
    assert sentence in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("read", "data", "sentence"),
    [
        (constraint_from_json, None, "constraint must be an object, was None"),
        (rule_from_json, {"name": "flexibleRollout", "parameters": {"rollout": "101"}}, "rule.parameters.rollout must"),
        (rule_from_json, {"name": "gradualRolloutUserId"}, "rule.parameters.percentage must be a number from 0 to 100"),
        (step_from_json, {"at": "tomorrow", "percentage": 1}, "schedule.at must be a moment in RFC 3339 with a zone"),
        (step_from_json, {"at": "2026-01-01T00:00:00Z", "percentage": 101}, "schedule.percentage must be a whole"),
        (step_from_json, {"percentage": 1}, "schedule.at must be a text, was missing"),
        (context_from_json, {"properties": {"p": {}}}, "context.properties.p must be a text, was {}"),
    ],
)
def test_parts_read_alone_name_themselves(read: Callable[[object], object], data: object, sentence: str) -> None:
    with pytest.raises(ValueError, match="^" + sentence.replace(".", r"\.")):
        read(data)


def test_a_reader_that_is_not_strict_takes_what_a_client_would_evaluate_as_false() -> None:
    rule = {
        "name": "mine",
        "constraints": [{"contextName": "", "operator": "LIKE", "value": 3}],
        "parameters": {"rollout": 50, "flag": True, "none": None},
        "segments": [9],
    }
    read = rule_from_json(rule, strict=False)
    assert read.parameters == {"rollout": "50", "flag": "true", "none": ""}
    assert read.constraints[0].value == "3"
    assert read.segments == ("#9",)


def test_a_context_keeps_every_value_under_the_name_that_unleash_gave_it() -> None:
    data = {
        "userId": 7,
        "sessionId": "s",
        "environment": "prod",
        "properties": {"symbol": "AAPL", "desk": "crypto", "sessionId": "other", "none": None},
    }
    context = context_from_json(data)
    assert context == FlagContext(
        user="7",
        symbol="AAPL",
        environment="prod",
        attributes={
            "userId": "7",
            "sessionId": "s",
            "environment": "prod",
            "symbol": "AAPL",
            "desk": "crypto",
        },
    )
    assert [context.value(name) for name in ("userId", "user", "desk", "none")] == ["7", "7", "crypto", ""]


def test_a_property_called_user_is_not_the_user_id() -> None:
    context = context_from_json({"userId": "7", "properties": {"user": "ada"}})
    assert [context.value(name) for name in ("userId", "user")] == ["7", "ada"]
