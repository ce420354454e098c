"""How long a value may be that a worker writes: one row without a bound fills the memory of whoever reads it.

And that its numbers are numbers: JSON has no NaN and no infinity, so one would keep everybody from the page of its row.

A check on each of its tables, made anew after each `migrate` where it would be another. It asks of that role alone:
modules run under it, while what a person writes has the bounds of forms, commands and the API. Lists leave out the
columns that may be long.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from django.db.models import ForeignKey, Model

from helios.stack.endpoints import WORKER

SHORT: Final = 16_384  # bytes of a text, of JSON as text, of the items of an array
LONG: Final = 1_048_576
# Of JSON: Python reads neither a thousand of levels nor a number of more than 4,300 digits.
_READABLE: Final = """
    AND NOT {column} @? '$.**{{32}}' AND (octet_length({column}::text) <= 4300 OR {column}::text !~ '[0-9]{{255}}')
"""
LONG_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {  # those that hold something of every symbol, or a trace
    "aether_risk_decisions": ("symbols", "expected_return", "size", "max_weight", "denials", "tail"),
    "bus_poison": ("body",),
    "decision_ledger": ("payload",),
    "django_celery_results_taskresult": ("result", "traceback", "meta", "task_args", "task_kwargs"),
    "engineered_features": ("values",),
    "market_context_snapshots": ("data",),
    "module_processes": ("prepared",),
    "pipeline_cycles": ("switches", "rollouts"),
    "portfolio_snapshots": ("weights",),
    "rebalancing_events": ("symbols", "previous", "target", "denials"),
    "system_events": ("data",),
}
# NaN is a missing value there. Cycles alone read them, as bytes; no page, no API and no event shows one.
MISSING: Final[Mapping[str, tuple[str, ...]]] = {"engineered_features": ("values",)}
_NUMBER: Final = "abs({column}) < 'Infinity'"  # PostgreSQL has NaN above it
_NUMBERS: Final = " AND NOT {column} && '{{NaN,Infinity,-Infinity}}'"
# Numbers, but for amounts (`trading.models.columns.finite`), and what has no length that its type says.
_WRITTEN: Final = """
SELECT relname, attname, quote_ident(attname), CASE
    WHEN atttypid = 'jsonb'::regtype THEN 'json'
    WHEN atttypid = 'float8[]'::regtype THEN 'numbers'
    WHEN atttypid IN ('float8'::regtype, 'numeric'::regtype) THEN 'number'
    ELSE ''
END, CASE
    WHEN item.typlen > 0 THEN format('%%s * cardinality(%%I)', item.typlen, attname)
    ELSE format('octet_length(%%I::text)', attname)
END
FROM pg_class c
    JOIN pg_attribute a ON attrelid = c.oid
    JOIN pg_type t ON t.oid = atttypid
    LEFT JOIN pg_type item ON item.oid = t.typelem AND t.typcategory = 'A'
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
    AND relowner = current_user::regrole AND attnum > 0 AND NOT attisdropped
    AND (attlen = -1 OR atttypid = 'float8'::regtype)
    AND NOT (atttypid = 'varchar'::regtype AND atttypmod >= 0) AND NOT (atttypid = 'numeric'::regtype AND atttypmod < 0)
    AND has_column_privilege(%(role)s, c.oid, attnum, 'INSERT, UPDATE')
ORDER BY relname, attnum
"""
_THERE: Final = """
SELECT relname, conname FROM pg_constraint JOIN pg_class c ON c.oid = conrelid
WHERE relnamespace = 'public'::regnamespace AND conname LIKE 'lengths\\_%' AND NOT relispartition
"""


def bound(cursor: Any) -> None:
    """Have each table refuse what is longer, or no number, of the columns that the role of workers may write by now.

    What is there already is not looked through.
    """
    cursor.execute(_WRITTEN, {"role": WORKER})
    bounds: dict[str, list[str]] = {}
    for table, name, column, kind, length in cursor.fetchall():
        longest = LONG if name in LONG_COLUMNS.get(table, ()) else SHORT
        more = {"json": _READABLE, "numbers": "" if name in MISSING.get(table, ()) else _NUMBERS}.get(kind, "")
        rule = _NUMBER if kind == "number" else f"{length} <= {longest}{more}"
        bounds.setdefault(table, []).append(rule.format(column=column))
    checks = {table: f"CURRENT_USER <> '{WORKER}' OR {' AND '.join(each)}" for table, each in bounds.items()}
    names = {table: f"lengths_{hashlib.sha256(check.encode()).hexdigest()[:8]}" for table, check in checks.items()}
    cursor.execute(_THERE)
    there = cursor.fetchall()
    for table, name in there:
        if names.get(table) != name:
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    for table, name in names.items():
        if (table, name) not in there:
            cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({checks[table]}) NOT VALID")


def long_fields(model: type[Model]) -> list[str]:
    """The long columns of a table and of those that its rows refer to, as `defer` takes them."""
    joined = {f"{each.name}__": each.related_model for each in model._meta.fields if isinstance(each, ForeignKey)}
    tables = {"": model, **joined}
    return [path + name for path, of in tables.items() if of for name in LONG_COLUMNS.get(of._meta.db_table, ())]
