"""Logins that fail: told with user and address, and refused for a while where they go on (by django-axes).

A browser in which a user has logged in before keeps a signed cookie (OWASP: device cookies). Its logins of that user
are counted by themselves: no stranger's guesses lock out who is known, and guesses with the cookie end like others.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from loguru import logger

from helios.web.lanes import BROWSER, LOGIN
from helios.web.marks import LETTERS, marked
from helios.web.proxies import address

BROWSER_DAYS: Final = 365


def known_browsers(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Any:
    """Middleware: a browser keeps who logged in there; unknown ones share the rate of their address's strangers."""
    from helios.web import throttling  # noqa: PLC0415 - which needs the answer below

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path != LOGIN or request.method != "POST":
            return get_response(request)
        browser = _browser(request, request.POST.get("username", ""))
        wait_s = throttling.browser_wait_s(browser) if browser else throttling.stranger_wait_s(request)
        if wait_s > 0:
            return too_many(f"Too many logins from your {'browser' if browser else 'address'}", wait_s)
        response = get_response(request)
        user = getattr(request, "user", None)
        if user is not None and user.is_authenticated:
            kept = marked(signing.dumps([user.get_username(), secrets.token_hex(8)], salt=BROWSER))
            response.set_cookie(
                *(BROWSER, kept, BROWSER_DAYS * 86_400),
                path=LOGIN,
                secure=settings.SESSION_COOKIE_SECURE,
                httponly=True,
                samesite="Strict",
            )
        return response

    return middleware


def counted_as(request: HttpRequest, credentials: dict[str, Any] | None) -> str | None:
    """Under which name django-axes counts a login: that of the user, or of the user in a browser that is known."""
    name = (credentials or request.POST).get("username")
    browser = _browser(request, name)
    return f"{name} in {browser}" if browser else name


def failed(*, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """Log a login that was refused; what was given as a password is not among the credentials."""
    refused = bool(getattr(request, "axes_locked_out", False))
    where = None if request is None else address(request)
    logger.bind(user=credentials.get("username"), address=where, locked=refused).warning("login.failed")


def locked_out(_request: HttpRequest, _response: HttpResponse, _credentials: dict[str, Any] | None) -> HttpResponse:
    """The answer in place of the login page: 429 with a sentence."""
    return too_many(
        "Too many logins of this user from your address have failed", settings.AXES_COOLOFF_TIME.total_seconds()
    )


def too_many(why: str, wait_s: float) -> HttpResponse:
    """429 for a person: a sentence, and the moment to come back."""
    wait_s = math.ceil(wait_s)
    minutes = math.ceil(wait_s / 60)
    return HttpResponse(
        f"{why}: try again in {minutes} minute{'s' if minutes > 1 else ''}.",
        status=HTTPStatus.TOO_MANY_REQUESTS,
        content_type="text/plain; charset=utf-8",
        headers={"Retry-After": str(wait_s)},
    )


def _browser(request: HttpRequest, name: str | None) -> str:
    """The mark of a browser in which this user has logged in before; empty for any other."""
    kept = request.COOKIES.get(BROWSER, "")[:-LETTERS]
    try:
        whose, mark = signing.loads(kept, salt=BROWSER, max_age=BROWSER_DAYS * 86_400)
    except signing.BadSignature:
        return ""
    return mark if whose == name else ""
