"""Work on modules that outlasts a request: loading, activating, testing and swapping, done by a worker.

A job is a row, made together with the answer to the request, before its message is sent. Only a QUEUED one is taken,
by compare-and-set, so a message that comes twice does nothing. A message that was lost is sent again; a worker that
died leaves a FAILED job with that reason, never one that runs for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Final

from celery import current_app
from django.conf import settings
from django.db import transaction
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.db.models.functions import Now
from kombu.exceptions import OperationalError
from loguru import logger

from helios.control import bounds
from helios.db.locks import changing, hold
from helios.errors import Conflict, HeliosError, TooMany, error_text
from helios.modules import presence, services, swapping
from helios.modules.errors import ModuleRefused, SwapFailed, SwapRunning, UnknownJob
from helios.modules.gate import runs
from helios.modules.models import OPEN_JOBS, JobState, Module, ModuleJob, ModuleVersion
from helios.modules.rows import MODULES, named, slots, version_of

TASK: Final = "modules.work"
QUEUED_S: Final = 600.0  # for so long it waits for a worker
RESEND_S: Final = 15.0  # a message that nobody has taken by then may be lost: another one does no harm
GRACE_S: Final = 30.0  # beyond the hard limit of every task
WAITS: Final = "waits for a worker of queue maintenance"
AWAY: Final = "the broker could not be reached: it is sent again when it can be"
Kind = ModuleJob.Kind
TRIALS: Final = (Kind.LOAD, Kind.TEST)  # they put nothing in charge: what does goes before them
log = logger.bind(component="modules")


def enqueue(
    kind: ModuleJob.Kind,
    name: str,
    version: str = "",
    *,
    actor: str,
    reason: str = "",
    suites: Sequence[str] | None = None,
) -> ModuleJob:
    """Check what can be checked at once, and have a worker do the rest; returns the queued job.

    Raises `UnknownModule`, `ModuleRefused` and `SwapRunning` as the services do, and `TooMany` where as many tests
    and loads wait as may, with nothing queued.
    """
    if suites is not None or kind is Kind.TEST:
        runs.suites_of(name, suites)
    with MODULES.alone():
        rows = slots()
        wanted = _CHECKS[kind](rows, name, version)
        slot = rows[name]
        if kind is Kind.SWAP:
            _refuse_enqueued(slot)
        if kind in TRIALS:
            _refuse_full(actor)
        job = ModuleJob.objects.create(
            module=slot, version=wanted, kind=kind, suites=list(suites or ()), actor=actor, reason=reason, detail=WAITS
        )
        transaction.on_commit(partial(_send, job.pk), robust=True)
    return job


def run(job_id: int) -> None:
    """Do the job, if it is still queued and no other one runs; its row keeps how it ended.

    One at a time, so that the other child of the worker keeps house meanwhile; the next one is sent when it ends.
    """
    if not _take(job_id):
        return
    job = _jobs().get(pk=job_id)
    try:
        _WORK[Kind(job.kind)](job)
    except HeliosError as error:
        _end(job, JobState.FAILED, error_text(error))
    except BaseException as error:
        _end(job, JobState.FAILED, error_text(error))
        raise
    else:
        _end(job, JobState.SUCCEEDED)
    finally:
        trial_last = ExpressionWrapper(Q(kind__in=TRIALS), output_field=BooleanField())
        waiting = _waiting().order_by(trial_last, "pk").values_list("pk", flat=True).first()
        if waiting is not None:
            _send(waiting)


def cancel(job_id: int, *, actor: str, reason: str = "") -> ModuleJob:
    """End a test or a load that waits, as FAILED with that reason.

    Raises `UnknownJob`, and `ModuleRefused` for one that runs or has ended, or that puts code in charge.
    """
    MODULES.check(actor, reason)
    job = get(job_id)
    if job is None:
        raise UnknownJob(f"no job has the number {job_id}")
    if job.kind not in TRIALS:
        raise ModuleRefused(f"a job must be a test or a load to be cancelled, {job.pk} is: {job.get_kind_display()}")
    detail = f"cancelled by {actor}: {reason}" if reason else f"cancelled by {actor}"
    ended = _waiting().filter(pk=job.pk).update(state=JobState.FAILED, detail=detail, finished_at=Now())
    job = _jobs().get(pk=job.pk)
    if not ended:
        raise ModuleRefused(f"a job must wait to be cancelled, {job.pk} is {job.get_state_display()}")
    return job


def open_jobs() -> QuerySet[ModuleJob]:
    """What waits or runs, in the order in which it was asked for."""
    return _jobs().filter(state__in=OPEN_JOBS).order_by("pk")


def _take(job_id: int) -> bool:
    """Whether the job is ours to do now; not while somebody holds the list of jobs: its message is sent again."""
    with suppress(Conflict), changing("the list of jobs"):
        hold("module jobs")  # of two messages at once, the second one sees what the first one took
        if ModuleJob.objects.filter(state=JobState.RUNNING).exists():
            return False
        mine = _waiting().filter(pk=job_id)
        if _waiting().exclude(kind__in=TRIALS).exists():  # its message is on its way
            mine = mine.exclude(kind__in=TRIALS)
        taken = mine.update(state=JobState.RUNNING, detail="", owner=presence.owner(), started_at=Now())
        return taken == 1
    return False


def get(job_id: int) -> ModuleJob | None:
    """The job as it stands now: one whose time is over, or whose worker died, has failed."""
    job = _jobs().filter(pk=job_id).first() if job_id < 2**63 else None
    if job is not None and job.state in OPEN_JOBS:
        _settle(job)
        job = _jobs().get(pk=job_id)
    return job


def recover() -> None:
    """End the jobs whose time is over or whose workers died, and send the messages again that may be lost."""
    for job in open_jobs():
        _settle(job)
    waiting = _waiting().filter(sent_at__lt=Now() - timedelta(seconds=RESEND_S))
    for job_id in waiting.values_list("pk", flat=True):
        _send(job_id)


def _jobs() -> QuerySet[ModuleJob]:
    return ModuleJob.objects.select_related(
        "module", "version__module", "test", "swap__module", "swap__from_version", "swap__to_version"
    )


def _waiting() -> QuerySet[ModuleJob]:
    return ModuleJob.objects.filter(state=JobState.QUEUED)


_CHECKS: Final[dict[str, Callable[[Mapping[str, Module], str, str], ModuleVersion]]] = {
    Kind.LOAD: services.loadable,
    Kind.ACTIVATE: services.activatable,
    Kind.TEST: lambda rows, name, version: version_of(named(rows, name), version),
    Kind.SWAP: swapping.swappable,
}


def _refuse_enqueued(slot: Module) -> None:
    for job in _jobs().filter(module=slot, kind=Kind.SWAP, state__in=OPEN_JOBS):
        _settle(job)
    open_one = _jobs().filter(module=slot, kind=Kind.SWAP, state__in=OPEN_JOBS).first()
    if open_one is not None:
        raise SwapRunning(
            f"a swap of module {slot.name} to {open_one.version.label} was asked for by {open_one.actor} at "
            f"{open_one.created_at:%Y-%m-%d %H:%M:%S} UTC (job {open_one.pk}, {open_one.get_state_display()}): "
            "wait until that has ended"
        )


def _refuse_full(actor: str) -> None:
    """One worker does them all, one at a time: what waits is bounded, of one person and in all."""
    trials = _waiting().filter(kind__in=TRIALS)
    for rows, limit, whose in (
        (trials.filter(actor=actor), bounds.WAITING_TESTS_OF_ONE, f" of {actor}"),
        (trials, bounds.WAITING_TESTS, ""),
    ):
        if rows.count() >= limit:
            raise TooMany(
                f"at most {limit} tests and loads{whose} may wait, and do: come back when one has ended, or cancel one"
            )


def _send(job_id: int) -> None:
    queued = _waiting().filter(pk=job_id)
    try:
        current_app.send_task(TASK, args=[job_id], retry=False)
    except (OperationalError, OSError) as error:
        log.bind(job=job_id, error=error_text(error)).warning("modules.job_not_sent")
        queued.update(detail=AWAY)
    else:
        queued.update(sent_at=Now(), detail=WAITS)


def _test(job: ModuleJob) -> None:
    report = runs.run_suites(job.module.name, job.version.label, job.suites or None, actor=job.actor)
    ModuleJob.objects.filter(pk=job.pk).update(test=report.run_id)


def _swap(job: ModuleJob) -> None:
    swapping.recover()
    with transaction.atomic():  # a roll-back ends the row, or the job before it has one
        row = swapping.begin(job.module.name, job.version.label, actor=job.actor, reason=job.reason)
        if not ModuleJob.objects.filter(pk=job.pk, state=JobState.RUNNING).update(swap=row):
            raise SwapFailed(f"the job {job.pk} that asked for this swap was ended meanwhile")
    swapping.carry_out(row, job.suites)


_WORK: Final[dict[str, Callable[[ModuleJob], object]]] = {
    Kind.LOAD: lambda job: services.load(job.module.name, job.version.label, actor=job.actor),
    Kind.ACTIVATE: lambda job: services.activate(job.module.name, job.version.label, actor=job.actor),
    Kind.TEST: _test,
    Kind.SWAP: _swap,
}


def _settle(job: ModuleJob) -> None:
    """End an open job whose time is over, by the clock of the database, or whose worker is gone."""
    mine = ModuleJob.objects.filter(pk=job.pk, state=job.state)
    if job.state == JobState.QUEUED:
        limit = Now() - timedelta(seconds=QUEUED_S)
        worked = Q(state=JobState.RUNNING) | Q(started_at__isnull=False, finished_at__gte=limit)
        if mine.filter(created_at__lt=limit).exists() and not ModuleJob.objects.filter(worked).exists():
            _end(job, JobState.FAILED, f"no worker of queue maintenance took it within {QUEUED_S:g} s: is one running?")
        return
    over = Now() - timedelta(seconds=settings.CELERY_TASK_TIME_LIMIT + GRACE_S)
    if presence.owner_gone(job.owner) or mine.filter(started_at__lt=over).exists():
        if job.swap is not None and job.swap.switched_at is not None:
            _end(job, JobState.SUCCEEDED)
        else:
            _end(job, JobState.FAILED, f"its worker {job.owner} died while it ran")


def _end(job: ModuleJob, state: JobState, detail: str = "") -> None:
    """Once only: whoever finds it still in the state it was read in."""
    found = JobState.RUNNING if job.started_at else JobState.QUEUED
    ModuleJob.objects.filter(pk=job.pk, state=found).update(state=state, detail=detail, finished_at=Now())
