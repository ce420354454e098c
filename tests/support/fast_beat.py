"""Settings of a beat that gives a bar and looks at rollouts each second, for a test that waits for both.

The scheduler keeps intervals in whole seconds: half a second would be none, and beat would send without a pause.
"""

from datetime import timedelta

from helios.settings import *  # noqa: F403
from helios.settings import CELERY_BEAT_SCHEDULE as _AS_SHIPPED

CELERY_BEAT_SCHEDULE = _AS_SHIPPED | {
    name: {**_AS_SHIPPED[name], "schedule": timedelta(seconds=1)} for name in ("tick", "rollouts")
}
