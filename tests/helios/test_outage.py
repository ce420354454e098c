"""A server that is away is said once when that begins and once when it is over, whoever tries it and how often."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import psycopg2
import pytest
import redis
from django.db import OperationalError, connection
from kombu.exceptions import OperationalError as BrokerError
from loguru import logger

from helios import outage
from helios.errors import Transient
from helios.logs import InterceptHandler
from helios.outage import Outage
from tests.support.together import at_once

LIMIT_S = 30.0


class Server:
    """One that can be taken away."""

    def __init__(self) -> None:
        self.up, self.asked = False, 0

    def ask(self) -> None:
        self.asked += 1
        if not self.up:
            raise redis.ConnectionError("refused\n\tby nobody")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(outage, "FIRST_PAUSE_S", 0.01)
    return Server()


@pytest.fixture
def said() -> Iterator[list[tuple[str, dict]]]:
    lines: list[tuple[str, dict]] = []
    sink = logger.add(lambda each: lines.append((each.record["message"], each.record["extra"])), level="DEBUG")
    yield lines
    logger.remove(sink)


@pytest.fixture
def valkey(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """This process's Valkey, as far as outages are concerned."""
    monkeypatch.setattr(outage.VALKEY, "_ask", server.ask)
    return server


def test_an_outage_is_said_when_it_begins_and_when_it_ends(server: Server, said: list) -> None:
    found = Outage("Valkey", server.ask, lambda: (redis.RedisError,))
    for _ in range(50):
        found.report(redis.ConnectionError("gone"), "a task")
    assert found.away
    assert said == [("outage.began", {"server": "Valkey", "error": "ConnectionError: refused by nobody"})]
    server.up = True
    assert found.wait_over(LIMIT_S)
    assert not found.away
    message, fields = said[1]
    assert (message, fields["server"], fields["silenced"]) == ("outage.ended", "Valkey", 49)
    assert fields["lasted_s"] >= 0
    assert len(said) == 2


def test_many_threads_that_fail_at_once_make_one_outage(server: Server, said: list) -> None:
    found = Outage("Valkey", server.ask, lambda: (redis.RedisError,))
    error = redis.ConnectionError("gone")
    at_once(lambda _: found.report(error, ""), range(20))
    assert [message for message, _ in said] == ["outage.began"]
    found.forget()


def test_a_broken_connection_to_a_server_that_is_there_is_no_outage(server: Server, said: list) -> None:
    server.up = True
    found = Outage("Valkey", server.ask, lambda: (redis.RedisError,))
    found.report(redis.ConnectionError("reset"), "a task")
    assert not found.away
    assert said == [("connection.lost", {"server": "Valkey", "error": "ConnectionError: reset", "during": "a task"})]


def test_the_question_is_asked_with_growing_pauses(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        server.up = len(pauses) == 12

    monkeypatch.setattr(outage.time, "sleep", pause)
    monkeypatch.setattr(outage, "FIRST_PAUSE_S", 0.25)
    found = Outage("Valkey", server.ask, lambda: (redis.RedisError,))
    found.report(redis.ConnectionError("gone"), "")
    assert found.wait_over(LIMIT_S)
    assert pauses == [0.25, 0.5, 1.0, 2.0] + [4.0] * 8


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "server"),
    [
        (caused(OperationalError("x"), psycopg2.OperationalError("connection refused")), "PostgreSQL"),
        (caused(Transient("x"), psycopg2.InterfaceError("connection already closed")), "PostgreSQL"),
        (redis.TimeoutError("x"), "Valkey"),
        (caused(Transient("x"), redis.ConnectionError("x")), "Valkey"),
        (BrokerError("x"), "Valkey"),
        (redis.ResponseError("x"), None),
        (ValueError("x"), None),
    ],
)
def test_only_errors_of_a_connection_count(
    error: Exception, server: str | None, said: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in (outage.POSTGRES, outage.VALKEY):
        monkeypatch.setattr(each, "_ask", lambda: None)
    assert outage.report(error) is (server is not None)
    assert [fields["server"] for _, fields in said] == ([server] if server else [])


@pytest.mark.django_db
@pytest.mark.parametrize("code", ["40P01", "57014", "55P03"])  # a deadlock, a cancelled statement, a lock not got
def test_what_the_database_says_over_a_connection_is_no_outage(code: str, said: list) -> None:
    with pytest.raises(OperationalError) as caught, connection.cursor() as cursor:
        cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END $$")
    assert outage.report(caught.value) is False
    assert said == []


def test_an_error_beside_an_outage_is_not_hidden_by_it(valkey: Server) -> None:
    try:
        try:
            raise redis.ConnectionError("gone")  # noqa: TRY301
        except redis.ConnectionError:
            raise ValueError("a defect") from None
    except ValueError as error:
        defect = error
    defect.__cause__ = None
    assert outage.report(defect) is False
    assert outage.report(defect, clearing_up=True) is True  # what a library raises while it deals with the first


def test_what_libraries_say_about_an_outage_is_counted_and_not_logged(
    valkey: Server, said: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = logging.getLogger("celery.worker.consumer.of-a-test")
    monkeypatch.setattr(library, "propagate", False)
    monkeypatch.setattr(library, "handlers", [InterceptHandler()])
    for number in range(100):
        library.error("consumer: Cannot connect to %s: %s.\n%s", "redis", redis.ConnectionError("gone"), "Trying again")
        try:
            raise redis.ConnectionError("gone")  # noqa: TRY301
        except redis.ConnectionError:
            library.exception("attempt %d", number)
    library.error("something else")
    assert [message for message, _ in said] == ["outage.began", "something else"]
    valkey.up = True
    assert outage.VALKEY.wait_over(LIMIT_S)
    assert [data["silenced"] for message, data in said if message == "outage.ended"] == [199]


def test_a_forked_child_knows_of_no_outage_and_finds_its_own(server: Server) -> None:
    found = Outage("Valkey", server.ask, lambda: (redis.RedisError,))
    found.report(redis.ConnectionError("gone"), "")
    with found._lock:  # held by another thread in the moment of the fork
        found.forget()
    assert not found.away
    found.report(redis.ConnectionError("gone"), "")
    assert found.away
    found.forget()


@pytest.mark.django_db
def test_both_servers_of_this_process_can_be_asked() -> None:
    assert outage.POSTGRES._refusal() is None
    assert outage.VALKEY._refusal() is None


@pytest.mark.django_db
def test_a_server_that_is_not_there_refuses(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.REDIS_URL = "unix:///nowhere/valkey.sock?db=0"
    monkeypatch.setitem(connection.settings_dict, "HOST", "/nowhere")
    assert "nowhere" in str(outage.VALKEY._refusal())
    assert "nowhere" in str(outage.POSTGRES._refusal())


def test_an_outage_is_forgotten_by_the_thread_that_waited_for_its_end(server: Server, said: list) -> None:
    found = Outage("Valkey", server.ask, lambda: (redis.RedisError,))
    found.report(redis.ConnectionError("gone"), "")
    waiting = [each for each in threading.enumerate() if each.name == "outage-Valkey"]
    found.forget()
    for each in waiting:
        each.join(LIMIT_S)
    assert [message for message, _ in said] == ["outage.began"]
