"""Events are appended, well-formed, and stay as they were written."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test import Client

from helios import events
from helios.events.models import SystemEvent

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_history(db: None) -> None:
    """Setting a database up leaves events; these tests look at their own."""
    SystemEvent.objects.all().delete()


def strict() -> None:
    """The test database lets everything be cleaned up; production does not."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL helios.maintenance = 'off'")


def execute(statement: str) -> None:
    """Run a statement; an error leaves the test's transaction usable."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_an_event_is_written_with_everything_it_was_given() -> None:
    events.record(kind="flag.changed", source="flags", subject="auto_trading", severity="warning", data={"by": "me"})
    event = SystemEvent.objects.get()
    assert (event.kind, event.source, event.subject) == ("flag.changed", "flags", "auto_trading")
    assert (event.severity, event.data) == ("warning", {"by": "me"})
    assert str(event) == "flag.changed auto_trading"


def test_a_bare_event_is_information() -> None:
    events.record(kind="stack.started", source="stack")
    assert SystemEvent.objects.get().severity == "info"


@pytest.mark.parametrize("kind", ["", "changed", "Flag.changed", "flag.", "flag changed", "flag.changed\n"])
def test_a_kind_that_is_not_noun_and_verb_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="kind must read like"):
        events.record(kind=kind, source="tests")


def test_an_unknown_severity_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="info, warning, critical, was 'fatal'"):
        events.record(kind="flag.changed", source="tests", severity="fatal")


def test_the_database_refuses_an_unknown_severity_too() -> None:
    with pytest.raises(IntegrityError, match="system_events_severity"):
        SystemEvent.objects.create(kind="flag.changed", source="tests", severity="fatal")


def test_a_long_subject_is_cut_not_refused() -> None:
    events.record(kind="flag.changed", source="tests", subject="x" * 500)
    assert len(SystemEvent.objects.get().subject) == 128


def test_an_event_belongs_to_its_callers_transaction() -> None:
    with transaction.atomic():
        events.record(kind="flag.changed", source="tests")
        transaction.set_rollback(True)
    assert SystemEvent.objects.count() == 0


@pytest.mark.parametrize(
    "statement",
    ["UPDATE system_events SET kind = 'x.y'", "DELETE FROM system_events", "TRUNCATE system_events"],
)
def test_history_cannot_be_changed(statement: str) -> None:
    events.record(kind="flag.changed", source="tests")
    strict()
    with pytest.raises(DatabaseError, match="system_events is append-only"):
        execute(statement)
    assert SystemEvent.objects.count() == 1


def test_events_can_be_appended_while_history_is_locked() -> None:
    strict()
    events.record(kind="flag.changed", source="tests")
    assert SystemEvent.objects.count() == 1


def test_the_admin_lists_events_and_filters_them(admin_client: Client) -> None:
    events.record(kind="tier.fallback", source="tiers.risk", severity="warning")
    events.record(kind="flag.changed", source="flags")
    page = admin_client.get("/admin/events/systemevent/", {"severity__exact": "warning"}).content.decode()
    assert "tier.fallback" in page
    assert "flag.changed" not in page
    event = SystemEvent.objects.first()
    assert event is not None
    assert admin_client.get(f"/admin/events/systemevent/{event.pk}/change/").status_code == 200
