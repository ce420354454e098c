"""Workers for the length of a block, as the demo and `replay --workers` use them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helios.env import Env
from helios.stack import children, endpoints, processes, workers
from helios.stack.children import StackError
from helios.stack.processes import ProcessSpec
from helios.stack.valkey import EmbeddedValkey
from tests.harness import Stack


@pytest.mark.stack
def test_both_workers_answer_inside_the_block_and_are_gone_after_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stack.environ.items():
        if name.startswith("HELIOS_"):
            monkeypatch.setenv(name, value)
    env = Env(_env_file=None, worker_concurrency=1)
    with workers.running_workers(env, beside=[processes.beat()]) as runner:
        pids = list(runner.pids().values())
        assert workers.answering(endpoints.celery_broker(stack.valkey.url())) >= {"worker", "gpu", "maintenance"}
        assert set(runner.pids()) == {"worker", "gpu", "maintenance", "beat"}
        (child,) = children.descendants(runner.pids()["gpu"])[-1:]
        assert "spawn" in " ".join(children.psutil.Process(child).cmdline()), "CUDA must not be forked"
    assert [pid for pid in pids if children.is_alive(pid)] == []
    assert (env.var_dir / "logs" / "worker.out").stat().st_size > 0


def test_a_worker_that_cannot_start_is_one_error_with_its_log(
    make_env: Callable[..., Env], monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = [sys.executable, "-c", "raise SystemExit('no module named so')"]
    monkeypatch.setattr(processes, "workers", lambda _: [ProcessSpec(name="worker", argv=argv)])
    monkeypatch.setattr(workers, "PING_S", 0.05)
    with (
        pytest.raises(StackError, match=r"The worker worker did not start; its log ends:\nno module named so"),
        workers.running_workers(make_env(database_url="postgresql://h/x")),
    ):
        pass


def test_nobody_answers_where_no_broker_is(root: Path) -> None:
    assert workers.answering(f"redis+socket://{root}/nothing.sock?virtual_host=0") == set()


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
    assert list(specs) == ["worker", "gpu", "maintenance", "web", "flower", "beat"]
    assert "--host 127.0.0.1 --port 8123" in " ".join(specs["web"].argv)
    assert {"--address=127.0.0.1", "--port=5123", "--read_only=True"} <= set(specs["flower"].argv)


def test_every_queue_has_a_worker(make_env: Callable[..., Env]) -> None:
    from django.conf import settings

    served = {
        queue
        for spec in processes.workers(make_env())
        for queue in spec.argv[list(spec.argv).index("-Q") + 1].split(",")
    }
    assert served == {queue.name for queue in settings.CELERY_TASK_QUEUES}
