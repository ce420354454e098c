"""Segments in the admin, shares for several flags at once, and refusals beside the field that caused them."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from helios.flags import segments, services
from helios.flags.models import FeatureFlag, FeatureFlagHistory, FlagSegment, FlagSegmentHistory
from tests.support.admin_people import FLAGS, SEGMENTS, form, words

pytestmark = pytest.mark.django_db
SET = "set_percentage_of_selected"
ASIA = [{"contextName": "region", "operator": "IN", "values": ["asia"]}]


def address(name: str) -> str:
    return f"{FLAGS}{FeatureFlag.objects.get(name=name).pk}/change/"


def chosen(url: str, *names: str) -> list[str]:
    model = FeatureFlag if url == FLAGS else FlagSegment
    return [str(pk) for pk in model.objects.filter(name__in=names).values_list("pk", flat=True)]


@pytest.mark.parametrize("typed", ["5", "true", "[5]", '[{"values": 5}]', '[{"value": [1]}]', '{"a": 1}'])
@pytest.mark.parametrize("name", ["", "asia"])
def test_beside_what_was_refused_stands_the_row_as_it_is(desk: Client, name: str, typed: str) -> None:
    segments.create("asia", {"constraints": ASIA}, actor="ada")
    page = desk.post(f"{SEGMENTS}add/", {"name": name, "constraints": typed})
    assert page.status_code == 200
    of_it = f"{SEGMENTS}{FlagSegment.objects.get().pk}/change/"
    page = desk.post(of_it, {"constraints": typed, "seen_version": "1"})
    assert "region is one of asia" in words(page)


def test_the_page_says_what_each_button_will_do_and_who_needs_the_flag(desk: Client) -> None:
    services.create("child", {"prerequisites": [{"feature": "websocket_v2"}]}, actor="bob")
    page = words(desk.get(address("websocket_v2")))
    assert "<b>now</b>: off for everybody; once enabled, on for 25 %" in page
    assert "<b>enable</b>: on for 25 %: the second-generation stream client serves its percentage" in page
    assert "<b>kill</b>: off for everybody at once, and held off until somebody enables it on purpose" in page
    assert "child" in page


def test_an_action_tells_the_effect_before_and_after(desk: Client) -> None:
    sent = {"action": "enable_selected", "_selected_action": chosen(FLAGS, "websocket_v2"), "reason": "opening"}
    page = words(desk.post(FLAGS, sent, follow=True))
    assert "websocket_v2 is now on for 25 %; it was off for everybody; once enabled, on for 25 %" in page
    assert FeatureFlagHistory.objects.filter(flag_id="websocket_v2").first().reason == "opening"


def test_a_share_is_set_for_several_flags_at_once(desk: Client) -> None:
    names = ("websocket_v2", "neural_network_v2")
    sent = {"action": SET, "_selected_action": chosen(FLAGS, *names), "percentage": "60"}
    page = words(desk.post(FLAGS, sent, follow=True))
    assert "websocket_v2 is now off for everybody; once enabled, on for 60 %" in page
    assert set(FeatureFlag.objects.filter(name__in=names).values_list("percentage", flat=True)) == {60}


@pytest.mark.parametrize("typed", ["", "many", "101", "-1", "1.5", "²", "٣", "9" * 5_000])
def test_a_bad_share_is_told_and_changes_nothing(desk: Client, typed: str) -> None:
    sent = {"action": SET, "_selected_action": chosen(FLAGS, "websocket_v2"), "percentage": typed}
    assert "percentage must be a whole number from 0 to 100" in words(desk.post(FLAGS, sent, follow=True))
    assert FeatureFlag.objects.get(name="websocket_v2").percentage == 25


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"reason": "a" * 201}, "the reason is not valid: Ensure this field has no more than 200 characters."),
        ({"reason": "a\0b"}, "the reason is not valid: "),
        ({"_selected_action": ["1", "abc"]}, "a row must be chosen by its key, was 'abc'"),
        ({"_selected_action": [str(10**30)]}, "a row must be chosen by its key, was '10000000000000000000'"),
        ({"_selected_action": ["9" * 5_000]}, "a row must be chosen by its key, was '99999999999999999999'"),
    ],
)
def test_what_comes_with_an_action_keeps_the_rules_of_the_api(
    desk: Client, sent: dict[str, str | list[str]], sentence: str
) -> None:
    given = {"action": "enable_selected", "_selected_action": chosen(FLAGS, "websocket_v2")} | sent
    assert f"Nothing was changed: {sentence}" in words(desk.post(FLAGS, given, follow=True))
    assert not FeatureFlag.objects.get(name="websocket_v2").enabled


@pytest.mark.parametrize(
    ("field", "typed", "sentence"),
    [
        ("constraints", '[{"contextName": "x", "operator": "LIKE"}]', "operator must be one of IN"),
        ("constraints", "{", "must be JSON"),
        ("segments", "nowhere", "segments of websocket_v2 must be known ones, was 'nowhere'"),
        ("prerequisites", '[{"feature": "gone"}]', "must be known ones, was 'gone'"),
        ("prerequisites", '[{"feature": "websocket_v2"}]', "its own prerequisite"),
        ("variants", '[{"name": "a"}]', "weight must be a whole number"),
        ("rules", '[{"name": "homeMade"}]', "name must be one of default"),
        ("schedule", '[{"at": "noon", "percentage": 5}]', "a moment in RFC 3339"),
    ],
)
def test_a_refusal_stands_at_its_field_and_what_was_typed_stays(
    desk: Client, field: str, typed: str, sentence: str
) -> None:
    values = form(desk, address("websocket_v2")) | {field: typed, "owner": "desk"}
    response = desk.post(address("websocket_v2"), values)
    shown = response.context["adminform"].form
    problems = shown.errors.get(field, shown.errors.get("__all__", []))
    assert any(sentence in each for each in problems), shown.errors
    assert shown["owner"].value() == "desk"
    assert FeatureFlag.objects.get(name="websocket_v2").owner == ""


def test_conditions_rules_and_variants_are_saved_from_the_form(desk: Client) -> None:
    segments.create("asia", {"constraints": ASIA}, actor="bob")
    values = form(desk, address("websocket_v2")) | {
        "constraints": json.dumps(ASIA),
        "segments": "asia",
        "environments": "prod,dev",
        "variants": '[{"name": "a", "weight": 1}]',
        "schedule": "",
    }
    response = desk.post(address("websocket_v2"), values)
    assert response.status_code == 302, response.context["adminform"].form.errors
    flag = FeatureFlag.objects.get(name="websocket_v2")
    assert (flag.constraints, flag.segments, flag.environments, flag.schedule) == (ASIA, ["asia"], ["dev", "prod"], [])
    assert flag.version == 1
    assert "there are: asia" in words(desk.get(address("websocket_v2")))


def test_a_segment_is_added_changed_and_shown_with_its_history(desk: Client) -> None:
    values = form(desk, f"{SEGMENTS}add/") | {"name": "asia", "constraints": json.dumps(ASIA), "reason": "regions"}
    response = desk.post(f"{SEGMENTS}add/", values)
    assert response.status_code == 302, response.context["adminform"].form.errors
    segment = FlagSegment.objects.get(name="asia")
    url = f"{SEGMENTS}{segment.pk}/change/"
    desk.post(url, form(desk, url) | {"description": "by region", "constraints": json.dumps(ASIA)})
    entries = FlagSegmentHistory.objects.filter(segment_id="asia")
    assert [(entry.action, entry.actor, entry.reason) for entry in entries] == [
        ("edit", "ada", ""),
        ("create", "ada", "regions"),
    ]
    assert "description - -> by region" in words(desk.get(url))
    assert "region is one of asia" in words(desk.get(SEGMENTS))
    assert "by region" in words(desk.get("/admin/flags/flagsegmenthistory/"))


def test_the_second_of_two_editors_of_a_segment_is_told(desk: Client) -> None:
    segments.create("asia", {"constraints": ASIA}, actor="bob")
    url = f"{SEGMENTS}{FlagSegment.objects.get(name='asia').pk}/change/"
    mine = form(desk, url) | {"description": "mine", "constraints": json.dumps(ASIA)}
    segments.edit("asia", {"description": "theirs"}, actor="bob")
    assert "Nothing was changed: asia must still be at version 1, is at 2" in words(desk.post(url, mine))
    assert FlagSegment.objects.get(name="asia").description == "theirs"


@pytest.mark.parametrize(
    ("name", "typed", "sentence"),
    [
        ("asia", "[]", "must be free"),
        ("with space", "[]", "a segment's name must be"),
        ("fine", '[{"contextName": ""}]', "constraints[0]"),
        ("fine", "7", "must be a list"),
    ],
)
def test_a_bad_segment_is_refused_beside_the_form(desk: Client, name: str, typed: str, sentence: str) -> None:
    segments.create("asia", actor="bob")
    values = form(desk, f"{SEGMENTS}add/") | {"name": name, "constraints": typed}
    response = desk.post(f"{SEGMENTS}add/", values)
    assert response.status_code == 200
    assert sentence in words(response) or "already exists" in words(response)
    assert FlagSegment.objects.count() == 1


def test_a_segment_in_use_is_not_removed_and_another_one_is(desk: Client) -> None:
    segments.create("asia", actor="bob")
    segments.create("unused", actor="bob")
    services.create("in_asia", {"segments": ["asia"]}, actor="bob")
    sent = {"action": "remove_selected", "_selected_action": chosen(SEGMENTS, "asia", "unused")}
    page = words(desk.post(SEGMENTS, sent, follow=True))
    assert "asia is by in_asia" in page
    assert "unused is gone; its history stays" in page
    assert list(FlagSegment.objects.values_list("name", flat=True)) == ["asia"]


def test_a_change_refused_between_check_and_write_is_a_message(desk: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = form(desk, address("websocket_v2")) | {"owner": "mine"}
    plain = services.edit

    def overtaken(name: str, *args: object, **kwargs: object) -> None:
        assert kwargs["dry_run"]
        plain(name, *args, **kwargs)
        plain(name, {"owner": "theirs"}, actor="bob")

    monkeypatch.setattr(services, "edit", overtaken)
    page = words(desk.post(address("websocket_v2"), mine, follow=True))
    assert "Nothing was changed: websocket_v2 must still be" in page
    assert FeatureFlag.objects.get(name="websocket_v2").owner != "mine"


def test_who_may_only_look_sees_segments_and_changes_none(client: Client) -> None:
    segments.create("asia", actor="bob")
    viewer = User.objects.create_user("vera", password="a-long-password", is_staff=True)
    for codename in ("view_flagsegment", "view_featureflag"):
        viewer.user_permissions.add(Permission.objects.get(codename=codename))
    client.force_login(viewer)
    assert "asia" in words(client.get(SEGMENTS))
    client.post(SEGMENTS, {"action": "remove_selected", "_selected_action": chosen(SEGMENTS, "asia")})
    sent = {"action": SET, "_selected_action": chosen(FLAGS, "websocket_v2"), "percentage": "60"}
    client.post(FLAGS, sent)
    assert FlagSegment.objects.count() == 1
    assert FeatureFlag.objects.get(name="websocket_v2").percentage == 25
    assert client.get(f"{SEGMENTS}add/").status_code == 403
