"""The Celery entry point: `celery -A celery_app worker|beat`."""

import os
import sys
import warnings
from typing import Any

from celery.exceptions import SecurityWarning
from celery.signals import celeryd_after_setup, setup_logging, worker_process_init, worker_process_shutdown
from celery.worker.control import inspect_command

from helios import broker
from helios.celery import app
from helios.liveness import settle
from helios.stack.environment import load_env_or_exit

load_env_or_exit()
warnings.filterwarnings("ignore", category=SecurityWarning)  # root is served, too: messages are JSON, never pickles

COMPONENT = os.environ.get("HELIOS_COMPONENT", "worker")


@setup_logging.connect
def _logs(**_: object) -> None:
    """Every process writes the same logs; Celery's own set-up would replace them. What code prints becomes one, too."""
    from helios.logs import Printed, configure  # noqa: PLC0415 - after Django's settings are known
    from helios.system_checks import exit_on_errors  # noqa: PLC0415

    exit_on_errors()
    console = sys.stderr = sys.__stderr__ or sys.stderr
    configure(COMPONENT)
    sys.stdout = sys.stderr = Printed(console)


@inspect_command(alias="dump_conf")
def conf(_state: Any, **_: object) -> dict[str, Any]:
    """In place of Celery's own: whoever may see tasks need not see how the workers are set up."""
    return {}


broker.guard(app.amqp.queues, app.tasks)

if COMPONENT == "flower":  # which sends no signal; `--logging=none` keeps it from a set-up of its own
    from helios.stack import flower

    _logs()
    flower.ask_for_the_login()
    flower.keep_pages_ours()
    flower.hear_events_of_celerys_kind()
    flower.name_the_queues()
    flower.slow_down_guesses()
    flower.refuse_other_hosts()
    flower.bound_what_comes()


@worker_process_init.connect
def _ready(**_: object) -> None:
    """A pool process listens for changes, and does its slow first work before its first task.

    That of maintenance runs no tier: it loads none of their code, and should be there at once.
    """
    from helios import flags  # noqa: PLC0415 - in the child, after Django is set up
    from helios.db import roles  # noqa: PLC0415
    from helios.modules import swap_worker  # noqa: PLC0415
    from tiers.live import warmup  # noqa: PLC0415

    warmup.attempt("role", roles.take_back_settings)
    flags.start_listener()
    if COMPONENT != "maintenance":
        swap_worker.start()
        warmup.gpu() if COMPONENT == "gpu" else warmup.cpu()
    settle()


@celeryd_after_setup.connect
def _behind_celerys_own(**_: object) -> None:
    """Forked children get ready when Celery has closed what connections they inherit.

    It closes each file twice: what a listener opened in between would be lost. Children that are spawned inherit none.
    """
    worker_process_init.disconnect(_ready)
    worker_process_init.connect(_ready)


@worker_process_shutdown.connect
def _gone(**_: object) -> None:
    """A pool process that ends in order is not waited for by a swap."""
    from helios.modules import swap_worker  # noqa: PLC0415

    swap_worker.stop()


__all__ = ["app"]
