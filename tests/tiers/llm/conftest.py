"""A stand-in for the Messages API that speaks its protocol over a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anthropic
import pytest

KEY = "not-a-real-key"


def message(text: str, **changes: Any) -> dict[str, Any]:
    """The body of a successful reply."""
    body = {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 321,
            "output_tokens": 54,
            "cache_read_input_tokens": 10,
            "service_tier": "standard",
        },
    }
    return body | changes


@dataclass
class StandIn:
    """Answers with `status` and `body`, or as `behave` says; keeps what it was sent."""

    url: str = ""
    status: int = 200
    body: Any = None
    behave: Callable[[BaseHTTPRequestHandler], None] | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


def _handler(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["content-length"]))
            stand_in.requests.append(json.loads(sent) | {"path": self.path})
            stand_in.headers.append({k.lower(): v for k, v in self.headers.items()})
            try:
                (stand_in.behave or self._answer)(self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def _answer(self, _: BaseHTTPRequestHandler) -> None:
            body = stand_in.body if isinstance(stand_in.body, bytes) else json.dumps(stand_in.body).encode()
            self.send_response(stand_in.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.send_header("request-id", "req_01")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

    return Handler


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    state = StandIn()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    state.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(stand_in: StandIn) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key=KEY, base_url=stand_in.url) as made:
        yield made
