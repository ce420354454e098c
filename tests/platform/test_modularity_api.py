"""The control plane over HTTP: what a client reads, and that it cannot write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.contrib.auth.models import User
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from rest_framework.authtoken.models import Token

from helios.breakers import services as breakers
from helios.breakers.process import forget
from helios.flags.models import FeatureFlag
from helios.modules.models import Module

pytestmark = pytest.mark.django_db

BASE = "/api/modularity"
PATHS = ["status", "modules", "modules/risk/status", "feature-flags", "feature-flags/auto_trading",
         "circuit-breakers", "circuit-breakers/llm_api"]  # fmt: skip


@pytest.fixture
def api(django_user_model: type[User], clean_redis: redis.Redis) -> Iterator[Client]:
    """A client with the token of an ordinary user; breakers start from an empty Redis."""
    token = Token.objects.create(user=django_user_model.objects.create_user("reader"))
    forget()
    yield Client(headers={"Authorization": f"Token {token.key}"})
    forget()


@pytest.mark.parametrize("path", PATHS)
def test_reading_needs_a_token(client: Client, path: str) -> None:
    assert client.get(f"{BASE}/{path}").status_code == 401


@pytest.mark.parametrize("path", PATHS)
def test_a_token_reads_and_does_not_write(api: Client, path: str) -> None:
    assert api.get(f"{BASE}/{path}").status_code == 200
    for method in (api.post, api.put, api.patch, api.delete):
        assert method(f"{BASE}/{path}").status_code == 405


def test_the_status_counts_flags_breakers_and_modules(api: Client) -> None:
    body = api.get(f"{BASE}/status").json()
    assert body["flags_on"] == FeatureFlag.objects.filter(enabled=True).count()
    assert body["flags_on"] + body["flags_off"] == FeatureFlag.objects.count()
    assert body["breakers"] == {"CLOSED": 6}
    assert sum(body["modules"].values()) == Module.objects.count()


def test_flags_are_listed_by_name_in_pages(api: Client) -> None:
    page = api.get(f"{BASE}/feature-flags", {"page_size": 4}).json()
    assert page["count"] == FeatureFlag.objects.count()
    names = [flag["name"] for flag in page["results"]]
    assert len(names) == 4
    assert names == sorted(names)
    assert api.get(page["next"]).json()["results"][0]["name"] > names[-1]


def test_a_flag_tells_how_it_is_evaluated_and_what_changed(api: Client) -> None:
    flag = api.get(f"{BASE}/feature-flags/auto_trading").json()
    assert (flag["enabled"], flag["strategy"]) == (False, "all_on")
    assert isinstance(flag["history"], list)


def test_a_breaker_tells_the_state_that_all_workers_share(api: Client) -> None:
    assert api.get(f"{BASE}/circuit-breakers/llm_api").json()["state"] == "CLOSED"
    breakers.force_open("llm_api", actor="somebody", reason="maintenance of the vendor")
    breaker = api.get(f"{BASE}/circuit-breakers/llm_api").json()
    assert (breaker["state"], breaker["state_known"], breaker["forced_open"]) == ("FORCED_OPEN", True, True)
    assert breaker["events"][0]["reason"] == "maintenance of the vendor"
    assert api.get(f"{BASE}/status").json()["breakers"] == {"CLOSED": 5, "FORCED_OPEN": 1}


def test_breakers_can_be_read_while_redis_is_away(api: Client, settings: Any, tmp_path: Any) -> None:
    settings.REDIS_URL = f"unix://{tmp_path}/nobody.sock"
    forget()
    results = api.get(f"{BASE}/circuit-breakers").json()["results"]
    assert {(breaker["state"], breaker["state_known"]) for breaker in results} == {("CLOSED", False)}


def test_a_module_tells_who_needs_it(api: Client) -> None:
    Module.objects.create(name="spare", path="tiers.risk", version="1.0.0", dependencies={"risk": "^1.0.0"})
    status = api.get(f"{BASE}/modules/risk/status").json()
    assert status["state"] == Module.objects.get(name="risk").state
    assert "spare" in status["needed_by"]


@pytest.mark.parametrize("path", ["feature-flags/nope", "circuit-breakers/nope", "modules/nope/status"])
def test_an_unknown_name_is_a_problem(api: Client, path: str) -> None:
    response = api.get(f"{BASE}/{path}")
    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")


def test_a_page_that_does_not_exist_is_a_problem(api: Client) -> None:
    assert api.get(f"{BASE}/feature-flags", {"page": 99}).status_code == 404


# --- the schema ---


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return SchemaGenerator().get_schema(public=True)


def test_the_schema_names_every_path_and_its_problems(schema: dict[str, Any]) -> None:
    expected = {
        "/api/modularity/status", "/api/modularity/modules", "/api/modularity/modules/{name}/status",
        "/api/modularity/feature-flags", "/api/modularity/feature-flags/{name}",
        "/api/modularity/circuit-breakers", "/api/modularity/circuit-breakers/{name}",
        "/api/system/info", "/api/books/", "/api/books/{name}/", "/api/cycles/", "/api/cycles/{id}/",
    }  # fmt: skip
    assert expected <= set(schema["paths"])
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert "application/problem+json" in operation["responses"]["default"]["content"], path


def test_the_schema_is_made_without_a_complaint(capfd: pytest.CaptureFixture[str]) -> None:
    SchemaGenerator().get_schema(public=True)
    assert "Warning" not in capfd.readouterr().err


def test_answers_have_the_fields_that_the_schema_promises(api: Client, schema: dict[str, Any]) -> None:
    for path, component in {
        "feature-flags/auto_trading": "FlagDetail",
        "circuit-breakers/llm_api": "BreakerDetail",
        "modules/risk/status": "ModuleStatus",
        "status": "ControlPlaneStatus",
    }.items():
        promised = schema["components"]["schemas"][component]["properties"]
        assert set(api.get(f"{BASE}/{path}").json()) == set(promised), path


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/api/schema/"])
def test_the_documentation_is_public(client: Client, path: str) -> None:
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/"])
def test_documentation_asks_no_other_server_for_anything(client: Client, path: str) -> None:
    page = client.get(path, headers={"Accept": "text/html"}).content.decode()
    for attribute in ('src="http', 'href="http', 'src="//', 'href="//'):
        assert attribute not in page
