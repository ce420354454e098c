"""Settings of a beat that gives bars and looks at rollouts ten times as often, for a test that waits for both."""

from celery.schedules import schedule

from helios.settings import *  # noqa: F403
from helios.settings import CELERY_BEAT_SCHEDULE as _AS_SHIPPED

CELERY_BEAT_SCHEDULE = _AS_SHIPPED | {
    name: {**_AS_SHIPPED[name], "schedule": schedule(0.5)} for name in ("tick", "rollouts")
}
