"""News on Redis that something about the modules changed. The database has the state; this only wakes who waits."""

from __future__ import annotations

from typing import Final

import redis
from loguru import logger

from helios import outage

TIMEOUT_S: Final = 1.0
log = logger.bind(component="modules")


def channel(client: redis.Redis) -> str:
    """The channel of this Redis database: published words would reach the other databases of the server too."""
    return f"helios:modules:{client.connection_pool.connection_kwargs.get('db', 0)}"


def announce(url: str, news: str) -> bool:
    """Publish one line; False (and a line in the log) when Redis cannot be reached: nothing is lost then."""
    client = outage.connect(url, timeout_s=TIMEOUT_S)
    try:
        client.publish(channel(client), news)
    except (redis.RedisError, OSError) as error:
        log.bind(news=news, error=str(error)).warning("modules.not_announced")
        return False
    finally:
        client.close()
    return True
