"""What every stand-in of a venue is: a server on loopback in a thread, with faults on demand, that counts requests."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import uvicorn

from tests.support.venues.listeners import Listeners

Answer = tuple[int, Any]


@dataclass(slots=True)
class Faults:
    """What goes wrong from now on, by the end of a route: each answer is used once, in order."""

    answers: dict[str, list[Answer | Callable[[], Answer]]] = field(default_factory=dict)

    def next(self, route: str, *answers: Answer | Callable[[], Answer]) -> None:
        """Give these answers to the next requests of a route instead of the right one."""
        self.answers.setdefault(route, []).extend(answers)

    def taken(self, path: str) -> Answer | None:
        for route, waiting in self.answers.items():
            if path.endswith(route) and waiting:
                found = waiting.pop(0)
                return found() if callable(found) else found
        return None


class Server:
    """The venue's routes over HTTP: what a request is answered with is `route`'s to say."""

    stream: Listeners

    def __init__(self, *, port: int = 0) -> None:
        self.faults = Faults()
        self.asked: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.counted: dict[str, tuple[float, int]] = {}  # requests of a kind in its latest window
        config = uvicorn.Config(
            self._app,
            host="127.0.0.1",
            port=port,
            interface="asgi3",
            loop="asyncio",
            log_level=None,  # as a level it would be that of every server of this process
            lifespan="off",
            log_config=None,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + 60
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.force_exit = self._server.should_exit = True
        self._thread.join(30)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        if scope["type"] == "websocket":
            await self.stream.serve(headers, receive, send)
            return
        query = scope["query_string"].decode()
        target = scope["raw_path"].decode() + (f"?{query}" if query else "")
        status, found = await asyncio.to_thread(self.answer, target, headers)
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        told = {"content-type": "application/json", "content-length": str(len(body)), **self.limits(status)}
        known = [(name.encode(), value.encode()) for name, value in told.items()]
        await send({"type": "http.response.start", "status": status, "headers": known})
        await send({"type": "http.response.body", "body": body})

    def misdate(self, right: str, wrong: str) -> None:
        """From now on tell another time in the place of one."""
        answer = self.answer

        def misdated(target: str, headers: dict[str, str]) -> Answer:
            status, found = answer(target, headers)
            return status, json.loads(json.dumps(found).replace(right, wrong))

        self.answer = misdated  # type: ignore[method-assign]

    def answer(self, target: str, headers: dict[str, str]) -> Answer:
        """What a GET of a path with its query is answered with."""
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        with self.lock:
            self.asked[parts.path] += 1
            wrong = self.refused(parts.path) or self.faults.taken(parts.path)
        return wrong or self.route(parts.path, query, headers)

    def route(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        raise NotImplementedError

    def refused(self, path: str) -> Answer | None:
        """The answer to who asks too often."""
        return None

    def count(self, *, seconds: float = 60.0, kind: str = "") -> int:
        """How many requests of a kind came in these seconds or this minute, with this one."""
        window = time.time() // seconds
        last, before = self.counted.get(kind, (window, 0))
        self.counted[kind] = window, before + 1 if window == last else 1
        return self.counted[kind][1]

    def limits(self, status: int) -> dict[str, str]:
        """The headers in which it speaks of its limits."""
        return {}
