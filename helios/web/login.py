"""Logins that fail: told with user and address, and refused for a while where they go on (by django-axes)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from loguru import logger


def address(request: HttpRequest) -> str | None:
    """The other end of the connection, as for every limit: headers are what anybody writes."""
    return request.META.get("REMOTE_ADDR") or None


def failed(*, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """Log a login that was refused; what was given as a password is not among the credentials."""
    refused = bool(getattr(request, "axes_locked_out", False))
    where = None if request is None else address(request)
    logger.bind(user=credentials.get("username"), address=where, locked=refused).warning("login.failed")


def locked_out(_request: HttpRequest, _response: HttpResponse, _credentials: dict[str, Any] | None) -> HttpResponse:
    """The answer in place of the login page: 429 with a sentence."""
    wait_s = int(settings.AXES_COOLOFF_TIME.total_seconds())
    sentence = f"Too many logins of this user from your address have failed: try again in {wait_s // 60} minutes."
    headers = {"Retry-After": str(wait_s)}
    return HttpResponse(
        sentence, status=HTTPStatus.TOO_MANY_REQUESTS, content_type="text/plain; charset=utf-8", headers=headers
    )
