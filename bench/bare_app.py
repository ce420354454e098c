"""The peer of a cycle: a Celery app of seven empty tasks on the queues of the real chain."""

import os

import redis
from celery import Celery

from helios.stack import endpoints

URL = os.environ["HELIOS_REDIS_URL"]
STAGES = ("ingest", "features", "predict", "risk", "llm", "portfolio", "execute")
QUEUES = {"ingest": "ingest", "predict": "gpu", "execute": "execution"}

app = Celery("bare", broker=endpoints.celery_broker(URL), set_as_current=False)
app.conf.update(task_ignore_result=True, task_acks_late=True, worker_prefetch_multiplier=1)
_client = redis.Redis.from_url(URL)


def _empty(number: int) -> int:
    return number


def _last(number: int) -> int:
    """Tell the caller that the chain is through."""
    _client.lpush("bench:done", number)
    return number


TASKS = [
    app.task(_last if name == "execute" else _empty, name=f"bare.{name}", queue=QUEUES.get(name, "default"))
    for name in STAGES
]
