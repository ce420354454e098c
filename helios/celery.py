"""The Celery application. Every process that loads Django has it, so that any of them can send tasks."""

import os
import pickle
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from celery import Celery, Task
from celery.exceptions import Retry
from celery.signals import task_prerun
from django.conf import settings
from django.db import close_old_connections
from kombu import compression

from helios.errors import HeliosError, Rejected, error_text
from helios.liveness import begin_task, told_to_end

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "helios.settings")

PREFIX: Final = "CELERY_"
MAINTENANCE: Final = "maintenance"  # the queue, and the component that works on it


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


class SelfContainedTask(Task):  # type: ignore[type-arg]
    """A task whose errors the worker's main process can read: it knows no class of a module, and would end of one."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task; called by a worker, an error that leans on a module is replaced by its text.

        Raises: `Rejected` in the worker of maintenance for what is not its own: whoever reaches a queue can send to it
        whatever he likes, and its role of the database may do more than that of others.
        """
        if self.request.called_directly:
            return super().__call__(*args, **kwargs)
        if os.environ.get("HELIOS_COMPONENT") == MAINTENANCE and (queue := _queue_of(self)) != MAINTENANCE:
            raise Rejected(f"task {self.name} must run in a worker of queue {queue}, was sent to {MAINTENANCE}")
        try:
            return self.run(*args, **kwargs)
        except Retry as retry:
            if retry.exc is not None:
                retry.exc = readable_elsewhere(retry.exc)
            raise
        except BaseException as error:
            told: BaseException = error if told_to_end(error) else readable_elsewhere(error)
            if told is error:
                raise
            raise told from None


def _queue_of(task: Task) -> str:  # type: ignore[type-arg]
    return str(task.app.amqp.router.route({}, task.name)["queue"].name)


def readable_elsewhere(error: BaseException) -> Exception:
    """The error, or one of ours with its text where another process could not read it or would end of it."""
    from helios.modules.loading import ROOT  # noqa: PLC0415 - after Django is set up

    try:
        if issubclass(type(error), Exception) and ROOT.encode() not in pickle.dumps(error):
            return cast("Exception", error)
    except BaseException:  # noqa: BLE001, S110 - how a module's error is pickled is its own code
        pass
    return HeliosError(error_text(error))


# Nothing of ours is packed, and of a few bytes it makes many.
compression._decoders.clear()  # type: ignore[attr-defined]  # noqa: SLF001
config = OfCelery()
app = Celery("helios", task_cls=SelfContainedTask)
app.config_from_object("helios.celery:config")
# A new connection knows no table yet: Celery, left alone, closes the old one before and after every task.
app.conf["CELERY_DB_REUSE_MAX"] = sys.maxsize
app.autodiscover_tasks(["helios.modules", "helios.web", "helios.rollouts", "tiers.live", "tiers.research", "sentinel"])


@task_prerun.connect
def _begin(sender: Any, **_: object) -> None:
    """As at the start of a request: a connection that broke or grew old since the last task is replaced.

    A task that is called in the midst of something else takes the connection as it is.
    """
    if not sender.request.is_eager:
        begin_task(settings.CELERY_TASK_SOFT_TIME_LIMIT)
        close_old_connections()
