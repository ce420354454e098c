"""What PostgreSQL cannot hold is cleaned where every statement passes: by the ORM, in bulk, in raw SQL and in JSON."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, models
from django.utils.safestring import SafeString
from hypothesis import given
from hypothesis import strategies as st
from psycopg2.extras import Json, execute_values

from helios.db import statements
from helios.db.text import clean, cleaned
from helios.events import record
from helios.events.models import SystemEvent
from tests.support.ledger import append
from tests.tiers.challenge.conftest import _own_process, bars, book, desk, times  # noqa: F401 - fixtures
from trading.books import ledger
from trading.models import Book, LedgerEntry

DIRTY = "a\0b\ud800c\udc00\ud83d\ude00é"
CLEAN = "a\ufffdb\ufffdc\ufffd\U0001f600é"
ANY = st.text(st.characters(exclude_categories=[]))  # lone surrogates too
JSON = st.recursive(ANY | st.integers(-9, 9) | st.none(), lambda each: st.lists(each) | st.dictionaries(ANY, each))


class Kind(models.TextChoices):
    ONE = "one"


def stored(sql: str, *values: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {sql}", values)
        return cursor.fetchone()[0]


@given(ANY)
def test_clean_text_stays_as_it_is_and_any_other_keeps_its_length(text):
    found = clean(text)
    assert clean(found) == found
    found.encode()
    assert "\0" not in found
    assert len(found) <= len(text)
    if "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text):
        assert found == text


@pytest.mark.django_db
@given(ANY, JSON)
def test_any_text_and_any_json_can_be_stored(text, value):
    assert stored("%s::text", text) == clean(text)
    assert stored("%s::text[]", [text, text]) == [clean(text)] * 2
    assert stored("%s::jsonb = %s::jsonb", Json(value), Json(cleaned(value)))


@pytest.mark.django_db
def test_each_kind_of_text_and_each_way_of_writing_is_cleaned():
    for value in (DIRTY, SafeString(DIRTY)):
        assert stored("%s::text", value) == CLEAN
    assert stored("%s::text", Kind.ONE) == "one"
    assert stored("%s::jsonb", Json({DIRTY: [DIRTY, "\\u0000"]})) == f'{{"{CLEAN}": ["{CLEAN}", "\\\\u0000"]}}'
    record(kind="a.b", source="t", subject=DIRTY, data={"error": DIRTY, "more": [{"x": DIRTY}]})
    event = SystemEvent.objects.latest("pk")
    assert (event.subject, event.data) == (CLEAN, {"error": CLEAN, "more": [{"x": CLEAN}]})
    SystemEvent.objects.bulk_create([SystemEvent(kind="a.b", source=DIRTY, data={})])
    statements.execute(statements.inserts([SystemEvent(kind="a.b", source=DIRTY, severity="info", data={"x": DIRTY})]))
    with connection.cursor() as cursor:
        execute_values(cursor.cursor, "INSERT INTO system_events (ts, kind, source, subject, severity, data) VALUES %s",
                       [("now", "a.b", DIRTY, "", "info", Json(DIRTY))])  # fmt: skip
    assert SystemEvent.objects.filter(source=CLEAN).count() == 3


@pytest.mark.django_db
def test_nobody_is_found_by_a_name_that_is_theirs_but_for_a_letter_that_cannot_be_stored(book):  # noqa: F811
    assert not Book.objects.filter(name__in=["de\0sk", "desk\0", "\ud800desk"]).exists()


@pytest.mark.django_db
def test_the_ledger_hashes_what_is_stored(book):  # noqa: F811
    for reason in (DIRTY, "fine"):
        append(book.pk, None, "end", {"reason": reason, DIRTY: [{"x": DIRTY}]})
    assert LedgerEntry.objects.earliest("sequence").payload == {"reason": CLEAN, CLEAN: [{"x": CLEAN}]}
    assert ledger.verify(book.pk) is None
