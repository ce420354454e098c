"""A worker's connection to a queue into which code of modules wrote: the good message is heard, the rest dropped."""

from __future__ import annotations

import bz2
import json
from base64 import b64encode
from contextlib import suppress
from typing import Any

import pytest
import redis
from django.conf import settings
from kombu import Connection, Consumer, Message
from kombu.exceptions import DecodeError
from kombu.pidbox import Mailbox
from kombu.transport import redis as transport

from helios.broker import Channel
from helios.celery import app

HEADERS = {"task": "sentinel.heartbeat", "id": "1"}
NONE_OF_OURS: dict[str, dict[str, Any]] = {
    "of protocol 1": {"headers": {}, "body": {"task": "sentinel.heartbeat", "id": "1", "args": [], "kwargs": {}}},
    "no id": {"headers": {"task": "sentinel.heartbeat"}},
    "an id that is none": {"headers": {**HEADERS, "id": [1]}},
    "an unknown task": {"headers": {**HEADERS, "task": "no.such"}},
    "limits of words": {"headers": {**HEADERS, "timelimit": ["a", "b"]}},
    "a limit of no number": {"headers": {**HEADERS, "timelimit": [None, float("nan")]}},
    "far": {"headers": {**HEADERS, "eta": "2090-01-01T00:00:00+00:00"}},
    "a time of words": {"headers": {**HEADERS, "eta": "soon"}},
    "an end of words": {"headers": {**HEADERS, "expires": "soon"}},
    "an end without a zone": {"headers": {**HEADERS, "expires": "2020-01-01T00:00:00"}},
    "tries of words": {"headers": {**HEADERS, "retries": "many"}},
    "stamps of words": {"headers": {**HEADERS, "stamped_headers": [1]}},
    "compressed": {"headers": {**HEADERS, "compression": "zlib"}},
    "arguments of words": {"body": ["a", {}, {}]},
    "no arguments": {"body": 1},
    "what follows is a word": {"body": [[], {}, "chain"]},
    "no text": {"raw_body": 1},
    "no encoding": {"properties": {"body_encoding": "gzip"}},
    "a tag that is none": {"properties": {"delivery_tag": {}}},
    "no tag": {"properties": {"delivery_tag": None}},
    "a way that is none": {"properties": {"delivery_info": 1}},
    "of pickles": {"content-type": "application/x-python-serialize"},
}


def envelope(
    *, headers: Any = HEADERS, body: Any = ([], {}, {}), properties: Any = (), raw_body: Any = None, **more: Any
) -> str:
    """A message as it lies in a queue."""
    way = {"exchange": "", "routing_key": "maintenance"}
    told = {
        "headers": headers,
        "properties": {"delivery_tag": "t", "delivery_info": way, "body_encoding": "base64", **dict(properties)},
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "body": raw_body or b64encode(json.dumps(body).encode()).decode(),
    }
    return json.dumps({**told, **more})


@pytest.fixture(autouse=True)
def _guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `celery_app` does for its process."""
    app.loader.import_default_modules()
    monkeypatch.setattr(transport.Transport, "Channel", Channel)
    monkeypatch.setattr(Channel, "queues", ("maintenance",))
    monkeypatch.setattr(Channel, "tasks", app.tasks)


@pytest.fixture
def heard(clean_redis: redis.Redis):
    """What a worker of `maintenance` takes, until the first one, and how many wait to be done then."""

    def hear() -> tuple[list[str], int]:
        found = []

        def take(message: Any) -> None:
            _, _, _ = message.payload  # or it counts as taken and is not done
            found.append(message.headers["id"])
            message.ack()

        with Connection(settings.CELERY_BROKER_URL) as connection, connection.channel() as channel:
            queue = app.amqp.queues["maintenance"]
            with Consumer(channel, [queue], on_message=take, prefetch_count=2):
                while not found:  # the good one lies behind the others
                    connection.drain_events(timeout=10)
            return found, clean_redis.hlen("unacked")

    return hear


@pytest.mark.parametrize("what", NONE_OF_OURS)
def test_what_we_would_not_send_is_dropped_and_holds_no_place(clean_redis: redis.Redis, heard: Any, what: str) -> None:
    for _ in range(3):
        clean_redis.lpush("maintenance", envelope(**NONE_OF_OURS[what]))
    app.send_task("sentinel.heartbeat", queue="maintenance", task_id="good")
    assert heard() == (["good"], 0)
    assert clean_redis.llen("maintenance") == 0


@pytest.mark.parametrize(
    "key",
    ["maintenance", "unacked", "unacked_index", "_kombu.binding_deadlines"]
    + [f"_kombu.{name}.{of}" for name in ("binding", "binding_permanent") for of in ("maintenance", "celery.pidbox")],
)
def test_a_key_of_another_type_keeps_no_worker_from_its_queue(clean_redis: redis.Redis, heard: Any, key: str) -> None:
    clean_redis.zadd(key, {"x": 1}) if key != "unacked_index" and "deadlines" not in key else clean_redis.set(key, "x")
    with Connection(settings.CELERY_BROKER_URL) as connection:
        connection.channel().close()
    app.send_task("sentinel.heartbeat", queue="maintenance", task_id="good")
    assert heard() == (["good"], 0)


@pytest.mark.parametrize(
    "asked",
    [
        {"method": "ping", "pattern": ".*", "matcher": "pcre"},
        {"method": "ping", "pattern": "*", "matcher": "glob"},
        {"method": "ping", "destination": "worker@here"},
        {"method": ["ping"]},
        [1],
    ],
)
def test_a_question_that_we_would_not_ask_is_not_heard(clean_redis: redis.Redis, asked: Any) -> None:
    heard: list[Any] = []
    with Connection(settings.CELERY_BROKER_URL) as connection, connection.channel() as channel:
        node = Mailbox("celery", type="fanout").Node(
            "worker@here", handlers={"ping": lambda _: heard.append(1)}, channel=channel
        )
        with node.listen(callback=node.handle_message):
            with suppress(TimeoutError):
                connection.drain_events(timeout=0.1)  # by now it listens
            for body in (asked, {"method": "ping", "arguments": {}, "destination": ["worker@here"]}):
                for topic in channel._get_publish_topics("celery.pidbox", ""):
                    clean_redis.publish(topic, envelope(body=body))
            while not heard:
                connection.drain_events(timeout=10)
    assert heard == [1]


def test_what_was_taken_by_nobody_is_given_back_but_for_what_cannot_be_read(
    clean_redis: redis.Redis, heard: Any
) -> None:
    clean_redis.hset(
        "unacked", mapping={"a": "no message", "b": json.dumps([json.loads(envelope()), "", "maintenance"])}
    )
    clean_redis.zadd("unacked_index", {"a": 1, "b": 2})
    with Connection(settings.CELERY_BROKER_URL) as connection, connection.channel() as channel:
        channel.qos.restore_visible(num=10, interval=1)
    assert (clean_redis.hlen("unacked"), clean_redis.zcard("unacked_index")) == (0, 0)
    assert heard() == (["1"], 0)


def test_no_message_is_unpacked_in_whatever_queue_it_lies() -> None:
    message = Message(bz2.compress(b" " * 100_000_000), headers={"compression": "application/x-bz2"})
    assert (len(message.body) < 1_000, message.errors[0][0]) == (True, KeyError)
    with pytest.raises(DecodeError):
        message.payload  # noqa: B018 - reading it raises
