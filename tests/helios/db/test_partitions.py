"""Partitions are made on demand, cover what they should, and two makers do not get in each other's way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, connection
from hypothesis import given
from hypothesis import strategies as st

from helios.db.partitions import Period, ensure_partitions, partition_bounds
from tests.support.together import at_once

moments = st.datetimes(timezones=st.just(UTC)).filter(lambda ts: 1 < ts.year < 9999)
periods = st.sampled_from(["year", "month"])


@given(moments, periods)
def test_a_partition_holds_its_moment_and_ends_where_the_next_begins(ts: datetime, period: Period) -> None:
    name, start, end = partition_bounds(ts, period)
    assert start <= ts < end
    assert partition_bounds(start, period) == (name, start, end)
    following, next_start, _ = partition_bounds(end, period)
    assert next_start == end
    assert following > name


def test_names_tell_year_and_month() -> None:
    december = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
    assert partition_bounds(december, "year")[0] == "y2026"
    assert partition_bounds(december, "month") == (
        "y2026m12",
        datetime(2026, 12, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    )


@pytest.fixture
def _table() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE partition_probe (ts timestamptz NOT NULL) PARTITION BY RANGE (ts)")


@pytest.mark.django_db
@pytest.mark.usefixtures("_table")
def test_a_span_gets_every_partition_once() -> None:
    first, last = datetime(2024, 11, 20, tzinfo=UTC), datetime(2025, 2, 1, tzinfo=UTC)
    made = ensure_partitions("partition_probe", "month", first, last)
    assert made == [f"partition_probe_y{month}" for month in ("2024m11", "2024m12", "2025m01", "2025m02")]
    assert ensure_partitions("partition_probe", "month", first, last) == []
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO partition_probe VALUES (%s), (%s)", [first, last])


@pytest.mark.django_db(transaction=True)
def test_two_makers_at_once_make_each_partition_once() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE partition_race (ts timestamptz NOT NULL) PARTITION BY RANGE (ts)")
    first = datetime(2000, 1, 1, tzinfo=UTC)
    until = first + timedelta(days=700)
    at_once(lambda _: ensure_partitions("partition_race", "month", first, until), range(3))
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_inherits WHERE inhparent = 'partition_race'::regclass")
        n_partitions = cursor.fetchone()[0]
        cursor.execute("DROP TABLE partition_race")
    assert n_partitions == 24


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "first", "until"),
    [
        ("y2027", "1900-01-01Z", "2100-01-01Z"),
        ("y2040", "2027-01-01Z", "2028-01-01Z"),
        ("y2027m05", "2027-05-01Z", "2027-06-01Z"),
    ],
)
def test_no_partition_keeps_another_from_being_made(name: str, first: str, until: str) -> None:
    """A worker may make them: one of 2040 that held 2027 would stop every bar of that year."""
    ensure_partitions("market_ohlc", "year", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    with connection.cursor() as cursor, pytest.raises(DatabaseError, match="must hold what its name says"):
        cursor.execute("SELECT make_partition('market_ohlc', %s, %s, %s)", [f"market_ohlc_{name}", first, until])


@pytest.mark.django_db
@pytest.mark.parametrize(
    "said",
    ["SET LOCAL timezone = '<-15>-167'; SET LOCAL datestyle = 'Postgres, MDY'", "SET LOCAL quote_all_identifiers = on"],
)
def test_a_partition_holds_what_its_name_says_whatever_is_set_in_the_session(said: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"{said}; SELECT make_partition('market_ohlc', 'market_ohlc_y1950', '1950-01-01Z', '1951-01-01Z')"
        )
        cursor.execute("SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO'")
        cursor.execute("SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'market_ohlc_y1950'")
        (bounds,) = cursor.fetchone()
    assert bounds == "FOR VALUES FROM ('1950-01-01 00:00:00+00') TO ('1951-01-01 00:00:00+00')"


@pytest.mark.django_db
@pytest.mark.parametrize("year", [1, 1899, datetime.now(UTC).year + 2, 9998])
def test_no_partition_is_made_for_a_year_in_which_nothing_trades(year: int) -> None:
    """Whoever reads a table without a time locks all of its partitions, and the locks of a server have an end."""
    moment = datetime(year, 1, 1, tzinfo=UTC)
    with pytest.raises(DatabaseError, match="must hold rows that may be written, of 1900 to next year"):
        ensure_partitions("market_ohlc", "year", moment, moment)


@pytest.mark.django_db
def test_a_partition_that_is_made_keeps_nobody_from_its_table() -> None:
    """Who makes it holds its locks until the transaction ends."""
    moment = datetime(1950, 1, 1, tzinfo=UTC)
    with connection.cursor() as cursor:
        ensure_partitions("market_ohlc", "year", moment, moment)
        cursor.execute("SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'market_ohlc'::regclass")
        assert {row[0] for row in cursor.fetchall()} <= {"AccessShareLock", "ShareUpdateExclusiveLock"}
