"""Telling other processes of a change, and hearing of it. Redis carries news, the database the state.

One channel and one thread a process serve every subject. What was lost is found by asking the database: now and then,
and more often while Redis is away.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from loguru import logger

from helios import outage
from helios.errors import error_text
from helios.redis_client import connect

if TYPE_CHECKING:  # see helios.redis_client
    import redis
    from redis.client import PubSub

CHANNEL: Final = "helios:news"  # and the number of the Redis database behind it, see `channel`
ANNOUNCE_TIMEOUT_S: Final = 1.0
WAIT_S: Final = 0.5  # how long a listener waits for news before it looks at the stop sign
CHECK_EVERY_S: Final = 3.0  # with news arriving: in case one was lost
RETRY_EVERY_S: Final = 0.5  # without Redis: the database is asked this often
log = logger.bind(component="control")


def channel(client: redis.Redis) -> str:
    """The channel for this client's database: Redis itself carries news across all of its databases.

    Two installations, or two test workers, on one server hear only themselves.
    """
    number = client.connection_pool.connection_kwargs.get("db") or 0
    return f"{CHANNEL}:{number}"


def announce(url: str, subject: str, message: str) -> bool:
    """Publish what happened to a subject; False (and a line in the log) when Redis cannot be reached.

    Nothing is lost then: every task asks the database for the generations before it starts.
    """
    from redis import RedisError  # noqa: PLC0415 - see helios.redis_client

    client = connect(url, timeout_s=ANNOUNCE_TIMEOUT_S)  # a change must not hang on the news about it
    try:
        client.publish(channel(client), f"{subject} {message}")
    except (RedisError, OSError) as error:
        log.bind(subject=subject, message=message, error=error_text(error)).warning("control.not_announced")
        return False
    finally:
        client.close()
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """What a subject does when something may have changed, in each round of the listener, and as Redis goes and comes.

    Each may raise: that is logged, and the listener goes on.
    """

    on_news: Callable[[], object]
    each_round: Callable[[], object] = lambda: None
    on_redis: Callable[[bool], object] = lambda _away: None


class Listener(threading.Thread):
    """Tells followers when there is news of their subject, and lets them look by themselves while Redis is away."""

    def __init__(self, url: str, after: Callable[[], None] = lambda: None) -> None:
        super().__init__(name="news-listener", daemon=True)
        self._url = url
        self._after = after  # gives this thread's database connection back
        self._followers: dict[str, Follower] = {}
        self._new: set[str] = set()  # who joined since the last round, and may have missed something
        self._stopping = threading.Event()
        self.listening = threading.Event()  # set while news arrive

    def follow(self, subject: str, follower: Follower) -> None:
        """From the next round on tell this follower of its subject; it is told once at first."""
        self._followers = {**self._followers, subject: follower}
        self._new.add(subject)

    def leave(self, subject: str) -> bool:
        """Tell a subject's follower no more; whether others are left."""
        self._followers = {name: each for name, each in self._followers.items() if name != subject}
        return bool(self._followers)

    def run(self) -> None:
        """Listen until stopped; a lost connection is told to the followers and tried again."""
        while not self._stopping.is_set():
            try:
                self._listen()
            except Exception as error:  # noqa: BLE001 - a dead listener would leave its process behind for good
                if not outage.report(error, during="listening for news"):
                    log.bind(error=error_text(error)).error("control.listener_failed")
                self.listening.clear()
                self._away(away=True)
                self._ask_the_database()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread and wait for it."""
        self._stopping.set()
        self.join(timeout_s)

    def _ask_the_database(self) -> None:
        """In the place of news, until Redis answers again."""
        while not self._stopping.is_set():
            self._tell(self._followers)
            self._round()
            self._stopping.wait(RETRY_EVERY_S)
            if not outage.VALKEY.away:
                return

    def _listen(self) -> None:
        client = connect(self._url, timeout_s=CHECK_EVERY_S)
        try:
            with client.pubsub() as news:  # type: ignore[no-untyped-call]
                news.subscribe(channel(client))
                self._follow(news)
        finally:
            client.close()

    def _follow(self, news: PubSub) -> None:
        import redis  # noqa: PLC0415 - see helios.redis_client

        quiet_s, asked = 0.0, False
        while not self._stopping.is_set():
            message = news.get_message(timeout=WAIT_S)
            if message is not None:
                quiet_s, asked = 0.0, False
                self._receive(message["data"])
            self._round()
            if message is not None:
                continue
            quiet_s += WAIT_S
            if quiet_s >= CHECK_EVERY_S:
                if asked:
                    raise redis.ConnectionError(f"a ping must be answered within {CHECK_EVERY_S} s, was not")
                quiet_s, asked = 0.0, True
                news.ping()

    def _receive(self, message: object) -> None:
        """Answers to the subscription and to a ping are news to everybody: what came before may have been missed."""
        subject = message.decode(errors="replace").partition(" ")[0] if isinstance(message, bytes) else ""
        self._tell([subject] if subject else self._followers)
        self._away(away=False)
        self.listening.set()

    def _round(self) -> None:
        new, self._new = self._new, set()
        self._tell(new)
        for follower in self._followers.values():
            self._do(follower.each_round)

    def _tell(self, subjects: Iterable[str]) -> None:
        for subject in subjects:
            if subject in self._followers:
                self._do(self._followers[subject].on_news)

    def _away(self, *, away: bool) -> None:
        for follower in self._followers.values():
            self._do(partial(follower.on_redis, away))

    def _do(self, step: Callable[[], object]) -> None:
        for each in (step, self._after):
            try:
                each()
            except Exception as error:  # noqa: BLE001 - as in `run`
                if not outage.report(error, during="following news"):
                    log.bind(error=error_text(error)).error("control.follower_failed")


_starting = threading.Lock()
_listener: Listener | None = None


def follow(subject: str, follower: Follower) -> Listener:
    """Have this process follow a subject, by its one listener, from now on; again after a fork."""
    from django.conf import settings  # noqa: PLC0415 - settings are read when the process starts to listen
    from django.db import connection  # noqa: PLC0415

    global _listener  # noqa: PLW0603 - one listener a process
    with _starting:
        alive = _listener is not None and _listener.is_alive()
        # `connection` stands for the thread that asks: its `close` is looked up by the listener, not here
        after = lambda: connection.close()  # noqa: E731, PLW0108
        listener = _listener if alive and _listener else Listener(settings.REDIS_URL, after)
        listener.follow(subject, follower)
        if not alive:
            listener.start()
        _listener = listener
        return listener


def leave(subject: str) -> None:
    """Follow a subject no more; without any, the listener ends."""
    global _listener  # noqa: PLW0603
    with _starting:
        if _listener is not None and not _listener.leave(subject):
            _listener.stop()
            _listener = None


def _after_fork() -> None:
    """Threads and held locks do not survive a fork."""
    global _listener, _starting  # noqa: PLW0603
    _listener = None
    _starting = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
