"""Answers that nobody takes have a bound in bytes: the oldest of whoever has most of them give way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from helios.web import lanes
from tests.support.lanes import KNOWN, OTHER, ask, serving


class Client:
    """Asks for an answer of so many bytes, and takes no part of it until it is let."""

    def __init__(self, application: Any, size: int, headers: dict[str, str]) -> None:
        named = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "GET", "path": "/", "headers": named}
        self._body, self._begun, self._takes, self.taken = b"a" * size, asyncio.Event(), asyncio.Event(), 0
        self._asking = asyncio.create_task(application(scope, self._receive, self._send))

    async def answered(self) -> Client:
        """Itself, once the answer is there."""
        await self._begun.wait()
        return self

    @property
    def waits(self) -> bool:
        return not self._asking.done()

    async def take(self) -> int:
        """The bytes of the body that came."""
        self._takes.set()
        await self._asking
        return self.taken

    async def _receive(self) -> Any:
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def _send(self, message: Any) -> None:
        self._begun.set()
        await self._takes.wait()
        self.taken += len(message.get("body", b""))


def test_answers_that_wait_are_bounded_and_keep_nobody_elses_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "ANSWERS", 100)
    application = lanes.in_lanes(serving(lambda _: None), reading=1)

    async def ask_slowly() -> None:
        slow = [await Client(application, 30, KNOWN).answered() for _ in range(4)]
        strange = [await Client(application, 20, {}).answered() for _ in range(2)]
        await asyncio.sleep(0.05)  # what gives way ends in the next turns of the loop
        assert [each.waits for each in slow] == [False, False, True, True]
        assert [each.waits for each in strange] == [True, True]
        (fast,) = await ask(application, ("GET", b"b" * 60), headers=OTHER)
        assert fast.content == b"b" * 60
        assert [await each.take() for each in slow] == [0, 0, 0, 0]
        assert [await each.take() for each in strange] == [20, 20]
        assert await Client(application, 100, KNOWN).take() == 100

    asyncio.run(ask_slowly())
