"""Work that outlasts a request: a lost message, a lost worker and a lost broker each end it, or pick it up again."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from types import SimpleNamespace

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from helios.control import bounds
from helios.db import locks
from helios.errors import TooMany
from helios.modules import jobs, presence, services, swapping, tasks
from helios.modules.errors import ModuleRefused, SwapRunning, UnknownJob
from helios.modules.gate import runs
from helios.modules.models import Module, ModuleJob, ModuleSwap

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_gate")]
Kind = ModuleJob.Kind


@pytest.fixture(autouse=True)
def sent(monkeypatch) -> list[int]:
    """Numbers of the jobs whose messages were sent, in order."""
    numbers: list[int] = []
    monkeypatch.setattr(jobs.current_app, "send_task", lambda name, args, **_: numbers.append(*args))
    return numbers


@pytest.fixture
def job(oracle, django_capture_on_commit_callbacks) -> ModuleJob:
    """A swap that was asked for and is waiting."""
    with django_capture_on_commit_callbacks(execute=True):
        return jobs.enqueue(Kind.SWAP, "oracle", "1.1.0", actor="ann", reason="sharper")


@pytest.fixture
def gone() -> str:
    """The name of a process of this machine that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return f"{presence.host()}:{ended.pid}"


def now(job: ModuleJob) -> tuple[str, str]:
    found = jobs.get(job.pk)
    assert found
    return found.state, found.detail


def older(job: ModuleJob, **seconds: float) -> None:
    """Move moments of the job into the past."""
    moments = {name: timezone.now() - timedelta(seconds=value) for name, value in seconds.items()}
    ModuleJob.objects.filter(pk=job.pk).update(**moments)


def test_a_swap_that_is_refused_takes_back_no_recovery(oracle, gone):
    """What was found dead on the way stays ended, whatever becomes of the swap that looked."""
    job = jobs.enqueue(Kind.SWAP, "oracle", "1.1.0", actor="ann")
    dead = swapping.begin("oracle", "1.1.0", actor="bob", reason="")
    ModuleSwap.objects.filter(pk=dead.pk).update(owner=gone)
    Module.objects.filter(name="oracle").update(hot_reloadable=False)
    jobs.run(job.pk)
    assert now(job)[0] == "FAILED"
    assert "may not be swapped while the pipeline runs" in now(job)[1]
    dead.refresh_from_db()
    assert dead.state == "FAILED"


def test_the_row_is_there_before_its_message_and_the_message_only_with_the_row(
    oracle, sent, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        job = jobs.enqueue(Kind.LOAD, "oracle", "1.1.0", actor="ann")
        assert sent == []
    assert sent == [job.pk]
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        jobs.enqueue(Kind.LOAD, "oracle", "1.1.0", actor="ann")
        transaction.set_rollback(True)
    assert (sent, ModuleJob.objects.count()) == ([job.pk], 1)


def test_the_task_does_the_job_once_however_often_its_message_comes(job):
    for _ in range(3):
        tasks.work(job.pk)
    assert now(job) == ("SUCCEEDED", "")
    swap = ModuleSwap.objects.get()
    assert (swap.actor, swap.reason, swap.state) == ("ann", "sharper", "SWITCHED")
    assert ModuleJob.objects.get().swap_id == swap.pk
    assert Module.objects.get(name="oracle").active.version == "1.1.0"


def test_what_the_services_refuse_later_is_the_jobs_reason(job):
    services.swap("oracle", "1.1.0", actor="bob")  # a person at the terminal was quicker than the worker
    jobs.run(job.pk)
    state, detail = now(job)
    assert state == "FAILED"
    assert "is in use already" in detail
    assert ModuleSwap.objects.count() == 1


def test_a_rollback_ends_the_swap_that_waits(job, code):
    services.swap("oracle", services.register("oracle", code("oracle", version="1.2.0")).label, actor="bob")
    services.rollback("oracle", actor="bob")
    jobs.run(job.pk)
    assert now(job) == ("FAILED", "module oracle was rolled back by bob meanwhile")
    assert Module.objects.get(name="oracle").active.version == "1.0.0"


def test_a_rollback_ends_the_swap_that_was_taken_and_has_no_row_yet(job, code, monkeypatch):
    services.swap("oracle", services.register("oracle", code("oracle", version="1.2.0")).label, actor="bob")
    swap = jobs._WORK[Kind.SWAP]

    def late(taken):
        services.rollback("oracle", actor="bob")
        swap(taken)

    monkeypatch.setitem(jobs._WORK, Kind.SWAP, late)
    jobs.run(job.pk)
    assert now(job) == ("FAILED", "module oracle was rolled back by bob meanwhile")
    assert Module.objects.get(name="oracle").active.version == "1.0.0"


def test_a_second_swap_waits_for_the_first_one_and_may_follow_it(job):
    with pytest.raises(SwapRunning, match=r"oracle to 1\.1\.0.* asked for by ann .*queued"):
        jobs.enqueue(Kind.SWAP, "oracle", "1.1.0", actor="bob")
    with pytest.raises(IntegrityError, match="module_jobs_one_open_swap"), transaction.atomic():
        ModuleJob.objects.create(module=job.module, version=job.version, kind="swap", actor="x", detail="x")
    jobs.enqueue(Kind.TEST, "oracle", "1.1.0", actor="bob")
    older(job, created_at=jobs.QUEUED_S + 1)
    assert jobs.enqueue(Kind.SWAP, "oracle", "1.1.0", actor="bob").state == "QUEUED"
    assert now(job)[0] == "FAILED"


@pytest.mark.parametrize(("kind", "suites"), [(Kind.TEST, ["astrology"]), (Kind.SWAP, ["astrology"]), (Kind.TEST, [])])
def test_suites_that_are_none_are_refused_at_once(oracle, kind, suites):
    with pytest.raises(ModuleRefused, match="a test suite must be one of"):
        jobs.enqueue(kind, "oracle", "1.1.0", suites=suites, actor="ann")
    assert not ModuleJob.objects.exists()


def test_the_wanted_suites_reach_the_tests(oracle, monkeypatch):
    asked: list[object] = []
    monkeypatch.setattr(runs, "passes", lambda version, suites, **_: asked.append(suites) or "no")
    monkeypatch.setattr(runs, "run_suites", lambda name, label, suites, **_: asked.append(suites) or 1 / 0)
    jobs.run(jobs.enqueue(Kind.SWAP, "oracle", "1.1.0", suites=["generic"], actor="ann").pk)
    with pytest.raises(ZeroDivisionError):
        jobs.run(jobs.enqueue(Kind.TEST, "oracle", "1.1.0", actor="ann").pk)
    assert asked == [["generic"], None]


# --- no worker, no broker, no message ---


def test_without_a_worker_a_job_says_what_it_waits_for_and_ends_after_a_while(job):
    assert now(job) == ("QUEUED", "waits for a worker of queue maintenance")
    older(job, created_at=jobs.QUEUED_S + 1)
    assert now(job) == ("FAILED", "no worker of queue maintenance took it within 600 s: is one running?")
    jobs.run(job.pk)  # its message arrives after all
    assert now(job)[0] == "FAILED"
    assert not ModuleSwap.objects.exists()


def test_a_message_that_was_lost_is_sent_again_and_one_under_way_is_not(job, sent):
    jobs.recover()
    assert sent == [job.pk]
    older(job, sent_at=jobs.RESEND_S + 1)
    jobs.recover()
    jobs.recover()
    assert sent == [job.pk, job.pk]


def test_a_broker_that_is_away_leaves_the_job_queued_with_that_reason_until_it_is_back(
    oracle, monkeypatch, sent, django_capture_on_commit_callbacks
):
    def away(*_: object, **__: object) -> None:
        raise OperationalError("connection refused")

    with monkeypatch.context() as broken, django_capture_on_commit_callbacks(execute=True):
        broken.setattr(jobs.current_app, "send_task", away)
        job = jobs.enqueue(Kind.SWAP, "oracle", "1.1.0", actor="ann")
    assert now(job) == ("QUEUED", "the broker could not be reached: it is sent again when it can be")
    older(job, sent_at=jobs.RESEND_S + 1)
    jobs.recover()
    assert sent[-1] == job.pk
    assert now(job) == ("QUEUED", "waits for a worker of queue maintenance")


def test_one_job_runs_at_a_time_and_the_next_is_sent_when_it_ends(job, sent, monkeypatch):
    second = jobs.enqueue(Kind.TEST, "oracle", "1.1.0", actor="bob")
    seen = []

    def passes(*_: object, **__: object) -> str:
        jobs.run(second.pk)  # its message reaches the other child of the worker meanwhile
        older(second, created_at=jobs.QUEUED_S + 1)
        seen.append(now(second)[0])
        return ""

    monkeypatch.setattr(runs, "passes", passes)
    sent.clear()
    jobs.run(job.pk)
    assert seen == ["QUEUED"]
    assert now(job)[0] != "RUNNING"
    assert sent == [second.pk]
    assert now(second)[0] == "QUEUED"  # however long it waited for the first one
    older(job, finished_at=jobs.QUEUED_S + 1)
    assert now(second) == ("FAILED", "no worker of queue maintenance took it within 600 s: is one running?")


# --- tests that wait ---


def test_what_puts_code_in_charge_goes_before_the_tests_that_wait(oracle, sent, monkeypatch):
    monkeypatch.setattr(runs, "run_suites", lambda *_, **__: SimpleNamespace(run_id=None))
    first, second = (jobs.enqueue(Kind.TEST, "oracle", actor="bob") for _ in range(2))
    swap = jobs.enqueue(Kind.SWAP, "oracle", "1.1.0", actor="ann")
    jobs.run(first.pk)  # its message came first
    assert (now(first)[0], now(swap)[0]) == ("QUEUED", "QUEUED")
    jobs.run(swap.pk)
    jobs.run(first.pk)
    assert (now(swap)[0], now(first)[0], now(second)[0]) == ("SUCCEEDED", "SUCCEEDED", "QUEUED")
    assert sent == [first.pk, second.pk]


def test_the_end_of_a_test_calls_for_the_swap_before_the_tests_that_came_earlier(oracle, sent, monkeypatch):
    first, _ = (jobs.enqueue(Kind.TEST, "oracle", actor="bob") for _ in range(2))
    asked: list[int] = []

    def while_it_runs(*_: object, **__: object) -> SimpleNamespace:
        asked.append(jobs.enqueue(Kind.SWAP, "oracle", "1.1.0", actor="ann").pk)
        return SimpleNamespace(run_id=None)

    monkeypatch.setattr(runs, "run_suites", while_it_runs)
    jobs.run(first.pk)
    assert sent == asked


def test_so_many_tests_may_wait_and_no_swap_is_refused_for_them(oracle, monkeypatch):
    monkeypatch.setattr(bounds, "WAITING_TESTS", 3)
    monkeypatch.setattr(bounds, "WAITING_TESTS_OF_ONE", 2)
    first = jobs.enqueue(Kind.TEST, "oracle", actor="bob")
    jobs.enqueue(Kind.LOAD, "oracle", actor="bob")
    with pytest.raises(TooMany, match=r"at most 2 tests and loads of bob may wait, and do: .*, or cancel one"):
        jobs.enqueue(Kind.TEST, "oracle", actor="bob")
    jobs.enqueue(Kind.TEST, "oracle", actor="cy")
    with pytest.raises(TooMany, match="at most 3 tests and loads may wait"):
        jobs.enqueue(Kind.LOAD, "oracle", actor="cy")
    assert jobs.enqueue(Kind.SWAP, "oracle", "1.1.0", actor="ann").state == "QUEUED"
    assert jobs.cancel(first.pk, actor="bob", reason="too many").detail == "cancelled by bob: too many"
    assert jobs.enqueue(Kind.TEST, "oracle", actor="bob").state == "QUEUED"


def test_only_a_test_or_a_load_that_waits_is_cancelled(job):
    test = jobs.enqueue(Kind.TEST, "oracle", actor="bob")
    assert jobs.cancel(test.pk, actor="ann").state == "FAILED"
    tasks.work(test.pk)  # its message arrives after all
    assert now(test) == ("FAILED", "cancelled by ann")
    with pytest.raises(ModuleRefused, match=f"a job must wait to be cancelled, {test.pk} is failed"):
        jobs.cancel(test.pk, actor="ann")
    with pytest.raises(ModuleRefused, match=f"must be a test or a load to be cancelled, {job.pk} is: Swap"):
        jobs.cancel(job.pk, actor="ann")
    with pytest.raises(UnknownJob, match="no job has the number 0"):
        jobs.cancel(0, actor="ann")
    assert now(job)[0] == "QUEUED"


# --- a worker that dies ---


def test_a_job_whose_worker_died_has_failed_with_that_reason(job, gone):
    ModuleJob.objects.filter(pk=job.pk).update(state="RUNNING", owner=gone, started_at=timezone.now(), detail="")
    assert now(job) == ("FAILED", f"its worker {gone} died while it ran")


def test_a_worker_of_another_machine_is_given_until_the_limit_of_every_task(job):
    running = {"state": "RUNNING", "owner": "elsewhere:1", "started_at": timezone.now(), "detail": ""}
    ModuleJob.objects.filter(pk=job.pk).update(**running)
    assert now(job)[0] == "RUNNING"
    older(job, started_at=settings.CELERY_TASK_TIME_LIMIT + jobs.GRACE_S + 1)
    jobs.recover()
    assert now(job) == ("FAILED", "its worker elsewhere:1 died while it ran")


def test_a_swap_whose_worker_died_after_the_switch_has_succeeded(job, gone):
    swap = swapping.swap("oracle", "1.1.0", actor="ann")
    running = {"state": "RUNNING", "owner": gone, "started_at": timezone.now(), "detail": "", "swap": swap}
    ModuleJob.objects.filter(pk=job.pk).update(**running)
    assert now(job) == ("SUCCEEDED", "")


def test_a_job_that_runs_into_the_soft_limit_says_so_and_the_worker_hears_of_it(job, monkeypatch):
    def slow(*_: object, **__: object) -> str:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(runs, "passes", slow)
    with pytest.raises(SoftTimeLimitExceeded):
        jobs.run(job.pk)
    state, detail = now(job)
    assert (state, "SoftTimeLimitExceeded" in detail) == ("FAILED", True)
    assert ModuleSwap.objects.get().state == "FAILED"


def test_the_beat_looks_after_the_jobs(job, gone):
    ModuleJob.objects.filter(pk=job.pk).update(state="RUNNING", owner=gone, started_at=timezone.now(), detail="")
    tasks.watch_files()
    assert ModuleJob.objects.get().state == "FAILED"


def test_a_lock_that_somebody_keeps_holds_the_worker_up_for_a_moment_only(job, monkeypatch):
    """A module in charge can take any lock by its name."""
    monkeypatch.setattr(locks, "WAIT_MS", 100)
    with closing(connection.get_new_connection(connection.get_connection_params())) as other:
        other.cursor().execute("SELECT pg_advisory_lock(hashtextextended('module jobs', 0))")
        jobs.run(job.pk)
        assert now(job) == ("QUEUED", jobs.WAITS)
    jobs.run(job.pk)
    assert now(job)[0] == "SUCCEEDED"
