"""How often one user, or one address without a name, may ask this process: a sliding window in its memory.

It is nobody else's: what workers can write, as all of Valkey, must not keep the desk from a halt.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from loguru import logger
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from helios import outage
from helios.clients import whole
from helios.db.failures import UNAVAILABLE
from helios.web import roles
from helios.web.lanes import LOGIN, READING, is_safer
from helios.web.login import too_many
from helios.web.proxies import address
from helios.web.roles import Scope

if TYPE_CHECKING:
    from rest_framework.views import APIView  # it reads this class from the settings while it is imported itself

SECONDS: Final = {"s": 1, "min": 60, "h": 3_600, "day": 86_400}
MOST: Final = 100_000  # who ask; some 30 MB
STRANGER: Final = "anon"
ADMIN: Final = "/admin/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many requests in so many seconds."""

    limit: int
    period_s: int

    @classmethod
    @lru_cache(maxsize=32)
    def parse(cls, text: str) -> Rate:
        """`600/min` and the like; `ValueError` for anything else."""
        count, _, unit = text.partition("/")
        if not count.isdecimal() or int(count) < 1 or unit not in SECONDS:
            raise ValueError(f"a rate must read like 600/min, with s, min, h or day, was {text!r}")
        return cls(limit=int(count), period_s=SECONDS[unit])


def wait_s(rate: Rate, *, before: int, now: int, share: float) -> float:
    """Seconds until one more request fits, 0 when it fits at once.

    `before` and `now` are the admitted requests of the last window and of this one, of which `share` (0..1)
    has passed. The last window counts with the part of it that a window ending now would still cover.
    """
    room = rate.limit - 1 - now
    if room >= 0:
        fits = 0.0 if before <= room else 1 - room / before
        return max(0.0, (fits - share) * rate.period_s)
    return (1 - share + max(0.0, 1 - (rate.limit - 1) / now)) * rate.period_s


LOGINS: Final = Rate(limit=10, period_s=60)  # of one browser: each password takes long to hash


class Limit(BaseThrottle):
    """DRF's throttle: the rate of the route's scope, per user."""

    _wait = 0.0

    def allow_request(self, request: Request, view: APIView) -> bool:  # noqa: ARG002 - DRF's signature
        match = request.resolver_match
        rule = roles.rule(str(match.url_name) if match else "", str(request.method))
        user = request.user
        if user is None or not user.is_authenticated:
            return True  # 401 follows, and counts against the address
        self._wait = user_wait_s(request, rule.scope if rule else Scope.WRITE)
        return self._wait <= 0

    def wait(self) -> float | None:
        return self._wait or None


class AdminPages:
    """Middleware: a person's pages of the admin count against the rates of the same person's requests to the API.

    Those of nobody count as a stranger's, whatever session was sent along.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith(ADMIN) and request.path != LOGIN:
            scope = Scope.READ if request.method in READING else Scope.WRITE
            try:
                wait_s = user_wait_s(request, scope) if request.user.is_authenticated else stranger_wait_s(request)
            except UNAVAILABLE as error:
                return away(request, error)
            if wait_s > 0:
                return too_many("You ask too often", wait_s)
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """503 with a sentence, where the database gave up the statement of any page or is away."""
        return away(request, error) if isinstance(error, UNAVAILABLE) else None


def away(request: HttpRequest, error: Exception) -> HttpResponse:
    """503: the database gave up the statement of a page, or is away."""
    if not outage.report(error, during="showing a page"):
        logger.bind(error=str(error), path=request.path).warning("page.database_failed")
    sentence = "The database does not answer, or gave up what takes it too long: look for less, or try again."
    return HttpResponse(sentence, status=HTTPStatus.SERVICE_UNAVAILABLE, content_type="text/plain; charset=utf-8")


def user_wait_s(request: Request | HttpRequest, scope: Scope) -> float:
    """Counts a request of a user, as a safer one where it is one; seconds it would have to wait."""
    if is_safer(str(request.method), request.path):
        scope = Scope.SAFER
    return count(f"{scope}:{request.user.pk}", Rate.parse(settings.API_RATES[scope.value]))


def stranger_wait_s(request: Request | HttpRequest) -> float:
    """Counts a request without a valid name against its address; seconds it would have to wait."""
    return count(f"{STRANGER}:{whole(address(request) or '')}", Rate.parse(settings.API_RATES[STRANGER]))


def browser_wait_s(browser: str) -> float:
    """Counts a login in a browser that is known; seconds it would have to wait."""
    return count(f"browser:{browser}", LOGINS)


def count(who: str, rate: Rate) -> float:
    """Count one request of `who`; the seconds it has to wait, 0 when it may pass."""
    return _WINDOWS.ask(who, rate, time.monotonic())


@dataclass(slots=True)
class Windows:
    """What each has been admitted in its last two windows; of more than `MOST` who ask, who asked longest ago goes."""

    _admitted: OrderedDict[tuple[str, Rate], tuple[float, int, int]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, who: str, rate: Rate, at: float) -> float:
        """As `count`; `at` is in seconds.

        Only what was admitted counts, so that asking again does not push the end away.
        """
        window, passed = divmod(at, rate.period_s)
        with self._lock:
            last, before, now = self._admitted.pop((who, rate), (window, 0, 0))
            if last != window:
                before, now = (now if last == window - 1 else 0), 0
            wait = wait_s(rate, before=before, now=now, share=passed / rate.period_s)
            self._admitted[who, rate] = window, before, now + (wait <= 0)
            if len(self._admitted) > MOST:
                self._admitted.popitem(last=False)
        return wait


_WINDOWS: Final = Windows()
