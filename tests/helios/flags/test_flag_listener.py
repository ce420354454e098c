"""A change reaches other processes: by announcement, by checks while Redis is away, and after its return."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.db import connection

from helios import flags
from helios.control import news as announcing
from helios.control.news import Follower, Listener, announce, channel
from helios.flags import catalog, services
from helios.flags.reader import DatabaseReader
from helios.flags.snapshots import FlagStore
from helios.stack.children import wait_until
from helios.stack.valkey import EmbeddedValkey

WAIT_S = 20.0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener that looks around often, so that tests wait little."""
    monkeypatch.setattr(announcing, "WAIT_S", 0.05)
    monkeypatch.setattr(announcing, "CHECK_EVERY_S", 0.1)
    monkeypatch.setattr(announcing, "RETRY_EVERY_S", 0.05)


@pytest.fixture
def valkey() -> Iterator[EmbeddedValkey]:
    """A server of this test's own, that it may stop."""
    root = Path(tempfile.mkdtemp(prefix="helios-flags-"))
    root.chmod(0o711)
    server = EmbeddedValkey(data_dir=root / "data", socket=root / "valkey.sock", log=root / "valkey.log")
    server.start(die_with_us=True)
    yield server
    server.stop()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def other_process(quick: None) -> Iterator[Callable[[str], tuple[FlagStore, Listener]]]:
    """Make a store and a listener of their own, as another process has them."""
    started: list[Listener] = []

    def make(url: str) -> tuple[FlagStore, Listener]:
        store = FlagStore(DatabaseReader(), catalog.defaults)
        store.refresh_if_behind()
        listener = Listener(url, after=connection.close)
        listener.follow(
            "flags",
            Follower(on_news=store.refresh_if_behind, on_redis=lambda away: store.mark("redis", present=away)),
        )
        listener.start()
        started.append(listener)
        return store, listener

    yield make
    for listener in started:
        listener.stop()
        assert not listener.is_alive()


def test_an_announced_change_is_read_at_once(committed_flags: None, other_process) -> None:
    store, listener = other_process(settings.REDIS_URL)
    assert listener.listening.wait(WAIT_S)
    assert not store.is_enabled("auto_trading")
    services.enable("auto_trading", actor="ada")
    assert wait_until(lambda: store.snapshot().fixed["auto_trading"], timeout_s=WAIT_S)
    assert store.is_enabled("auto_trading")
    assert not store.snapshot().stale


def test_without_redis_the_listener_checks_by_itself_and_says_stale(
    committed_flags: None, other_process, settings
) -> None:
    settings.REDIS_URL = "unix:///nowhere/valkey.sock?db=0"
    store, listener = other_process(settings.REDIS_URL)
    assert wait_until(lambda: store.snapshot().stale, timeout_s=WAIT_S)
    services.enable("auto_trading", actor="ada")
    assert wait_until(lambda: store.snapshot().fixed["auto_trading"], timeout_s=WAIT_S)
    assert store.snapshot().faults == {"redis"}
    assert not listener.listening.is_set()


def test_a_redis_that_goes_and_comes_back_is_followed(
    committed_flags: None, other_process, valkey: EmbeddedValkey, settings
) -> None:
    settings.REDIS_URL = valkey.url()
    store, listener = other_process(valkey.url())
    assert listener.listening.wait(WAIT_S)
    valkey.stop()
    assert wait_until(lambda: store.snapshot().stale, timeout_s=WAIT_S)
    services.enable("auto_trading", actor="ada")  # announced to nobody
    valkey.start(die_with_us=True)
    assert wait_until(lambda: not store.snapshot().stale and store.snapshot().fixed["auto_trading"], timeout_s=WAIT_S)
    assert listener.listening.wait(WAIT_S)
    services.disable("auto_trading", actor="ada")
    assert wait_until(lambda: not store.snapshot().fixed["auto_trading"], timeout_s=WAIT_S)


def test_a_change_whose_news_was_lost_is_found_by_the_next_check(
    committed_flags: None, other_process, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, listener = other_process(settings.REDIS_URL)
    assert listener.listening.wait(WAIT_S)
    monkeypatch.setattr(announcing, "announce", lambda *_: False)
    services.enable("auto_trading", actor="ada")
    assert wait_until(lambda: store.snapshot().fixed["auto_trading"], timeout_s=WAIT_S)


class SilentNews:
    """A connection that is up and over which nothing comes any more."""

    pings = 0

    def get_message(self, timeout: float) -> None:
        return None

    def ping(self) -> None:
        self.pings += 1


def test_a_silent_connection_is_given_up_after_an_unanswered_ping(quick: None) -> None:
    listener = Listener("unix:///nowhere")
    news = SilentNews()
    with pytest.raises(redis.ConnectionError, match="ping must be answered"):
        listener._follow(news)  # type: ignore[arg-type]
    assert news.pings == 1


def test_an_unexpected_error_of_a_follower_ends_neither_the_listener_nor_the_others(logged: list[str]) -> None:
    def broken() -> None:
        raise RuntimeError("unexpected")

    given_back, heard = [], []
    listener = Listener("unix:///nowhere", after=lambda: given_back.append(True))
    listener.follow("flags", Follower(on_news=broken))
    listener.follow("modules", Follower(on_news=lambda: heard.append("modules")))
    listener._receive(1)
    assert logged.count("control.follower_failed") == 1
    assert heard == ["modules"]
    assert given_back


def test_an_error_that_nobody_foresaw_does_not_end_the_listener(
    quick: None, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    """Without it the process would no longer be heard of, and swaps would not wait for it."""
    heard = []
    listener = Listener("unix:///nowhere")

    def listen() -> None:
        heard.append(1)
        if len(heard) > 1:
            listener._stopping.set()
        raise AttributeError("a client that was closed while it was read")

    monkeypatch.setattr(listener, "_listen", listen)
    listener.run()
    assert (len(heard), logged) == (2, ["control.listener_failed"] * 2)


def test_a_follower_hears_of_its_own_subject_and_of_all_that_may_have_been_missed() -> None:
    heard: list[str] = []
    listener = Listener("unix:///nowhere")
    for subject in ("flags", "modules"):
        listener.follow(subject, Follower(on_news=lambda name=subject: heard.append(name)))  # type: ignore[misc]
    listener._round()
    assert sorted(heard) == ["flags", "modules"]  # who joins may have missed something
    listener._receive(b"modules swap 3 TESTING")
    assert heard[2:] == ["modules"]
    listener._receive(1)  # the answer to a subscription
    assert heard[3:] == ["flags", "modules"]
    listener._round()
    assert len(heard) == 5


def test_announcing_tells_the_generation(clean_redis: redis.Redis) -> None:
    news = clean_redis.pubsub()
    news.subscribe(channel(clean_redis))
    assert news.get_message(timeout=WAIT_S)["type"] == "subscribe"
    assert announce(settings.REDIS_URL, "flags", "generation 41") is True
    message = news.get_message(timeout=WAIT_S)
    while message is None or message["data"] != b"flags generation 41":  # other workers announce on the same channel
        message = news.get_message(timeout=WAIT_S)
    news.close()


def test_this_process_has_one_listener_until_it_is_stopped(committed_flags: None) -> None:
    first = flags.start_listener()
    assert flags.start_listener() is first
    assert first.listening.wait(WAIT_S)
    flags.stop_listener()
    assert not first.is_alive()
    again = flags.start_listener()
    assert again is not first
    flags.stop_listener()
    flags.stop_listener()


def test_a_forked_child_starts_a_listener_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcing, "_listener", object())
    held = announcing._starting
    with held:  # somebody was just starting a listener when the process forked
        announcing._after_fork()
    assert announcing._listener is None
    assert announcing._starting is not held
    assert not announcing._starting.locked()
