"""Unleash's client interface: its SDKs read Helios's flags."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from helios.flags import services
from tests.support.people import Api

pytestmark = pytest.mark.django_db

FEATURES = "/api/client/features"


@pytest.mark.parametrize("form", ["{}", "Token {}", "Bearer {}", "bearer {}"])
def test_a_token_is_taken_as_sdks_send_it(viewer: Api, client: Client, form: str) -> None:
    response = client.get(FEATURES, headers={"Authorization": form.format(viewer.token)})
    assert response.status_code == 200


@pytest.mark.parametrize("header", ["", "wrong", "Basic abc", "a b c", "Token ü", "*:development.abc"])
def test_anything_else_is_turned_away(client: Client, control_plane: None, header: str) -> None:
    response = client.get(FEATURES, headers={"Authorization": header.encode("latin-1").decode("latin-1")})
    assert (response.status_code, response["Content-Type"]) == (401, "application/problem+json")


def test_a_bare_token_is_no_key_to_the_rest_of_the_api(viewer: Api, client: Client) -> None:
    assert client.get("/api/books/", headers={"Authorization": viewer.token}).status_code == 401


def test_the_flags_come_in_unleashs_format(viewer: Api) -> None:
    body = viewer.get(FEATURES).json()
    names = [feature["name"] for feature in body["features"]]
    assert body["version"] == 2
    assert names == sorted(names)
    by_name = {feature["name"]: feature for feature in body["features"]}
    assert by_name["garch_volatility"]["enabled"] is True
    assert by_name["auto_trading"]["enabled"] is False


def test_parameters_that_only_unleash_knows_are_passed_over(viewer: Api) -> None:
    assert viewer.get(f"{FEATURES}?project=default&namePrefix=llm").status_code == 200


def test_who_has_the_flags_already_gets_no_body_until_they_change(viewer: Api) -> None:
    tag = viewer.get(FEATURES)["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}'):
        same = viewer.get(FEATURES, If_None_Match=known)
        assert (same.status_code, same.content, same["ETag"]) == (304, b"", tag)
    services.disable("garch_volatility", actor="tests")
    changed = viewer.get(FEATURES, If_None_Match=tag)
    assert changed.status_code == 200
    assert changed["ETag"] != tag


@pytest.mark.parametrize("path", ["register", "metrics"])
def test_what_sdks_tell_about_themselves_is_accepted(viewer: Api, path: str) -> None:
    told: dict[str, Any] = {"appName": "desk", "instanceId": "1", "bucket": {"toggles": {}}}
    response = viewer.post(f"/api/client/{path}", told)
    assert (response.status_code, response.content) == (202, b"")
    assert viewer.post(f"/api/client/{path}", ["no object"]).status_code == 400


@pytest.mark.django_db(transaction=True)
def test_unleashs_own_python_sdk_reads_the_flags(live_server: Any, viewer: Api, tmp_path: Any) -> None:
    from UnleashClient import UnleashClient

    services.create("sdk_pilot", {"enabled": True, "strategy": "whitelist", "whitelist": ["ann"]}, actor="tests")
    client = UnleashClient(
        f"{live_server.url}/api",
        "desk",
        custom_headers={"Authorization": viewer.token},
        cache_directory=str(tmp_path),
        disable_metrics=True,
    )
    try:
        client.initialize_client(fetch_toggles=True)
        assert client.is_enabled("garch_volatility") is True
        assert client.is_enabled("auto_trading") is False
        assert client.is_enabled("sdk_pilot", {"userId": "ann"}) is True
        assert client.is_enabled("sdk_pilot", {"userId": "bob"}) is False
    finally:
        client.destroy()
