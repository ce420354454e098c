"""Errors of the API as problem JSON (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.views import defaults
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import exception_handler

from helios.errors import Ambiguous, HeliosError, Rejected, Transient

CONTENT_TYPE: Final = "application/problem+json"
API_PREFIX: Final = "/api/"


class Unprocessable(exceptions.APIException):
    """A request that is well-formed and still refused."""

    status_code = HTTPStatus.UNPROCESSABLE_ENTITY
    default_code = "rejected"


class Conflict(exceptions.APIException):
    """Something whose outcome is not known yet stands in the way."""

    status_code = HTTPStatus.CONFLICT
    default_code = "ambiguous"


class Unavailable(exceptions.APIException):
    """May succeed when tried again."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    default_code = "transient"


_BY_ERROR: Final[tuple[tuple[type[HeliosError], type[exceptions.APIException]], ...]] = (
    (Transient, Unavailable),
    (Ambiguous, Conflict),
    (Rejected, Unprocessable),
)


def problem(request: HttpRequest | Request, status: int, detail: str, **extra: Any) -> dict[str, Any]:
    """The members of a problem: type, title, status, detail, instance, request_id and what `extra` adds."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.path,
        "request_id": request.META.get("HELIOS_REQUEST_ID", ""),
        **extra,
    }


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: known errors become problems, unknown ones go on to Django's 500."""
    if isinstance(error, HeliosError):
        kind = next((api for own, api in _BY_ERROR if isinstance(error, own)), exceptions.APIException)
        error = kind(str(error))
    response = exception_handler(error, context)
    if response is None:
        return None
    extra: dict[str, Any] = {}
    if isinstance(error, exceptions.ValidationError):
        detail, extra["errors"] = "The request is not valid; see errors.", response.data
    else:
        detail = str(response.data.get("detail", error))
    response.data = problem(context["request"], response.status_code, detail, **extra)
    response.content_type = CONTENT_TYPE
    return response


def _problem_response(request: HttpRequest, status: HTTPStatus, detail: str) -> JsonResponse:
    return JsonResponse(problem(request, status, detail), status=status, content_type=CONTENT_TYPE)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """404: problem JSON under /api/, Django's page elsewhere."""
    if request.path.startswith(API_PREFIX):
        return _problem_response(request, HTTPStatus.NOT_FOUND, f"There is nothing at {request.path}.")
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """500: problem JSON under /api/ with the id to look for in the log, Django's page elsewhere."""
    if request.path.startswith(API_PREFIX):
        detail = "Helios failed to answer; the log names the cause under this request id."
        return _problem_response(request, HTTPStatus.INTERNAL_SERVER_ERROR, detail)
    return defaults.server_error(request)
