"""Flower shows nothing to whoever has not its login."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import math
import re
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from django.conf import settings
from flower import app
from flower.events import EventsState
from flower.options import default_options
from flower.urls import handlers
from flower.utils.template import format_count
from flower.views import BaseHandler
from flower.views.auth import LoginHandler, LogoutHandler
from flower.views.error import NotFoundErrorHandler
from tornado.ioloop import IOLoop
from tornado.template import filter_whitespace
from tornado.web import HTTPError, RequestHandler, StaticFileHandler

from helios.celery import app as helios_app
from helios.stack import flower

FOR_ANYBODY = {LoginHandler, LogoutHandler, NotFoundErrorHandler, StaticFileHandler}


def test_every_page_asks_for_the_login() -> None:
    flower.ask_for_the_login()
    pages = {getattr(each, "handler_class", None) or each[1] for each in handlers} - FOR_ANYBODY
    methods = {(page, name): getattr(page, name) for page in pages for name in ("get", "post")}
    own = {
        place: method
        for place, method in methods.items()
        if method.__qualname__ != "RequestHandler._unimplemented_method"
    }
    assert len(own) >= len(pages)
    assert {place for place, method in own.items() if not hasattr(method, "__wrapped__")} == set()


def test_the_page_of_the_broker_knows_every_queue_before_a_worker_has_named_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(helios_app.conf, "task_queues", helios_app.conf.task_queues)
    flower.name_the_queues()
    page = SimpleNamespace(capp=helios_app, application=SimpleNamespace(workers={}))
    assert BaseHandler.get_active_queue_names(page) == sorted(settings.CELERY_TASK_QUEUES)


def test_an_address_guesses_five_times_in_a_quarter_of_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BaseHandler, "get_current_user", BaseHandler.get_current_user)
    clock = [1_000.0]
    monkeypatch.setattr(flower.time, "monotonic", lambda: clock[0])
    flower.slow_down_guesses()

    def ask(password: str | None, address: str = "10.0.0.1", kept: dict[str, str] | None = None) -> int:
        cookies = {} if kept is None else kept
        told = "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()
        headers = {} if password is None else {"Authorization": told}
        connection = SimpleNamespace(stream=asyncio.Event())
        request = SimpleNamespace(remote_ip=address, headers=headers, connection=connection)
        options = SimpleNamespace(basic_auth=["admin:right"], auth=None)
        page: Any = SimpleNamespace(
            request=request,
            application=SimpleNamespace(options=options),
            get_cookie=cookies.get,
            set_cookie=lambda name, value, **_: cookies.update({name: value}),
        )
        try:
            return 200 if BaseHandler.get_current_user(page) else 0
        except HTTPError as error:
            return error.status_code

    assert [ask(None) for _ in range(9)] == [401] * 9  # a browser asks so before it asks its user
    assert [ask("wrong") for _ in range(5)] == [401] * 5
    assert [ask("right"), ask("wrong"), ask(None), ask("right", "10.0.0.2")] == [429, 429, 429, 200]
    clock[0] += flower.LOCKED_S
    assert ask("right") == 200
    known: dict[str, str] = {}
    assert [ask("right", kept=known), len(known)] == [200, 1]
    assert [ask("wrong") for _ in range(6)] == [401] * 5 + [429]
    assert [ask("right", kept=known), ask("right", kept=dict.fromkeys(known, "forged"))] == [200, 429]
    assert [ask("wrong", kept=known) for _ in range(6)] == [401] * 5 + [429]  # its own end, too
    assert [ask("right", "10.0.0.3", known), ask("right", "10.0.0.3")] == [429, 200]


def served(monkeypatch: pytest.MonkeyPatch, talk: Callable[[int], Coroutine[Any, Any, None]]) -> None:
    """Talk to the port of Flower itself."""
    monkeypatch.setattr(app, "HTTPServer", app.HTTPServer)
    monkeypatch.setattr(BaseHandler, "get_current_user", BaseHandler.get_current_user)
    flower.ask_for_the_login()
    flower.slow_down_guesses()
    flower.bound_what_comes()

    async def serve() -> None:
        options = SimpleNamespace(**{**default_options.as_dict(), "basic_auth": ["admin:right"]})
        pages = app.Flower(options, Celery(), io_loop=IOLoop.current())
        server = app.HTTPServer(pages)  # as Flower starts it
        server.listen(0, "127.0.0.1")
        (listening,) = server._sockets.values()
        await asyncio.wait_for(talk(listening.getsockname()[1]), 60)
        server.stop()
        await server.close_all_connections()
        pages.executor.shutdown()

    asyncio.run(serve())


async def said(port: int, request: bytes) -> bytes:
    """All that comes until Flower closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    came = b""
    with contextlib.suppress(ConnectionError):
        came = await reader.read()
    writer.close()
    return came


POST = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"


def test_strangers_send_small_heads_and_bodies_and_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for patience in ("HEAD_S", "BODY_S"):
        monkeypatch.setattr(flower, patience, 0.2)

    async def talk(port: int) -> None:
        fits = POST + b"Content-Length: %d\r\n\r\n" % flower.SENT + b"a" * flower.SENT
        assert (await said(port, fits)).startswith(b"HTTP/1.1 405")
        assert (await said(port, POST + b"Content-Length: %d\r\n\r\n" % (flower.SENT + 1))).startswith(b"HTTP/1.1 400")
        chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % (flower.SENT + 1)
        assert (await said(port, chunked)).startswith(b"HTTP/1.1 400")
        for late in (b"", b"GET", POST, POST + b"Content-Length: 9\r\n\r\na", b"a" * 8 * flower.SENT):
            assert await said(port, late) == b""

    served(monkeypatch, talk)


def test_strangers_keep_no_connection_from_others_and_take_none_that_had_the_login(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    login = b"Authorization: Basic " + base64.b64encode(b"admin:right") + b"\r\n"
    page = b"GET /healthcheck HTTP/1.1\r\nHost: h\r\n" + login

    async def talk(port: int) -> None:
        known, asks = await asyncio.open_connection("127.0.0.1", port)
        asks.write(page + b"\r\n")
        assert (await known.readline()).startswith(b"HTTP/1.1 200")
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3 * flower.CONNECTIONS)]
        assert await silent[0][0].read() == b""
        assert await silent[2 * flower.CONNECTIONS][0].read() == b""
        asks.write(page + b"Connection: close\r\n\r\n")
        assert b"HTTP/1.1 200" in await known.read()
        assert not silent[-1][0].at_eof()
        for _, writer in [(known, asks), *silent]:
            writer.close()

    served(monkeypatch, talk)


def test_who_has_most_connections_makes_room_for_who_has_few(monkeypatch: pytest.MonkeyPatch) -> None:
    login = b"Authorization: Basic " + base64.b64encode(b"admin:right") + b"\r\n"

    async def talk(port: int) -> None:
        reader, asks = await asyncio.open_connection("127.0.0.1", port)
        flood = [
            await asyncio.open_connection("127.0.0.1", port, local_addr=(f"127.0.1.{n % 4}", 0))
            for n in range(2 * flower.CONNECTIONS)
        ]
        asks.write(b"GET /healthcheck HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + login + b"\r\n")
        assert b"HTTP/1.1 200" in await reader.read()
        for _, writer in [(reader, asks), *flood]:
            writer.close()

    served(monkeypatch, talk)


def test_nobody_frames_a_page_whatever_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RequestHandler, "clear", RequestHandler.clear)
    flower.keep_pages_ours()
    login = b"Authorization: Basic " + base64.b64encode(b"admin:right") + b"\r\n"
    asked = {b"/healthcheck": b"200", b"/nothing": b"404", b"/static/favicon.ico": b"200"}

    async def talk(port: int) -> None:
        for path, status in asked.items():
            page = await said(port, b"GET " + path + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + login + b"\r\n")
            assert page.startswith(b"HTTP/1.1 " + status)
            assert b"X-Frame-Options: DENY" in page
            assert f"Content-Security-Policy: {flower.POLICY}\r\n".encode() in page

    served(monkeypatch, talk)


@pytest.mark.parametrize(
    ("forged", "taken"), [({}, True), ({"name": ["<img>"]}, False), ({"received": "x"}, False), ({"args": {}}, False)]
)
def test_an_event_of_other_types_than_celerys_is_none(
    monkeypatch: pytest.MonkeyPatch, forged: dict[str, Any], taken: bool
) -> None:
    heard = list[Any]()
    monkeypatch.setattr(EventsState, "event", lambda _, told: heard.append(told))
    flower.hear_events_of_celerys_kind()
    event = {"type": "task-received", "uuid": "1", "name": "tiers.risk", "args": "()", "received": 1.5, "eta": None}
    EventsState.event(None, event | forged)
    EventsState.event(None, {"type": "worker-heartbeat", "active": 0, "loadavg": [0.5, 1, 1]})
    EventsState.event(None, {"type": "worker-heartbeat", "active": "<img>"})
    assert len(heard) == 1 + taken


@pytest.mark.parametrize(
    "forged",
    [
        {"active": math.inf},
        {"active": math.nan},
        {"active": 10**400},
        {"freq": None},
        {"heartbeats": 5},
        {"event": 5},
        *({"hostname": None}, {"hostname": 1}, {"hostname": "\ud800@w"}, {"loadavg": [math.nan]}, {"eta": math.inf}),
        {"local_received": -1e12},
    ],
    ids=lambda forged: ascii(forged)[:40],
)
def test_no_event_takes_the_page_of_workers_down(monkeypatch: pytest.MonkeyPatch, forged: dict[str, Any]) -> None:
    monkeypatch.setattr(EventsState, "event", EventsState.event)
    flower.hear_events_of_celerys_kind()
    numbers = dict.fromkeys(flower._NUMBERS - {"retries", "runtime", "received"}, time.time())
    state = EventsState(max_tasks_in_memory=10)
    for more in (forged, {}):
        state.event({"type": "worker-heartbeat", "hostname": "w", **numbers, **more})
        for worker in state.workers.values():
            assert (worker.alive, bool(format_count(worker.active))) == (True, True)
    assert len(state.workers) == 1


def test_the_scripts_that_stand_in_pages_are_those_that_may_run() -> None:
    """All others are Flower's files, or what a worker has written into what a page shows."""
    inline = re.compile(r"<script(?![^>]*src=)[^>]*>(.*?)</script>", re.DOTALL)
    texts = [path.read_text() for path in (Path(app.__file__).parent / "templates").rglob("*.html")]
    assert not [text for text in texts if re.search(r"\son[a-z]+\s*=|javascript:", text)]
    found = [filter_whitespace("single", each) for text in texts for each in inline.findall(text)]
    assert [each.replace("{{ autorefresh }}", "1").encode() for each in found] == [flower._INLINE]
    assert default_options.auto_refresh
