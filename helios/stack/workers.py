"""Workers for the length of a block, and the question which workers answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from celery import Celery
from kombu.exceptions import OperationalError
from redis import RedisError

from helios.env import Env, get_env
from helios.stack import children, endpoints, processes
from helios.stack.children import StackError
from helios.stack.processes import ProcessSpec
from helios.stack.runner import Emit, Runner

READY_TIMEOUT_S = 120.0  # the GPU worker loads and warms its models first
PING_S = 0.5


def answering(broker_url: str) -> set[str]:
    """Names (before the @) of the workers that answer a ping now; empty while the broker is away."""
    try:
        # a connection of its own: a pooled one may have lost its server since the last question
        with (
            Celery("probe", broker=broker_url, set_as_current=False) as probe,
            probe.connection_for_write() as connection,
        ):
            replies = probe.control.ping(timeout=PING_S, connection=connection) or []
    except (OperationalError, RedisError, OSError):
        return set()
    return {node.split("@")[0] for reply in replies for node in reply}


def log_files(folder: Path) -> Emit:
    """An `emit` that appends each process's output to `<folder>/<name>.out`."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = threading.Lock()

    def emit(name: str, line: str) -> None:
        with lock, (folder / f"{name}.out").open("a") as log:
            log.write(f"{line}\n")

    return emit


def await_workers(runner: Runner, names: Collection[str], *, broker_url: str, logs: Path) -> None:
    """Wait until the named workers answer. Raises: StackError with the log's end of one that does not."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    missing = set(names)
    while missing := missing - answering(broker_url):
        crashed = runner.crashed()
        if crashed or time.monotonic() > deadline:
            name = next(iter(crashed or missing))
            raise StackError(f"The {name} worker did not start; its log ends:\n{children.tail(logs / f'{name}.out')}")


@contextmanager
def running_workers(env: Env | None = None, *, beside: Sequence[ProcessSpec] = ()) -> Iterator[Runner]:
    """The workers of all queues, ready, for the length of the block; their output goes to `var/logs/*.out`.

    `beside` are processes to run with them that nobody waits for.

    The runner's `tick` is the caller's to call if a crashed worker shall come back.
    Raises: StackError when a worker does not start.
    """
    env = env or get_env()
    redis_url = endpoints.configured(env).redis_url
    specs, logs = processes.workers(env), env.var_dir / "logs"
    runner = Runner([*specs, *beside], log_files(logs))
    try:
        runner.start()
        names = {spec.name for spec in specs}
        await_workers(runner, names, broker_url=endpoints.celery_broker(redis_url), logs=logs)
        yield runner
    finally:
        runner.stop()
