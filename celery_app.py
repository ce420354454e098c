"""The Celery entry point: `celery -A celery_app worker|beat`."""

import os

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "helios.settings")

app = Celery("helios")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["tiers", "trading", "sentinel"])


@setup_logging.connect
def _logs(**_: object) -> None:
    """Every process writes the same logs; Celery's own set-up would replace them."""
    from helios.logs import configure  # noqa: PLC0415 - after Django's settings are known

    configure(os.environ.get("HELIOS_COMPONENT", "worker"))
