"""The Celery application. Every process that loads Django has it, so that any of them can send tasks."""

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from celery import Celery
from celery.signals import task_prerun
from django.conf import settings
from django.db import close_old_connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "helios.settings")

PREFIX: Final = "CELERY_"


class OfCelery(Mapping[str, Any]):
    """What Celery needs of Django's settings, and nothing else, since workers tell monitors how they are set up.

    It is read when Celery first asks, and a spawned child finds it by its name.
    """

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(settings, PREFIX + name.upper())
        except AttributeError as error:
            raise KeyError(name) from error

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(PREFIX).lower() for name in dir(settings) if name.startswith(PREFIX))

    def __len__(self) -> int:
        return sum(1 for _ in self)


config = OfCelery()
app = Celery("helios")
app.config_from_object("helios.celery:config")
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
