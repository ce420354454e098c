"""What a worker's process keeps from one task to the next."""

from __future__ import annotations

import pytest
from celery.fixups.django import DjangoWorkerFixup
from celery.signals import task_prerun
from django.db import connection

from helios.celery import app

pytestmark = pytest.mark.django_db(transaction=True)


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def between_two_tasks() -> None:
    DjangoWorkerFixup(app).close_database()
    task_prerun.send(sender=app.tasks["sentinel.heartbeat"])


def test_a_task_finds_the_connection_of_the_task_before():
    before = backend()
    between_two_tasks()
    assert backend() == before


def test_a_connection_that_broke_between_two_tasks_is_replaced_without_an_error():
    before = backend()
    closed = connection.copy()
    with closed.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [before])
    closed.close()
    between_two_tasks()
    assert backend() != before
