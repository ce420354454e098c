"""The admin changes flags the way every other caller does, and says in words what happens."""

from __future__ import annotations

import json
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from helios.flags import services
from helios.flags.models import FeatureFlag, FeatureFlagHistory
from tests.support.admin_people import FLAGS, form, words

pytestmark = pytest.mark.django_db


def row(name: str) -> FeatureFlag:
    return FeatureFlag.objects.get(name=name)


def address(name: str) -> str:
    return f"{FLAGS}{row(name).pk}/change/"


def act(desk: Client, action: str, *names: str):
    chosen = [str(row(name).pk) for name in names]
    return desk.post(FLAGS, {"action": action, "_selected_action": chosen}, follow=True)


def test_the_list_shows_state_strategy_effect_and_wiring(desk: Client) -> None:
    services.kill("websocket_v2", actor="ada")
    page = words(desk.get(FLAGS))
    assert "killed: off for everybody until it is enabled again" in page
    assert "not wired yet" in page
    sentence = "not wired yet: changes nothing until the part it steers is built"
    assert sentence in words(desk.get(address("black_litterman")))
    assert "acts now" in page


def test_actions_change_flags_through_the_services_and_tell_the_result(desk: Client) -> None:
    page = words(act(desk, "enable_selected", "auto_trading", "garch_volatility"))
    assert "auto_trading is now on for everybody" in page
    assert "garch_volatility is now on for everybody, as it already was" in page
    entry = FeatureFlagHistory.objects.filter(flag_id="auto_trading").first()
    assert (entry.action, entry.actor, entry.reason) == ("enable", "ada", "from the list in the admin")
    act(desk, "disable_selected", "auto_trading")
    assert not row("auto_trading").enabled
    assert "killed" in words(act(desk, "kill_selected", "garch_volatility"))
    assert row("garch_volatility").strategy == "kill_switch"


def test_a_refused_action_is_shown_and_the_others_go_on(desk: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = services._change

    def change(name: str, *how: Any, **by: Any) -> services.Change:
        return plain("missing" if name == "black_litterman" else name, *how, **by)

    monkeypatch.setattr(services, "_change", change)
    page = words(act(desk, "disable_selected", "black_litterman", "garch_volatility"))
    assert "black_litterman: a flag's name must be a known one, was 'missing'" in page
    assert not row("garch_volatility").enabled


def test_a_flag_page_shows_its_history_read_only(desk: Client) -> None:
    services.set_percentage("websocket_v2", 50, actor="bob", reason="a try")
    page = words(desk.get(address("websocket_v2")))
    assert "percentage 25 -> 50" in page
    assert "a try" in page
    assert "history-__prefix__" not in page  # no empty row to fill in


def test_saving_the_form_writes_one_change_with_its_reason(desk: Client) -> None:
    values = form(desk, address("websocket_v2")) | {
        "enabled": "on",
        "percentage": "40",
        "whitelist": "AAPL,MSFT",
        "owner": "desk",
        "reason": "wider",
        "gradual_start_0": "2026-03-01",
        "gradual_start_1": "10:00:00",
        "gradual_end_0": "2026-03-08",
        "gradual_end_1": "10:00:00",
    }
    before = FeatureFlagHistory.objects.count()
    response = desk.post(address("websocket_v2"), values)
    assert response.status_code == 302, response.context["adminform"].form.errors
    entry = FeatureFlagHistory.objects.filter(flag_id="websocket_v2").first()
    assert FeatureFlagHistory.objects.count() == before + 1
    assert (entry.action, entry.actor, entry.reason) == ("edit", "ada", "wider")
    assert (entry.after["enabled"], entry.after["percentage"]) == (True, 40)
    assert entry.after["whitelist"] == ["AAPL", "MSFT"]
    assert entry.after["gradual_start"] == "2026-03-01T10:00:00+00:00"
    assert row("websocket_v2").generation == entry.generation


def test_saving_an_unchanged_form_leaves_no_trace(desk: Client) -> None:
    before = FeatureFlagHistory.objects.count()
    assert desk.post(address("websocket_v2"), form(desk, address("websocket_v2"))).status_code == 302
    assert FeatureFlagHistory.objects.count() == before


def test_the_second_of_two_people_is_told_and_nothing_is_overwritten(desk: Client) -> None:
    mine = form(desk, address("websocket_v2")) | {"owner": "mine"}
    services.edit("websocket_v2", {"owner": "theirs"}, actor="bob")
    page = words(desk.post(address("websocket_v2"), mine, follow=True))
    assert "Nothing was changed: websocket_v2 must still be at version 0, is at 1" in page
    assert "it was changed meanwhile by bob" in page
    assert row("websocket_v2").owner == "theirs"


def test_contradicting_times_are_refused_beside_the_form(desk: Client) -> None:
    values = form(desk, address("websocket_v2")) | {
        "gradual_start_0": "2026-03-01",
        "gradual_start_1": "10:00:00",
    }
    page = words(desk.post(address("websocket_v2"), values, follow=True))
    assert "both a start and an end" in page
    assert row("websocket_v2").gradual_start is None


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("[" * 2_000, "this must be nested at most 32 deep, was deeper"),
        ("[" * 900 + "]" * 900, "this must be nested at most 32 deep, was deeper"),
        ("1" * 5_000, "this must be JSON, was not"),
        ('["\\ud800"]', "/0 must be Unicode text, held half a surrogate pair"),
        ("[1", "this must be JSON, was not"),
        (f"[{'1, ' * 100_000}1]", "this must have at most 262,144 characters, had 300,003"),
    ],
)
@pytest.mark.parametrize("page", ["featureflag", "flagsegment"])
def test_a_text_that_is_no_json_is_refused_beside_its_field(
    admin_client: Client, page: str, typed: str, problem: str
) -> None:
    answer = admin_client.post(f"/admin/flags/{page}/add/", {"name": "zz", "strategy": "all_on", "constraints": typed})
    assert answer.status_code == 200
    assert problem in answer.content.decode()
    assert typed[:6] in unescape(answer.content.decode())


DEEP = '[{"a": ' * 14 + "[" + "1," * 10_000 + "1]" + "}]" * 14


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("," * 3_000, "Item 1 in the array did not validate: This field is required."),
        (
            f"A,{'x' * 200}," + "y" * 200,
            "Item 2 in the array did not validate: Ensure this value has at most 128 characters",
        ),
        ("," * 100_000, "this must have at most 16,384 entries, had 100,001"),
    ],
)
def test_of_a_long_list_the_first_mistake_is_told(admin_client: Client, typed: str, problem: str) -> None:
    answer = admin_client.post(f"{FLAGS}add/", {"name": "zz", "strategy": "all_on", "whitelist": typed})
    (told,) = answer.context["adminform"].form.errors["whitelist"]
    assert told.startswith(problem)


def test_what_was_typed_is_shown_again_as_it_was_typed(admin_client: Client) -> None:
    """In lines it would be thirty times as long."""
    answer = admin_client.post("/admin/flags/featureflag/add/", {"name": "zz", "strategy": "all_on", "rules": DEEP})
    assert answer.status_code == 200
    assert DEEP in unescape(answer.content.decode())


def test_a_flag_whose_lines_would_be_longer_than_may_be_typed_is_shown_without(admin_client: Client) -> None:
    FeatureFlag.objects.filter(name="websocket_v2").update(constraints=json.loads(DEEP))
    shown = admin_client.get(address("websocket_v2")).context["adminform"].form
    assert shown["constraints"].value() == DEEP.replace(",", ", ")
    assert shown.fields["constraints"].to_python(shown["constraints"].value()) == json.loads(DEEP)


def test_a_percentage_above_a_hundred_is_refused(desk: Client) -> None:
    values = form(desk, address("websocket_v2")) | {"percentage": "101"}
    page = words(desk.post(address("websocket_v2"), values, follow=True))
    assert "percentage must be a whole number from 0 to 100" in page
    assert row("websocket_v2").percentage == 25


def test_a_killed_flag_can_be_edited_but_not_switched_on_by_the_form(desk: Client) -> None:
    services.kill("websocket_v2", actor="ada")
    values = form(desk, address("websocket_v2"))
    assert "enabled" not in values
    assert "strategy" not in values
    desk.post(address("websocket_v2"), values | {"enabled": "on", "strategy": "all_on", "owner": "desk"})
    flag = row("websocket_v2")
    assert (flag.strategy, flag.enabled, flag.owner) == ("kill_switch", False, "desk")


def test_the_form_does_not_offer_the_kill_switch_as_a_strategy(desk: Client) -> None:
    choices = desk.get(address("websocket_v2")).context["adminform"].form.fields["strategy"].choices
    assert "kill_switch" not in dict(choices)
    assert "gradual" in dict(choices)
    assert "separated by commas" in words(desk.get(address("websocket_v2")))


def test_a_flag_is_added_through_the_services(desk: Client) -> None:
    values = form(desk, f"{FLAGS}add/") | {
        "name": "of_ours",
        "strategy": "all_on",
        "enabled": "on",
        "reason": "new",
    }
    response = desk.post(f"{FLAGS}add/", values)
    assert response.status_code == 302, response.context["adminform"].form.errors
    assert row("of_ours").enabled
    entry = FeatureFlagHistory.objects.filter(flag_id="of_ours").get()
    assert (entry.action, entry.actor, entry.reason) == ("create", "ada", "new")
    assert "a new flag" in words(desk.get(f"{FLAGS}add/"))
    assert "where your own code asks for it" in words(desk.get(address("of_ours")))


@pytest.mark.parametrize("name", ["with space", "auto_trading"])
def test_a_new_flag_with_a_bad_or_taken_name_is_refused(desk: Client, name: str) -> None:
    before = FeatureFlag.objects.count()
    response = desk.post(f"{FLAGS}add/", form(desk, f"{FLAGS}add/") | {"name": name}, follow=True)
    assert response.status_code == 200
    assert FeatureFlag.objects.count() == before


def test_flags_and_history_are_never_deleted_here(desk: Client) -> None:
    assert desk.post(f"{FLAGS}{row('websocket_v2').pk}/delete/", {"post": "yes"}).status_code == 403
    entry = FeatureFlagHistory.objects.first()
    assert desk.post(f"/admin/flags/featureflaghistory/{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    assert "delete_selected" not in words(desk.get(FLAGS))


def test_the_history_list_tells_what_changed_and_can_be_searched(desk: Client) -> None:
    services.set_percentage("websocket_v2", 50, actor="bob")
    assert "percentage 25 -> 50" in words(desk.get("/admin/flags/featureflaghistory/?q=bob"))
    assert "percentage 25 -> 50" in words(desk.get("/admin/flags/featureflaghistory/?q=websocket"))


def test_who_may_only_look_gets_no_actions(client: Client) -> None:
    viewer = User.objects.create_user("vera", password="a-long-password", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_featureflag"))
    client.force_login(viewer)
    act(client, "enable_selected", "auto_trading")
    assert not row("auto_trading").enabled
    assert client.get(address("auto_trading")).status_code == 200


def test_json_is_shown_in_lines_and_what_is_empty_takes_little_room(desk: Client) -> None:
    only = [{"contextName": "symbol", "operator": "IN", "values": ["AAPL"]}]
    services.edit("garch_volatility", {"constraints": only}, actor="ada")
    fields = desk.get(address("garch_volatility")).context["adminform"].form.fields
    assert fields["constraints"].widget.attrs["rows"] == 10
    assert fields["variants"].widget.attrs["rows"] == 2
    assert fields["constraints"].prepare_value(only).splitlines()[:2] == ["[", "  {"]
    assert desk.post(address("garch_volatility"), form(desk, address("garch_volatility"))).status_code == 302
    assert row("garch_volatility").version == 1
