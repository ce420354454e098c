"""The one way to a client of Redis or Valkey that keeps nobody waiting; who asks neither loads no client library."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import redis


def connect(url: str, *, timeout_s: float) -> redis.Redis:
    """A client of Valkey that fails at once instead of retrying."""
    import redis  # noqa: PLC0415 - a fifth of a second
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    client: redis.Redis = redis.Redis.from_url(
        url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
    )
    return client
