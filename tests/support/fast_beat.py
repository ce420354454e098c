"""Settings of a beat that gives a bar and looks at rollouts each second, for a test that waits for both.

The scheduler keeps intervals in whole seconds: half a second would be none, and beat would send without a pause.
"""

from celery.schedules import schedule

from helios.settings import *  # noqa: F403
from helios.settings import CELERY_BEAT_SCHEDULE as _AS_SHIPPED

CELERY_BEAT_SCHEDULE = _AS_SHIPPED | {
    name: {**_AS_SHIPPED[name], "schedule": schedule(1.0)} for name in ("tick", "rollouts")
}
