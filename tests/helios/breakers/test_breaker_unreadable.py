"""What whoever reaches Redis has written over the state of breakers keeps nobody from opening one, or seeing it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from helios.api.system import health
from helios.breakers import CircuitOpen, breaker, process, selectors, services
from helios.breakers.catalog import SHIPPED
from helios.breakers.models import CircuitBreaker
from helios.breakers.shared_state import KEY
from helios.web.roles import Role
from sentinel import audits
from sentinel.collect import collect
from sentinel.probes import platform
from tests.support.people import api_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("breakers_installed"),
]
STATES: list[Any] = [
    {"state": "WEIRD", "generation": "1e999", "runs": "zz"},
    {"state": "CLOSED", "generation": "1e300"},
    {"state": "CLOSED", "generation": "-1"},
    {"state": "OPEN", "generation": "5", "open_until": "nan"},
    {"state": "CLOSED", "generation": "5", "openings": "nan"},
    {"state": "HALF_OPEN", "generation": "5", "permits": "a:b"},
    {"state": "CLOSED", "generation": "5", "runs": "1S1," * 2**19},
    {"state": b"\xff"},
    "no hash",
]
CHANGES = ["abc", b"\xff", "9" * 5_000, ["a list"]]


def poison(client: redis.Redis, name: str, value: Any) -> None:
    client.delete(f"{KEY}:{name}")
    if isinstance(value, dict):
        client.hset(f"{KEY}:{name}", mapping=value)
    elif isinstance(value, list):
        client.rpush(f"{KEY}:{name}", *value)
    else:
        client.set(f"{KEY}:{name}", value)


@pytest.fixture(params=[*STATES, *(("changes", each) for each in CHANGES)], ids=lambda each: str(each)[:30])
def poisoned(clean_redis: redis.Redis, request: pytest.FixtureRequest) -> None:
    """All breakers at once, each of which has a view from before."""
    breaker("llm_api").call(str, 1)
    if isinstance(request.param, tuple):
        poison(clean_redis, *request.param)
    else:
        for name in SHIPPED:
            poison(clean_redis, name, request.param)


@pytest.mark.usefixtures("poisoned")
def test_one_that_cannot_be_read_is_shown_forced_open_and_reset_by_every_way(admin_client: Client) -> None:
    assert [each.name for each in selectors.statuses() if not each.readable] == sorted(SHIPPED)
    operator, path = api_of(Role.OPERATOR), "/api/modularity/circuit-breakers"
    shown = operator.http.get(path).json()["results"]
    assert {(each["state"], each["state_known"]) for each in shown} == {("CLOSED", False)}
    assert shown[0]["state_text"] == (
        "What Redis holds of it cannot be read: reset it; the last state recorded was closed."
    )
    assert operator.http.get(f"{path}/llm_api").status_code == 200
    for page in ("admin:index", "admin:breakers_circuitbreaker_changelist"):
        assert admin_client.get(reverse(page)).status_code == 200
    assert operator.post(f"{path}/order_execution/open", {}).status_code == 404
    assert operator.post(f"{path}/valr_api/open", {"reason": "odd"}).json()["state"] == "FORCED_OPEN"
    call_command("breakers", "open", "ccxt_api")
    forced = CircuitBreaker.objects.filter(mode="forced_open").order_by("name")
    assert [row.name for row in forced] == ["ccxt_api", "valr_api"]
    with pytest.raises(CircuitOpen, match="a person opened it"):
        breaker("valr_api").call(str, 1)
    assert services.reset_all(actor="ann") == sorted(SHIPPED)
    assert [each.name for each in selectors.statuses() if not each.readable] == []
    assert {selectors.status(row).state for row in CircuitBreaker.objects.all()} == {"CLOSED"}
    process.forget()  # or a second later
    assert breaker("valr_api").call(str, 1) == "1"


@pytest.mark.parametrize("poisoned", [STATES[0], ("changes", "abc")], indirect=True)
@pytest.mark.usefixtures("poisoned")
def test_calls_go_on_alone_but_for_orders() -> None:
    process.forget()
    assert breaker("llm_api").call(str, 1) == "1"
    with pytest.raises(CircuitOpen, match="orders are not sent without it"):
        breaker("valr_api").call(str, 1)
    assert breaker("valr_api").call(str, 1, reducing=True) == "1"


def test_readiness_and_the_audit_tell_it(clean_redis: redis.Redis, monkeypatch: Any) -> None:
    monkeypatch.setattr(platform, "_consumers", lambda _timeout_s: {})
    monkeypatch.setattr(health, "recent", health.RecentProbe())
    poison(clean_redis, "llm_api", STATES[0])
    answer = Client().get("/health/ready")
    body = json.loads(answer.content)
    assert (answer.status_code, body["status"], body["missing"]) == (200, "degraded", ["beat", "breakers"])
    assert body["components"][-1]["detail"] == "what redis holds of 1 cannot be read: reset them"
    found = [each for each in audits.audit(collect()).findings if each.code == "BREAKER_UNREADABLE"]
    assert [(each.subject, each.severity) for each in found] == [("llm_api", "warning")]
    assert "manage.py breakers reset llm_api" in found[0].message


def test_the_audit_tells_what_is_refused(clean_redis: redis.Redis, monkeypatch: Any) -> None:
    monkeypatch.setattr(platform, "_consumers", lambda _timeout_s: {})
    services.force_open("valr_api", actor="tests")
    found = [each for each in audits.audit(collect()).findings if each.code == "BREAKER_OPEN"]
    assert [(each.subject, each.message) for each in found] == [
        ("valr_api", "breaker valr_api: Opened by a person: calls are refused until a person closes it.")
    ]
