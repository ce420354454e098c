"""Bodies that come slowly, not at all or not to their end keep no thread and nobody else from a turn."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from helios.web import lanes
from tests.support.lanes import HALT, ask, serving


def test_a_body_whose_next_part_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "PART_S", 0.05)
    bodies = lanes.Bodies()

    async def wait() -> None:
        parts = iter([{"type": "http.request", "body": b"a" * (lanes.SMALL_BODY + 1), "more_body": True}])

        async def receive() -> Any:
            return next(parts, None) or await asyncio.Event().wait()

        async with bodies.whole(receive, "", 2 * lanes.SMALL_BODY):
            pytest.fail("it has no end")

    with pytest.raises(lanes.RefusedError, match="each part within"):
        asyncio.run(wait())
    assert not bodies.kept


def test_a_probe_waits_for_no_body() -> None:
    application = lanes.in_lanes(serving(lambda _: 405), reading=1)
    told: list[int] = []

    async def never() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        told.append(message.get("status", 0))

    head = {"type": "http", "method": "POST", "path": lanes.PROBES, "headers": []}
    asyncio.run(asyncio.wait_for(application(head, never, send), 60))
    assert told[0] == 405


def test_a_probe_ends_as_it_should_whatever_comes_after_its_head() -> None:
    came = iter([{"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.request", "body": b""}])
    received: list[str] = []

    async def receive() -> Any:
        return next(came, {"type": "http.disconnect"})

    async def django(_scope: Any, receive: Any, _send: Any) -> None:
        received.extend([(await receive())["type"], (await receive())["type"]])

    head = {"type": "http", "method": "GET", "path": lanes.PROBES, "headers": []}
    asyncio.run(lanes.in_lanes(django, reading=1)(head, receive, lambda _: None))
    assert received == ["http.request", "http.disconnect"]


def test_strangers_who_are_slow_with_their_bodies_keep_no_stranger_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "EACH", 2)
    application = lanes.in_lanes(serving(lambda _: None), reading=1)
    told: list[int] = []

    async def never() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        told.append(message.get("status", 0))

    async def crowd() -> list[httpx.Response]:
        head = {"type": "http", "method": "POST", "path": "/", "headers": []}
        slow = [asyncio.create_task(application(head, never, send)) for _ in range(3)]
        await asyncio.wait(slow, return_when=asyncio.FIRST_COMPLETED)
        assert [each.done() for each in slow] == [True, False, False]
        answers = await ask(application, ("POST", b"whole"), headers={})
        for each in slow:
            each.cancel()
        return answers

    assert asyncio.run(crowd())[0].content == b"whole"
    assert told[0] == 408


def test_who_leaves_before_the_end_of_a_body_takes_no_thread() -> None:
    application = lanes.in_lanes(serving(lambda _: pytest.fail("it was served")), reading=1)
    told: list[int] = []

    async def leave() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        told.append(message.get("status", 0))

    head = {"type": "http", "method": "POST", "path": HALT, "headers": []}
    asyncio.run(application(head, leave, send))
    assert told[0] == 400
