"""Workers for the length of a block, as the demo and `replay --workers` use them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import redis
from kombu import Connection

from helios.celery import app
from helios.env import Env
from helios.stack import children, endpoints, processes, runner, workers
from helios.stack.children import StackError
from helios.stack.processes import ProcessSpec
from helios.stack.valkey import EmbeddedValkey
from tests.support import warm
from tests.support.harness import Stack, descendants


@pytest.mark.stack
def test_both_workers_answer_inside_the_block_and_are_gone_after_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stack.environ.items():
        if name.startswith("HELIOS_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(children, "piped", warm.piped)  # `make up` starts them from nothing, in a test of its own
    env = Env(_env_file=None, worker_concurrency=1)
    url = endpoints.celery_broker(stack.valkey.url())
    with workers.running_workers(env, beside=[processes.beat()]) as running:
        pids = list(running.pids().values())
        assert workers.answering(url) >= {"worker", "gpu", "maintenance"}
        assert set(running.pids()) == {"worker", "gpu", "maintenance", "beat"}
        queues = redis.Redis.from_url(stack.valkey.url())
        for name in ("cancel_consumer", "pool_shrink", "shutdown"):
            app.control.broadcast(name, {"queue": "maintenance"}, connection=Connection(url))
        queues.publish("/0.celery.pidbox", '{"body": 1}')
        queues.set("maintenance", "no list")
        stack.wait_for(lambda: queues.type("maintenance") != b"string", what="a queue again")
        queues.lpush("maintenance", "no message", "{}", "[1]", '{"properties": 1}', "[" * 9_000)
        with Connection(url) as broker:
            far = {"eta": "2090-01-01T00:00:00+00:00"}
            for name, headers in (("no.such", {}), ("sentinel.heartbeat", far)):
                app.send_task(name, queue="maintenance", connection=broker, headers=headers)
            app.send_task("sentinel.heartbeat", queue="maintenance", connection=broker, soft_time_limit="b")
            for name, args in (("tiers.predict", [1]), ("celery.map", [{"task": "tiers.predict"}, [1]])):
                app.send_task(name, args, queue="maintenance", connection=broker)
        told = env.var_dir / "logs" / "maintenance.out"
        for name, queue in (("tiers.predict", "gpu"), ("celery.map", "default")):
            sentence = f"task {name} must run in a worker of queue {queue}, was sent to maintenance"
            stack.wait_for(
                lambda said=sentence: said in told.read_text(), what="a task that is none of its own refused"
            )
        for told_of in ("must be one of ours", "must read as ours do", "must be due within 1:00:00"):
            stack.wait_for(lambda said=told_of: said in told.read_text(), what=told_of)
        (child,) = descendants(running.pids()["gpu"])[-1:]
        assert "spawn" in " ".join(psutil.Process(child).cmdline()), "CUDA must not be forked"
        readied = "SELECT 1 FROM module_processes WHERE component = 'gpu' AND pid = %s"
        stack.wait_for(lambda: stack.query(readied, [child]), timeout_s=240, what="the gpu worker's child is readied")
        loading = {name for (name,) in stack.query("SELECT component FROM module_processes")}
        assert loading <= {"worker", "gpu"}, "who runs no tier loads none of their code"
        assert list(running.pids().values()) == pids, "nothing of it ended a process"
    assert [pid for pid in pids if children.is_alive(pid)] == []
    assert (env.var_dir / "logs" / "worker.out").stat().st_size > 0


def test_a_worker_that_cannot_start_is_one_error_with_its_log(
    make_env: Callable[..., Env], monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = [sys.executable, "-c", "raise SystemExit('no module so')"]
    monkeypatch.setattr(processes, "workers", lambda _: [ProcessSpec(name="worker", argv=argv)])
    monkeypatch.setattr(workers, "PING_S", 0.05)
    monkeypatch.setattr(runner, "pause_s", lambda _: 0.0)
    sentence = r"(?s)The worker process ended unexpectedly with status 1, 3 times in a row; its log ends:\nno module so"
    with (
        pytest.raises(StackError, match=sentence),
        workers.running_workers(make_env(database_url="postgresql://h/x")),
    ):
        pass


DIES_ONCE = """
import os, signal, sys
if not os.path.exists(sys.argv[1]):
    open(sys.argv[1], "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
print("up", flush=True)
signal.pause()
"""


def test_a_worker_killed_while_it_starts_is_started_again_and_one_line_says_so(
    make_env: Callable[..., Env], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    argv = [sys.executable, "-c", DIES_ONCE, str(tmp_path / "died")]
    env, said = make_env(database_url="postgresql://h/x"), []
    monkeypatch.setattr(processes, "workers", lambda _: [ProcessSpec(name="gpu", argv=argv)])
    monkeypatch.setattr(runner, "pause_s", lambda _: 0.0)
    log = env.var_dir / "logs" / "gpu.out"
    monkeypatch.setattr(workers, "answering", lambda _: {"gpu"} if "up" in children.tail(log).splitlines() else set())
    with workers.running_workers(env, say=lambda *words: said.append(words)) as running:
        assert set(running.pids()) == {"gpu"}
    assert said == [("gpu", "was killed by SIGKILL; starts again in 0 s")]


def test_nobody_answers_where_no_broker_is(root: Path) -> None:
    assert workers.answering(f"redis+socket://{root}/nothing.sock?virtual_host=0") == set()


def test_who_waits_in_vain_is_told_what_is_wrong_with_the_broker(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "READY_TIMEOUT_S", 0.0)
    nobody = Env(_env_file=None, var_dir=root, redis_url=endpoints.valkey_url(root / "nobody.sock"))
    with pytest.raises(StackError, match=r"The gpu process must .* was not: the broker does not answer \(.*nobody"):
        workers.await_workers(runner.Runner([], lambda *_: None), nobody)


def test_nobody_answers_at_an_idle_broker(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PING_S", 0.05)
    valkey = EmbeddedValkey(data_dir=root / "v", socket=root / "v.sock", log=root / "log")
    valkey.start()
    try:
        assert workers.answering(endpoints.celery_broker(valkey.url())) == set()
    finally:
        valkey.stop()


def test_a_process_keeps_the_callers_environment_and_learns_its_name() -> None:
    spec = processes.worker(2)
    found = spec.environ({"OMP_NUM_THREADS": "4", "HOME": "/h", "HELIOS_COMPONENT": "web"})
    assert found["OMP_NUM_THREADS"] == "4"
    assert found["HOME"] == "/h"
    assert found["HELIOS_COMPONENT"] == "worker"
    assert processes.worker(2).environ({})["OMP_NUM_THREADS"] == "1"


def test_web_and_flower_are_for_this_machine_only(make_env: Callable[..., Env]) -> None:
    env = make_env(web_port=8123, flower_port=5123)
    specs = {spec.name: spec for spec in processes.everything(env)}
    assert list(specs) == ["worker", "gpu", "maintenance", "web", "flower", "stream", "beat"]
    assert "--host 127.0.0.1 --port 8123" in " ".join(specs["web"].argv)
    assert {"--address=127.0.0.1", "--port=5123", "--read_only=True"} <= set(specs["flower"].argv)


def test_every_queue_has_a_worker(make_env: Callable[..., Env]) -> None:
    from django.conf import settings

    served = {
        queue
        for spec in processes.workers(make_env())
        for queue in spec.argv[list(spec.argv).index("-Q") + 1].split(",")
    }
    assert served == set(settings.CELERY_TASK_QUEUES)
