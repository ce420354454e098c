"""The processes of a running Helios, as command lines: what runs locally, in containers and in tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from helios.env import BASE_DIR, Env

WORKER_QUEUES = ("ingest", "default", "execution")
MAINTENANCE_QUEUES = ("maintenance",)
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # the pool itself fills the cores


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """One long-running process: its name, its command line, what it adds to the environment, its port."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Callable[[], Mapping[str, str]] = dict  # more of it, which may have to be made: once it starts
    port: int | None = None
    port_variable: str = ""

    def environ(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """The whole environment of the process, over `base` or ours."""
        found = dict(os.environ if base is None else base)
        return {"PYTHONUNBUFFERED": "1", **self.env, **self.secrets(), **found, "HELIOS_COMPONENT": self.name}


_ALONE = ("--without-gossip", "--without-mingle")  # what workers could tell each other is asked of the database


def _celery(*words: str) -> list[str]:
    return [sys.executable, "-m", "celery", "-A", "celery_app", *words]


def worker(concurrency: int, queues: Sequence[str] = WORKER_QUEUES, *, name: str = "worker") -> ProcessSpec:
    """A Celery worker for the given queues."""
    argv = _celery(
        "worker", *_ALONE, "-Q", ",".join(queues), "-n", f"{name}@%h", "-c", str(concurrency), "-P", "prefork"
    )
    return ProcessSpec(name=name, argv=argv, env=_ONE_THREAD)


def gpu_worker() -> ProcessSpec:
    """The worker of queue `gpu`: one spawned child, so that no CUDA context is ever forked."""
    argv = _celery("worker", *_ALONE, "-Q", "gpu", "-n", "gpu@%h", "-c", "1", "-P", "prefork")
    return ProcessSpec(name="gpu", argv=[*argv, "--", "worker.pool_start_method=spawn"])


def maintenance_worker() -> ProcessSpec:
    """The worker of queue `maintenance`, so that no cycle waits for a swap or an audit. Two children:
    while one does a module job, of which one runs at a time, the other recovers cycles and beats the heart.
    """
    return worker(2, MAINTENANCE_QUEUES, name="maintenance")


def beat() -> ProcessSpec:
    """The clock; a second one is harmless."""
    return ProcessSpec(name="beat", argv=_celery("beat", "--pidfile="))


def flower(env: Env) -> ProcessSpec:
    """The task monitor: this machine only, reading only, with a login that no list of processes shows."""
    argv = _celery(
        *("flower", "--address=127.0.0.1", f"--port={env.flower_port}", "--read_only=True", "--logging=none"),
        "--max_tasks=2000",  # that it remembers, whatever their size
    )
    return ProcessSpec(
        name="flower",
        argv=argv,
        secrets=lambda: {"FLOWER_BASIC_AUTH": env.flower_login()},
        port=env.flower_port,
        port_variable="HELIOS_FLOWER_PORT",
    )


def web(env: Env) -> ProcessSpec:
    """Admin, API and documents: this machine only, so that nobody may speak for another address."""
    argv = [
        *(sys.executable, "-m", "uvicorn", "helios.asgi:application"),
        *("--host", "127.0.0.1", "--port", str(env.web_port), "--no-access-log", "--no-proxy-headers"),
        *("--limit-concurrency", "900", "--backlog", "100"),
        *("--http", "helios.web.connections:PatientProtocol", "--ws", "none"),
        *("--loop", "asyncio"),  # ccxt brings uvloop, which uvicorn would take by itself
    ]
    return ProcessSpec(name="web", argv=argv, port=env.web_port, port_variable="HELIOS_WEB_PORT")


def stream() -> ProcessSpec:
    """Live market data of what active books trade at a venue; without such books it only looks for some."""
    return ProcessSpec(name="stream", argv=[sys.executable, "manage.py", "stream"], env=_ONE_THREAD)


def workers(env: Env) -> list[ProcessSpec]:
    """The processes that carry a cycle, and the one that keeps house beside them."""
    return [worker(env.worker_concurrency), gpu_worker(), maintenance_worker()]


def everything(env: Env) -> list[ProcessSpec]:
    """The whole local stack, in the order it is started; it is stopped the other way round."""
    return [*workers(env), web(env), flower(env), stream(), beat()]


WORKING_DIRECTORY = BASE_DIR
