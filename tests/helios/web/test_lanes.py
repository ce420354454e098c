"""A fixed number of threads serves requests; reading and changing have their own, and slow clients take none."""

from __future__ import annotations

import asyncio
import threading
from io import BytesIO
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler
from django.test import Client

from helios.web import lanes, marks
from helios.web.marks import marked
from helios.web.roles import Role
from helios.web.sessions import SessionStore
from tests.support.lanes import HALT, KNOWN, OTHER, SESSION, ask, serving
from tests.support.people import Api, person


def test_many_requests_share_a_few_threads_and_each_gets_its_own_answer() -> None:
    seen: set[int] = set()
    application = lanes.in_lanes(serving(lambda _: seen.add(threading.get_ident())), reading=3)
    bodies = [str(number).encode() for number in range(230)]
    answers = asyncio.run(ask(application, *(("GET", body) for body in bodies)))
    assert [answer.content for answer in answers] == bodies
    assert 1 <= len(seen) <= 3


def test_reads_that_hang_do_not_keep_a_change_from_its_turn() -> None:
    hang, changed = threading.Event(), threading.Event()

    def work(method: str) -> None:
        if method == "GET":
            hang.wait(60)
        else:
            changed.set()
            hang.set()

    application = lanes.in_lanes(serving(work), reading=2)
    answers = asyncio.run(ask(application, *[("GET", b"")] * 20, ("POST", b"kill")))
    assert changed.is_set()
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize(
    ("method", "path", "headers", "which"),
    [
        ("GET", "/health", {}, "alive"),
        ("GET", "/health/ready", {}, "probe"),
        ("GET", "/api/books/", {}, "stranger"),
        ("POST", "/api/books/main/halt", {}, "stranger"),
        ("POST", "/admin/login/", {"cookie": SESSION}, "stranger"),
        ("POST", "/admin/login/", {"cookie": f"helios_browser={marked('s')}"}, "login"),
        ("POST", "/admin/login/", {"cookie": f"helios_browser={'s' * 40}"}, "stranger"),
        ("GET", "/admin/", {"cookie": f"csrftoken={marked('s')}"}, "stranger"),
        ("GET", "/admin/", {"cookie": f"sessionid={'s' * 40}"}, "stranger"),
        ("GET", "/admin/", {"cookie": f"csrftoken=c; {SESSION}"}, "read"),
        ("GET", "/api/books/", KNOWN, "read"),
        ("GET", "/api/books/", {"Authorization": marked("t")}, "read"),
        ("GET", "/api/books/", {"Authorization": f"Token {'t' * 66}"}, "stranger"),
        ("GET", "/api/books/", {"Authorization": "Token"}, "stranger"),
        ("POST", "/api/books/main/halt", {"Authorization": "Token \u00e9"}, "stranger"),
        ("POST", "/api/modularity/modules/register", KNOWN, "change"),
        ("POST", HALT, KNOWN, "safer"),
        ("POST", "/api/modularity/feature-flags/auto_trading/kill-switch", KNOWN, "safer"),
        *[(method, "/api/modularity/feature-flags/halt", KNOWN, "change") for method in ("PATCH", "DELETE")],
        ("POST", "/admin/trading/book/", {"cookie": SESSION}, "desk"),
        ("GET", "/admin/trading/book/", {"cookie": SESSION}, "read"),
        ("POST", "/admin/trading/book/1/change/", {"cookie": SESSION}, "change"),
    ],
)
def test_each_kind_of_request_has_lanes_of_its_own(method: str, path: str, headers: dict[str, str], which: str) -> None:
    given = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    assert lanes.kind({"method": method, "path": path, "headers": given})[0] == which


@pytest.mark.parametrize(
    "headers",
    [
        [(b"cookie", b";".join([b"sessionid=a"] * 4_900))],
        [(b"cookie", b";".join([b"sessionid=" + b"a" * 40] * 200))],
        [(b"cookie", f"{SESSION}; {SESSION}".encode())],
        [(b"cookie", f"{SESSION}; a={'a' * 8_192}".encode())],
        [(b"cookie", SESSION.encode())] * 2,
        [(b"authorization", KNOWN["Authorization"].encode())] * 2,
        [(b"authorization", b"Token " + b"a" * 60_000)],
        [(b"authorization", b"Token made-up"), (b"cookie", b"sessionid=abc")],
    ],
)
@pytest.mark.parametrize("path", ["/api/books/", lanes.LOGIN])
def test_no_mark_is_computed_for_what_cannot_be_ours(
    path: str, headers: list[tuple[bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "salted_hmac", lambda *_: pytest.fail("a mark was computed"))
    assert lanes.kind({"method": "GET", "path": path, "headers": headers})[0] == "stranger"


def test_a_session_is_ours_behind_a_proxy_that_asks_for_a_password_of_its_own() -> None:
    headers = [(b"authorization", b"Basic YTpi"), (b"cookie", SESSION.encode())]
    assert lanes.kind({"method": "GET", "path": "/admin/", "headers": headers})[0] == "read"


@pytest.mark.django_db
def test_a_token_and_a_session_are_known_as_ours_before_the_database_is_asked(
    client: Client, django_assert_num_queries: Any
) -> None:
    viewer = Api(person(Role.VIEWER))
    client.force_login(viewer.user)
    session = client.cookies["sessionid"].value
    given = [[(b"authorization", f"Token {viewer.token}".encode())], [(b"cookie", f"sessionid={session}".encode())]]
    with django_assert_num_queries(0):
        assert {lanes.kind({"method": "GET", "path": "/", "headers": each})[0] for each in given} == {"read"}


@pytest.mark.django_db
def test_a_session_of_before_goes_on(client: Client) -> None:
    person(Role.VIEWER, "ann")
    client.force_login(User.objects.get(username="ann"))
    row = Session.objects.get()
    Session.objects.create(session_key="b" * 32, session_data=row.session_data, expire_date=row.expire_date)
    assert SessionStore("b" * 32).load() == SessionStore(row.session_key).load()


@pytest.mark.parametrize(("path", "headers"), [(lanes.LOGIN, {}), ("/api/books/", {"Authorization": "Token made-up"})])
def test_strangers_who_log_in_or_guess_by_the_hundred_hold_up_nobody_with_a_token(
    path: str, headers: dict[str, str]
) -> None:
    hash_on = threading.Event()
    application = lanes.in_lanes(serving(lambda method: method == "POST" and hash_on.wait(60) and None), reading=1)

    async def flood() -> tuple[list[httpx.Response], list[httpx.Response]]:
        guesses = asyncio.create_task(ask(application, *[("POST", b"")] * 60, path=path, headers=headers))
        await asyncio.sleep(0.05)
        read = await ask(application, ("GET", b"read"))
        hash_on.set()
        return read, await guesses

    read, guesses = asyncio.run(flood())
    assert read[0].content == b"read"
    assert {answer.status_code for answer in guesses} == {200}


def test_bodies_are_bounded_for_strangers_and_for_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    application = lanes.in_lanes(serving(lambda _: None), reading=1)
    large = ("POST", b"x" * (lanes.SMALL_BODY + 1))
    assert asyncio.run(ask(application, large, headers={}))[0].status_code == 413
    assert asyncio.run(ask(application, large))[0].status_code == 200
    monkeypatch.setattr(lanes, "BUFFERED", lanes.SMALL_BODY)
    application = lanes.in_lanes(serving(lambda _: None), reading=1)
    assert asyncio.run(ask(application, large))[0].status_code == 503
    monkeypatch.undo()
    assert asyncio.run(ask(application, large))[0].status_code == 200  # what was refused is forgotten


def test_no_body_of_others_keeps_a_small_one_out_nor_one_persons_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 2 * lanes.SMALL_BODY
    monkeypatch.setattr(lanes, "BUFFERED_EACH", size)
    monkeypatch.setattr(lanes, "BUFFERED", 2 * size)
    application = lanes.in_lanes(serving(lambda _: None), reading=1)

    async def flood() -> list[httpx.Response]:
        parts = iter([{"type": "http.request", "body": b"x" * size, "more_body": True}])

        async def receive() -> Any:
            return next(parts, None) or await asyncio.Event().wait()

        async def send(_: Any) -> None:
            """Nobody listens."""

        known = [(b"authorization", KNOWN["Authorization"].encode())]
        head = {"type": "http", "method": "POST", "path": "/", "headers": known}
        held = asyncio.create_task(application(head, receive, send))
        await asyncio.sleep(0.05)
        answers = [
            *await ask(application, ("POST", b"x" * size)),
            *await ask(application, ("POST", b"{}")),
            *await ask(application, ("POST", b"x" * size), headers=OTHER),
            *await ask(application, ("POST", b"{}"), path=HALT),
        ]
        held.cancel()
        return answers

    assert [answer.status_code for answer in asyncio.run(flood())] == [503, 200, 200, 200]
    large = ("POST", b"x" * (lanes.SMALL_BODY + 1))
    assert asyncio.run(ask(application, large, path=HALT))[0].status_code == 413


def test_all_tokens_and_sessions_of_one_user_have_one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lanes.THREADS, "safer", 1)
    held, entered, served = threading.Event(), threading.Event(), list[bytes]()
    anns = (KNOWN, OTHER)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scope[lanes.SOMEBODY] = "ann"
        body = (await receive())["body"]
        served.append(body)
        if body == b"held":
            entered.set()
            await sync_to_async(held.wait)(30)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async def flood() -> None:
        behind = lanes.in_lanes(application, reading=1)
        for headers in anns:  # whose they are is known once they were served
            await ask(behind, ("POST", b""), path=HALT, headers=headers)
        asked = [asyncio.create_task(ask(behind, ("POST", b"held"), path=HALT))]
        await asyncio.to_thread(entered.wait, 30)
        third = {"Authorization": f"Token {marked('third')}"}
        for body, headers in zip((b"1", b"2", b"4", b"3"), (*anns, OTHER, third), strict=True):
            asked.append(asyncio.create_task(ask(behind, ("POST", body), path=HALT, headers=headers)))
            await asyncio.sleep(0.05)
        held.set()
        await asyncio.gather(*asked)

    asyncio.run(flood())
    assert served[3:] == [b"1", b"3", b"2", b"4"]


def test_a_token_that_was_refused_waits_among_strangers_until_it_holds_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "REMEMBERED", 1)
    statuses, served = iter([401, 401, 200, 401, 401, 200]), []

    def work(_: str) -> int:
        served.append(threading.current_thread().name.partition("-")[0])
        return next(statuses)

    application = lanes.in_lanes(serving(work), reading=1)
    for headers in (KNOWN, KNOWN, KNOWN, KNOWN, OTHER, KNOWN):
        asyncio.run(ask(application, ("POST", b""), path=HALT, headers=headers))
    assert served == ["safer", "stranger", "stranger", "safer", "safer", "safer"]


def test_a_session_that_is_nobodys_waits_among_strangers_whatever_the_page_answered() -> None:
    told = iter([lanes.NOBODY, "", lanes.SOMEBODY, ""])
    served = []

    async def application(scope: Any, _receive: Any, send: Any) -> None:
        await sync_to_async(lambda: served.append(threading.current_thread().name.partition("-")[0]))()
        scope[next(told)] = marked("s")
        await send({"type": "http.response.start", "status": 302, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    behind = lanes.in_lanes(application, reading=1)
    for _ in range(4):
        asyncio.run(ask(behind, ("POST", b""), path="/admin/x/halt", headers={"cookie": SESSION}))
    assert served == ["safer", "stranger", "stranger", "safer"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "address"),
    [("GET", "/admin/"), ("POST", "/admin/x/halt"), ("GET", "/api/books/"), ("POST", "/api/books/main/halt")],
)
def test_django_tells_the_lanes_whose_session_it_was(client: Client, method: str, address: str) -> None:
    ann = person(Role.VIEWER, "ann")
    client.force_login(ann)
    session = client.cookies["sessionid"].value
    alive = _scope_after(method, address, session)
    assert (alive.get(lanes.SOMEBODY), lanes.NOBODY in alive) == ("ann", False)
    ann.is_active = False
    ann.save()
    inactive = _scope_after(method, address, session)
    client.logout()
    for gone in (inactive, _scope_after(method, address, session)):
        assert (gone.get(lanes.NOBODY), lanes.SOMEBODY in gone) == (session, False)


def _scope_after(method: str, path: str, session: str) -> dict[str, Any]:
    """The scope of a request, without a token for its form, that Django has answered."""
    handler = BaseHandler()
    handler.load_middleware()
    scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "query_string": b""}
    scope |= {"headers": [(b"cookie", f"sessionid={session}".encode()), (b"host", b"testserver")]}
    handler.get_response(ASGIRequest(scope, BytesIO()))
    return scope


def test_a_client_that_is_slow_with_its_body_or_its_answer_takes_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "BODY_S", 0.2)
    application = lanes.in_lanes(serving(lambda _: None), reading=1)

    async def slow() -> tuple[list[int], list[httpx.Response]]:
        told: list[int] = []
        never = asyncio.Event()

        async def receive() -> Any:
            await never.wait()

        async def send(message: Any) -> None:
            told.append(message.get("status", 0))

        async def stuck(_: Any) -> None:
            await never.wait()

        async def at_once() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        known = [(b"authorization", KNOWN["Authorization"].encode())]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": known}
        upload = asyncio.create_task(application(scope, receive, send))
        download = asyncio.create_task(application({**scope, "method": "GET"}, at_once, stuck))
        await asyncio.sleep(0.05)
        answers = await ask(application, ("POST", b"a"), ("GET", b"b"))
        await upload
        download.cancel()
        return told, answers

    told, answers = asyncio.run(slow())
    assert told == [408, 0]
    assert [answer.content for answer in answers] == [b"a", b"b"]
