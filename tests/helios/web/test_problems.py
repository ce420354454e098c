"""Errors of the API read as RFC 9457 problems."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DataError, IntegrityError, OperationalError
from django.test import Client, RequestFactory
from rest_framework import exceptions

from helios.breakers.errors import UnknownBreaker
from helios.errors import Ambiguous, Conflict, HeliosError, Rejected, Transient
from helios.flags.errors import InvalidFlagError, UnknownFlagError
from helios.modules.errors import UnknownModule
from helios.rollouts.errors import UnknownRollout
from helios.web import problems

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
    assert response.data["errors"] == [{"pointer": "/percentage", "detail": "must be at most 100, was 120"}]
    assert response.data["detail"] == "The request is not valid: /percentage must be at most 100, was 120"


def test_each_defect_has_a_pointer_to_its_place() -> None:
    error = exceptions.ValidationError(
        {"steps": [{}, {"percentage": ["too much"]}], "a/b~c": ["odd"], "non_field_errors": ["all of it"]}
    )
    assert problems.errors_of(error) == [
        {"pointer": "/steps/1/percentage", "detail": "too much"},
        {"pointer": "/a~1b~0c", "detail": "odd"},
        {"pointer": "", "detail": "all of it"},
    ]


def test_a_parameter_and_a_header_are_called_so() -> None:
    detail = {"page": ["must be a whole number"]}
    assert problems.errors_of(problems.InvalidQuery(detail))[0]["parameter"] == "page"
    assert problems.errors_of(problems.InvalidHeader(detail))[0]["header"] == "page"


def test_a_refusal_that_knows_its_field_points_at_it() -> None:
    response = handled(InvalidFlagError("percentage must be a whole number from 0 to 100, was 101", "percentage"))
    assert response.status_code == 422
    assert response.data["errors"][0]["pointer"] == "/percentage"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnknownFlagError("x"), 404),
        (UnknownBreaker("x"), 404),
        (UnknownModule("x"), 404),
        (UnknownRollout("x"), 404),
        (Conflict("somebody was first"), 409),
        (OperationalError("server closed the connection"), 503),
        (IntegrityError("duplicate key"), 409),
        (DataError("value too long"), 422),
    ],
)
def test_errors_of_services_and_of_the_database_have_their_status(error: Exception, status: int) -> None:
    assert handled(error).status_code == status


def test_what_may_succeed_later_says_when_to_come_back() -> None:
    assert handled(Transient("Redis does not answer"))["Retry-After"] == "1"
    assert handled(exceptions.Throttled(7))["Retry-After"] == "7"


def test_the_database_keeps_its_words_to_itself() -> None:
    assert "secret" not in str(handled(OperationalError("password of secret host")).data)


@pytest.mark.django_db
def test_a_request_that_django_itself_refuses_is_a_problem_too(client: Client) -> None:
    response = client.get("/api/modularity/status", headers={"Host": "not.allowed.example"})
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")
    assert problems.bad_request(RequestFactory().get("/admin/"), ValueError()).status_code == 400


def test_an_unknown_error_is_left_to_the_server_error_page() -> None:
    assert handled(RuntimeError("a bug")) is None


@pytest.mark.django_db
def test_an_unknown_api_address_is_a_problem_and_another_a_page(client: Client) -> None:
    api, page = client.get("/api/nothing/here"), client.get("/nothing/here")
    assert (api.status_code, api["Content-Type"]) == (404, "application/problem+json")
    assert api.json()["request_id"] == api["X-Request-ID"]
    assert (page.status_code, page["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "There is nothing at /nothing/here." in page.content.decode()
    assert '<a href="/admin/">' in page.content.decode(), "a way back"


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

    monkeypatch.setattr("helios.api.system.views.system_info", broken)
    admin_client.raise_request_exception = False
    response = admin_client.get("/api/system/info")
    assert (response.status_code, response["Content-Type"]) == (500, "application/problem+json")
    assert "secret details" not in response.content.decode()
    assert response.json()["request_id"] == response["X-Request-ID"]


def test_a_bug_elsewhere_is_djangos_own_page() -> None:
    response = problems.server_error(RequestFactory().get("/admin/"))
    assert (response.status_code, response["Content-Type"]) == (500, "text/html; charset=utf-8")
