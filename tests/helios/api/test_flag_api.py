"""Flags over HTTP: every change of the services, said in JSON, and every refusal with its place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from helios import flags
from helios.flags import services
from helios.flags.models import FeatureFlag, FeatureFlagHistory
from tests.support.people import Api

pytestmark = pytest.mark.django_db

FLAG = "feature-flags/websocket_streaming"


def row(name: str = "websocket_streaming") -> FeatureFlag:
    return FeatureFlag.objects.get(name=name)


def first_error(response: Any) -> dict[str, str]:
    return dict(response.json()["errors"][0])


# --- reading ---


def test_flags_are_listed_by_name_in_pages(viewer: Api) -> None:
    page = viewer.get("feature-flags", {"page_size": 4}).json()
    assert page["count"] == FeatureFlag.objects.count()
    names = [flag["name"] for flag in page["results"]]
    assert len(names) == 4
    assert names == sorted(names)
    assert viewer.get(page["next"].removeprefix("http://testserver")).json()["results"][0]["name"] > names[-1]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"search": "websocket_s"}, ["websocket_streaming"]),
        ({"strategy": "gradual"}, ["paper_trading_v2"]),
        ({"enabled": "false", "strategy": "whitelist"}, ["advanced_risk_engine"]),
        ({"owner": "nobody"}, []),
    ],
)
def test_flags_can_be_narrowed(viewer: Api, query: dict[str, str], names: list[str]) -> None:
    assert [flag["name"] for flag in viewer.get("feature-flags", query).json()["results"]] == names


def test_flags_can_be_ordered(viewer: Api) -> None:
    names = [flag["name"] for flag in viewer.get("feature-flags", {"ordering": "-name"}).json()["results"]]
    assert names == sorted(names, reverse=True)


@pytest.mark.parametrize(
    ("query", "parameter", "detail"),
    [
        ({"page": "0"}, "page", "must be a whole number from 1 to 100000, was '0'"),
        ({"page": "9" * 5000}, "page", f"must be a whole number from 1 to 100000, was '{'9' * 40}'"),
        ({"page_size": "501"}, "page_size", "must be a whole number from 1 to 500, was '501'"),
        ({"ordering": "mood"}, "ordering", '"mood" is not a valid choice.'),
        ({"enabld": "true"}, "enabld", "is not a known field; did you mean enabled?"),
        ({"search": "a\x00b"}, "search", "Null characters are not allowed."),
    ],
)
def test_a_parameter_that_makes_no_sense_is_named(
    viewer: Api, query: dict[str, str], parameter: str, detail: str
) -> None:
    response = viewer.get("feature-flags", query)
    assert response.status_code == 400
    assert first_error(response) == {"parameter": parameter, "detail": detail}


def test_a_page_behind_the_last_is_not_there(viewer: Api) -> None:
    response = viewer.get("feature-flags", {"page": 99})
    assert (response.status_code, response.json()["detail"]) == (
        404,
        "page must be one of the 1 pages there are, was 99",
    )


def test_a_flag_tells_how_it_is_evaluated_and_what_changed(viewer: Api) -> None:
    response = viewer.get("feature-flags/auto_trading")
    flag = response.json()
    assert (flag["enabled"], flag["strategy"]) == (False, "all_on")
    assert flag["serves"].startswith("off for everybody")
    assert isinstance(flag["history"], list)
    assert response["ETag"] == f'"{flag["version"]}"'


def test_an_unknown_name_is_answered_with_the_nearest_one(viewer: Api) -> None:
    for path in ("feature-flags/websocket_streming", "feature-flags/websocket_streming/history"):
        response = viewer.get(path)
        assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")
        assert "did you mean websocket_streaming?" in response.json()["detail"]


@pytest.mark.parametrize("name", ["%00", "a%20b", "a" * 101, "%ED%A0%80", "..", "%2e", "ü"])
def test_what_can_be_no_name_is_not_there(viewer: Api, operator: Api, name: str) -> None:
    assert viewer.get(f"feature-flags/{name}").status_code == 404
    assert operator.post(f"feature-flags/{name}/enable").status_code == 404


def test_the_history_of_a_flag_comes_newest_first(operator: Api) -> None:
    operator.post(f"{FLAG}/disable", {"reason": "too slow"})
    operator.post(f"{FLAG}/enable", {"reason": "fast again"})
    changes = operator.get(f"{FLAG}/history").json()["results"]
    assert [(each["action"], each["actor"], each["reason"]) for each in changes[:2]] == [
        ("enable", "operator", "fast again"),
        ("disable", "operator", "too slow"),
    ]
    assert (changes[1]["before"]["enabled"], changes[1]["after"]["enabled"]) == (True, False)


# --- checking ---


def test_a_check_answers_as_code_is_answered(viewer: Api) -> None:
    services.edit("neural_network_v2", {"enabled": True, "strategy": "percentage", "percentage": 50}, actor="tests")
    answers = {}
    for symbol in ("AAPL", "MSFT", "NVDA", "TSLA", "AMZN", "META"):
        answer = viewer.get("feature-flags/neural_network_v2/check", {"symbol": symbol}).json()
        assert answer["enabled"] == flags.is_enabled("neural_network_v2", flags.FlagContext(symbol=symbol))
        answers[symbol] = answer["enabled"]
    assert set(answers.values()) == {True, False}


def test_a_check_says_why_and_which_variant(viewer: Api) -> None:
    variants = [{"name": "deep", "weight": 1, "payload": {"type": "number", "value": "7"}, "stickiness": "default"}]
    services.edit("neural_network_v2", {"enabled": True, "strategy": "all_on", "variants": variants}, actor="tests")
    answer = viewer.get("feature-flags/neural_network_v2/check", {"user": "ann"}).json()
    assert (answer["enabled"], answer["reason"]) == (True, "on for everybody")
    assert answer["variant"] == {
        "name": "deep",
        "enabled": True,
        "feature_enabled": True,
        "payload": {"type": "number", "value": "7"},
    }
    off = viewer.get("feature-flags/black_litterman/check").json()
    assert (off["enabled"], off["variant"]["name"]) == (False, "disabled")


def test_any_other_parameter_of_a_check_is_an_attribute(viewer: Api) -> None:
    desk = [{"contextName": "desk", "operator": "IN", "values": ["crypto"]}]
    services.edit("black_litterman", {"enabled": True, "constraints": desk}, actor="tests")
    assert viewer.get("feature-flags/black_litterman/check", {"desk": "crypto"}).json()["enabled"] is True
    assert viewer.get("feature-flags/black_litterman/check", {"desk": "stocks"}).json()["enabled"] is False


def test_a_check_with_too_much_context_is_refused(viewer: Api) -> None:
    crowd = {f"attribute{number}": "x" for number in range(51)}
    assert viewer.get(f"{FLAG}/check", crowd).status_code == 400
    assert viewer.get(f"{FLAG}/check", {"symbol": "x" * 129}).status_code == 400


# --- changing ---


def test_a_flag_is_switched_off_and_on_and_the_snapshot_follows(operator: Api) -> None:
    response = operator.post(f"{FLAG}/disable", {"reason": "maintenance"})
    assert (response.status_code, response.json()["enabled"]) == (200, False)
    assert row().enabled is False
    assert operator.post(f"{FLAG}/enable").json()["enabled"] is True
    last = FeatureFlagHistory.objects.filter(flag_id="websocket_streaming").first()
    assert last is not None
    assert (last.action, last.actor) == ("enable", "operator")


@pytest.mark.parametrize("style", ["body", "query", "both"])
def test_the_body_style_names_the_flag_in_the_body_or_in_the_address(operator: Api, style: str) -> None:
    query = "?name=websocket_streaming" if style != "body" else ""
    named = {"name": "websocket_streaming"} if style != "query" else {}
    assert operator.post(f"feature-flags/disable{query}", named).json()["enabled"] is False
    assert operator.post(f"feature-flags/enable{query}", named).json()["enabled"] is True
    shared = operator.post(f"feature-flags/percentage{query}", {**named, "percentage": 25})
    assert (shared.json()["strategy"], shared.json()["percentage"]) == ("percentage", 25)


def test_the_body_style_needs_one_name(operator: Api) -> None:
    missing = operator.post("feature-flags/enable")
    assert first_error(missing) == {
        "pointer": "/name",
        "detail": "must be in the body or in the address, was in neither",
    }
    two = operator.post("feature-flags/enable?name=black_litterman", {"name": "websocket_streaming"})
    assert first_error(two)["parameter"] == "name"
    assert operator.post("feature-flags/enable", {"name": "nope"}).status_code == 404


def test_a_killed_flag_stays_off_until_it_is_enabled(operator: Api) -> None:
    assert operator.post(f"{FLAG}/kill-switch").json()["strategy"] == "kill_switch"
    refused = operator.post(f"{FLAG}/percentage", {"percentage": 10})
    assert refused.status_code == 422
    assert "enable it first" in refused.json()["detail"]
    assert operator.post(f"{FLAG}/enable").json()["strategy"] == "all_on"


def test_entries_go_on_the_whitelist_and_off_it(trader: Api) -> None:
    path = "feature-flags/advanced_risk_engine/whitelist"
    assert trader.post(f"{path}/add", {"entries": ["MSFT", "AAPL"]}).json()["whitelist"] == ["AAPL", "MSFT"]
    assert trader.post(f"{path}/remove", {"entries": ["AAPL"]}).json()["whitelist"] == ["MSFT"]
    misspelt = trader.post(f"{path}/remove", {"entries": ["AAPLE"]})
    assert misspelt.status_code == 422
    assert "AAPLE" in misspelt.json()["detail"]


def test_entries_are_stored_without_blanks_around_them_or_refused(trader: Api) -> None:
    path = "feature-flags/advanced_risk_engine"
    assert trader.patch(path, {"whitelist": ["AAPL\n", " MSFT"]}).json()["whitelist"] == ["AAPL", "MSFT"]
    blank = trader.patch(path, {"whitelist": ["AAPL\n", "  "]})
    assert (blank.status_code, blank.json()["detail"]) == (422, "whitelist[1] must not be blank, was '  '")
    joined = trader.post(f"{path}/whitelist/add", {"entries": ["IBM,GOOG"]})
    assert joined.status_code == 422
    assert "one entry without a comma" in joined.json()["detail"]
    assert trader.get(path).json()["whitelist"] == ["AAPL", "MSFT"]


def test_a_flag_is_made_and_archived_and_brought_back(operator: Api) -> None:
    made = operator.post("feature-flags", {"name": "new_signal", "strategy": "percentage", "percentage": 5})
    assert (made.status_code, made["Location"]) == (201, "/api/modularity/feature-flags/new_signal")
    assert operator.get(made["Location"]).json()["enabled"] is False
    assert operator.delete("feature-flags/new_signal?reason=done").status_code == 204
    assert operator.get("feature-flags/new_signal").status_code == 404
    assert operator.get("feature-flags/new_signal/history").json()["results"][0]["reason"] == "done"
    assert operator.post("feature-flags/new_signal/restore").json()["percentage"] == 5


def test_a_flag_goes_back_to_an_entry_of_its_history(operator: Api) -> None:
    operator.post("feature-flags", {"name": "new_signal", "strategy": "percentage", "percentage": 5})
    first = operator.get("feature-flags/new_signal/history").json()["results"][0]["id"]
    operator.post("feature-flags/new_signal/percentage", {"percentage": 80})
    assert operator.post("feature-flags/new_signal/restore", {"entry": first}).json()["percentage"] == 5
    assert operator.post("feature-flags/new_signal/restore", {"entry": 10**15}).status_code == 404


def test_a_flag_of_the_catalogue_stays(operator: Api) -> None:
    response = operator.delete(FLAG)
    assert response.status_code == 422
    assert "disable or kill it instead" in response.json()["detail"]


def test_a_name_that_is_taken_is_a_conflict(operator: Api) -> None:
    response = operator.post("feature-flags", {"name": "websocket_streaming"})
    assert (response.status_code, first_error(response)["pointer"]) == (409, "/name")


@pytest.mark.parametrize("name", ["enable", "disable", "percentage", "stale"])
def test_a_name_may_not_hide_behind_an_address(operator: Api, name: str) -> None:
    assert first_error(operator.post("feature-flags", {"name": name}))["pointer"] == "/name"


def test_everything_that_a_flag_can_hold_is_set_and_read_again(operator: Api) -> None:
    operator.post("segments", {"name": "large_caps", "constraints": []})
    start = datetime(2030, 1, 1, tzinfo=UTC)
    wanted = {
        "strategy": "percentage",
        "percentage": 1,
        "schedule": [{"at": (start + timedelta(days=n)).isoformat(), "percentage": 10 * (n + 1)} for n in range(3)],
        "stickiness": "user",
        "group_id": "pilots",
        "environments": ["dev", "staging"],
        "segments": ["large_caps"],
        "constraints": [{"contextName": "desk", "operator": "STR_CONTAINS", "values": ["cry"], "inverted": True}],
        "prerequisites": [{"feature": "websocket_streaming", "enabled": True}],
        "variants": [{"name": "a", "weight": 1}, {"name": "b", "weight": 3}],
        "description": "a pilot",
        "owner": "research",
        "expires_at": "2031-01-01T00:00:00Z",
    }
    operator.post("feature-flags", {"name": "pilot"})
    flag = operator.patch("feature-flags/pilot", {**wanted, "reason": "all of it"}).json()
    for field in ("percentage", "stickiness", "group_id", "environments", "segments", "owner", "expires_at"):
        assert flag[field] == wanted[field], field
    assert [step["percentage"] for step in flag["schedule"]] == [10, 20, 30]
    assert flag["constraints"][0]["operator"] == "STR_CONTAINS"
    assert [variant["weight"] for variant in flag["variants"]] == [1, 3]
    flags.refresh_if_behind()
    assert "pilot" in flags.snapshot().flags


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({"percentage": 101}, "/percentage", "Ensure this value is less than or equal to 100."),
        ({"percentage": "50"}, "/percentage", "must be a whole number, was '50'"),
        ({"percentage": True}, "/percentage", "must be a whole number, was True"),
        ({"enabled": "yes"}, "/enabled", "must be true or false, was 'yes'"),
        ({"strategy": "kill_switch"}, "/strategy", '"kill_switch" is not a valid choice.'),
        ({"whitelist": ["AAPL", 7]}, "/whitelist/1", "must be a text, was 7"),
        ({"percentge": 5}, "/percentge", "is not a known field; did you mean percentage?"),
        (
            {"gradual_start": "2030-01-01T00:00:00"},
            "/gradual_start",
            "must carry a time zone, such as Z or +02:00, did not",
        ),
        ({"gradual_start": 5}, "/gradual_start", "must be a time in ISO 8601, was 5"),
        (
            {"constraints": [{"contextName": "desk", "operator": "LIKE"}]},
            "/constraints/0/operator",
            '"LIKE" is not a valid choice.',
        ),
        (
            {"variants": [{"name": "a", "weight": 1, "wait": 2}]},
            "/variants/0/wait",
            "is not a known field; did you mean weight?",
        ),
        ([], "", "Invalid data. Expected a dictionary, but got list."),
    ],
)  # fmt: skip
def test_a_body_that_does_not_fit_is_refused_with_a_pointer(
    operator: Api, body: Any, pointer: str, detail: str
) -> None:
    before = row().version
    response = operator.patch(FLAG, body)
    assert response.status_code == 400
    assert first_error(response) == {"pointer": pointer, "detail": detail}
    assert row().version == before


def test_rules_between_fields_are_refused_with_their_place(operator: Api) -> None:
    cyclic = operator.patch(FLAG, {"prerequisites": [{"feature": "websocket_streaming"}]})
    assert cyclic.status_code == 422
    unknown = operator.patch(FLAG, {"segments": ["nobody"]})
    assert (unknown.status_code, first_error(unknown)["pointer"]) == (422, "/segments")


# --- two editors ---


def test_the_second_of_two_editors_is_told(operator: Api) -> None:
    tag = operator.get(FLAG)["ETag"]
    assert operator.patch(FLAG, {"owner": "first"}, If_Match=tag).status_code == 200
    second = operator.patch(FLAG, {"owner": "second"}, If_Match=tag)
    assert second.status_code == 409
    assert "changed meanwhile by operator" in second.json()["detail"]
    assert row().owner == "first"


@pytest.mark.parametrize("action", ["enable", "disable", "kill-switch", "percentage"])
def test_every_change_can_name_the_version_it_saw(operator: Api, action: str) -> None:
    more = {"percentage": 5} if action == "percentage" else {}
    behind = operator.post(f"{FLAG}/{action}", {**more, "version": row().version + 1})
    assert behind.status_code == 409
    assert operator.post(f"{FLAG}/{action}", {**more, "version": row().version}).status_code == 200


def test_if_match_must_be_a_tag_and_agree_with_the_body(operator: Api) -> None:
    assert first_error(operator.patch(FLAG, {}, If_Match="soon"))["header"] == "If-Match"
    assert operator.patch(FLAG, {"version": 3}, If_Match='"4"').status_code == 400
    assert operator.patch(FLAG, {"owner": "any"}, If_Match="*").status_code == 200


# --- segments and stale flags ---


def test_a_segment_is_made_changed_and_removed(operator: Api) -> None:
    made = operator.post("segments", {"name": "pilots", "constraints": [{"contextName": "user", "operator": "IN"}]})
    assert (made.status_code, made["ETag"]) == (201, f'"{made.json()["version"]}"')
    changed = operator.patch("segments/pilots", {"description": "who flies"}, If_Match=made["ETag"])
    assert changed.json()["description"] == "who flies"
    assert operator.patch("segments/pilots", {"description": "late"}, If_Match=made["ETag"]).status_code == 409
    services.edit("black_litterman", {"segments": ["pilots"]}, actor="tests")
    used = operator.delete("segments/pilots")
    assert used.status_code == 422
    assert "black_litterman" in used.json()["detail"]
    services.edit("black_litterman", {"segments": []}, actor="tests")
    assert operator.delete("segments/pilots").status_code == 204
    assert operator.get("segments/pilots").status_code == 404
    assert operator.get("segments").json()["count"] == 0


def test_an_expired_flag_is_reported_with_what_to_do(viewer: Api) -> None:
    services.create("old_idea", {"expires_at": datetime(2020, 1, 1, tzinfo=UTC), "owner": "ann"}, actor="tests")
    report = viewer.get("feature-flags/stale").json()
    found = next(each for each in report["flags"] if each["name"] == "old_idea")
    assert (found["reason"], found["owner"]) == ("expired", "ann")
    assert viewer.get("feature-flags/stale", {"days": 0}).status_code == 400


def test_what_only_the_service_refuses_is_pointed_at_as_well(operator: Api) -> None:
    limit = {"contextName": "price", "operator": "NUM_GT", "value": "much"}
    refused = operator.patch(FLAG, {"strategy": "rules", "rules": [{"name": "default", "constraints": [limit]}]})
    assert (refused.status_code, first_error(refused)["pointer"]) == (422, "/rules/0/constraints/0/value")
    share = {"name": "flexibleRollout", "parameters": {"rollout": "half"}}
    refused = operator.patch(FLAG, {"rules": [{"name": "default"}, share]})
    assert first_error(refused)["pointer"] == "/rules/1/parameters/rollout"
