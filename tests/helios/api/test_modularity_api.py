"""The control plane at a glance, for people with a session and for programs with a token."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from helios.breakers import services as breakers
from helios.flags import services as flags
from helios.flags.models import FeatureFlag
from helios.modules.models import Module
from helios.web.roles import Role
from tests.support.people import BASE, Api, person

pytestmark = pytest.mark.django_db


def test_the_status_counts_what_stands_where(viewer: Api) -> None:
    body = viewer.get("status").json()
    assert body["flags_on"] == FeatureFlag.objects.filter(enabled=True).count()
    assert body["flags_on"] + body["flags_off"] == FeatureFlag.objects.count()
    assert body["breakers"] == {"CLOSED": 7}
    assert sum(body["modules"].values()) == Module.objects.count()
    assert (body["rollouts"], body["swaps_open"], body["role"]) == ({}, 0, "viewer")


def test_the_status_follows_what_is_changed(viewer: Api) -> None:
    before = viewer.get("status").json()
    flags.kill("websocket_streaming", actor="tests")
    breakers.force_open("llm_api", actor="tests")
    after = viewer.get("status").json()
    assert (after["flags_killed"], after["flags_on"]) == (before["flags_killed"] + 1, before["flags_on"] - 1)
    assert after["flag_generation"] > before["flag_generation"]
    assert after["breakers"] == {"CLOSED": 6, "FORCED_OPEN": 1}


# --- who asks ---


@pytest.fixture
def session(control_plane: None) -> Client:
    """A browser with an operator's session, which checks CSRF tokens as a real one is checked."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(person(Role.OPERATOR))
    return client


def test_a_session_reads(session: Client) -> None:
    assert session.get(f"{BASE}/status").json()["role"] == "operator"


def test_a_session_changes_nothing_without_its_csrf_token(session: Client) -> None:
    response = session.post(f"{BASE}/feature-flags/websocket_streaming/disable", content_type="application/json")
    assert response.status_code == 403
    assert response.json()["detail"].startswith("CSRF Failed")
    assert FeatureFlag.objects.get(name="websocket_streaming").enabled


def test_a_session_with_its_csrf_token_changes(session: Client) -> None:
    token = "t" * 32
    session.cookies["csrftoken"] = token
    response = session.post(
        f"{BASE}/feature-flags/websocket_streaming/disable",
        content_type="application/json",
        headers={"X-CSRFToken": token},
    )
    assert (response.status_code, response.json()["enabled"]) == (200, False)


def test_a_token_needs_no_csrf_token(operator: Api) -> None:
    client = Client(enforce_csrf_checks=True, headers={"Authorization": f"Token {operator.token}"})
    response = client.post(f"{BASE}/feature-flags/websocket_streaming/disable", content_type="application/json")
    assert response.status_code == 200


def test_a_deactivated_users_token_is_turned_away(operator: Api) -> None:
    operator.user.is_active = False
    operator.user.save()
    assert operator.get("status").status_code == 401


def test_every_answer_carries_its_id_and_its_time(operator: Api) -> None:
    refused = operator.get("feature-flags/nobody", X_Request_ID="trace-0123456789")
    assert refused["X-Request-ID"] == refused.json()["request_id"] == "trace-0123456789"
    assert "db;dur=" in refused["Server-Timing"]


def test_lists_cost_the_same_however_long_they_are(viewer: Api, django_assert_max_num_queries: Any) -> None:
    for path in ("feature-flags", "circuit-breakers", "modules", "modules/swaps", "rollouts", "segments"):
        with django_assert_max_num_queries(4):  # token, role, count, rows
            assert viewer.get(path).status_code == 200
