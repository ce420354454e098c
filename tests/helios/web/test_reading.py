"""Reading computes in one thread at a time, so that long answers keep the others no longer than one of them does."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from django.core.asgi import get_asgi_application
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from helios.web import lanes
from tests.support.lanes import ask

N = 6
WAIT_S = 0.5
computing: list[int] = []  # how many were at it each time one more began
_now = threading.Semaphore(N)


def _compute() -> None:
    with _now:
        computing.append(N - _now._value)
        time.sleep(0.03)


@csrf_exempt
def page(_request: HttpRequest) -> HttpResponse:
    """Some work, a statement that takes long, and some work."""
    _compute()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [WAIT_S])
    _compute()
    connection.close()
    return HttpResponse()


urlpatterns = [path("books/main/halt", page)]


@pytest.fixture
def served(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    settings.ROOT_URLCONF, settings.ALLOWED_HOSTS = __name__, ["helios"]
    monkeypatch.setitem(lanes.THREADS, "safer", N)
    computing.clear()
    return lanes.in_lanes(get_asgi_application(), reading=N)


@pytest.mark.django_db
@pytest.mark.parametrize(("method", "most"), [("GET", 1), ("POST", N)])
def test_who_reads_computes_alone_and_waits_for_the_database_with_others(served: Any, method: str, most: int) -> None:
    started = time.monotonic()
    answers = asyncio.run(ask(served, *[(method, b"")] * N, path="/books/main/halt"))
    assert [answer.status_code for answer in answers] == [200] * N
    assert len(computing) == 2 * N
    assert max(computing) == most if most == 1 else max(computing) > 1
    assert time.monotonic() - started < N * WAIT_S
