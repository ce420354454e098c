"""Sessions that have ended are removed, by a role that may read none."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone

from helios.db import roles
from helios.web.tasks import forget_ended_sessions

pytestmark = pytest.mark.django_db


def test_the_maintenance_worker_removes_ended_sessions_and_no_other() -> None:
    for key, days in (("ended", -1), ("open", 1)):
        Session.objects.create(session_key=key, session_data="", expire_date=timezone.now() + timedelta(days=days))
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {roles.MAINTENANCE}")
        assert forget_ended_sessions() == 1
        cursor.execute("RESET ROLE")
    assert list(Session.objects.values_list("session_key", flat=True)) == ["open"]
