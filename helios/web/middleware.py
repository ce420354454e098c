"""What every request gets: an id, a measured duration, one log line, and a policy of what its page may load."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connection
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from loguru import logger

from helios.db.failures import UNAVAILABLE
from helios.web.lanes import NOBODY, SOMEBODY

GetResponse = Callable[[HttpRequest], HttpResponseBase]

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
QUIET_PREFIX: Final = "/health"
SERVER_ERROR: Final = 500


def request_id(claimed: str | None) -> str:
    """The caller's id when it is well-formed (8 to 64 letters, digits, dots, dashes), else a new one.

    Anything else could carry line breaks into a log or a header.
    """
    if claimed and REQUEST_ID.fullmatch(claimed):
        return claimed
    return uuid.uuid4().hex


@dataclass(slots=True)
class DatabaseTime:
    """Counts the statements of one request and the seconds they took."""

    n_queries: int = 0
    seconds: float = 0.0

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        start = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            self.n_queries += 1
            self.seconds += time.perf_counter() - start


class RequestLog:
    """Adds `X-Request-ID` and `Server-Timing`, and writes one line a request.

    The query string stays out of the log: it can hold secrets. Health probes are logged at DEBUG.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        identity = request_id(request.headers.get("X-Request-ID"))
        request.META["HELIOS_REQUEST_ID"] = identity
        database = DatabaseTime()
        start = time.perf_counter()
        with logger.contextualize(request_id=identity), connection.execute_wrapper(database):
            response = self.get_response(request)
            duration_ms = (time.perf_counter() - start) * 1000
            user = _user(request)
            self._log(request, response.status_code, duration_ms, database, user)
        _tell_lanes(request, user)
        response["X-Request-ID"] = identity
        response["Server-Timing"] = (
            f'app;dur={duration_ms:.1f}, db;dur={database.seconds * 1000:.1f};desc="{database.n_queries} queries"'
        )
        return response

    @staticmethod
    def _log(request: HttpRequest, status: int, duration_ms: float, database: DatabaseTime, user: str | None) -> None:
        level = "WARNING" if status >= SERVER_ERROR else "INFO"
        if request.path.startswith(QUIET_PREFIX) and status < SERVER_ERROR:
            level = "DEBUG"
        logger.bind(
            method=request.method,
            path=request.path,
            status=status,
            duration_ms=round(duration_ms, 1),
            db_queries=database.n_queries,
            user=user,
        ).log(level, "http.request")


def _user(request: HttpRequest) -> str | None:
    """The name of the user, by session or token; empty where it is nobody's, None while the database is away."""
    user = request.__dict__.get("user")
    try:
        if not isinstance(user, AbstractBaseUser):  # one of a session is loaded by this
            user = getattr(request, "_cached_user", None)
    except UNAVAILABLE:
        return None
    return str(user.get_username()) if user is not None and user.is_authenticated else ""


def _tell_lanes(request: HttpRequest, user: str | None) -> None:
    """Who was known, by a token or a session, or whose session is nobody's, whatever the answer was."""
    if user is None:
        return
    scope = getattr(request, "scope", {})
    scope |= {SOMEBODY: user} if user else {NOBODY: request.COOKIES.get(settings.SESSION_COOKIE_NAME)}


class ContentPolicy:
    """Pages load from this server only; the admin and Swagger need inline code."""

    POLICY: Final = (
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
        "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    )

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", self.POLICY)
        return response
