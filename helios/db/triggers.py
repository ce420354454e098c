"""Append-only tables, and the moves that workers may make: what migrations share."""

from __future__ import annotations

from django.db.migrations import RunSQL

from helios.stack.endpoints import WORKER

_REFUSE = """
CREATE OR REPLACE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('helios.maintenance', true) = 'on' THEN
        RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION {table}_append_only();
CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only();
"""
_ALLOW = """
DROP TRIGGER IF EXISTS {table}_no_change ON {table};
DROP TRIGGER IF EXISTS {table}_no_truncate ON {table};
DROP FUNCTION IF EXISTS {table}_append_only();
"""
_REFUSE_WORKERS = """
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF {condition} THEN
        RAISE EXCEPTION {sentence}
            USING ERRCODE = '42501';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER {name} {when} {events} ON {table}
    FOR EACH ROW WHEN (current_user = '{worker}') EXECUTE FUNCTION {name}();
"""


def append_only_sql(table: str) -> tuple[str, str]:
    """Forward and reverse SQL that makes a table refuse UPDATE, DELETE and TRUNCATE.

    Maintenance (retention, test clean-up) sets `helios.maintenance` to `on` for its session.
    """
    return _REFUSE.format(table=table), _ALLOW.format(table=table)


def for_workers(
    name: str, table: str, condition: str, sentence: str, *, events: str = "UPDATE", when: str = "BEFORE"
) -> RunSQL:
    """The operation that refuses workers, with that sentence, the changes of a row that meet the condition.

    Both are PL/pgSQL: of OLD and NEW, and what RAISE takes. The names of the role and of `42501` are for all tables.
    `when` "AFTER", the condition sees all that the statement changed.
    """
    sql = _REFUSE_WORKERS.format(
        name=name, table=table, condition=condition, sentence=sentence, events=events, when=when, worker=WORKER
    )
    return RunSQL(sql, f"DROP TRIGGER {name} ON {table}; DROP FUNCTION {name}();")
