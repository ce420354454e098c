"""Flower's pages, for the names of this machine and for who has the login only."""

from __future__ import annotations

import secrets
import time
from base64 import b64encode
from collections.abc import MutableSet
from hashlib import sha256
from http import HTTPStatus
from typing import Any, Final
from weakref import WeakSet

from celery import current_app
from django.core import signing
from django.http.request import split_domain_port, validate_host
from flower import app
from flower.app import Flower
from flower.events import EventsState
from flower.views import BaseHandler
from flower.views.monitor import Healthcheck, Metrics
from loguru import logger
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.iostream import IOStream
from tornado.web import Application, ErrorHandler, HTTPError, RequestHandler, authenticated

from helios.clients import first_to_go, whole
from helios.entries import parts, storable
from helios.env import get_env

WRONG: Final = 5
LOCKED_S: Final = 900.0
BROWSER: Final = "helios_flower_browser"  # the signed cookie of a browser that had the login
BROWSER_DAYS: Final = 365
REMEMBERED: Final = 10_000  # addresses and browsers
CONNECTIONS: Final = 100
SENT: Final = 16_384  # bytes of a head, and of a body: the table of tasks asks with a quarter of that
HEAD_S, BODY_S = 20.0, 10.0  # for the next request of a connection, and for its body, to come
_INLINE: Final = b"\nvar autorefresh = 1;\n"  # the one script that stands in a page
POLICY: Final = (
    f"default-src 'self'; script-src 'self' 'sha256-{b64encode(sha256(_INLINE).digest()).decode()}'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_NUMBERS: Final = {  # of events
    *("active", "clock", "freq", "local_received", "pid", "processed"),
    *("received", "retries", "runtime", "timestamp", "utcoffset"),
}
_LEAST, _LARGEST = -24, 1e11  # hours of a zone, seconds of a year that can be shown
_NAMES: Final = {"hostname", "uuid", "type"}
_FIELDS: Final = {
    *(_NUMBERS | _NAMES),
    *("args", "eta", "exception", "exchange", "expired", "expires", "kwargs", "loadavg", "name", "parent_id", "queue"),
    *("requeue", "result", "root_id", "routing_key", "signum", "sw_ident", "sw_sys", "sw_ver", "terminated"),
    "traceback",
}
_known: MutableSet[IOStream] = WeakSet()  # connections that had the login


class BoundedServer(HTTPServer):
    """Tornado's server, which takes no more from anybody than Flower's pages ask with.

    Of more connections than `CONNECTIONS` one of the address that has most is closed, of those without the login first.
    """

    def initialize(self, *args: Any, **options: Any) -> None:
        options |= {"max_header_size": SENT, "max_body_size": SENT, "max_buffer_size": 4 * SENT}
        options |= {"idle_connection_timeout": HEAD_S, "body_timeout": BODY_S}
        super().initialize(*args, **options)
        self._open: dict[IOStream, str] = {}  # by their addresses, the oldest first

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        super().handle_stream(stream, address)
        self._open = {each: whose for each, whose in self._open.items() if not each.closed()}
        self._open[stream] = whole(address[0])
        if len(self._open) > CONNECTIONS:
            strangers = {each: whose for each, whose in self._open.items() if each not in _known}
            first_to_go(strangers or self._open).close()


def bound_what_comes() -> None:
    """Flower has no options for it, so it starts a server of ours."""
    app.HTTPServer = BoundedServer


def ask_for_the_login() -> None:
    """The two pages that Flower shows to anybody ask for the login like the others."""
    for page in (Metrics, Healthcheck):
        page.get = authenticated(page.get)


def keep_pages_ours() -> None:
    """No script runs in Flower's pages but its own, since workers write what they show, and nobody else frames one."""
    clear = RequestHandler.clear

    def cleared(page: RequestHandler) -> None:
        clear(page)
        page.set_header("X-Frame-Options", "DENY")
        page.set_header("Content-Security-Policy", POLICY)

    RequestHandler.clear = cleared  # type: ignore[method-assign, assignment]


def hear_events_of_celerys_kind() -> None:
    """An event of other types than Celery's own is none: workers write them, and pages show a list as it stands.

    Other fields than Celery's are left out: each becomes an attribute, whatever has its name.
    """
    take = EventsState.event

    def event(state: EventsState, told: dict[str, Any]) -> None:
        fields = {name: value for name, value in told.items() if name in _FIELDS}
        if all(_of_its_type(name, value) for name, value in fields.items()):
            take(state, fields)
        else:
            logger.bind(type=str(told.get("type"))[:100]).warning("flower.event_dropped")

    EventsState.event = event


def _of_its_type(name: str, value: Any) -> bool:
    if name == "loadavg":
        return isinstance(value, list | tuple) and all(map(_is_number, value))
    if isinstance(value, str):
        return name not in _NUMBERS and storable(value)  # half a surrogate pair is on no page
    if value is None:
        return name in {"retries", "runtime"} or name not in _NUMBERS | _NAMES
    return name not in _NAMES and _is_number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and _LEAST <= value <= _LARGEST


def name_the_queues() -> None:
    """The page Broker reads the setting of Celery's queues as a list of them, ours is a mapping by name."""
    current_app.conf.task_queues = list(current_app.amqp.queues.values())


def slow_down_guesses() -> None:
    """Answer 429 to an address from which `WRONG` wrong logins came within `LOCKED_S`, until these are over.

    A browser that had the login is counted by itself, as in `helios.web.login`: no stranger's guesses lock it out.
    """
    wrong: dict[str, list[float]] = {}
    check = BaseHandler.get_current_user

    def get_current_user(page: BaseHandler) -> Any:
        address, now = page.request.remote_ip, time.monotonic()
        browser = _browser(page)
        whose = browser or address
        recent = [each for each in wrong.get(whose, ()) if now - each < LOCKED_S]
        if len(recent) >= WRONG:
            raise HTTPError(HTTPStatus.TOO_MANY_REQUESTS)
        try:
            user = check(page)
        except HTTPError:
            if "Authorization" in page.request.headers:
                logger.bind(address=address).warning("flower.login_failed")
                wrong.pop(whose, None)
                wrong[whose] = [*recent, now]  # the last one now
                if len(wrong) > REMEMBERED:
                    del wrong[next(iter(wrong))]
            raise
        _known.add(page.request.connection.stream)
        if not browser:
            kept = signing.dumps(secrets.token_hex(8), salt=BROWSER)
            page.set_cookie(BROWSER, kept, expires_days=BROWSER_DAYS, httponly=True, samesite="Strict")
        return user

    BaseHandler.get_current_user = get_current_user


def _browser(page: BaseHandler) -> str:
    """The mark of a browser that had the login before; empty for any other."""
    try:
        return str(signing.loads(page.get_cookie(BROWSER, ""), salt=BROWSER, max_age=BROWSER_DAYS * 86_400))
    except signing.BadSignature:
        return ""


def refuse_other_hosts() -> None:
    """Answer 400 where anything was asked for under another name than those of HELIOS_ALLOWED_HOSTS.

    A foreign page whose name was turned to this machine (DNS rebinding) has such a name. Flower has no option for it,
    so its application looks before it chooses a handler.
    """
    allowed = parts(get_env().allowed_hosts)

    def find_handler(flower: Flower, request: HTTPServerRequest, **more: Any) -> Any:
        domain, _port = split_domain_port(request.host)
        if validate_host(domain, allowed):
            return Application.find_handler(flower, request, **more)
        return flower.get_handler_delegate(request, ErrorHandler, {"status_code": 400})

    Flower.find_handler = find_handler
