"""Reading goes side by side: whoever waits for the database under a lock waits for no other reader."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from django.core.asgi import get_asgi_application
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path

from helios.web import lanes
from tests.support import warm
from tests.support.lanes import ask

N = 6
lock = threading.RLock()  # as that of a snapshot, which is held while its tables are read


def page(_request: HttpRequest) -> HttpResponse:
    """A statement under a lock, and the lock once more."""
    for _ in range(3):
        with lock, connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.01)")
    connection.close()
    return HttpResponse()


urlpatterns = [path("books/", page)]


@pytest.mark.django_db
def test_who_reads_under_a_lock_keeps_no_other_reader_for_good(settings: Any) -> None:
    settings.ROOT_URLCONF, settings.ALLOWED_HOSTS = __name__, ["helios"]
    served = lanes.in_lanes(get_asgi_application(), reading=N)
    answers = asyncio.run(ask(served, *[("GET", b"")] * (4 * N), path="/books/"))
    assert [answer.status_code for answer in answers] == [200] * (4 * N)


def test_a_web_process_lets_a_halt_in_between_those_who_compute() -> None:
    said = warm.run(["-c", "import sys, helios.asgi; print(sys.getswitchinterval())"], timeout_s=300).stdout
    assert float(said.split()[-1]) <= 0.0005  # Python's own is ten times as long
