"""Eight real processes hear every change, in order; and the web process listens as workers do."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection

from helios.control import news as announcing
from helios.control import process
from helios.control.news import announce, channel
from helios.flags import services
from helios.web import lifespan

WAIT_S = 30.0
N_PROCESSES, N_CHANGES = 8, 12
HEARS = f"""
import os, signal, time
import django; django.setup()
from django.db import connections
from helios import flags

def say(*words):
    os.write(1, (" ".join(map(str, words)) + chr(10)).encode())

def child(number):
    flags.refresh_if_behind()
    flags.on_change(lambda names: say(number, flags.snapshot().generation, time.monotonic(), *sorted(names)))
    flags.start_listener().listening.wait({WAIT_S})
    say(number, "ready")
    signal.pause()

flags.snapshot()
connections.close_all()  # a connection must not be shared by two processes
for number in range({N_PROCESSES}):
    if os.fork() == 0:
        child(number)
signal.pause()
"""


@pytest.fixture
def processes(committed_flags: None) -> Iterator[subprocess.Popen[str]]:
    """A process that forks eight children, as a worker does; they speak through one pipe."""
    name = connection.settings_dict["NAME"]
    url = os.environ["HELIOS_DATABASE_URL"].replace("/helios?", f"/{name}?")
    environment = {**os.environ, "HELIOS_DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "helios.settings"}
    started = subprocess.Popen(
        [sys.executable, "-c", HEARS], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    yield started
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    started.stdout.close()


def lines(process: subprocess.Popen[str], count: int) -> list[list[str]]:
    """The next lines of all children together."""
    return [process.stdout.readline().split() for _ in range(count)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(120)
def test_eight_processes_hear_every_change_in_order(processes: subprocess.Popen[str]) -> None:
    assert {line[1] for line in lines(processes, N_PROCESSES)} == {"ready"}
    heard: dict[str, list[int]] = {}
    delays_ms: list[float] = []
    generations = []
    for percentage in range(1, N_CHANGES + 1):
        started = time.monotonic()
        generations.append(services.set_percentage("neural_network_v2", percentage, actor="ada").generation)
        for number, generation, at, *names in lines(processes, N_PROCESSES):
            heard.setdefault(number, []).append(int(generation))
            delays_ms.append(1000 * (float(at) - started))
            assert names == ["neural_network_v2"]
    assert len(heard) == N_PROCESSES
    assert all(each == generations for each in heard.values())
    p50, p99 = statistics.median(delays_ms), sorted(delays_ms)[int(len(delays_ms) * 0.99)]
    told = f"from the call to the replaced snapshot: p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    print(f"{N_PROCESSES} processes, {N_CHANGES} changes, {told}")  # noqa: T201 - seen with -s; machines differ


def test_the_channel_is_that_of_the_redis_database(clean_redis: redis.Redis) -> None:
    number = clean_redis.connection_pool.connection_kwargs.get("db") or 0
    assert channel(clean_redis) == f"{announcing.CHANNEL}:{number}"
    other = redis.Redis.from_url("unix:///nowhere/valkey.sock?db=9")
    assert channel(other) == f"{announcing.CHANNEL}:9"
    assert channel(redis.Redis()) == f"{announcing.CHANNEL}:0"


def test_news_of_another_redis_database_are_not_heard(clean_redis: redis.Redis) -> None:
    news = clean_redis.pubsub()
    news.subscribe(channel(clean_redis))
    assert news.get_message(timeout=WAIT_S)["type"] == "subscribe"
    elsewhere = settings.REDIS_URL.partition("?")[0] + "?db=63"
    assert announce(elsewhere, "flags", "77")
    assert announce(settings.REDIS_URL, "flags", "78")
    message = news.get_message(timeout=WAIT_S)
    while message is None or message["data"] not in {b"flags 77", b"flags 78"}:
        message = news.get_message(timeout=WAIT_S)
    assert message["data"] == b"flags 78"
    news.close()


class Web:
    """An ASGI server's side of the conversation, and an application behind it."""

    def __init__(self) -> None:
        self.served: list[str] = []
        self.sent: list[str] = []

    async def django(self, scope: Any, _receive: Any, _send: Any) -> None:
        self.served.append(scope["type"])

    async def send(self, message: Any) -> None:
        self.sent.append(message["type"])

    def receive(self, *kinds: str) -> Any:
        waiting = list(kinds)

        async def receive() -> dict[str, str]:
            return {"type": waiting.pop(0)}

        return receive


def wrapped(web: Web, calls: list[str]) -> Any:
    """The application with what it starts and stops told instead of done."""
    return lifespan.with_lifespan(web.django, start=lambda: calls.append("start"), stop=lambda: calls.append("stop"))


def test_a_web_process_listens_from_its_start_to_its_end() -> None:
    web, calls = Web(), list[str]()
    receive = web.receive("lifespan.startup", "lifespan.shutdown")
    asyncio.run(wrapped(web, calls)({"type": "lifespan"}, receive, web.send))
    assert calls == ["start", "stop"]
    assert web.sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert web.served == []


def test_without_lifespan_the_first_request_starts_it_once() -> None:
    web, calls = Web(), list[str]()
    application = wrapped(web, calls)
    for _ in range(3):
        asyncio.run(application({"type": "http"}, web.receive(), web.send))
    assert calls == ["start"]
    assert web.served == ["http"] * 3


def test_a_listener_that_cannot_start_is_logged_and_the_site_comes_up(
    monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    def fails() -> None:
        raise RuntimeError("no thread to be had")

    heard: list[str] = []
    monkeypatch.setattr(process, "_joined", {})
    process.join("flags", start=fails, stop=lambda: None)
    process.join("modules", start=lambda: heard.append("modules"), stop=lambda: heard.append("stopped"))
    process.start()
    process.stop()
    assert logged.count("control.listener_failed") == 1
    assert heard == ["modules", "stopped"]


def test_a_web_process_hears_of_flags_and_loads_no_module() -> None:
    assert list(process._joined) == ["flags"]


def test_the_entry_point_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    from helios import logs

    monkeypatch.setattr(logs, "configure", lambda *_: None)
    monkeypatch.delitem(sys.modules, "helios.asgi", raising=False)
    from helios import asgi

    assert asgi.application.__qualname__.startswith("with_lifespan")
