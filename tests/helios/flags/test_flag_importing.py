"""Unleash's state files taken over: whole or not at all, and answering as they did there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helios import flags
from helios.control import generations
from helios.flags import segments, services
from helios.flags.core.context import FlagContext
from helios.flags.errors import InvalidFlagError
from helios.flags.models import FeatureFlag, FeatureFlagHistory, FlagSegment
from helios.flags.unleash import importing
from tests.support.places import SHARED

pytestmark = pytest.mark.django_db
SUITES = SHARED / "reference" / "unleash"
STATE: dict[str, Any] = {
    "version": 2,
    "features": [
        {
            "name": "Feature.A",
            "description": "by segment",
            "enabled": True,
            "strategies": [
                {"name": "default", "segments": [1]},
                {"name": "userWithId", "parameters": {"userIds": "ada"}},
            ],
            "variants": [{"name": "red", "weight": 1, "payload": {"type": "string", "value": "#f00"}}],
        },
        {"name": "Feature.B", "enabled": True, "strategies": [], "dependencies": [{"feature": "Feature.A"}]},
    ],
    "segments": [{"id": 1, "constraints": [{"contextName": "region", "operator": "IN", "values": ["asia"]}]}],
}


def outcomes(state: object, **options: Any) -> dict[str, str]:
    return {each.name: each.outcome for each in importing.import_state(state, actor="ada", **options)}


def test_features_and_segments_become_flags_and_segments_with_history() -> None:
    before = generations.read()["flags"].value
    assert outcomes(STATE) == {"segment-1": "created", "Feature.A": "created", "Feature.B": "created"}
    flag = FeatureFlag.objects.get(name="Feature.A")
    assert (flag.strategy, flag.description, flag.rules[0]["segments"]) == ("rules", "by segment", ["segment-1"])
    assert FlagSegment.objects.get().name == "segment-1"
    entry = FeatureFlagHistory.objects.filter(flag_id="Feature.A").get()
    assert (entry.action, entry.actor, entry.reason) == ("create", "ada", "imported")
    assert generations.read()["flags"].value == before + 1
    flags.refresh_if_behind()
    in_asia = FlagContext(attributes={"region": "asia"})
    assert flags.is_enabled("Feature.A", in_asia)
    assert flags.is_enabled("Feature.B", in_asia)
    assert flags.variant("Feature.A", in_asia).name == "red"
    assert flags.is_enabled("Feature.A", FlagContext(user="ada"))
    assert not flags.is_enabled("Feature.B", FlagContext(user="bob"))


def test_the_same_file_twice_changes_nothing_and_another_one_updates() -> None:
    outcomes(STATE)
    before = generations.read()["flags"].value
    assert set(outcomes(STATE).values()) == {"unchanged"}
    assert generations.read()["flags"].value == before
    changed = json.loads(json.dumps(STATE))
    changed["features"][1]["enabled"] = False
    assert outcomes({"name": "a suite", "state": changed}) == {
        "segment-1": "unchanged",
        "Feature.A": "unchanged",
        "Feature.B": "updated",
    }


def test_a_dry_run_tells_the_same_and_writes_nothing() -> None:
    before = generations.read()["flags"].value, FeatureFlagHistory.objects.count()
    assert outcomes(STATE, dry_run=True) == {"segment-1": "created", "Feature.A": "created", "Feature.B": "created"}
    assert (generations.read()["flags"].value, FeatureFlagHistory.objects.count()) == before
    assert not FlagSegment.objects.exists()


def test_shipped_flags_are_kept_unless_they_are_to_be_overwritten() -> None:
    state = {"features": [{"name": "garch_volatility", "enabled": False, "strategies": [{"name": "default"}]}]}
    assert outcomes(state) == {"garch_volatility": "kept"}
    assert FeatureFlag.objects.get(name="garch_volatility").enabled
    assert outcomes(state, overwrite=True) == {"garch_volatility": "updated"}
    assert not FeatureFlag.objects.get(name="garch_volatility").enabled
    services.install_missing(actor="ada")
    assert FeatureFlag.objects.get(name="garch_volatility").strategy == "rules"


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda state: state.pop("features"), "features must be a list, was None"),
        (lambda state: state["features"].append({"name": "with space"}), r"features\[2\].name must be 1 to 100"),
        (lambda state: state["features"].append({"name": "Feature.A"}), "came twice: Feature.A"),
        (lambda state: state["features"][0].update(strategies=[{"name": "homeMade"}]), "homeMade"),
        (lambda state: state["features"][0]["strategies"][0].update(segments=[9]), "number of a segment"),
        (lambda state: state["features"][1].update(dependencies=[{"feature": "gone"}]), "known ones, was 'gone'"),
        (lambda state: state["features"][0].update(dependencies=[{"feature": "Feature.B"}]), "circle"),
        (lambda state: state["segments"][0].update(name="Asia customers"), "a segment's name must be"),
        (lambda state: state["segments"][0]["constraints"][0].update(operator="LIKE"), "operator must be one of"),
        (lambda state: state["features"][1].update(enabled="yes"), "enabled must be true or false, was 'yes'"),
    ],
)
def test_a_file_with_one_mistake_is_refused_as_a_whole(spoil, sentence: str) -> None:
    state = json.loads(json.dumps(STATE))
    spoil(state)
    before = generations.read()["flags"].value
    with pytest.raises(InvalidFlagError, match=sentence) as caught:
        outcomes(state, strict=True)
    assert "\n" not in str(caught.value)
    assert generations.read()["flags"].value == before
    assert not FlagSegment.objects.exists()
    assert not FeatureFlag.objects.filter(name__startswith="Feature.").exists()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda state: state["features"].append({"name": "with space"}), r"features\[2\].name must be 1 to 100"),
        (lambda state: state["features"].append({"name": "Feature.A"}), "came twice: Feature.A"),
        (lambda state: state["features"][0].update(dependencies=[{"feature": "Feature.B"}]), "circle"),
        (lambda state: state["segments"][0].update(name="!!"), "a segment's name must be"),
        (lambda state: state["segments"].extend([{"id": 2, "name": "a b"}, {"id": 3, "name": "a-b"}]), "twice: a-b"),
        (lambda state: state["features"][1].update(enabled="yes"), "enabled must be true or false, was 'yes'"),
    ],
)
def test_what_has_no_meaning_here_is_refused_as_a_whole_however_lenient(spoil, sentence: str) -> None:
    state = json.loads(json.dumps(STATE))
    spoil(state)
    with pytest.raises(InvalidFlagError, match=sentence):
        outcomes(state)
    assert not FlagSegment.objects.exists()
    assert not FeatureFlag.objects.filter(name__startswith="Feature.").exists()


def test_what_is_not_known_here_is_written_as_what_it_means_with_a_note() -> None:
    later = {"contextName": "desk", "operator": "LIKE", "values": ["a"], "inverted": True}
    strategies = [{"name": "homeMade", "variants": [{"name": "x", "weight": 1}]}, {"name": "default", "segments": [9]}]
    state = {
        "features": [
            {"name": "Feature.A", "enabled": True, "strategies": strategies},
            {"name": "Feature.B", "enabled": True, "strategies": [{"name": "default", "constraints": [later]}]},
            {"name": "Feature.C", "enabled": True, "strategies": [], "dependencies": [{"feature": "gone"}]},
            {"name": "Feature.D", "enabled": True, "strategies": [{"name": "default", "segments": [1]}]},
        ],
        "segments": [{"id": 1, "name": "Asia customers", "constraints": []}],
    }
    told = {each.name: each.notes for each in importing.import_state(state, actor="ada")}
    assert told == {
        "Asia-customers": ("it was called 'Asia customers'",),
        "Feature.A": (
            "strategies[0]: no strategy is called 'homeMade' here: it serves nobody",
            "strategies[1].segments: segment #9 is not in the file: it holds for nobody",
        ),
        "Feature.B": ("strategies[0].constraints[0]: no operator is called 'LIKE' here: it never holds",),
        "Feature.C": ("it depends on gone, which is not there: on for nobody",),
        "Feature.D": (),
    }
    flags.refresh_if_behind()
    asked = FlagContext(user="ada", attributes={"desk": "b"})
    assert [flags.is_enabled(f"Feature.{each}", asked) for each in "ABCD"] == [False, False, False, True]
    services.kill("Feature.B", actor="ada")
    again = {"features": state["features"][2:], "segments": state["segments"]}
    assert set(outcomes(again).values()) == {"unchanged"}


def test_delta_events_are_taken_over_as_the_state_that_they_leave() -> None:
    feature = {"name": "Feature.E", "enabled": True, "strategies": [{"name": "default"}]}
    events = [
        {"type": "hydration", "eventId": 1, "features": [feature, {**feature, "name": "Feature.F"}], "segments": []},
        {"type": "feature-removed", "eventId": 2, "featureName": "Feature.F"},
    ]
    assert outcomes({"events": events}) == {"Feature.E": "created"}


@pytest.mark.parametrize("data", [None, 7, [], "text", {"state": 7}])
def test_what_is_no_state_is_refused(data: object) -> None:
    with pytest.raises(InvalidFlagError, match="must be"):
        outcomes(data)


def test_a_killed_flag_is_not_brought_back_by_an_import() -> None:
    outcomes(STATE)
    services.kill("Feature.A", actor="ada")
    with pytest.raises(InvalidFlagError, match="must not be killed"):
        outcomes(STATE)


def test_a_segment_of_ours_with_the_same_name_is_updated() -> None:
    segments.create("segment-1", actor="ada")
    assert outcomes(STATE)["segment-1"] == "updated"


@pytest.mark.skipif(not SUITES.exists(), reason="the reference suites are not beside this checkout")
def test_the_suites_of_unleash_import_and_answer_as_expected() -> None:
    from helios.flags.unleash.context import context_from_json

    asked = 0
    for suite in ("02-user-with-id-strategy", "08-variants", "09-strategy-constraints", "10-flexible-rollout-strategy",
                  "13-constraint-operators"):  # fmt: skip
        data = json.loads((SUITES / f"{suite}.json").read_text())
        importing.import_state(data, actor="ada")
        flags.refresh_if_behind()
        for test in data.get("tests", []):
            context = context_from_json({"environment": "default", **test["context"]})
            assert flags.is_enabled(test["toggleName"], context) is test["expectedResult"], test["description"]
            asked += 1
    assert asked > 0
