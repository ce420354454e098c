"""The one listener of a process."""

from __future__ import annotations

import pytest
import redis
from django.conf import settings
from loguru import logger

from helios.control import news
from helios.stack import children


@pytest.mark.usefixtures("clean_redis")
def test_the_listener_gives_back_its_own_connection_and_not_that_of_who_started_it() -> None:
    said: list[str] = []
    sink = logger.add(lambda each: said.append(each.record["message"]))
    heard: list[int] = []
    try:
        news.follow("weather", news.Follower(on_news=lambda: heard.append(1)))
        assert children.wait_until(lambda: len(heard) > 1, timeout_s=30)
    finally:
        news.leave("weather")
        logger.remove(sink)
    assert "control.follower_failed" not in said


def test_what_is_no_text_is_no_news_and_ends_no_listening(clean_redis: redis.Redis) -> None:
    said: list[str] = []
    sink = logger.add(lambda each: said.append(each.record["message"]))
    heard: list[int] = []
    try:
        listener = news.follow("weather", news.Follower(on_news=lambda: heard.append(1)))
        assert listener.listening.wait(30)
        before = len(heard)
        clean_redis.publish(news.channel(clean_redis), b"\xff\xfe")
        assert news.announce(settings.REDIS_URL, "weather", "rain")
        assert children.wait_until(lambda: len(heard) > before, timeout_s=30)
    finally:
        news.leave("weather")
        logger.remove(sink)
    assert "control.listener_failed" not in said
