"""Breakers over HTTP: their shared state, their settings, and what a person does to them."""

from __future__ import annotations

from typing import Any

import pytest

from helios.breakers import services
from helios.breakers.models import CircuitBreaker
from helios.breakers.process import forget
from tests.support.people import Api

pytestmark = pytest.mark.django_db

LLM = "circuit-breakers/llm_api"


def test_a_breaker_tells_the_state_that_all_workers_share(operator: Api) -> None:
    assert operator.get(LLM).json()["state"] == "CLOSED"
    operator.post(f"{LLM}/open", {"reason": "maintenance of the vendor"})
    breaker = operator.get(LLM).json()
    assert (breaker["state"], breaker["state_known"], breaker["forced_open"]) == ("FORCED_OPEN", True, True)
    assert breaker["state_text"] == "Opened by a person: calls are refused until a person closes it."
    event = breaker["events"][0]
    assert (event["action"], event["actor"], event["reason"]) == ("force_open", "operator", "maintenance of the vendor")


def test_breakers_are_listed_and_narrowed(viewer: Api) -> None:
    names = [breaker["name"] for breaker in viewer.get("circuit-breakers").json()["results"]]
    assert names == sorted(names)
    assert {"llm_api", "valr_api", "postgres_db"} <= set(names)
    CircuitBreaker.objects.filter(name="valr_api").update(order_path=True)
    guarded = viewer.get("circuit-breakers", {"order_path": "true"}).json()["results"]
    assert "valr_api" in [breaker["name"] for breaker in guarded]
    services.force_open("llm_api", actor="tests")
    forced = viewer.get("circuit-breakers", {"mode": "forced_open"}).json()["results"]
    assert [breaker["name"] for breaker in forced] == ["llm_api"]


def test_breakers_can_be_read_while_redis_is_away(viewer: Api, settings: Any, tmp_path: Any) -> None:
    settings.REDIS_URL = f"unix://{tmp_path}/nobody.sock"
    forget()
    results = viewer.get("circuit-breakers").json()["results"]
    assert {(breaker["state"], breaker["state_known"]) for breaker in results} == {("CLOSED", False)}


def test_closing_while_redis_is_away_is_refused_for_now_and_opening_works(
    operator: Api, settings: Any, tmp_path: Any
) -> None:
    settings.REDIS_URL = f"unix://{tmp_path}/nobody.sock"
    forget()
    refused = operator.post(f"{LLM}/reset")
    assert (refused.status_code, refused["Retry-After"]) == (503, "1")
    assert operator.post(f"{LLM}/open").json()["state"] == "FORCED_OPEN"


def test_a_forced_open_breaker_is_closed_and_reset(operator: Api) -> None:
    operator.post(f"{LLM}/open")
    assert operator.post(f"{LLM}/close", {"reason": "the vendor is back"}).json()["state"] == "CLOSED"
    assert operator.post(f"{LLM}/reset").status_code == 200
    history = operator.get(f"{LLM}/history").json()["results"]
    assert [event["action"] for event in history[:3]] == ["reset", "close", "force_open"]


def test_a_breaker_can_only_measure_and_act_again(operator: Api) -> None:
    assert operator.post(f"{LLM}/metrics-only").json()["mode"] == "metrics_only"
    assert operator.post(f"{LLM}/normal").json()["mode"] == "normal"


def test_one_that_guards_orders_must_act(trader: Api) -> None:
    CircuitBreaker.objects.filter(name="valr_api").update(order_path=True)
    assert trader.post("circuit-breakers/valr_api/metrics-only").status_code == 422


def test_all_are_reset_at_once(operator: Api) -> None:
    CircuitBreaker.objects.update(order_path=False)
    operator.post(f"{LLM}/open")
    names = operator.post("circuit-breakers/reset-all", {"reason": "after the outage"}).json()["reset"]
    assert sorted(names) == names
    assert operator.get(LLM).json()["state"] == "CLOSED"


def test_a_breaker_is_made_set_and_deleted(operator: Api) -> None:
    made = operator.post("circuit-breakers", {"name": "news_api", "failure_threshold": 3, "open_s": 5.5})
    assert (made.status_code, made["Location"]) == (201, "/api/modularity/circuit-breakers/news_api")
    assert made.json()["opens_at"].startswith("3 failures")
    changed = operator.patch("circuit-breakers/news_api", {"failure_threshold": 4}, If_Match=made["ETag"])
    assert changed.json()["failure_threshold"] == 4
    late = operator.patch("circuit-breakers/news_api", {"failure_threshold": 5}, If_Match=made["ETag"])
    assert late.status_code == 409
    event = operator.get("circuit-breakers/news_api/history").json()["results"][0]
    assert (event["action"], event["changes"]) == ("configure", {"failure_threshold": [3, 4]})
    assert operator.delete("circuit-breakers/news_api?reason=gone").status_code == 204
    assert operator.get("circuit-breakers/news_api").status_code == 404
    assert operator.get("circuit-breakers/news_api/history").json()["results"][0]["reason"] == "gone"


def test_a_name_that_is_taken_is_a_conflict_and_a_shipped_one_stays(operator: Api) -> None:
    assert operator.post("circuit-breakers", {"name": "llm_api"}).status_code == 409
    assert operator.delete(LLM).status_code == 422
    assert operator.post("circuit-breakers", {"name": "reset-all"}).status_code == 400


def test_a_breaker_that_guards_orders_is_made_by_a_trader(operator: Api, trader: Api) -> None:
    wanted = {"name": "new_venue", "order_path": True}
    assert operator.post("circuit-breakers", wanted).status_code == 403
    assert operator.patch(LLM, {"order_path": True}).status_code == 403
    assert trader.post("circuit-breakers", wanted).status_code == 201
    assert operator.delete("circuit-breakers/new_venue").status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"failure_threshold": -1}, 400),
        ({"failure_threshold": 50}, 422),  # more than the window holds
        ({"failure_rate": 1.5}, 400),
        ({"failure_rate": "0.5"}, 400),
        ({"open_s": 0}, 400),
        ({"open_multiplier": 2}, 422),  # without an end of the growth
        ({"slow_call_rate": 0.5}, 422),  # without what slow is
        ({"colour": "red"}, 400),
    ],
)
def test_settings_that_make_no_sense_change_nothing(operator: Api, body: dict[str, Any], status: int) -> None:
    before = CircuitBreaker.objects.get(name="llm_api").version
    assert operator.patch(LLM, body).status_code == status
    assert CircuitBreaker.objects.get(name="llm_api").version == before


def test_an_unknown_breaker_is_answered_with_the_nearest_name(operator: Api) -> None:
    for response in (operator.get("circuit-breakers/lm_api"), operator.post("circuit-breakers/lm_api/open")):
        assert response.status_code == 404
        assert response.json()["detail"] == "no circuit breaker is named 'lm_api'; did you mean llm_api?"


def test_a_long_user_name_fits_into_the_history(control_plane: None) -> None:
    from helios.web.roles import Role
    from tests.support.people import api_of

    api = api_of(Role.OPERATOR, "o" * 150)
    assert api.post(f"{LLM}/open").status_code == 200
    assert api.get(f"{LLM}/history").json()["results"][0]["actor"] == "o" * 150


def test_a_reason_that_is_too_long_is_refused(operator: Api) -> None:
    assert operator.post(f"{LLM}/open", {"reason": "x" * 201}).json()["errors"][0]["pointer"] == "/reason"
