"""Requests to an application behind lanes, with tokens of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
from asgiref.sync import sync_to_async

from helios.web.marks import marked

Work = Callable[[str], int | None]  # of a method, the status of its answer, 200 where none is given


def serving(work: Work) -> Any:
    """An application as Django is one: it reads the body, then works in the thread that is its own."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        status = await sync_to_async(work, thread_sensitive=True)(scope["method"])
        if status is None or status < 300:
            scope["helios.somebody"] = True
        await send({"type": "http.response.start", "status": status or 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return application


KNOWN = {"Authorization": f"Token {marked('t')}"}
OTHER = {"Authorization": f"Token {marked('o')}"}
HALT = "/api/books/main/halt"
SESSION = f"sessionid={marked('s')}"


async def ask(
    application: Any, *requests: tuple[str, bytes], path: str = "/", headers: dict[str, str] = KNOWN
) -> list[httpx.Response]:
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://helios", timeout=60, headers=headers) as client:
        return await asyncio.gather(*(client.request(method, path, content=body) for method, body in requests))
