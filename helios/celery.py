"""The Celery application. Every process that loads Django has it, so that any of them can send tasks."""

import os
import sys
from typing import Any

from celery import Celery
from celery.signals import task_prerun
from django.db import close_old_connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "helios.settings")

app = Celery("helios")
app.config_from_object("django.conf:settings", namespace="CELERY")
# A new connection knows no table yet: Celery, left alone, closes the old one before and after every task.
app.conf["CELERY_DB_REUSE_MAX"] = sys.maxsize
app.autodiscover_tasks(["helios.modules", "helios.web", "helios.rollouts", "tiers.live", "sentinel"])


@task_prerun.connect
def _usable_connections(sender: Any, **_: object) -> None:
    """As at the start of a request: a connection that broke or grew old since the last task is replaced.

    A task that is called in the midst of something else takes the connection as it is.
    """
    if not sender.request.is_eager:
        close_old_connections()
