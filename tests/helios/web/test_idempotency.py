"""POSTs under an Idempotency-Key: done once, answered as often as they are asked."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from helios.errors import Ambiguous
from helios.flags.models import FeatureFlag, FeatureFlagHistory
from helios.web import idempotency
from helios.web.models import IdempotencyKey
from helios.web.roles import Role
from helios.web.tasks import forget_idempotency_keys
from tests.support.people import Api, api_of
from tests.support.together import at_once

pytestmark = pytest.mark.django_db

FLAG = {"name": "new_signal", "percentage": 5, "strategy": "percentage"}


def n_changes() -> int:
    return FeatureFlagHistory.objects.count()


def test_the_same_request_is_done_once_and_answered_twice(operator: Api) -> None:
    before = n_changes()
    first = operator.post("feature-flags", FLAG, Idempotency_Key="k-1")
    again = operator.post("feature-flags", FLAG, Idempotency_Key="k-1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert (again["Idempotency-Replayed"], again["Location"], again["ETag"]) == (
        "true",
        first["Location"],
        first["ETag"],
    )
    assert "Idempotency-Replayed" not in first
    assert n_changes() == before + 1


def test_the_order_of_members_makes_no_other_request(operator: Api) -> None:
    operator.post("feature-flags", FLAG, Idempotency_Key="k-1")
    turned = dict(reversed(FLAG.items()))
    assert operator.post("feature-flags", turned, Idempotency_Key="k-1")["Idempotency-Replayed"] == "true"


def test_the_same_key_with_another_request_is_refused(operator: Api) -> None:
    operator.post("feature-flags", FLAG, Idempotency_Key="k-1")
    for path, body in (
        ("feature-flags", {**FLAG, "percentage": 6}),
        ("feature-flags?x=1", FLAG),
        ("feature-flags/websocket_streaming/enable", FLAG),
    ):
        response = operator.post(path, body, Idempotency_Key="k-1")
        assert response.status_code == 422, path
        assert "the request it was first used for" in response.json()["detail"]


def test_two_people_may_use_the_same_key(operator: Api, trader: Api) -> None:
    assert operator.post("feature-flags", FLAG, Idempotency_Key="k-1").status_code == 201
    assert trader.post("feature-flags", {**FLAG, "name": "other"}, Idempotency_Key="k-1").status_code == 201


def test_a_refused_request_leaves_its_key_free(operator: Api) -> None:
    assert operator.post("feature-flags", {**FLAG, "percentage": 101}, Idempotency_Key="k-1").status_code == 400
    assert operator.post("feature-flags", FLAG, Idempotency_Key="k-1").status_code == 201


def test_without_a_key_a_second_request_is_a_second_request(operator: Api) -> None:
    operator.post("feature-flags", FLAG)
    assert operator.post("feature-flags", FLAG).status_code == 409


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "\u00e9"])
def test_a_key_that_is_none_is_refused_by_its_header(operator: Api, key: str) -> None:
    response = operator.post("feature-flags", FLAG, Idempotency_Key=key)
    assert response.status_code == 400
    assert response.json()["errors"][0]["header"] == "Idempotency-Key"
    assert not FeatureFlag.objects.filter(name="new_signal").exists()


def test_after_a_day_a_key_is_new_again(operator: Api) -> None:
    operator.post("feature-flags/websocket_streaming/whitelist/add", {"entries": ["AAPL"]}, Idempotency_Key="k-1")
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=25))
    answer = operator.post("feature-flags/websocket_streaming/enable", Idempotency_Key="k-1")
    assert (answer.status_code, answer.json()["enabled"]) == (200, True)


def test_the_cleaning_task_forgets_what_is_older_than_a_day(operator: Api) -> None:
    operator.post("feature-flags/websocket_streaming/whitelist/add", {"entries": ["AAPL"]}, Idempotency_Key="old")
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=25))
    operator.post("feature-flags/websocket_streaming/enable", Idempotency_Key="young")
    assert forget_idempotency_keys() == 1
    assert list(IdempotencyKey.objects.values_list("key", flat=True)) == ["young"]


@pytest.mark.parametrize(
    ("row", "safer", "back"),
    [
        ("feature-flags/websocket_streaming", "disable", "enable"),
        ("feature-flags/websocket_streaming", "kill-switch", "enable"),
        ("circuit-breakers/llm_api", "open", "close"),
    ],
)
def test_what_is_safer_is_done_again_whatever_its_key(trader: Api, row: str, safer: str, back: str) -> None:
    def stands() -> tuple[object, object]:
        shown = trader.get(row).json()
        return shown.get("enabled"), shown.get("state")

    first = trader.post(f"{row}/{safer}", Idempotency_Key="k-1")
    held = stands()
    trader.post(f"{row}/{back}")
    assert stands() != held
    again = trader.post(f"{row}/{safer}", Idempotency_Key="k-1")
    assert (first.status_code, again.status_code, again.get("Idempotency-Replayed")) == (200, 200, None)
    assert stands() == held


# --- changes that commit on their way ---


def test_a_change_in_steps_is_announced_before_and_answered_after(
    operator: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def reset_all(**_: Any) -> list[str]:
        seen.append(list(IdempotencyKey.objects.values_list("key", "status")))
        return ["llm_api"]

    monkeypatch.setattr("helios.breakers.services.reset_all", reset_all)
    trader = api_of(Role.TRADER)
    for replayed in (None, "true"):
        response = trader.post("circuit-breakers/reset-all", Idempotency_Key="k-1")
        assert (response.json(), response.get("Idempotency-Replayed")) == ({"reset": ["llm_api"]}, replayed)
    assert seen == [[("k-1", None)]]


def test_a_change_whose_process_died_is_ambiguous_until_the_key_expires(trader_key: Api) -> None:
    response = trader_key.post("circuit-breakers/reset-all", Idempotency_Key="k-1")
    assert response.status_code == 409
    assert "its process died" in response.json()["detail"]


@pytest.fixture
def trader_key(trader: Api) -> Api:
    """A trader whose first request under k-1 never came to its answer."""
    trader.post("circuit-breakers/reset-all", Idempotency_Key="k-1")
    IdempotencyKey.objects.update(status=None)
    return trader


def test_a_failed_change_in_steps_frees_its_key_and_an_ambiguous_one_keeps_it(
    trader: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from helios.breakers.errors import SharedStateAway

    def fail(error: Exception) -> None:
        def reset_all(**_: Any) -> list[str]:
            raise error

        monkeypatch.setattr("helios.breakers.services.reset_all", reset_all)

    fail(SharedStateAway("Redis does not answer"))
    assert trader.post("circuit-breakers/reset-all", Idempotency_Key="k-1").status_code == 503
    assert not IdempotencyKey.objects.exists()
    fail(Ambiguous("the swap may have happened"))
    assert trader.post("circuit-breakers/reset-all", Idempotency_Key="k-2").status_code == 409
    assert IdempotencyKey.objects.get().status is None


# --- at the same time ---


@pytest.mark.django_db(transaction=True)
def test_a_second_request_during_the_first_is_told_to_wait() -> None:
    api = api_of(Role.OPERATOR)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            request: Any = type("Request", (), {"user": api.user})()
            idempotency._claim(request, "k-1")
            held.set()
            done.wait(timeout=20)
        connection.close()

    first = threading.Thread(target=hold)
    first.start()
    assert held.wait(timeout=20)
    try:
        response = api.post("feature-flags", FLAG, Idempotency_Key="k-1")
        assert response.status_code == 409
        assert "wait for its answer" in response.json()["detail"]
        assert api.post("feature-flags", FLAG, Idempotency_Key="k-2").status_code == 201
    finally:
        done.set()
        first.join(timeout=20)


@pytest.mark.django_db(transaction=True)
def test_eight_requests_at_once_under_one_key_change_one_thing() -> None:
    api = api_of(Role.OPERATOR)
    asked = at_once(lambda _: api.post("feature-flags", FLAG, Idempotency_Key="k-1"), range(8))
    answers = [each.status_code for each in asked]
    assert set(answers) <= {201, 409}
    assert 201 in answers
    assert FeatureFlagHistory.objects.filter(flag_id="new_signal").count() == 1
