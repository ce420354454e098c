"""The OpenAPI document: valid, complete, and true."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from helios.api.system import views
from helios.web.roles import policy
from tests.support.people import Api

SPEC = """
GET status | GET modules | GET modules/status | GET modules/{name}/status
POST modules/register | POST modules/{name}/load | POST modules/{name}/unload | POST modules/swap
POST modules/{name}/test | GET modules/{name}/test-history
GET feature-flags | POST feature-flags | GET feature-flags/{name} | GET feature-flags/{name}/check
POST feature-flags/{name}/enable | POST feature-flags/{name}/disable | POST feature-flags/{name}/percentage
POST feature-flags/{name}/kill-switch | POST feature-flags/{name}/whitelist/add
POST feature-flags/{name}/whitelist/remove
POST feature-flags/enable | POST feature-flags/disable | POST feature-flags/percentage
GET circuit-breakers | POST circuit-breakers | GET circuit-breakers/{name}
POST circuit-breakers/{name}/reset | POST circuit-breakers/{name}/open | POST circuit-breakers/{name}/close
POST circuit-breakers/reset-all
"""


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return SchemaGenerator().get_schema(public=True)


def operations(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]


def test_the_schema_is_valid_openapi(schema: dict[str, Any]) -> None:
    validate_schema(schema)


def test_the_schema_is_made_without_a_complaint(tmp_path: Any) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))


def test_every_endpoint_of_the_specification_is_there(schema: dict[str, Any]) -> None:
    wanted = {tuple(each.split()) for each in re.split(r"[|\n]", SPEC) if each.strip()}
    found = {(method, path.removeprefix("/api/modularity/")) for method, path, _ in operations(schema)}
    assert wanted <= found


def test_every_route_of_the_api_is_described(schema: dict[str, Any]) -> None:
    declared = sum(rule.role is not None for rules in policy().values() for rule in rules.values())
    assert len(operations(schema)) == declared


def test_every_operation_has_a_name_of_its_own_a_tag_a_summary_and_a_role(schema: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(schema)]
    assert len(names) == len(set(names))
    for _, path, operation in operations(schema):
        assert operation["tags"], path
        assert operation["summary"], path
        assert "Role: **" in operation["description"], path
        assert operation["x-role"] in {"viewer", "operator", "trader"}, path
        assert operation["security"], path


def test_every_operation_names_its_refusals(schema: dict[str, Any]) -> None:
    for method, path, operation in operations(schema):
        expected = {"400", "401", "403", "429", "503", "default"}
        if method != "GET":
            expected |= {"409", "413", "415", "422"}
        if "{" in path:
            expected |= {"404"}
        assert expected <= set(operation["responses"]), path
        for status, response in operation["responses"].items():
            if status == "default" or int(status) >= 400:
                assert "application/problem+json" in response["content"], (path, status)
        assert "Retry-After" in operation["responses"]["429"]["headers"]


def test_the_schema_knows_both_ways_to_say_who_asks(schema: dict[str, Any]) -> None:
    assert {"tokenAuth", "cookieAuth", "clientToken"} <= set(schema["components"]["securitySchemes"])


def test_bodies_admit_no_unknown_fields(schema: dict[str, Any]) -> None:
    for _, path, operation in operations(schema):
        content = operation.get("requestBody", {}).get("content", {})
        assert set(content) <= {"application/json"}, path
        reference = content.get("application/json", {}).get("schema", {}).get("$ref")
        if reference:
            assert schema["components"]["schemas"][reference.rpartition("/")[2]]["additionalProperties"] is False, path


def test_posts_that_change_something_take_an_idempotency_key(schema: dict[str, Any]) -> None:
    for method, path, operation in operations(schema):
        if method == "POST" and "/client/" not in path:
            assert "Idempotency-Key" in {each["name"] for each in operation["parameters"]}, path


@pytest.mark.django_db
def test_answers_have_the_fields_that_the_schema_promises(viewer: Api, schema: dict[str, Any]) -> None:
    for path, component in {
        "feature-flags/auto_trading": "FlagDetail",
        "circuit-breakers/llm_api": "BreakerDetail",
        "modules/risk/status": "ModuleStatus",
        "modules/status": "Statuses",
        "status": "ControlPlaneStatus",
        "/api/client/features": "Features",
    }.items():
        promised = schema["components"]["schemas"][component]["properties"]
        assert set(viewer.get(path).json()) == set(promised), path


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/docs", "/redoc", "/api/schema/"])
def test_the_documentation_is_public(client: Client, path: str) -> None:
    assert client.get(path).status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/docs", "/redoc", "/"])
def test_documentation_asks_no_other_server_for_anything(client: Client, path: str) -> None:
    page = client.get(path, headers={"Accept": "text/html"}).content.decode()
    for attribute in ('src="http', 'href="http', 'src="//', 'href="//'):
        assert attribute not in page


def test_who_asks_for_the_document_first_makes_it_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Slow:
        def get_schema(self, **_: Any) -> dict[str, Any]:
            made.append(self)
            time.sleep(0.05)
            return {}

    views._made.cache_clear()
    monkeypatch.setattr(views, "SchemaGenerator", Slow)
    with ThreadPoolExecutor(4) as threads:
        assert len({*threads.map(lambda _: views._document(), range(4))}) == 1
    assert len(made) == 1
    views._made.cache_clear()


def test_the_document_is_made_once_and_read_so_often(
    client: Any, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    views._made.cache_clear()
    first = client.get("/api/schema/")
    assert (first.status_code, first["Content-Type"]) == (200, "application/vnd.oai.openapi")
    monkeypatch.setattr(views, "SchemaGenerator", None)
    assert client.get("/api/schema/").content == first.content
    settings.API_RATES = {**settings.API_RATES, "anon": "1/h"}
    answers = [client.get("/api/schema/") for _ in range(2)]
    assert answers[-1].status_code == 429
    assert answers[-1].json()["detail"] == "the document was asked for too often; read it again later"
    assert int(answers[-1]["Retry-After"]) > 0
