"""Workers for the length of a block, and the question which workers answer."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from celery import Celery
from kombu.exceptions import OperationalError
from redis import RedisError

from helios.env import Env, get_env
from helios.log_files import RotatingFile
from helios.logs import redact
from helios.stack import children, endpoints, processes
from helios.stack.children import StackError
from helios.stack.processes import ProcessSpec
from helios.stack.runner import CrashLoopError, Emit, Runner, both
from helios.stack.servers import warn

READY_TIMEOUT_S = 120.0  # the GPU worker loads and warms its models first
PING_S = 0.5
_AWAY = (OperationalError, RedisError, OSError)
CRASHES = 3  # of one process in a row: whatever it is, another start does not mend it


def answering(broker_url: str) -> set[str]:
    """Names (before the @) of the workers that answer a ping now; empty while the broker is away."""
    with contextlib.suppress(*_AWAY):  # who waits for them asks for the reason once the time is over
        return _ping(broker_url)
    return set()


def _ping(broker_url: str) -> set[str]:
    # a connection of its own: a pooled one may have lost its server since the last question
    with (
        Celery("probe", broker=broker_url, set_as_current=False) as probe,
        probe.connection_for_write() as connection,
    ):
        replies = probe.control.ping(timeout=PING_S, connection=connection) or []
    return {node.split("@")[0] for reply in replies for node in reply}


def _broker_fault(broker_url: str) -> str:
    try:
        _ping(broker_url)
    except _AWAY as error:
        return f": the broker does not answer ({error})"
    return ""


def log_files(folder: Path) -> Emit:
    """An `emit` that appends each process's output to `<folder>/<name>.out`, which is rotated like a log.

    A full disk costs lines: who supervises goes on.
    """
    lock = threading.Lock()

    def emit(name: str, line: str) -> None:
        with lock, contextlib.suppress(OSError), contextlib.closing(RotatingFile(folder / f"{name}.out")) as log:
            log.write(f"{redact(line)}\n")

    return emit


def await_workers(runner: Runner, env: Env) -> None:
    """Wait until the workers of all queues answer; one that dies meanwhile starts again, a few times.

    Raises: StackError for one that does not come up.
    """
    broker_url = endpoints.celery_broker(endpoints.configured(env).redis_url)
    deadline = time.monotonic() + READY_TIMEOUT_S
    missing = {spec.name for spec in processes.workers(env)}
    while missing := missing - answering(broker_url):
        runner.tick()
        if time.monotonic() > deadline:
            why = _broker_fault(broker_url)
            raise StackError(f"The {min(missing)} process must be ready within {READY_TIMEOUT_S:.0f} s, was not{why}")


@contextlib.contextmanager
def started_workers(env: Env, *, beside: Sequence[ProcessSpec], say: Emit) -> Iterator[Runner]:
    """The workers of all queues for the length of the block, not yet waited for; their output goes to `var/logs/*.out`.

    The runner's `tick` is the caller's to call a few times a second: it starts again what crashed, and `say` tells so.
    `beside` are processes to run with them that nobody waits for.
    Raises: StackError from inside the block when one crashes again and again.
    """
    logs = env.var_dir / "logs"
    write = log_files(logs)
    runner = Runner([*processes.workers(env), *beside], write, note=both(say, write), give_up_after=CRASHES)
    try:
        runner.start()
        yield runner
    except CrashLoopError as error:
        raise StackError(f"{error}; its log ends:\n{children.tail(logs / f'{error.name}.out')}") from None
    finally:
        runner.stop()


@contextlib.contextmanager
def running_workers(
    env: Env | None = None, *, beside: Sequence[ProcessSpec] = (), say: Emit = warn
) -> Iterator[Runner]:
    """`started_workers`, once they answer. Raises: StackError when a worker does not start, too."""
    env = env or get_env()
    with started_workers(env, beside=beside, say=say) as runner:
        await_workers(runner, env)
        yield runner
