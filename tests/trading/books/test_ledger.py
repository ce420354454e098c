"""The ledger holds against edits, gaps and forks."""

import json

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.utils import DatabaseError
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ledger import append
from trading.books import ledger
from trading.models import LedgerEntry

pytestmark = pytest.mark.django_db


def raw(sql, *args):
    with connection.cursor() as cursor:
        cursor.execute(sql, args)


def strict():
    """The test database is in maintenance mode so that it can be emptied; a running Helios is not."""
    raw("SET LOCAL helios.maintenance = 'off'")


def test_entries_follow_one_another(book, cycle):
    first = append(book.pk, cycle.pk, "risk", {"leverage": 0.5})
    second = append(book.pk, cycle.pk, "llm", {"stance": "NEUTRAL"})
    assert first.previous_hash == ledger.GENESIS
    assert second.previous_hash == first.hash
    assert ledger.verify(book.pk) is None


def test_an_edited_payload_is_found(book, cycle):
    for step in range(3):
        append(book.pk, cycle.pk, "risk", {"step": step})
    raw("UPDATE decision_ledger SET payload = '{\"step\": 7}' WHERE sequence = 2")
    assert ledger.verify(book.pk).sequence == 2


def test_a_removed_entry_is_found(book, cycle):
    for step in range(3):
        append(book.pk, cycle.pk, "risk", {"step": step})
    raw("DELETE FROM decision_ledger WHERE sequence = 2")
    assert ledger.verify(book.pk).sequence == 2


def test_two_entries_cannot_follow_the_same_one(book, cycle):
    entry = append(book.pk, cycle.pk, "risk", {})
    with pytest.raises(IntegrityError), transaction.atomic():
        LedgerEntry.objects.create(
            book=book, sequence=2, kind="llm", payload={}, previous_hash=entry.previous_hash, hash="x" * 64
        )


@pytest.mark.parametrize("statement", ["UPDATE decision_ledger SET kind = 'llm'", "DELETE FROM decision_ledger"])
def test_the_database_refuses_to_change_history(book, cycle, statement):
    append(book.pk, cycle.pk, "risk", {})
    strict()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        raw(statement)


def test_the_database_refuses_to_empty_history(book, cycle):
    strict()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        raw("TRUNCATE decision_ledger")


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text("abcé", max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), values, max_size=4))
def test_any_payload_survives_the_way_through_the_database(payload):
    stored = ledger.canonical(payload)
    with connection.cursor() as cursor:
        cursor.execute("SELECT (%s::jsonb)::text", [json.dumps(stored)])
        back = json.loads(cursor.fetchone()[0])
    assert ledger.entry_hash("0", 1, "risk", back) == ledger.entry_hash("0", 1, "risk", stored)
