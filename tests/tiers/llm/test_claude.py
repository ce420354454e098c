import contextlib
import json
import math
import socket
import struct
import threading
import time

import anthropic
import pytest

from tests.support.risk import BAR_TS, market_context
from tests.tiers.llm.conftest import KEY, message
from tiers.contracts import Stance
from tiers.contracts.errors import Rejected, Transient
from tiers.llm import claude

REPLY = {"stance": "RISK_OFF", "conviction": 0.8, "risk_multiplier": 0.6, "reasoning": "Volatility doubled."}


def ask(client, *, timeout_s=5.0, context=None):
    return claude.analyse(client, context or market_context(), model="claude-test", timeout_s=timeout_s)


def error_body(kind):
    return {
        "type": "error",
        "error": {"type": kind, "message": "the server's own words"},
        "request_id": "req_01",
    }


def test_a_good_reply_becomes_a_view_with_its_token_usage(client, stand_in):
    stand_in.body = message(json.dumps(REPLY))
    view = ask(client)
    assert (view.provider, view.bar_ts, view.stance) == ("anthropic", BAR_TS, Stance.RISK_OFF)
    assert (view.conviction, view.risk_multiplier, view.reasoning) == (0.8, 0.6, "Volatility doubled.")
    assert view.usage == {"input_tokens": 321, "output_tokens": 54, "cache_read_input_tokens": 10}


def test_blocks_that_are_not_text_are_passed_over(client, stand_in):
    thinking = {"type": "thinking", "thinking": "Let me see.", "signature": "s"}
    stand_in.body = message("", content=[thinking, {"type": "text", "text": json.dumps(REPLY)}])
    assert ask(client).risk_multiplier == 0.6


def test_the_request_asks_for_the_schema_and_holds_only_the_context(client, stand_in):
    stand_in.body = message(json.dumps(REPLY))
    ask(client, context=market_context(mean_edge=math.nan, regime="turbulent"))
    (sent,) = stand_in.requests
    assert sent["path"] == "/v1/messages"
    assert sent["model"] == "claude-test"
    assert sent["max_tokens"] == claude.MAX_TOKENS
    assert sent["system"] == claude.SYSTEM
    form = sent["output_config"]["format"]
    assert form["type"] == "json_schema"
    assert not {"temperature", "top_p", "top_k"} & sent.keys()  # the API has them no more
    assert form["schema"]["required"] == ["stance", "conviction", "risk_multiplier", "reasoning"]
    assert "maximum" not in form["schema"]["properties"]["conviction"]
    (turn,) = sent["messages"]
    assert turn["role"] == "user"
    lines = turn["content"].splitlines()
    assert len(lines) == 9
    assert "regime: turbulent" in lines
    assert "mean of p(buy) - p(sell): unknown" in lines
    assert "gross exposure of the book: 0.6000" in lines
    assert KEY not in json.dumps(sent)
    assert [name for name, value in stand_in.headers[0].items() if KEY in value] == ["authorization"]


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503, 504, 529])
def test_a_server_in_trouble_is_transient_and_asked_once(client, stand_in, status):
    stand_in.status, stand_in.body = status, error_body("overloaded_error")
    with pytest.raises(Transient, match=f"answered {status}") as caught:
        ask(client)
    assert len(stand_in.requests) == 1
    assert "own words" not in str(caught.value)


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 413])
def test_a_request_that_is_refused_is_rejected(client, stand_in, status):
    stand_in.status, stand_in.body = status, error_body("authentication_error")
    with pytest.raises(Rejected, match=f"answered {status}") as caught:
        ask(client)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("status", [302, 400, 502])
def test_no_body_of_another_status_is_read(client, stand_in, status):
    def without_end(handler):
        handler.send_response(status)
        handler.send_header("location", f"{stand_in.url}/elsewhere")
        handler.send_header("content-length", "1000000000")
        handler.end_headers()
        handler.wfile.write(b"<html>Bad gateway")
        handler.wfile.flush()
        stand_in.released.wait()

    stand_in.behave = without_end
    with pytest.raises((Transient, Rejected), match=f"answered {status}"):
        ask(client, timeout_s=30)
    assert [sent["path"] for sent in stand_in.requests] == ["/v1/messages"]


def test_a_reply_that_cannot_be_unpacked_is_transient(client, stand_in):
    def packed(handler):
        handler.send_response(200)
        handler.send_header("content-encoding", "gzip")
        handler.send_header("content-length", "5")
        handler.end_headers()
        handler.wfile.write(b"hello")

    stand_in.behave = packed
    with pytest.raises(Transient, match="could not be reached: DecodingError"):
        ask(client)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>hello</html>", "must send a Messages reply, was b'<html>"),
        ([], "must send a Messages reply"),
        ({"type": "message"}, "must send a Messages reply"),
        (message("", content=None), "must send a Messages reply"),
        (message("", usage={"input_tokens": "many"}), "must send a Messages reply"),
        (b'{"usage":' + b"[" * 100_000, "must send a Messages reply"),
        (json.dumps(message("{}")).replace("321", "1e999").encode(), "must send a Messages reply"),
        (message("", usage={"input_tokens": 10**4_000}), "must send a Messages reply"),
        (message("", usage={"input_tokens": -1}), "must send a Messages reply"),
        (message("[" * 3_000), "reply must be JSON"),
        (message("[" * 900 + "]" * 900), "(reply must be JSON|follow the schema)"),
        (message("I would rather not say."), "reply must be JSON, was 'I would"),
        (message(""), "reply must be JSON, was ''"),
        (message(json.dumps(REPLY | {"risk_multiplier": 9})), "risk_multiplier: 9 is greater"),
        (message(json.dumps(REPLY | {"risk_multiplier": math.nan})), "reply must be JSON"),
        (message("[]"), "must follow the schema"),
        (message(json.dumps(REPLY)[:30], stop_reason="max_tokens"), "stopped with 'max_tokens'"),
        (message("", stop_reason="refusal", content=[]), "stopped with 'refusal'"),
        (
            message(json.dumps(REPLY), stop_reason="model_context_window_exceeded"),
            "stopped with 'model_context_window_exceeded'",
        ),
    ],
)
def test_a_malformed_reply_is_rejected(client, stand_in, body, says):
    stand_in.body = body
    with pytest.raises(Rejected, match=says):
        ask(client)


def test_a_server_that_never_answers_is_a_time_out(client, stand_in):
    stand_in.behave = lambda _: stand_in.released.wait()
    begun = time.monotonic()
    with pytest.raises(Transient, match=r"did not answer within 0.2 s"):
        ask(client, timeout_s=0.2)
    assert time.monotonic() - begun < 5
    assert len(stand_in.requests) == 1


def start_reply(handler, length):
    handler.send_response(200)
    handler.send_header("content-type", "application/json")
    if length is not None:
        handler.send_header("content-length", str(length))
    handler.end_headers()


def test_a_reply_that_stops_in_the_middle_is_a_time_out(client, stand_in):
    def hang(handler):
        start_reply(handler, 500)
        handler.wfile.write(b'{"id": ')
        handler.wfile.flush()
        stand_in.released.wait()

    stand_in.behave = hang
    with pytest.raises(Transient, match=r"did not answer within 0.2 s"):
        ask(client, timeout_s=0.2)


@pytest.mark.parametrize("length", [10_000, None])
def test_a_reply_that_drips_is_cut_at_the_deadline(client, stand_in, length):
    def drip(handler):
        start_reply(handler, length)
        while not stand_in.released.wait(0.005):
            handler.wfile.write(b" ")
            handler.wfile.flush()

    stand_in.behave = drip
    with pytest.raises(Transient, match=r"did not answer within 0.5 s"):
        ask(client, timeout_s=0.5)


@pytest.mark.parametrize(
    "begin", [b"HTTP/1.1 200 OK\r\nx: ", b"", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;"]
)
def test_letters_before_a_reply_are_not_waited_for_without_end(client, stand_in, begin):
    def drip(handler):
        handler.wfile.write(begin)
        while not stand_in.released.wait(0.05):
            handler.wfile.write(b"x" if begin else b"HTTP/1.1 100 Continue\r\n\r\n")
            handler.wfile.flush()

    stand_in.behave = drip
    with pytest.raises(Transient, match=r"did not answer within 0.3 s"):
        ask(client, timeout_s=0.3)


def test_a_handshake_that_drips_is_not_waited_for_without_end():
    ended = threading.Event()

    def drip(server):
        line, _ = server.accept()
        with line, contextlib.suppress(OSError):
            line.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 KiB
            while not ended.wait(0.05):
                line.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,), daemon=True)
        thread.start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        with anthropic.Anthropic(api_key=KEY, base_url=url) as client, pytest.raises(Transient, match=r"within 0.5 s"):
            ask(client, timeout_s=0.5)
        ended.set()
        thread.join(10)


def test_a_reply_without_end_is_cut_at_its_size(client, stand_in, monkeypatch):
    monkeypatch.setattr(claude, "MAX_BODY_BYTES", 1_000)
    stand_in.body = message("x" * 5_000)
    with pytest.raises(Rejected, match="must be at most 1000 bytes"):
        ask(client)


def test_a_connection_cut_in_the_middle_is_transient(client, stand_in):
    def cut(handler):
        start_reply(handler, 500)
        handler.wfile.write(b'{"id": ')
        handler.wfile.flush()
        handler.close_connection = True

    stand_in.behave = cut
    with pytest.raises(Transient, match="could not be reached: RemoteProtocolError"):
        ask(client)


def test_a_connection_reset_before_the_reply_is_transient(client, stand_in):
    def reset(handler):
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True

    stand_in.behave = reset
    with pytest.raises(Transient, match="could not be reached"):
        ask(client)


def test_a_refused_connection_is_transient():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else can take it
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        refused = pytest.raises(Transient, match="could not be reached: APIConnectionError")
        with anthropic.Anthropic(api_key=KEY, base_url=url) as client, refused:
            ask(client)


def test_a_client_without_credentials_is_rejected(stand_in):
    class Broken(anthropic.Anthropic):
        def with_options(self, **_):
            raise anthropic.CredentialsError("no credentials")

    rejected = pytest.raises(Rejected, match="could not be made: CredentialsError")
    with Broken(api_key=KEY, base_url=stand_in.url) as client, rejected:
        ask(client)
