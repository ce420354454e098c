"""Rows as parts of larger statements: they say what the ORM says, and nothing is written by half."""

from __future__ import annotations

import math
from decimal import Decimal as D

import pytest
from django.db import DataError, IntegrityError, connection

from helios.db import statements
from tests.tiers.challenge.conftest import FIRST, _own_process, bars, book, desk, times  # noqa: F401 - fixtures
from tests.tiers.challenge.conftest import run as run_cycle
from trading.models import (
    Book,
    Instrument,
    LedgerEntry,
    MLPrediction,
    Order,
    PipelineCycle,
    Position,
    RebalancingEvent,
    RiskDecision,
    StageRun,
    TradingModeChange,
)

pytestmark = pytest.mark.django_db
MODELS = [Book, Instrument, MLPrediction, Order, PipelineCycle, Position, RebalancingEvent, RiskDecision, StageRun]


def values(row):
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


@pytest.fixture
def traded(book, times):  # noqa: F811
    for ts in times[FIRST : FIRST + 2]:
        run_cycle(book, ts)
    RiskDecision.objects.filter(cycle__bar_ts=times[FIRST]).update(size=[0.1, math.nan, 1e-17])
    return book


def change_of(desk_book, state="HALTED"):
    return TradingModeChange(book=desk_book, before="ACTIVE", after=state, actor="ana", reason="a test")


def halting(number):
    return "UPDATE portfolio_state SET state = 'HALTED' WHERE id = %s RETURNING id", [number]


def test_a_row_is_read_as_the_orm_reads_it(traded):
    for model in MODELS:
        wanted = list(model.objects.order_by("pk"))
        assert wanted, model
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {statements.aggregated(model, 'true')}")
            found = statements.instances(model, cursor.fetchone()[0])
            cursor.execute(f"SELECT {statements.columns(model, 't')} FROM {model._meta.db_table} t ORDER BY id")
            rows = [statements.instance(model, row) for row in cursor.fetchall()]
        for one, other, orm in zip(found, rows, wanted, strict=True):
            assert repr(values(one)) == repr(values(orm)) == repr(values(other)), model


def test_rows_are_written_as_the_orm_writes_them(traded):
    first = RebalancingEvent.objects.order_by("pk").first()
    cycle = PipelineCycle.objects.create(
        book=traded, timeframe="1d", bar_ts=first.bar_ts, mode="paper", status="DONE", finished_at=first.bar_ts
    )
    made = RebalancingEvent(**{**values(first), "id": None, "cycle_id": cycle.pk, "denials": [{"observed": 0.1}]})
    told = [
        MLPrediction(**{**values(one), "id": None, "cycle_id": cycle.pk, "p_hold": None if number else 0.25})
        for number, one in enumerate(MLPrediction.objects.order_by("pk")[:3])
    ]
    statements.execute(statements.inserts([made, *told]))
    for written, model in (([made], RebalancingEvent), (told, MLPrediction)):
        found = model.objects.filter(cycle=cycle).order_by("pk")
        for one, row in zip(found, written, strict=True):
            assert {**values(one), "id": 0} == {**values(row), "id": 0}


def test_a_row_that_moved_takes_its_rows_along(traded):
    assert statements.change(halting(traded.pk), [change_of(traded)])
    traded.refresh_from_db()
    assert (traded.state, TradingModeChange.objects.get().after) == ("HALTED", "HALTED")


def test_a_change_that_finds_no_row_writes_nothing(traded):
    before = LedgerEntry.objects.count()
    with connection.cursor() as cursor:
        cursor.execute("SAVEPOINT here")  # the statement fails, as it must, and with it the test's transaction
        assert not statements.change(halting(0), [change_of(traded)])
        cursor.execute("ROLLBACK TO here")
    assert (TradingModeChange.objects.count(), LedgerEntry.objects.count()) == (0, before)


def test_what_a_column_refuses_is_refused_and_not_cut(traded):
    with pytest.raises(DataError, match="too long"):
        statements.execute(statements.inserts([change_of(traded, state="H" * 33)]))


def test_a_check_of_the_table_holds_in_an_update(traded):
    position = Position.objects.first()
    position.cost = D(-1)
    with pytest.raises(IntegrityError, match="positions_cost"):
        statements.execute(statements.update([position], ["cost"]))


def test_fields_of_several_rows_change_in_one_statement(traded, django_assert_num_queries):
    positions = list(Position.objects.order_by("pk"))
    for number, position in enumerate(positions):
        position.fees_paid, position.last_price = D(number), None if number else D("1.5")
    with django_assert_num_queries(1):
        statements.execute(statements.update(positions, ["fees_paid", "last_price"]))
    found = Position.objects.order_by("pk").values_list("fees_paid", "last_price")
    assert list(found) == [(D(n), None if n else D("1.5")) for n in range(len(positions))]


def planned():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        return cursor.fetchone()[0]


def test_a_session_plans_a_statement_once_and_counts_one_round_trip_for_it(django_assert_num_queries):
    asked = "SELECT %s::int + %s"
    before = planned()
    with django_assert_num_queries(2):
        assert [statements.fetch(asked, [1, n]) for n in (1, 2)] == [[(2,)], [(3,)]]
    assert planned() == before + 1


@pytest.mark.django_db(transaction=True)
def test_another_session_plans_it_again():
    assert statements.fetch("SELECT %s::text", ["a"]) == [("a",)]
    connection.close()
    assert statements.fetch("SELECT %s::text", ["b"]) == [("b",)]
    assert planned() == 1


def test_nothing_to_say_says_nothing(django_assert_num_queries):
    with django_assert_num_queries(0):
        statements.execute([*statements.update([], ["quantity"]), *statements.inserts([])])
