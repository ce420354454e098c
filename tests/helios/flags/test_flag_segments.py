"""Segments, prerequisites and what else flags refer to: known ones, no circles, and nothing goes that is needed."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction

from helios import flags
from helios.control import generations
from helios.errors import Conflict
from helios.events.models import SystemEvent
from helios.flags import references, segments, selectors, services
from helios.flags.core.context import FlagContext
from helios.flags.errors import (
    InvalidFlagError,
    NameTakenError,
    UnknownFlagError,
    UnknownSegmentError,
)
from helios.flags.models import FeatureFlag, FlagSegment, FlagSegmentHistory

pytestmark = pytest.mark.django_db
ASIA = [{"contextName": "region", "operator": "IN", "values": ["asia"]}]
EUROPE = [{"contextName": "region", "operator": "IN", "values": ["europe"]}]
IN_ASIA, IN_EUROPE = (FlagContext(attributes={"region": each}) for each in ("asia", "europe"))


def written() -> tuple[int, int]:
    return generations.read()["flags"].value, SystemEvent.objects.count()


@pytest.fixture
def asia() -> None:
    segments.create("asia", {"constraints": ASIA, "description": "by region"}, actor="ada", reason="first")
    services.create("in_asia", {"enabled": True, "segments": ["asia"]}, actor="ada")


def test_a_segment_is_written_with_history_event_and_generation(asia: None) -> None:
    entry = FlagSegmentHistory.objects.get(segment_id="asia")
    assert (entry.action, entry.actor, entry.reason, entry.before) == ("create", "ada", "first", None)
    assert entry.after == {"name": "asia", "description": "by region", "constraints": ASIA}
    event = SystemEvent.objects.filter(kind="flag.segment_changed").get()
    assert (event.subject, event.data["generation"]) == ("asia", entry.generation)
    assert FlagSegment.objects.get(name="asia").version == 1
    assert str(entry) == "asia create by ada"
    assert str(FlagSegment.objects.get(name="asia")) == "asia"


def test_a_changed_segment_reaches_every_flag_that_uses_it(asia: None) -> None:
    flags.refresh_if_behind()
    assert flags.is_enabled("in_asia", IN_ASIA)
    assert not flags.is_enabled("in_asia", IN_EUROPE)
    segments.edit("asia", {"constraints": EUROPE}, actor="bob")
    flags.refresh_if_behind()
    assert flags.is_enabled("in_asia", IN_EUROPE)
    assert not flags.is_enabled("in_asia", IN_ASIA)


def test_an_edit_that_changes_nothing_leaves_no_trace(asia: None) -> None:
    before = written()
    assert not segments.edit("asia", {"constraints": ASIA}, actor="bob").changed
    assert written() == before


def test_the_second_of_two_editors_of_a_segment_is_told(asia: None) -> None:
    segments.edit("asia", {"description": "first"}, actor="ada", version=1)
    with pytest.raises(Conflict, match="version 1, is at 2: it was changed meanwhile by ada"):
        segments.edit("asia", {"description": "second"}, actor="bob", version=1)


def test_a_segment_in_use_stays_and_one_that_nobody_uses_goes(asia: None) -> None:
    ruled = {"strategy": "rules", "rules": [{"name": "default", "segments": ["asia"]}]}
    services.create("by_rule", ruled, actor="ada")
    with pytest.raises(InvalidFlagError, match="must not be in use to be removed, asia is by by_rule, in_asia"):
        segments.remove("asia", actor="ada")
    services.archive("by_rule", actor="ada")
    services.edit("in_asia", {"segments": []}, actor="ada")
    assert segments.remove("asia", actor="ada").after is None
    assert not FlagSegment.objects.exists()
    assert FlagSegmentHistory.objects.first().action == "remove"


@pytest.mark.parametrize(
    ("name", "fields", "sentence"),
    [
        ("with space", {}, "a segment's name must be 1 to 100 letters"),
        ("x" * 101, {}, "a segment's name must be"),
        ("asia", {}, "must be free, was taken: asia"),
        ("fine", {"constraints": "IN"}, "constraints must be a list of objects, was 'IN'"),
        ("fine", {"constraints": [{"contextName": "x"}]}, r"constraints\[0\].operator must be a text, was missing"),
        ("fine", {"constraints": [{"contextName": "x", "operator": "SOMEHOW"}]}, r"operator must be one of IN"),
        ("fine", {"constraints": [{"contextName": "x", "operator": "NUM_GT", "value": "y"}]}, "must be a number"),
        ("fine", {"colour": "red"}, "fields of a segment must be among description, constraints, was colour"),
        ("fine", {"description": 7}, "description must be a text, was 7"),
        ("fine", {"description": "nul \x00"}, "must hold text that can be stored"),
    ],
)
def test_a_bad_segment_is_refused_and_nothing_is_written(asia: None, name: str, fields: dict, sentence: str) -> None:
    before = written()
    with pytest.raises(InvalidFlagError, match=sentence):
        segments.create(name, fields, actor="ada")
    assert written() == before
    assert list(FlagSegment.objects.values_list("name", flat=True)) == ["asia"]


def test_an_unknown_segment_is_named_with_the_nearest_one(asia: None) -> None:
    with pytest.raises(UnknownSegmentError, match="was 'asai'; did you mean asia"):
        segments.edit("asai", {}, actor="ada")
    with pytest.raises(UnknownSegmentError, match="flags segments"):
        selectors.get_segment("zzz")
    with pytest.raises(InvalidFlagError, match="segments of in_asia must be known ones, was 'asai'; did you mean asia"):
        services.edit("in_asia", {"segments": ["asai"]}, actor="ada")


def test_trying_out_writes_nothing_and_raises_what_the_change_would(asia: None) -> None:
    before = written()
    trial = {"actor": "ann", "dry_run": True}
    segments.create("africa", {"constraints": []}, **trial)
    segments.edit("asia", {"description": "other"}, version=1, **trial)
    services.create("of_ours", {}, **trial)
    services.edit("in_asia", {"owner": "desk"}, version=1, **trial)
    with pytest.raises(NameTakenError):
        segments.create("asia", {}, **trial)
    with pytest.raises(Conflict):
        services.edit("in_asia", {"owner": "desk"}, version=0, **trial)
    assert written() == before
    assert FlagSegment.objects.get(name="asia").description == "by region"


def test_prerequisites_must_exist() -> None:
    with pytest.raises(InvalidFlagError, match="prerequisites of child must be known ones, was 'parrent'") as caught:
        services.create("child", {"prerequisites": [{"feature": "parrent"}]}, actor="ada")
    assert caught.value.field == "prerequisites"
    assert not FeatureFlag.objects.filter(name="child").exists()


def test_a_circle_is_refused_by_its_names_also_through_an_edit_of_another_flag() -> None:
    services.create("first", actor="ada")
    services.create("second", {"prerequisites": [{"feature": "first"}]}, actor="ada")
    services.create("third", {"prerequisites": [{"feature": "second"}]}, actor="ada")
    before = written()
    with pytest.raises(InvalidFlagError, match=r"must not form a circle, .*first -> third -> second -> first"):
        services.edit("first", {"prerequisites": [{"feature": "third"}]}, actor="ada")
    with pytest.raises(InvalidFlagError, match="its own prerequisite"):
        services.edit("first", {"prerequisites": [{"feature": "first"}]}, actor="ada")
    assert written() == before


def test_a_flag_that_others_need_cannot_be_archived() -> None:
    services.create("parent", actor="ada")
    services.create("child", {"prerequisites": [{"feature": "parent"}]}, actor="ada")
    assert references.needing_flag("parent") == ("child",)
    with pytest.raises(InvalidFlagError, match="must not be needed to be archived, parent is by child"):
        services.archive("parent", actor="ada")
    services.archive("child", actor="ada")
    assert services.archive("parent", actor="ada").after is None


def test_a_kill_goes_through_whatever_stands_in_other_flags() -> None:
    services.create("parent", actor="ada")
    services.create("child", {"enabled": True, "prerequisites": [{"feature": "parent"}]}, actor="ada")
    FeatureFlag.objects.filter(name="parent").update(prerequisites=[{"feature": "child"}])  # by hand: a circle
    FeatureFlag.objects.filter(name="garch_volatility").update(segments=["gone"])
    assert services.kill("child", actor="ada").changed
    assert services.kill("garch_volatility", actor="ada").changed


def test_a_prerequisite_that_is_not_met_keeps_its_flag_off() -> None:
    services.create("parent", {"enabled": False}, actor="ada")
    services.create("child", {"enabled": True, "prerequisites": [{"feature": "parent"}]}, actor="ada")
    flags.refresh_if_behind()
    assert flags.explain("child").reason is flags.Reason.PREREQUISITE
    services.enable("parent", actor="ada")
    flags.refresh_if_behind()
    assert flags.is_enabled("child")


def test_an_archived_flag_is_unknown_and_comes_back_as_it_was() -> None:
    services.create(
        "of_ours", {"enabled": True, "strategy": "percentage", "percentage": 7, "owner": "desk"}, actor="ada"
    )
    services.archive("of_ours", actor="ada", reason="done")
    with pytest.raises(UnknownFlagError):
        services.enable("of_ours", actor="ada")
    back = services.restore("of_ours", actor="bob")
    assert (back.before, back.after["percentage"], back.after["owner"]) == (None, 7, "desk")
    with pytest.raises(InvalidFlagError, match="ships with Helios must stay"):
        services.archive("garch_volatility", actor="ada")


@pytest.mark.parametrize(
    "statement", ["UPDATE flag_segment_history SET actor = 'x'", "DELETE FROM flag_segment_history"]
)
def test_the_history_of_segments_refuses_to_be_rewritten(asia: None, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL helios.maintenance = 'off'")
        with pytest.raises(IntegrityError, match="append-only"):
            cursor.execute(statement)


@pytest.mark.parametrize(
    "fields", [{"constraints": {}}, {"rules": "x"}, {"gradual_from": 101}, {"schedule": 1}, {"version": -1}]
)
def test_the_database_itself_refuses_what_is_no_list_or_no_share(fields: dict) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        FeatureFlag.objects.create(**{"name": "by_hand", **fields})
