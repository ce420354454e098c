"""The analyst behind Anthropic's Messages API: one request, one time-out, one checked reply.

The prompt holds the figures of the market context and nothing else. Nothing is retried here: the breaker and
the fallback of the tier decide what follows a failure.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import anthropic
import httpx2

from tiers.contracts import MarketContext, StrategicView
from tiers.contracts.errors import UNREAD, HeliosError, Rejected, Transient
from tiers.llm.reply import REPLY_SCHEMA, view_of

PROVIDER = "anthropic"
MAX_TOKENS = 2_048  # a model that thinks first spends them before the reply
MAX_BODY_BYTES = 1_000_000
MOST_TOKENS = 1_000_000_000  # that a reply may say it took
_RETRY_STATUS = frozenset({408, 409, 425, 429})  # and every 5xx, 529 (overloaded) among them
_USAGE = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")

SYSTEM = (
    "You are the strategic risk analyst of a systematic trading book. You see the book's market context at "
    "the close of one bar. Judge the market as a whole, not single symbols, and reply in the required form. "
    "risk_multiplier scales the leverage bound that the risk engine has already set: 1 leaves it, below 1 "
    "lowers it, above 1 raises it. Without clear evidence stay NEUTRAL with a multiplier of 1. "
    "A figure that reads unknown is not known; do not guess it."
)


@lru_cache(maxsize=2)
def client(api_key: str, base_url: str | None) -> anthropic.Anthropic:
    """One client a process."""
    return anthropic.Anthropic(api_key=api_key, base_url=base_url)


class _Answer:
    """An answer that is waited for, and a second handle of the line on which it comes."""

    def __init__(self) -> None:
        self.line: socket.socket | None = None
        self.ended = False

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Take the line as soon as it stands; what comes over it, a handshake first, may drip."""
        if event == "connection.connect_tcp.complete":
            self.line = socket.socket(fileno=os.dup(info["return_value"].get_extra_info("socket").fileno()))
            if self.ended:
                self.end()

    def end(self) -> None:
        """Who reads reads nothing more, whatever he waits for."""
        self.ended = True
        if self.line is not None:
            with contextlib.suppress(OSError):  # it is closed
                self.line.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def _transport(timeout_s: float) -> Iterator[tuple[httpx2.Client, _Answer]]:
    """What asks the server once, for so long at most; it goes nowhere else, and reads no body but that of a reply."""
    answer = _Answer()
    hooks: dict[str, list[Any]] = {
        "request": [lambda request: request.extensions.update(trace=answer.trace)],
        "response": [_refuse],
    }
    timer = threading.Timer(timeout_s, answer.end)
    timer.daemon = True
    timer.start()
    try:
        with anthropic.DefaultHttpxClient(follow_redirects=False, event_hooks=hooks) as made:
            yield made, answer
    finally:
        timer.cancel()
        if answer.line is not None:
            answer.line.close()


def _refuse(response: httpx2.Response) -> None:
    """Refuse an answer of another status by that alone: its text may quote the request, or have no end."""
    status = response.status_code
    if not response.is_success:
        kind = Transient if status in _RETRY_STATUS or status >= 500 else Rejected
        raise kind(f"the model's server answered {status}")


def analyse(
    client: anthropic.Anthropic,
    context: MarketContext,
    *,
    model: str,
    timeout_s: float,
) -> StrategicView:
    """Ask the model for its view of the context.

    `timeout_s` bounds each wait, and the whole: then the line is shut down, whatever drips. Tokens used are in `usage`.
    `Transient` for time-outs, lost or refused connections, 408, 409, 425, 429 and 5xx; `Rejected` for other statuses, a
    refusal, and a reply that breaks the schema.
    """
    too_slow = f"the model did not answer within {timeout_s:g} s"
    with _transport(timeout_s) as (http, answer):
        try:
            raw = _ask(client.with_options(max_retries=0, http_client=http), context, model, timeout_s)
        except (anthropic.APITimeoutError, httpx2.TimeoutException) as error:
            raise Transient(too_slow) from error
        except (anthropic.APIConnectionError, httpx2.HTTPError) as error:
            if answer.ended:
                raise Transient(too_slow) from error
            if isinstance(error.__cause__, HeliosError):  # the client says so of all that is raised in its request
                raise error.__cause__ from error
            raise Transient(f"the model's server could not be reached: {type(error).__name__}") from error
        except anthropic.AnthropicError as error:
            raise Rejected(f"the request to the model could not be made: {type(error).__name__}") from error
        if answer.ended:  # a body without a length ends as well as one that was cut
            raise Transient(too_slow)
    return _view(raw, context)


def _prompt(context: MarketContext) -> str:
    """The user message: the context's figures, one a line."""
    figures = {
        "bar closed at (UTC)": context.bar_ts.isoformat(),
        "symbols": ", ".join(context.symbols),
        "regime": context.regime,
        "trend, in typical volatilities": _figure(context.trend),
        "recent over typical volatility": _figure(context.volatility_ratio),
        "share of symbols above their slow average": _figure(context.breadth),
        "mean of p(buy) - p(sell)": _figure(context.mean_edge),
        "drawdown of the book": _figure(context.drawdown),
        "gross exposure of the book": _figure(context.gross_exposure),
    }
    return "\n".join(f"{name}: {value}" for name, value in figures.items())


def _figure(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "unknown"


def _ask(client: anthropic.Anthropic, context: MarketContext, model: str, timeout_s: float) -> bytes:
    """One request; the reply's body, whose size has a bound."""
    messages = client.messages.with_streaming_response
    request = messages.create(
        model=model,
        max_tokens=MAX_TOKENS,
        system=SYSTEM,
        messages=[{"role": "user", "content": _prompt(context)}],
        # The API refuses numeric bounds in a schema; transform_schema moves them into the descriptions, and
        # the reply is checked against the full schema when it comes.
        output_config={"format": {"type": "json_schema", "schema": anthropic.transform_schema(REPLY_SCHEMA)}},
        timeout=timeout_s,
    )
    body = bytearray()
    with request as response:
        for part in response.iter_bytes():
            body += part
            if len(body) > MAX_BODY_BYTES:
                raise Rejected(f"the model's reply must be at most {MAX_BODY_BYTES} bytes, was longer")
    return bytes(body)


def _no_constant(name: str) -> float:
    """Python reads NaN as a number; JSON has none, and no bound of the schema would stop it."""
    raise ValueError(f"{name} is not JSON")


def _view(raw: bytes, context: MarketContext) -> StrategicView:
    """Parse and check the body of a Messages reply."""
    try:
        message = json.loads(raw)
        stop_reason, blocks, usage = message["stop_reason"], message["content"], message["usage"]
        text = "".join(block["text"] for block in blocks if block["type"] == "text")
        used = {name: int(usage[name]) for name in _USAGE if usage.get(name) is not None}
        if not all(0 <= number <= MOST_TOKENS for number in used.values()):
            raise ValueError(used)
    except UNREAD as error:
        raise Rejected(f"the model's server must send a Messages reply, was {raw[:80]!r}") from error
    if stop_reason != "end_turn":
        raise Rejected(f"the model must finish its reply, but stopped with {str(stop_reason)[:80]!r}")
    try:
        reply = json.loads(text, parse_constant=_no_constant)
        return view_of(reply, bar_ts=context.bar_ts, provider=PROVIDER, usage=used)
    except UNREAD as error:
        raise Rejected(f"the model's reply must be JSON, was {text[:80]!r}") from error
