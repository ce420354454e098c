"""Errors of the API read as RFC 9457 problems."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client, RequestFactory
from rest_framework import exceptions

from helios.errors import Ambiguous, HeliosError, Rejected, Transient
from helios.platform import problems

MEMBERS = {"type", "title", "status", "detail", "instance", "request_id"}


def handled(error: Exception) -> Any:
    request = RequestFactory().get("/api/thing")
    request.META["HELIOS_REQUEST_ID"] = "trace-01"
    return problems.handle(error, {"request": request, "view": None})


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Rejected("a book needs known symbols, unknown: XYZ"), 422),
        (Transient("the venue timed out"), 503),
        (Ambiguous("the order may have been sent"), 409),
        (HeliosError("something else"), 500),
        (exceptions.NotFound("no flag is named x"), 404),
        (exceptions.PermissionDenied(), 403),
    ],
)
def test_each_kind_of_error_has_its_status_and_keeps_its_sentence(error: Exception, status: int) -> None:
    response = handled(error)
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    assert set(response.data) == MEMBERS
    assert response.data["status"] == status
    assert response.data["instance"] == "/api/thing"
    assert response.data["request_id"] == "trace-01"
    if str(error):
        assert response.data["detail"] == str(error)


def test_a_validation_error_lists_its_fields() -> None:
    response = handled(exceptions.ValidationError({"percentage": ["must be at most 100, was 120"]}))
    assert response.status_code == 400
    assert response.data["errors"]["percentage"][0] == "must be at most 100, was 120"


def test_an_unknown_error_is_left_to_the_server_error_page() -> None:
    assert handled(RuntimeError("a bug")) is None


@pytest.mark.django_db
def test_an_unknown_api_address_is_a_problem_and_another_a_page(client: Client) -> None:
    api, page = client.get("/api/nothing/here"), client.get("/nothing/here")
    assert (api.status_code, api["Content-Type"]) == (404, "application/problem+json")
    assert api.json()["request_id"] == api["X-Request-ID"]
    assert (page.status_code, page["Content-Type"]) == (404, "text/html; charset=utf-8")


@pytest.mark.django_db
def test_a_wrong_token_is_a_problem_with_a_challenge(client: Client) -> None:
    response = client.get("/api/books/", headers={"Authorization": "Token nonsense"})
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Token"
    assert response.json()["detail"] == "Invalid token."


@pytest.mark.django_db
def test_a_bug_in_the_api_is_a_problem_without_its_text(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> dict[str, Any]:
        raise RuntimeError("secret details of a bug")

    monkeypatch.setattr("helios.platform.views.system_info", broken)
    admin_client.raise_request_exception = False
    response = admin_client.get("/api/system/info")
    assert (response.status_code, response["Content-Type"]) == (500, "application/problem+json")
    assert "secret details" not in response.content.decode()
    assert response.json()["request_id"] == response["X-Request-ID"]


def test_a_bug_elsewhere_is_djangos_own_page() -> None:
    response = problems.server_error(RequestFactory().get("/admin/"))
    assert (response.status_code, response["Content-Type"]) == (500, "text/html; charset=utf-8")
