"""The one listener of a process."""

from __future__ import annotations

import pytest
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
