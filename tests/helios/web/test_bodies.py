"""A body beyond the limit is refused before it is kept, whether its length was told or not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from helios.web.bodies import bounded

LIMIT = 100


async def _inner(_scope: Any, receive: Any, send: Any) -> None:
    """Reads all, as Django does, and tells how much it was."""
    came, more = 0, True
    while more:
        message = await receive()
        came, more = came + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(came).encode()})


def asked(
    chunks: list[int], *, length: bytes | None = None, kind: str = "http", types: Sequence[bytes] = ()
) -> tuple[int, bytes, int]:
    """Status, body and how many chunks were read."""
    sent: list[Any] = []
    left = [{"type": "http.request", "body": b"x" * size, "more_body": True} for size in chunks]
    left[-1]["more_body"] = False

    async def receive() -> Any:
        return left.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", each) for each in types]
    scope = {"type": kind, "headers": headers if length is None else [*headers, (b"content-length", length)]}
    asyncio.run(bounded(_inner, LIMIT)(scope, receive, send))
    return sent[0]["status"], sent[1]["body"], len(chunks) - len(left)


@pytest.mark.parametrize("chunks", [[0], [100], [50, 50], [1] * 100])
def test_what_fits_comes_through_as_it_is(chunks: list[int]) -> None:
    assert asked(chunks, length=str(sum(chunks)).encode()) == (200, str(sum(chunks)).encode(), len(chunks))
    assert asked(chunks)[0] == 200


def test_a_length_beyond_the_limit_is_refused_unread() -> None:
    status, body, read = asked([101], length=b"101")
    assert (status, read) == (413, 0)
    assert json.loads(body)["detail"].startswith("a body must have at most")


def test_a_body_that_grows_beyond_the_limit_is_refused_where_it_does() -> None:
    assert asked([60, 60, 60, 60])[0::2] == (413, 2)
    assert asked([60, 60, 60, 60], length=b"7")[0::2] == (413, 2)


@pytest.mark.parametrize("length", [b"", b"many", b"-1", b"9" * 30])
def test_a_length_that_is_none_is_not_believed(length: bytes) -> None:
    assert asked([10], length=length)[0] == 200


@pytest.mark.parametrize(
    "known",
    [
        *(
            b"application/json",
            b"application/json;",
            b"application/json; charset=utf-8",
            b'application/json;charset="UTF-8"',
            b"text/plain",
        ),
        *(b"application/x-www-form-urlencoded", b"application/problem+json"),
    ],
)
def test_what_a_body_is_said_to_be_is_a_type_and_utf_8(known: bytes) -> None:
    assert asked([10], types=[known])[0] == 200


@pytest.mark.parametrize(
    "odd",
    [
        [b'a/b;"' + b";" * 30_000],  # Django would take two seconds for it, in the loop of events
        [b"a/b; charset=" + b"x" * 28_000],  # and keep this name for good
        [b"a/b; charset=utf-7"],
        [b"a/b; charset*=bogus''x"],  # and answer this with a traceback
        [b"a/b; charset*=utf-8''a%00b"],
        [b"multipart/form-data; boundary=x"],
        [b"Multipart/mixed"],
        [b"a/b; charset=utf-8", b"x/y"],  # which Django joins by a comma
        [b"a/" + b"b" * 65],
        [b"nonsense"],
    ],
)
def test_any_other_is_refused_unread(odd: list[bytes]) -> None:
    status, body, read = asked([10], types=odd)
    assert (status, read) == (415, 0)
    assert json.loads(body)["detail"].startswith("Content-Type must be one media type")


def test_other_talk_than_requests_is_left_alone() -> None:
    assert asked([500], kind="websocket")[0] == 200
