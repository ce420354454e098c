"""The web entry point: `uvicorn helios.asgi:application`."""

from __future__ import annotations

import logging
import os
import sys

from django.core.asgi import get_asgi_application
from django.urls import get_resolver

from helios.stack.environment import load_env_or_exit

load_env_or_exit()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "helios.settings")

_django = get_asgi_application()
get_resolver().url_patterns  # noqa: B018 - the pages load now: the first request does not wait for them

from helios.control import process  # noqa: E402
from helios.db.failures import bound_statements  # noqa: E402
from helios.env import get_env  # noqa: E402
from helios.logs import configure  # noqa: E402
from helios.system_checks import exit_on_errors  # noqa: E402
from helios.web.bodies import bounded  # noqa: E402
from helios.web.lanes import in_lanes  # noqa: E402
from helios.web.lifespan import with_lifespan  # noqa: E402

sys.setswitchinterval(0.0005)  # ten times as often as by default: who halts a book waits for few who compute
exit_on_errors()
bound_statements()
configure(os.environ.get("HELIOS_COMPONENT", "web"))
logging.getLogger("uvicorn.access").disabled = True  # http.request tells the same, and more

served = bounded(in_lanes(_django, reading=get_env().web_threads))
application = with_lifespan(served, start=process.start, stop=process.stop)
