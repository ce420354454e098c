"""How both arms of a rollout's step have done so far: the provider named by `settings.ROLLOUT_MEASURES`.

Where a challenger decides, an arm's PnL is what the book's positions in its symbols really made: change of value plus
the cash of the fills, fees included. In shadow mode both arms are valued alike, by the weights that their answers alone
would hold. Only bars that the book itself has reached count, also in replays of history.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from helios.rollouts.measures import ArmMeasures
from tiers.delivery import figures, outcomes
from tiers.delivery.figures import Observation

# One pass over the decisions of a step; each finds its two closes and its orders by index.
_DECISIONS = """
SELECT d.arm, c.book_id, d.cycle_id, d.symbol, c.timeframe, d.bar_ts, d.shadow, d.error <> '' AS failed, d.latency_ms,
       d.value, own.close, later.close AS following, (b.fee_bps + b.slippage_bps)::float8 AS cost_bps,
       coalesce(o.n, 0) AS n_orders, coalesce(o.rejected, 0) AS n_rejected
FROM rollout_decisions d
JOIN pipeline_cycles c ON c.id = d.cycle_id
JOIN portfolio_state b ON b.id = c.book_id
LEFT JOIN market_ohlc own ON own.symbol = d.symbol AND own.timeframe = c.timeframe AND own.bar_ts = d.bar_ts
LEFT JOIN LATERAL (
    SELECT m.close FROM market_ohlc m
    WHERE m.symbol = d.symbol AND m.timeframe = c.timeframe AND m.bar_ts > d.bar_ts
      AND m.bar_ts <= (SELECT max(reached.bar_ts) FROM pipeline_cycles reached WHERE reached.book_id = c.book_id)
    ORDER BY m.bar_ts LIMIT 1
) later ON d.shadow
LEFT JOIN LATERAL (
    SELECT count(*) AS n, count(*) FILTER (WHERE x.status = 'REJECTED') AS rejected
    FROM orders x WHERE x.cycle_id = d.cycle_id AND x.symbol = d.symbol
) o ON NOT d.shadow
WHERE d.rollout_id = %s AND d.step = %s AND d.recorded_at >= %s
ORDER BY d.bar_ts, d.cycle_id, d.symbol
"""
_SNAPSHOTS = """
SELECT book_id, bar_ts, equity::float8, weights FROM portfolio_snapshots
WHERE book_id = ANY(%s) AND bar_ts >= %s ORDER BY book_id, bar_ts
"""
_FLOWS = """
SELECT book_id, symbol, bar_ts, sum(CASE side WHEN 'BUY' THEN -notional ELSE notional END - fee)::float8
FROM trade_executions WHERE book_id = ANY(%s) AND bar_ts > %s GROUP BY 1, 2, 3
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A row of `_DECISIONS`."""

    arm: str
    book_id: int
    cycle_id: int
    symbol: str
    timeframe: str
    bar_ts: datetime
    shadow: bool
    failed: bool
    latency_ms: float | None
    value: dict[str, Any]
    close: float | None
    following: float | None
    cost_bps: float
    n_orders: int
    n_rejected: int


def measure(rollout_id: int, step: int, since: datetime) -> dict[str, ArmMeasures]:
    """Both arms of a step of a rollout, from the decisions recorded since a moment."""
    decisions = [Decision(**row) for row in _rows(_DECISIONS, [rollout_id, step, since])]
    if not decisions:
        return figures.measures([])
    losses = outcomes.losses(decisions)
    held = _held([one for one in decisions if not one.shadow])
    before: dict[tuple[str, int, str], float] = defaultdict(float)  # the weight that an arm's last answer would hold
    return figures.measures(_observed(one, losses.get(index), held, before) for index, one in enumerate(decisions))


Held = dict[tuple[int, datetime, str], tuple[float, float]]  # weight after a decision's fills, and the PnL in bps


def _observed(
    decision: Decision, loss: float | None, held: Held, before: dict[tuple[str, int, str], float]
) -> Observation:
    if decision.shadow:
        weight, pnl_bps = _hypothetical(decision, before)
    else:
        weight, pnl_bps = held.get((decision.book_id, decision.bar_ts, decision.symbol), (None, None))
    return Observation(
        arm=decision.arm,
        book=decision.book_id,
        cycle=decision.cycle_id,
        symbol=decision.symbol,
        failed=decision.failed,
        latency_ms=decision.latency_ms,
        weight=weight,
        pnl_bps=pnl_bps,
        loss=loss,
        n_orders=decision.n_orders,
        n_rejected=decision.n_rejected,
    )


def _hypothetical(decision: Decision, before: dict[tuple[str, int, str], float]) -> tuple[float | None, float | None]:
    """The weight that the answer alone would hold, and what it earns until the symbol's next bar."""
    weight = decision.value.get("weight")
    if weight is None:
        return None, None
    key = (decision.arm, decision.book_id, decision.symbol)
    last, before[key] = before[key], weight
    if decision.close is None or decision.following is None:
        return weight, None
    return weight, figures.hypothetical_bps(weight, last, decision.close, decision.following, decision.cost_bps)


def _held(decisions: list[Decision]) -> Held:
    """What the books made in each symbol between the snapshot of a decision and the next one."""
    if not decisions:
        return {}
    books, first = sorted({one.book_id for one in decisions}), min(one.bar_ts for one in decisions)
    snapshots: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in _rows(_SNAPSHOTS, [books, first]):
        snapshots[row["book_id"]].append({**row, "weights": _json(row["weights"])})
    flows = _flows(snapshots, _tuples(_FLOWS, [books, first]))
    wanted = {(one.book_id, one.bar_ts) for one in decisions}
    symbols: defaultdict[int, set[str]] = defaultdict(set)
    for one in decisions:
        symbols[one.book_id].add(one.symbol)
    held: Held = {}
    for book, path in snapshots.items():
        for place in range(len(path) - 1):
            now, later = path[place], path[place + 1]
            if (book, now["bar_ts"]) not in wanted:
                continue
            for symbol in symbols[book]:
                weight = later["weights"].get(symbol, 0.0)
                pnl_bps = figures.realised_bps(
                    now["weights"].get(symbol, 0.0) * now["equity"],
                    weight * later["equity"],
                    flows.get((book, symbol, place), 0.0),
                    now["equity"],
                )
                held[book, now["bar_ts"], symbol] = (weight, pnl_bps)
    return held


def _flows(
    snapshots: dict[int, list[dict[str, Any]]], fills: Iterable[tuple[Any, ...]]
) -> dict[tuple[int, str, int], float]:
    """Cash of the fills between two snapshots, by book, symbol and place of the earlier one."""
    times = {book: [row["bar_ts"] for row in path] for book, path in snapshots.items()}
    found: defaultdict[tuple[int, str, int], float] = defaultdict(float)
    for book, symbol, bar_ts, cash in fills:
        if book in times:
            found[book, symbol, bisect_left(times[book], bar_ts) - 1] += cash
    return found


def _rows(statement: str, params: list[Any]) -> Iterator[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        names = [column.name for column in cursor.description]
        rows = cursor.fetchall()
    for row in rows:
        named = dict(zip(names, row, strict=True))
        yield {**named, "value": _json(named["value"])} if "value" in named else named


def _tuples(statement: str, params: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _json(value: Any) -> Any:
    """A jsonb column read past Django's fields."""
    return json.loads(value) if isinstance(value, str) else value
