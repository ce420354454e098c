"""What the Celery application knows."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from celery import Task
from celery.exceptions import Retry
from django.conf import settings

from helios.celery import app, config
from helios.errors import HeliosError, Transient
from helios.modules.loading import ROOT
from tests.support import warm

PRINTS = """
import sys
import celery_app
celery_app._logs()
celery_app._logs()
print("a module prints", "password=hunter2-hunter2", "\\x1b[2J")
sys.stderr.write("and complains: redis://:hunter3-hunter3@valkey:6379/0\\n")
"""


def test_its_configuration_holds_what_celery_needs_and_no_other_setting() -> None:
    ours = {name.removeprefix("CELERY_").lower() for name in dir(settings) if name.startswith("CELERY_")}
    assert set(config) == ours
    told = app.conf.table(with_defaults=True)
    assert ours <= set(told)
    assert {"SECRET_KEY", "DATABASES", "CACHES", "REDIS_URL", "VAR_DIR"} & set(told) == set()
    for secret in (settings.SECRET_KEY, settings.DATABASES["default"]["PASSWORD"] or "no password"):
        assert secret not in str(told)


def test_what_code_prints_in_a_worker_is_a_log_line_without_secrets(tmp_path: Path) -> None:
    environ = {**os.environ, "HELIOS_VAR_DIR": str(tmp_path), "HELIOS_COMPONENT": "worker"}
    done = warm.run(["-c", PRINTS], env=environ, loaded=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    for shown in (done.stderr, (tmp_path / "logs" / "worker.log").read_text()):
        assert shown.count("a module prints password=***") == shown.count("redis://:***@valkey") == 1, shown
        assert "hunter" not in shown
        assert "\x1b" not in shown


OF_A_MODULE = """
from helios.errors import Transient
class Panic(BaseException): ...
class Slow(Transient): ...
class Reading: ...
"""


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A copy of a module, as only the processes that run tasks have it."""
    made = ModuleType(f"{ROOT}.risk_0123456789ab")
    monkeypatch.setitem(sys.modules, ROOT, ModuleType(ROOT))
    monkeypatch.setitem(sys.modules, made.__name__, made)
    exec(OF_A_MODULE, made.__dict__)  # noqa: S102
    return made


def failing(error: BaseException, **options: object) -> Task:
    app.finalize()  # else it is a promise of a task

    @app.task(name="tests.failing", bind=True, **options)
    def work(_: Task) -> None:
        raise error

    return work


@pytest.fixture(autouse=True)
def _forgotten():
    yield
    app.tasks.pop("tests.failing", None)


@pytest.mark.parametrize(
    ("named", "text"),
    [("Panic", "Panic: gone"), ("Slow", "gone")],
)
def test_no_class_of_a_module_leaves_a_task(module: ModuleType, named: str, text: str) -> None:
    done = failing(getattr(module, named)("gone")).apply()
    assert (done.state, type(done.result), str(done.result)) == ("FAILURE", HeliosError, text)


def test_nor_does_what_an_error_of_the_library_holds_of_a_module(module: ModuleType) -> None:
    done = failing(ValueError(module.Reading())).apply()
    assert type(done.result) is HeliosError
    assert str(done.result).startswith("ValueError: <")


def test_nor_one_that_a_task_is_tried_again_for(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    task = failing(module.Slow("wait"), autoretry_for=(Transient,), max_retries=8)
    monkeypatch.setattr(type(task), "retry", lambda _, exc, **__: Retry("later", exc=exc, when=1))
    done = task.apply()
    assert (done.state, type(done.result.exc), str(done.result.exc)) == ("RETRY", HeliosError, "wait")


def test_an_error_that_any_process_can_read_leaves_as_it_is() -> None:
    error = ValueError("wrong shape")
    assert failing(error).apply().result is error


def test_a_child_of_a_worker_gets_ready_behind_what_celery_closes_in_it() -> None:
    """Celery closes the file of a connection twice: one that a listener opened in between would be closed with it."""
    code = """
import sys
import celery_app
from celery.signals import celeryd_after_setup, worker_process_init
worker = celery_app.app.Worker(hostname="w@x", concurrency=1)
celeryd_after_setup.send(sender=worker.hostname)
sys.__stdout__.write(" ".join(receiver().__name__ for _, receiver in worker_process_init.receivers))
"""
    assert warm.run(["-c", code]).stdout == "on_worker_process_init _ready"
