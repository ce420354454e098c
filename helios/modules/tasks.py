"""What beat and the API ask of the modules."""

from __future__ import annotations

from celery import shared_task

from helios.modules import jobs, reloading


@shared_task(name="modules.watch_files")
def watch_files() -> dict[str, str]:
    """Notice jobs and swaps whose owners died, and changed files of modules in use: those may take minutes."""
    jobs.recover()
    return reloading.watch_files()


@shared_task(name=jobs.TASK)
def work(job_id: int) -> None:
    """Do what a request asked for, unless another worker has taken it."""
    jobs.run(job_id)
