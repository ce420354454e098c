"""Tokens and sessions take turns for the threads of a kind, whoever has more requests or leaves in between."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async

from helios.web import lanes
from helios.web.marks import marked
from tests.support.lanes import HALT, KNOWN, OTHER, ask

NAMED_BY = (b"cookie", b"authorization", b"x-forwarded-for")
ONE, ANOTHER = ({"Cookie": f"helios_browser={marked(name)}", **OTHER} for name in "bc")


@pytest.mark.parametrize(
    ("method", "path", "flood_of", "served_of"),
    [
        ("GET", "/", KNOWN, OTHER),
        ("POST", "/", KNOWN, OTHER),
        ("POST", HALT, KNOWN, OTHER),
        ("POST", lanes.LOGIN, ONE, ANOTHER),
        ("GET", "/health", {"X-Forwarded-For": "203.0.113.1"}, {"X-Forwarded-For": "203.0.113.2"}),
        ("GET", lanes.LOGIN, {"X-Forwarded-For": "2001:db8::1"}, {"X-Forwarded-For": "2001:db8:0:1::1"}),
    ],
    ids=["reading", "changing", "halting", "logging in", "probing", "logging in for the first time"],
)
def test_who_fills_their_own_queue_holds_up_nobody_else_for_more_than_a_turn(
    method: str,
    path: str,
    flood_of: dict[str, str],
    served_of: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    settings.TRUSTED_PROXIES = 1
    for name in ("change", "safer", "stranger"):
        monkeypatch.setitem(lanes.THREADS, name, 1)
    hang, served = threading.Event(), list[str]()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        given = dict(scope["headers"])
        whose = next(given[name] for name in NAMED_BY if name in given).decode()
        await sync_to_async(lambda: (hang.wait(60), served.append(whose)), thread_sensitive=True)()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def flood() -> list[httpx.Response]:
        many = asyncio.create_task(ask(in_lanes, *[(method, b"")] * 400, path=path, headers=flood_of))
        await asyncio.sleep(0.05)
        one = asyncio.create_task(ask(in_lanes, (method, b""), path=path, headers=served_of))
        await asyncio.sleep(0.05)
        hang.set()
        return [*await many, *await one]

    in_lanes = lanes.in_lanes(application, reading=1)
    assert {answer.status_code for answer in asyncio.run(flood())} == {200}
    place = served.index(next(served_of[name] for name in ("Cookie", *served_of) if name in served_of))
    assert place <= 2  # behind the one under way, and one that waited before
    assert len(served) == 401


def test_a_thread_is_taken_when_it_has_done_what_a_client_left_behind() -> None:
    begun, hang, ran = threading.Event(), threading.Event(), list[str]()

    def work(name: str) -> None:
        ran.append(name)
        if name == "left":
            begun.set()
            hang.wait(60)

    async def serve(found: lanes.Lanes, name: str) -> None:
        async with found.one(name, {}):
            await sync_to_async(work, thread_sensitive=True)(name)

    async def leave() -> None:
        found = lanes.Lanes(2, "any")
        left = asyncio.create_task(serve(found, "left"))
        await asyncio.to_thread(begun.wait, 60)
        left.cancel()
        await asyncio.wait_for(asyncio.gather(*(serve(found, f"other {n}") for n in range(3))), 60)
        assert not left.done()
        hang.set()
        await asyncio.wait([left])

    asyncio.run(leave())
    assert len(ran) == 4


def test_a_turn_that_is_given_up_goes_to_the_next() -> None:
    async def take() -> None:
        found = lanes.Lanes(1, "any")
        async with found.one("a", {}):
            gone, late = (asyncio.create_task(hold(found, whose)) for whose in "bc")
            await asyncio.sleep(0)
            gone.cancel()
        await late
        async with found.one("a", {}):
            gone, late = (asyncio.create_task(hold(found, whose)) for whose in "bc")
            await asyncio.sleep(0)
        gone.cancel()  # its turn has come, and it does not know yet
        await late

    async def hold(found: lanes.Lanes, whose: str) -> None:
        async with found.one(whose, {}):
            pass

    asyncio.run(asyncio.wait_for(take(), 60))
