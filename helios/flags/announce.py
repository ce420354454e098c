"""Telling other processes of a change, and hearing of it. Redis carries news, the database the state."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import redis
from loguru import logger
from redis.client import PubSub

from helios import outage
from helios.flags.snapshots import FlagStore

CHANNEL: Final = "helios:flags"  # and the number of the Redis database behind it, see `channel`
ANNOUNCE_TIMEOUT_S: Final = 1.0
WAIT_S: Final = 1.0  # how long a listener waits for news before it looks at the stop sign
CHECK_EVERY_S: Final = 5.0  # with news arriving: in case one was lost
RETRY_EVERY_S: Final = 0.5  # without Redis: the database is asked this often
log = logger.bind(component="flags")


def channel(client: redis.Redis) -> str:
    """The channel for this client's database: Redis itself carries news across all of its databases.

    Two installations, or two test workers, on one server hear only themselves.
    """
    number = client.connection_pool.connection_kwargs.get("db") or 0
    return f"{CHANNEL}:{number}"


def announce(url: str, generation: int) -> bool:
    """Publish that a generation is committed; False (and a line in the log) when Redis cannot be reached.

    Nothing is lost then: every task asks the database for the generation before it starts.
    """
    client = outage.connect(url, timeout_s=ANNOUNCE_TIMEOUT_S)  # a change must not hang on the news about it
    try:
        client.publish(channel(client), str(generation))
    except (redis.RedisError, OSError) as error:
        log.bind(generation=generation, error=str(error)).warning("flags.not_announced")
        return False
    finally:
        client.close()
    return True


class Listener(threading.Thread):
    """Refreshes a store when a change is announced, and asks the database by itself while Redis is away."""

    def __init__(self, store: FlagStore, url: str, after_read: Callable[[], None] = lambda: None) -> None:
        super().__init__(name="flags-listener", daemon=True)
        self._store = store
        self._url = url
        self._after_read = after_read  # gives this thread's database connection back
        self._stopping = threading.Event()
        self.listening = threading.Event()  # set while announcements arrive

    def run(self) -> None:
        """Listen until stopped; a lost connection is reported by the snapshot and tried again."""
        while not self._stopping.is_set():
            try:
                self._listen()
            except (redis.RedisError, OSError) as error:
                outage.report(error, during="listening for changed flags")
                self.listening.clear()
                self._store.mark("redis", present=True)
                self._ask_the_database()

    def _ask_the_database(self) -> None:
        """In the place of news, until Redis answers again."""
        while not self._stopping.is_set():
            self._refresh()
            self._stopping.wait(RETRY_EVERY_S)
            if not outage.VALKEY.away:
                return

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread and wait for it."""
        self._stopping.set()
        self.join(timeout_s)

    def _listen(self) -> None:
        client = outage.connect(self._url, timeout_s=CHECK_EVERY_S)
        try:
            with client.pubsub() as news:  # type: ignore[no-untyped-call]
                news.subscribe(channel(client))
                self._follow(news)
        finally:
            client.close()

    def _follow(self, news: PubSub) -> None:
        quiet_s, asked = 0.0, False
        while not self._stopping.is_set():
            # Answers to the subscription and to a ping count as news: what came before may have been missed.
            if news.get_message(timeout=WAIT_S) is not None:
                quiet_s, asked = 0.0, False
                self._refresh()
                self._store.mark("redis", present=False)
                self.listening.set()
                continue
            quiet_s += WAIT_S
            if quiet_s >= CHECK_EVERY_S:
                if asked:
                    raise redis.ConnectionError(f"a ping must be answered within {CHECK_EVERY_S} s, was not")
                quiet_s, asked = 0.0, True
                news.ping()

    def _refresh(self) -> None:
        for step in (self._store.refresh_if_behind, self._after_read):
            try:
                step()
            except Exception as error:  # noqa: BLE001 - a dead listener would leave its process behind for good
                if outage.report(error, during="reading the flags"):
                    continue
                log.bind(error=repr(error)).error("flags.refresh_failed")
