"""What beat asks of the modules."""

from __future__ import annotations

from celery import shared_task

from helios.modules import reloading


@shared_task(name="modules.watch_files")
def watch_files() -> dict[str, str]:
    """Notice changed files of modules in use, and swaps whose owners died."""
    return reloading.watch_files()
