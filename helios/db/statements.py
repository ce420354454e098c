"""Rows of models as parts of one larger statement: read beside another row, or written beside another change.

A round trip costs more than most statements do. What a step reads about one row, and what it writes when that row moves
on, each go to the server at once.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import groupby
from types import NoneType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from django.contrib.postgres.fields import ArrayField
from django.db import DataError, connection, models
from psycopg2 import errorcodes

M = TypeVar("M", bound=models.Model)
Part = tuple[str, Sequence[Any]]  # SQL and its parameters
_planned: WeakKeyDictionary[Any, dict[str, str]] = WeakKeyDictionary()  # by session: what it has planned, by its SQL
# An expression that keeps the commit of its transaction from waiting for the disk. A machine that dies may lose what
# was committed last, and all that came later with it: for what is done again from where the tables then stand.
REPEATABLE = "set_config('synchronous_commit', 'off', true)"
# Values that Django hands on as they are, after a dozen calls; and the fields where it does not.
_PLAIN = frozenset({str, float, int, bool, NoneType})
_NOT_PLAIN = (models.JSONField, models.DecimalField, ArrayField)
_PLAIN_IN_JSON = frozenset(
    {models.JSONField, models.CharField, models.TextField, models.BooleanField, models.IntegerField}
    | {models.BigAutoField, models.ForeignKey, models.OneToOneField}
)


def columns(model: type[models.Model], alias: str) -> str:
    """The columns of a row, to be given to `instance` in this order."""
    return ", ".join(f'{alias}."{field.column}"' for field in model._meta.concrete_fields)


def instance(model: type[M], values: Sequence[Any]) -> M:
    """The row of a model out of its `columns`."""
    fields = model._meta.concrete_fields
    read = [_from_db(field, value) for field, value in zip(fields, values, strict=True)]
    return model.from_db("default", [field.attname for field in fields], read)


def fetch(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The rows of a statement that a session plans once, for what is asked again and again in the same words.

    The types of the values follow from where they stand, or from a cast.
    """
    connection.ensure_connection()
    planned = _planned.setdefault(connection.connection, {})
    if sql not in planned:
        number, name = itertools.count(1), f"helios_{len(planned)}"
        with connection.wrap_database_errors, connection.connection.cursor() as cursor:
            cursor.execute(f"PREPARE {name} AS {re.sub('%s', lambda _: f'${next(number)}', sql)}")
        planned[sql] = f"EXECUTE {name} ({', '.join(['%s'] * len(values))})" if values else f"EXECUTE {name}"
    with connection.cursor() as executing:
        executing.execute(planned[sql], values)
        return list(executing.fetchall())


def select(model: type[M], where: str, values: Sequence[Any]) -> list[M]:
    """The rows of a model (as `t`) that fulfil a condition in SQL, which may order and lock them.

    What Django composes for the same takes longer than the server does.
    """
    sql = f"SELECT {columns(model, 't')} FROM {model._meta.db_table} t WHERE {where}"  # noqa: S608 - no input
    return [instance(model, row) for row in fetch(sql, values)]


def aggregated(model: type[models.Model], where: str) -> str:
    """A subselect of all rows of a model (as `t`) that fulfil a condition, as text for `instances`, oldest first."""
    # JSON has no decimals: read as numbers they would be rounded.
    parts = ", ".join(
        f't."{field.column}"' + ("::text" if isinstance(field, models.DecimalField) else "")
        for field in model._meta.concrete_fields
    )
    table = model._meta.db_table
    return f"(SELECT json_agg(json_build_array({parts}) ORDER BY t.id)::text FROM {table} t WHERE {where})"  # noqa: S608


def instances(model: type[M], text: str | None) -> list[M]:
    """The rows that an `aggregated` subselect brought."""
    fields = model._meta.concrete_fields
    names = [field.attname for field in fields]
    return [
        model.from_db("default", names, [_from_json(field, value) for field, value in zip(fields, row, strict=True)])
        for row in (json.loads(text) if text else ())
    ]


def change(of: Part, rows: Iterable[models.Model], *, also: Sequence[Part] = ()) -> bool:
    """Change one row and insert others in one statement; False, and nothing at all, where `of` found no row.

    `of` is an UPDATE that returns the row, `also` are expressions that are evaluated once. `rows` have no key yet, and
    get none here.
    """
    groups = inserts(rows)
    named = ", ".join([f"changed AS ({of[0]})", *(f"rows_{n} AS ({sql})" for n, (sql, _) in enumerate(groups))])
    # A division by zero takes back what is inserted beside a change that found nothing.
    wanted = ", ".join(["1 / count(*)", *(sql for sql, _ in also)])
    statement = f"WITH {named} SELECT {wanted} FROM changed"  # noqa: S608 - composed of SQL
    try:
        fetch(statement, [value for _, values in (of, *groups, *also) for value in values])
    except DataError as error:
        if getattr(error.__cause__, "pgcode", "") == errorcodes.DIVISION_BY_ZERO:
            return False
        raise
    return True


def update(rows: Sequence[models.Model], fields: Sequence[str]) -> list[Part]:
    """An UPDATE of some fields of rows of one model that are there; no part where there are no rows."""
    if not rows:
        return []
    meta = rows[0]._meta
    chosen: list[Any] = [meta.pk, *map(meta.get_field, fields)]
    key, *others = names = [f'"{field.column}"' for field in chosen]
    sql = f"""
        UPDATE {meta.db_table} t SET {", ".join(f"{name} = v.{name}" for name in others)}
        FROM unnest({", ".join(f"%s::{_kind(field)}[]" for field in chosen)}) AS v({", ".join(names)})
        WHERE t.{key} = v.{key}
    """  # noqa: S608 - names of the model
    values = [[_to_db(field, getattr(row, field.attname)) for row in rows] for field in chosen]
    return [(sql, values)]


def execute(parts: Sequence[Part]) -> None:
    """Carry out what several `insert`s and `update`s say, in one statement. No two may concern the same row."""
    if not parts:
        return
    named = ", ".join(f"part_{n} AS ({sql})" for n, (sql, _) in enumerate(parts))
    fetch(f"WITH {named} SELECT", [value for _, values in parts for value in values])


def inserts(rows: Iterable[models.Model]) -> list[Part]:
    """An INSERT for each run of new rows of one model; they get no key here."""
    return [_insert(model, list(group)) for model, group in groupby(rows, key=type)]


def _insert(model: type[models.Model], rows: list[models.Model]) -> Part:
    fields, into, kinds = _inserting(model)
    by_column = [[_to_db(field, field.pre_save(row, add=True)) for row in rows] for field in fields]
    if any(isinstance(field, ArrayField) for field in fields):  # `unnest` would take their arrays apart
        row_sql = ", ".join(f"%s::{kind}" for kind in kinds)
        by_row = [value for row in zip(*by_column, strict=True) for value in row]
        return f"INSERT INTO {into} VALUES {', '.join([f'({row_sql})'] * len(rows))}", by_row  # noqa: S608
    columns_sql = ", ".join(f"%s::{kind}[]" for kind in kinds)
    return f"INSERT INTO {into} SELECT * FROM unnest({columns_sql})", by_column  # noqa: S608 - names of the model


@lru_cache(maxsize=64)
def _inserting(model: type[models.Model]) -> tuple[list[models.Field[Any, Any]], str, list[str]]:
    """The fields of a new row, its table with their columns, and the types of those."""
    fields = [field for field in model._meta.concrete_fields if not (field.primary_key or field.generated)]
    names = ", ".join(f'"{field.column}"' for field in fields)
    return fields, f"{model._meta.db_table} ({names})", [_kind(field) for field in fields]


def _kind(field: models.Field[Any, Any]) -> str:
    """The type of a column without its limits: a cast to those would cut in silence what the column refuses."""
    return re.sub(r"\(.*?\)", "", str(field.db_type(connection)))


def _to_db(field: models.Field[Any, Any], value: Any) -> Any:
    if type(value) in _PLAIN and not isinstance(field, _NOT_PLAIN):
        return value
    if type(value) is Decimal and value.is_finite() and isinstance(field, models.DecimalField):
        return value
    return field.get_db_prep_save(value, connection)


@lru_cache(maxsize=512)
def _reads(field: models.Field[Any, Any]) -> Any:
    return getattr(field, "from_db_value", None)


def _from_db(field: models.Field[Any, Any], value: Any) -> Any:
    read = _reads(field)
    return value if read is None else read(value, None, connection)


def _from_json(field: models.Field[Any, Any], value: Any) -> Any:
    if value is None or type(field) in _PLAIN_IN_JSON:
        return value
    if isinstance(field, ArrayField):
        return [field.base_field.to_python(item) for item in value]
    return field.to_python(value)
