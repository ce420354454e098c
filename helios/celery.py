"""The Celery application. Every process that loads Django has it, so that any of them can send tasks."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "helios.settings")

app = Celery("helios")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["helios.modules", "helios.web", "helios.rollouts", "tiers.live", "sentinel"])
