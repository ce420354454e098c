"""Unleash's client specification, version 6.1.0: its own files where they are here, and cases of the same shape.

The cases below are ours, one group for each part of the specification whose file is not in shared/reference.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from helios.flags.core.evaluation_context import EvaluationContext
from helios.flags.unleash.conformance import fold_events, run
from tests.support.places import SHARED

REFERENCE = SHARED / "reference" / "unleash"
SUITES = sorted(REFERENCE.glob("[0-9]*.json"))
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HERE = EvaluationContext(hostname="here.example", draw=lambda: 0.5)
Json = dict


def feature(name: str, *strategies: Json, **fields: object) -> Json:
    return {"name": name, "enabled": True, "strategies": list(strategies), **fields}


def default(*constraints: Json, **fields: object) -> Json:
    return {"name": "default", "parameters": {}, "constraints": list(constraints), **fields}


def constraint(name: str, operator: str, *values: str, value: str = "", **fields: object) -> Json:
    return {"contextName": name, "operator": operator, "values": list(values), "value": value, **fields}


def rollout(share: object, stickiness: str = "default", group: str = "g", **fields: object) -> Json:
    parameters = {"rollout": str(share), "stickiness": stickiness, "groupId": group}
    return {"name": "flexibleRollout", "parameters": parameters, **fields}


def answers(state: Json, *questions: tuple[str, Json]) -> list[bool]:
    """What the flags answer, told by the runner itself: each question is asked as a test that expects true."""
    data = {
        "name": "ours",
        "state": state,
        "tests": [{"description": "", "toggleName": n, "context": c, "expectedResult": True} for n, c in questions],
    }
    outcome = run(data, NOW, HERE)
    failed = [(failure.flag, failure.context) for failure in outcome.failures]
    return [question not in failed for question in questions]


def asked(state: Json, name: str, contexts: list[Json]) -> list[bool]:
    return answers(state, *[(name, context) for context in contexts])


def properties(*values: object) -> list[Json]:
    return [{"properties": {"p": value}} for value in values]


def variant_names(state: Json, name: str, contexts: list[Json]) -> list[str]:
    cases = [
        {"description": "", "toggleName": name, "context": {**context, "properties": {"n": number}}}
        for number, context in enumerate(contexts)
    ]
    data = {"name": "ours", "state": state, "variantTests": [{**case, "expectedResult": {}} for case in cases]}
    outcome = run(data, NOW, HERE)
    assert outcome.passed == 0
    return [str(failure.got["name"]) for failure in outcome.failures]


@pytest.mark.skipif(not SUITES, reason="Unleash's client specification is not here (shared/reference/unleash)")
@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_file_of_the_specification_passes(path: Path) -> None:
    outcome = run(json.loads(path.read_bytes()), NOW, HERE)
    assert outcome.failures == ()
    assert outcome.passed > 3


def test_04_a_share_of_sessions_needs_a_session() -> None:
    parameters = {"percentage": "50", "groupId": "sessions"}
    state = {"features": [feature("f", {"name": "gradualRolloutSessionId", "parameters": parameters})]}
    served = asked(state, "f", [{"sessionId": str(number)} for number in range(200)])
    assert 70 < sum(served) < 130
    assert asked(state, "f", [{}, {"userId": "1"}, {"sessionId": ""}]) == [False] * 3
    parameters["percentage"] = "100"
    assert asked(state, "f", [{"sessionId": "1"}, {}]) == [True, False]
    parameters["percentage"] = "0"
    assert asked(state, "f", [{"sessionId": str(number)} for number in range(50)]) == [False] * 50


def test_11_constraints_at_their_edges() -> None:
    state = {
        "features": [
            feature("in_none", default(constraint("p", "IN"))),
            feature("not_in_none", default(constraint("p", "NOT_IN"))),
            feature("case", default(constraint("p", "IN", "Norway"))),
            feature("spaces", default(constraint("p", "IN", "a b"))),
            feature("null_values", default({"contextName": "p", "operator": "IN", "values": None})),
            feature("no_values", default({"contextName": "p", "operator": "NOT_IN"})),
            feature("none", default()),
            feature("null_constraints", {"name": "default", "constraints": None, "parameters": None}),
        ]
    }
    assert asked(state, "in_none", [{}, *properties("x", None)]) == [False] * 3
    assert asked(state, "not_in_none", [{}, *properties("x", None)]) == [True] * 3
    assert asked(state, "case", properties("Norway", "norway")) == [True, False]
    assert asked(state, "spaces", properties("a b", "a")) == [True, False]
    assert asked(state, "null_values", properties("a")) == [False]
    assert asked(state, "no_values", properties("a")) == [True]
    assert asked(state, "none", [{}]) == asked(state, "null_constraints", [{}]) == [True]


def test_12_custom_stickiness_holds_rollouts_and_variants_together() -> None:
    variants = [{"name": name, "weight": 25, "stickiness": "desk"} for name in ("blue", "red", "green", "yellow")]
    state = {"features": [feature("f", rollout(50, "desk"), variants=variants)]}
    desks = [{"properties": {"desk": str(number)}} for number in range(100)]
    served = asked(state, "f", desks)
    assert 30 < sum(served) < 70
    assert served == asked(state, "f", [{"userId": "someone", **desk} for desk in desks])
    assert asked(state, "f", [{}, {"userId": "1"}, {"properties": {"desk": None}}]) == [False] * 3
    everybody = {"features": [feature("f", rollout(100, "desk"), variants=variants)]}
    assert asked(everybody, "f", [{"properties": {"desk": "7"}}, {}]) == [True, False]


@pytest.mark.parametrize(
    ("operator", "served"),
    [
        ("SEMVER_EQ", ["1.2.3", "1.2.3+build.5"]),
        ("SEMVER_GT", ["1.2.4", "1.10.0", "2.0.0-alpha"]),
        ("SEMVER_GTE", ["1.2.3", "1.2.3+build.5", "1.2.4", "1.10.0", "2.0.0-alpha"]),
        ("SEMVER_LT", ["1.2.3-rc.10", "1.2.3-rc.2", "1.2.2", "0.9.9"]),
        ("SEMVER_LTE", ["1.2.3-rc.10", "1.2.3-rc.2", "1.2.2", "0.9.9", "1.2.3", "1.2.3+build.5"]),
    ],
)
def test_14_versions_compare_by_semver(operator: str, served: list[str]) -> None:
    versions = [
        "1.2.3",
        "1.2.3+build.5",
        "1.2.4",
        "1.10.0",
        "2.0.0-alpha",
        "1.2.3-rc.10",
        "1.2.3-rc.2",
        "1.2.2",
        "0.9.9",
    ]
    broken = ["1.2", "v1.2.3", "1.2.3.4", "01.2.3", "latest", "", None]
    state = {"features": [feature("f", default(constraint("p", operator, value="1.2.3")))]}
    expected = [version in served for version in versions] + [False] * len(broken)
    assert asked(state, "f", properties(*versions, *broken)) == expected


def test_15_segments_are_anded_with_the_constraints_of_their_strategy() -> None:
    segments = [
        {"id": 1, "name": "one", "constraints": [constraint("userId", "IN", "1", "2")]},
        {"id": 2, "name": "two", "constraints": [constraint("p", "STR_STARTS_WITH", "a")]},
        {"id": 3, "name": "empty", "constraints": []},
    ]
    state = {
        "segments": segments,
        "features": [
            feature("both", default(segments=[1, 2])),
            feature("with", default(constraint("appName", "IN", "web"), segments=[1])),
            feature("empty", default(segments=[3])),
            feature("gone", default(segments=[1, 99])),
            feature("or", default(segments=[99]), default(segments=[1])),
        ],
    }
    one = {"userId": "1", "properties": {"p": "abc"}}
    assert asked(state, "both", [one, {**one, "userId": "3"}, {"userId": "1"}]) == [True, False, False]
    assert asked(state, "with", [{**one, "appName": "web"}, one]) == [True, False]
    assert asked(state, "empty", [{}]) == [True]
    assert asked(state, "gone", [one]) == [False]
    assert asked(state, "or", [one, {}]) == [True, False]


def test_16_variants_of_a_strategy_hide_those_of_the_feature() -> None:
    own = [{"name": "own", "weight": 1000}]
    state = {
        "features": [
            feature("f", default(constraint("userId", "IN", "1"), variants=own), default(), variants=[
                {"name": "general", "weight": 1000}
            ]),
            feature("none", default(constraint("userId", "IN", "1"), variants=own), default(variants=[])),
            feature("off", default(constraint("userId", "IN", "1"), variants=own)),
        ]
    }  # fmt: skip
    people = [{"userId": "1"}, {"userId": "2"}]
    assert variant_names(state, "f", people) == ["own", "general"]
    assert variant_names(state, "none", people) == ["own", "disabled"]
    assert variant_names(state, "off", people) == ["own", "disabled"]


def test_16_variants_of_a_strategy_hold_on_its_group_and_its_stickiness() -> None:
    halves = [{"name": name, "weight": 500, "stickiness": "default"} for name in ("red", "blue")]
    state = {
        "features": [
            feature("a", rollout(100, "sessionId", "group", variants=halves)),
            feature("b", rollout(100, "sessionId", "group", variants=halves)),
            feature("c", rollout(100, "sessionId", "another", variants=halves)),
        ]
    }
    sessions = [{"sessionId": str(number), "userId": "same"} for number in range(60)]
    by_a = variant_names(state, "a", sessions)
    assert set(by_a) == {"red", "blue"}
    assert variant_names(state, "b", sessions) == by_a
    assert variant_names(state, "c", sessions) != by_a


@pytest.mark.parametrize("name", ["blåbær", "функция", "機能", "feature 🚀 with spaces", "a/b?c", "x" * 300])
def test_18_any_name_is_evaluated(name: str) -> None:
    state = {"features": [feature(name, rollout(100, group="é"), variants=[{"name": name, "weight": 1}])]}
    assert answers(state, (name, {"userId": "1"}), (name + "!", {})) == [True, False]
    assert variant_names(state, name, [{"userId": "1"}]) == [name]


HYDRATION = {
    "type": "hydration",
    "eventId": 1,
    "features": [feature("a", default(segments=[1])), feature("b")],
    "segments": [{"id": 1, "name": "one", "constraints": [constraint("userId", "IN", "1")]}],
}


def test_19_a_hydration_is_a_whole_state() -> None:
    state = {"events": [HYDRATION]}
    assert answers(state, ("a", {"userId": "1"}), ("a", {}), ("b", {}), ("c", {})) == [True, False, True, False]
    again = {"events": [HYDRATION, {**HYDRATION, "eventId": 2, "features": [feature("c")]}]}
    assert answers(again, ("a", {"userId": "1"}), ("b", {}), ("c", {})) == [False, False, True]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"type": "feature-updated", "feature": feature("b", enabled=False)}, [True, False, False]),
        ({"type": "feature-updated", "feature": feature("c")}, [True, True, True]),
        ({"type": "feature-removed", "featureName": "b", "project": "default"}, [True, False, False]),
        ({"type": "feature-removed", "featureName": "gone", "project": "default"}, [True, True, False]),
        ({"type": "segment-removed", "segmentId": 1}, [False, True, False]),
        ({"type": "segment-removed", "segmentId": 9}, [True, True, False]),
        ({"type": "segment-updated", "segment": {"id": 1, "name": "one", "constraints": []}}, [True, True, False]),
        (
            {
                "type": "segment-updated",
                "segment": {"id": 1, "name": "one", "constraints": [constraint("userId", "IN", "2")]},
            },
            [False, True, False],
        ),
        ({"type": "not-yet-invented", "feature": feature("c")}, [True, True, False]),
    ],
)
def test_20_events_change_what_the_hydration_left(event: Json, expected: list[bool]) -> None:
    state = {"events": [HYDRATION, {"eventId": 2, **event}]}
    assert answers(state, ("a", {"userId": "1"}), ("b", {}), ("c", {})) == expected


def test_20_events_apply_in_their_order() -> None:
    events = [
        HYDRATION,
        {"type": "feature-removed", "eventId": 2, "featureName": "b"},
        {"type": "feature-updated", "eventId": 3, "feature": feature("b", enabled=False)},
        {"type": "feature-updated", "eventId": 4, "feature": feature("b")},
    ]
    assert [f["name"] for f in fold_events(events)["features"]] == ["a", "b"]
    assert answers({"events": events}, ("b", {})) == [True]


@pytest.mark.parametrize(
    ("pattern", "served", "refused"),
    [
        ("^A[A-Z]+L$", ["AAPL"], ["aapl", "AAPLE", "", None]),
        ("ap", ["wrap", "apple"], ["AP", "a p"]),
        ("^(BTC|ETH)[/-]USDT?$", ["BTC/USD", "ETH-USDT"], ["SOL/USD", "BTC/USDTT"]),
        ("\\d{2,3}", ["12", "x123"], ["1"]),
        ("(", [], ["(", "x"]),
        ("(?=a)a", [], ["a"]),  # look-around is not regular: no such pattern in RE2, nor in Unleash's engine
    ],
)
def test_21_patterns_match_anywhere_and_a_broken_one_never_does(
    pattern: str, served: list[str], refused: list[str | None]
) -> None:
    state = {"features": [feature("f", default(constraint("p", "REGEX", value=pattern)))]}
    assert asked(state, "f", properties(*served, *refused)) == [True] * len(served) + [False] * len(refused)


def test_21_patterns_may_ignore_case_and_be_inverted() -> None:
    state = {
        "features": [
            feature("any_case", default(constraint("p", "REGEX", value="^aapl$", caseInsensitive=True))),
            feature("not", default(constraint("p", "REGEX", value="^AAPL$", inverted=True))),
        ]
    }
    assert asked(state, "any_case", properties("AAPL", "aApL", "MSFT")) == [True, True, False]
    assert asked(state, "not", properties("AAPL", "MSFT", None)) == [False, True, True]


def test_22_addresses_are_inside_networks_of_their_own_kind() -> None:
    networks = ["10.0.0.0/8", "192.168.1.77", "2001:db8::/32", "nonsense", "10.0.0.0/99"]
    state = {
        "features": [
            feature("f", default(constraint("remoteAddress", "IN_CIDR", *networks))),
            feature("not", default(constraint("remoteAddress", "IN_CIDR", *networks, inverted=True))),
            feature("own", default(constraint("p", "IN_CIDR", "172.16.0.0/12"))),
        ]
    }
    inside = ["10.255.0.1", "192.168.1.77", "2001:db8::42"]
    outside = ["11.0.0.1", "192.168.1.78", "2001:db9::1", "::ffff:10.0.0.1", "010.0.0.1", "ten", ""]
    contexts = [{"remoteAddress": address} for address in [*inside, *outside]]
    assert asked(state, "f", contexts) == [True] * len(inside) + [False] * len(outside)
    assert asked(state, "not", contexts) == [False] * len(inside) + [True] * len(outside)
    assert asked(state, "own", properties("172.20.1.1", "172.32.1.1")) == [True, False]


def test_the_host_name_serves_by_its_own_strategy() -> None:
    hosts = {"name": "applicationHostname", "parameters": {"hostNames": "there, HERE.example"}}
    others = {"name": "applicationHostname", "parameters": {"hostNames": "there"}}
    assert answers({"features": [feature("f", hosts), feature("g", others)]}, ("f", {}), ("g", {})) == [True, False]


def test_chance_is_drawn_evenly_and_only_where_nothing_sticks() -> None:
    state = {"features": [feature("r", rollout(50, "random")), feature("d", rollout(50))]}
    data = {
        "name": "ours",
        "state": state,
        "tests": [
            {"description": "", "toggleName": name, "context": {"sessionId": ""}, "expectedResult": True}
            for name in ("r", "d")
        ],
    }
    for draw, passed in ((0.0, 2), (0.49, 2), (0.5, 0), (0.999, 0)):
        assert run(data, NOW, EvaluationContext(draw=lambda draw=draw: draw)).passed == passed


def test_numbers_and_booleans_of_a_context_are_text() -> None:
    state = {"features": [feature("f", default(constraint("p", "IN", "12", "true", "1.5")))]}
    assert asked(state, "f", properties(12, True, 1.5, False, None)) == [True, True, True, False, False]
    assert asked(state, "f", [{"p": 12}, {"p": 12, "properties": {"p": "x"}}, {"properties": None}]) == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([], r"the file must be an object, was \[\]"),
        ({"state": {}}, "the file must have tests or variantTests, had neither"),
        ({"tests": []}, "state must be an object, was None"),
        ({"tests": [], "state": {}}, "features must be a list, was None"),
        ({"tests": {}, "state": {"features": []}}, "^tests must be a list"),
        ({"tests": [{}], "state": {"features": []}}, r"tests\[0\].toggleName must be a text, was missing"),
        (
            {"tests": [{"toggleName": "a", "expectedResult": "yes"}], "state": {"features": []}},
            r"tests\[0\].expectedResult must be true or false, was 'yes'",
        ),
        (
            {"tests": [{"toggleName": "a", "context": {"userId": []}}], "state": {"features": []}},
            r"tests\[0\].context.userId must be a text, was \[\]",
        ),
        (
            {"variantTests": [{"toggleName": "a", "expectedResult": True}], "state": {"features": []}},
            r"variantTests\[0\].expectedResult must be an object",
        ),
        ({"tests": [], "state": {"features": [3]}}, r"features\[0\] must be an object, was 3"),
        (
            {"tests": [], "state": {"features": [{"name": "a", "strategies": [{}]}]}},
            r"features\[0\].strategies\[0\].name must be a text, was missing",
        ),
        ({"tests": [], "state": {"events": [{"type": "feature-updated"}]}}, r"events\[0\].feature must be an object"),
    ],
)
def test_a_file_of_another_shape_is_refused_in_one_sentence(data: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        run(data, NOW, HERE)
