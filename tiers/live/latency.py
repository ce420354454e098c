"""How long the stages and whole cycles took."""

from __future__ import annotations

from typing import Any

from django.db import connection

from tiers.live.chain import STAGES


def latency_table(cycle_ids: list[int]) -> dict[str, dict[str, float]]:
    """p50 and p95 in milliseconds per tier and for whole cycles, over the finished ones of `cycle_ids`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT stage, percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY duration_ms) "
            "FROM pipeline_stage_runs WHERE cycle_id = ANY(%s) GROUP BY stage",
            [cycle_ids],
        )
        rows: dict[str, Any] = dict(cursor.fetchall())
        cursor.execute(
            "SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - "
            "started_at) * 1000) FROM pipeline_cycles WHERE id = ANY(%s) AND status = 'DONE'",
            [cycle_ids],
        )
        whole = cursor.fetchone()[0]
    ordered = [(stage.value, rows[stage.value]) for stage in STAGES if stage.value in rows]
    if whole is not None:
        ordered.append(("cycle", whole))
    return {name: {"p50_ms": float(pair[0]), "p95_ms": float(pair[1])} for name, pair in ordered}
