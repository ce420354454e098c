"""Errors of the API as problem JSON (RFC 9457); what is wrong with a field is said with a pointer to it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

from django.db import DataError as DatabaseRefused
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.views import defaults
from loguru import logger
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import exception_handler

from helios import outage
from helios.db.failures import UNAVAILABLE
from helios.errors import Ambiguous, Conflict, HeliosError, NotFound, Rejected, TooMany, Transient
from helios.logs import redact
from helios.web.parsing import escaped
from helios.web.throttling import away

CONTENT_TYPE: Final = "application/problem+json"
API_PREFIX: Final = "/api/"
RETRY_S: Final = 1
WAIT_S: Final = 30  # about what waits takes: a run of tests
_PLACE: Final = re.compile(r"[a-z_]+(?:\[\d+\]|\.[A-Za-z]\w*)*")


class InvalidQuery(exceptions.ValidationError):
    """A parameter of the address is not valid."""


class InvalidHeader(exceptions.ValidationError):
    """A header is not valid."""


class Unprocessable(exceptions.APIException):
    """A request that is well-formed and still refused."""

    status_code = HTTPStatus.UNPROCESSABLE_ENTITY
    default_code = "rejected"


class ConflictProblem(exceptions.APIException):
    """Somebody was first, or the outcome of something before is not known yet."""

    status_code = HTTPStatus.CONFLICT
    default_code = "conflict"


class Unavailable(exceptions.APIException):
    """May succeed when tried again."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    default_code = "transient"
    wait = RETRY_S


class Full(exceptions.APIException):
    """As many as may wait do so already."""

    status_code = HTTPStatus.TOO_MANY_REQUESTS
    default_code = "too_many"
    wait = WAIT_S


_BY_ERROR: Final[tuple[tuple[type[HeliosError], type[exceptions.APIException]], ...]] = (
    (NotFound, exceptions.NotFound),
    (Conflict, ConflictProblem),
    (Transient, Unavailable),
    (Ambiguous, ConflictProblem),
    (TooMany, Full),
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
    field = getattr(error, "field", "") if isinstance(error, HeliosError) else ""
    error = _as_api_error(error) if isinstance(error, HeliosError) else _of_the_database(error)
    response = exception_handler(error, context)
    if response is None:
        return None
    extra: dict[str, Any] = {}
    if isinstance(error, exceptions.ValidationError):
        extra["errors"] = errors_of(error)
        first = extra["errors"][0]
        where = next(value for key, value in first.items() if key != "detail")
        detail = f"The request is not valid: {where} {first['detail']}".replace("  ", " ")
    else:
        detail = str(response.data.get("detail", error))
        if field:
            extra["errors"] = [{"pointer": _pointer(field, detail), "detail": detail}]
    response.data = problem(context["request"], response.status_code, detail, **extra)
    response.content_type = CONTENT_TYPE
    return response


def _pointer(field: str, detail: str) -> str:
    """The place in the field where the sentence begins with it, as in `rules[0].name must be ...`; else the field."""
    found = _PLACE.match(detail)
    place = found.group() if found and found.group().startswith(field) else field
    return "/" + place.replace("[", "/").replace("]", "").replace(".", "/")


def errors_of(error: exceptions.ValidationError) -> list[dict[str, str]]:
    """One object a defect: `detail`, and where it is, as `pointer` (RFC 6901), `parameter` or `header`."""
    found = list(_flat(error.detail, ""))
    if isinstance(error, InvalidQuery):
        return [{"parameter": pointer.removeprefix("/"), "detail": text} for pointer, text in found]
    if isinstance(error, InvalidHeader):
        return [{"header": pointer.removeprefix("/"), "detail": text} for pointer, text in found]
    return [{"pointer": pointer, "detail": text} for pointer, text in found]


def _flat(detail: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """DRF's nested errors in their order, each with the pointer to its field; `""` is the whole body."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            here = name == api_settings.NON_FIELD_ERRORS_KEY
            yield from _flat(inner, pointer if here else f"{pointer}/{escaped(name)}")
    elif isinstance(detail, list | tuple):
        for index, inner in enumerate(detail):
            nested = isinstance(inner, dict | list)
            yield from _flat(inner, f"{pointer}/{index}" if nested else pointer)
    else:
        yield pointer, str(detail)


def _as_api_error(error: HeliosError) -> exceptions.APIException:
    kind = next((api for own, api in _BY_ERROR if isinstance(error, own)), exceptions.APIException)
    return kind(redact(str(error)))


def _of_the_database(error: Exception) -> Exception:
    """What the database says, as the client's problem: away is 503, a broken rule 409, a bad value 422.

    The last two mean that a check before it is missing, so the log gets the cause.
    """
    if isinstance(error, UNAVAILABLE):
        if not outage.report(error, during="answering a request"):
            logger.bind(error=str(error)).warning("api.database_failed")
        return Unavailable("the database does not answer; try again")
    if isinstance(error, IntegrityError | DatabaseRefused):
        logger.bind(error=str(error)).error("api.unchecked_input")
        if isinstance(error, IntegrityError):
            return ConflictProblem("the change contradicts what is there, maybe made meanwhile; nothing was changed")
        return Unprocessable("a value is one that the database cannot hold; nothing was changed")
    return error


def problem_response(request: HttpRequest, status: HTTPStatus, detail: str, **headers: str) -> JsonResponse:
    """The answer of a view that is none of DRF's; names of headers have underscores."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return JsonResponse(problem(request, status, detail), status=status, content_type=CONTENT_TYPE, headers=told)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """404: problem JSON under /api/, the page 404.html elsewhere."""
    if request.path.startswith(API_PREFIX):
        return problem_response(request, HTTPStatus.NOT_FOUND, f"There is nothing at {request.path}.")
    return defaults.page_not_found(request, exception)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """400 from Django itself, such as a body too large for it: problem JSON under /api/, its page elsewhere."""
    if request.path.startswith(API_PREFIX):
        return problem_response(request, HTTPStatus.BAD_REQUEST, "The request is malformed.")
    return defaults.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """500: problem JSON under /api/ with the id to look for in the log, Django's page elsewhere.

    And 503 where what lies around all views, such as a session, met a database that is away.
    """
    if isinstance(error := sys.exception(), UNAVAILABLE):
        told = away(request, error)
        if request.path.startswith(API_PREFIX):
            return problem_response(request, HTTPStatus.SERVICE_UNAVAILABLE, told.content.decode())
        return told
    if request.path.startswith(API_PREFIX):
        detail = "Helios failed to answer; the log names the cause under this request id."
        return problem_response(request, HTTPStatus.INTERNAL_SERVER_ERROR, detail)
    return defaults.server_error(request)
