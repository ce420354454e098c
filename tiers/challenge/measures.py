"""How both arms of a rollout's step have done so far: the provider named by `settings.ROLLOUT_MEASURES`.

Where a challenger decides, an arm's PnL is what the book's positions in its symbols really made: change of value plus
the cash of the fills, fees included. In shadow mode both arms are valued alike, by the weights that their answers alone
would hold, less the cost of the way there from what each held before (at its first decision what it says that it is
asked from, else nothing). In a live step a row in shadow is what an arm forecast of the other's symbols: losses are
compared by it, and nothing else. Only bars that the book itself has reached count, also in replays of history.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from django.db import connection

from helios.rollouts.core.assignment import Arm
from helios.rollouts.core.measures import ArmMeasures
from tiers.challenge import observations, outcomes
from tiers.challenge.observations import Observation, Totals
from tiers.contracts.parameters import rows_a_day
from trading.market.calendars import ALWAYS_OPEN

SETTLED_AFTER: Final = 10  # decisions of a book: by then the orders of a cycle have ended, and the next bars are there
MAX_MEMORIES: Final = 32  # rollouts that a process remembers
MOST_NUMBER: Final = 1e12
MOST_HORIZON: Final = 100_000  # bars

# One pass over the decisions of a step; each finds its two closes and its orders by index.
_DECISIONS = """
SELECT d.arm, c.book_id, d.cycle_id, d.symbol, c.timeframe, d.bar_ts, d.shadow, d.error <> '' AS failed, d.latency_ms,
       d.value, own.close,
       worth_of_share(d.symbol, d.bar_ts, later.bar_ts, later.close) AS following,
       (b.fee_bps + b.slippage_bps)::float8 AS cost_bps,
       coalesce(o.n, 0) AS n_orders, coalesce(o.rejected, 0) AS n_rejected, i.calendar, names.listed,
       bool_or(names.listed AND coalesce(i.calendar, '') = '24/7') OVER cycle
           AND bool_or(names.listed AND coalesce(i.calendar, '') <> '24/7') OVER cycle AS both
FROM rollout_decisions d
JOIN pipeline_cycles c ON c.id = d.cycle_id
JOIN portfolio_state b ON b.id = c.book_id
LEFT JOIN instruments i ON i.symbol = d.symbol
LEFT JOIN market_ohlc own ON own.symbol = d.symbol AND own.timeframe = c.timeframe AND own.bar_ts = d.bar_ts
CROSS JOIN LATERAL (
    SELECT own.close IS NOT NULL OR EXISTS (
        SELECT FROM market_ohlc e WHERE e.symbol = d.symbol AND e.timeframe = c.timeframe AND e.bar_ts < d.bar_ts
        AND e.bar_ts >= d.bar_ts - interval '7 days'
    ) AS listed
) names
LEFT JOIN LATERAL (
    SELECT m.bar_ts, m.close FROM market_ohlc m
    WHERE m.symbol = d.symbol AND m.timeframe = c.timeframe AND m.bar_ts > d.bar_ts
      AND m.bar_ts <= (SELECT max(reached.bar_ts) FROM pipeline_cycles reached WHERE reached.book_id = c.book_id)
    ORDER BY m.bar_ts LIMIT 1
) later ON d.shadow
LEFT JOIN LATERAL (
    SELECT count(*) AS n, count(*) FILTER (WHERE x.status = 'REJECTED') AS rejected
    FROM orders x WHERE x.cycle_id = d.cycle_id AND x.symbol = d.symbol AND x.sending_at IS NOT NULL
) o ON NOT d.shadow
WHERE d.rollout_id = %s AND d.step = %s AND d.recorded_at >= %s AND (d.cycle_id > %s OR d.cycle_id = ANY(%s))
WINDOW cycle AS (PARTITION BY d.cycle_id)
ORDER BY d.bar_ts, d.cycle_id, d.symbol
"""
_RUNNING = "SELECT id FROM pipeline_cycles WHERE status = 'RUNNING'"
_SNAPSHOTS = """
SELECT s.book_id, s.bar_ts, s.equity::float8, s.weights
FROM unnest(%s::bigint[], %s::timestamptz[]) AS mine(book_id, first)
JOIN portfolio_snapshots s ON s.book_id = mine.book_id AND s.bar_ts >= mine.first ORDER BY s.book_id, s.bar_ts
"""
_FLOWS = """
SELECT x.book_id, x.symbol, x.bar_ts, sum(x.cash)::float8
FROM unnest(%s::bigint[], %s::timestamptz[]) AS mine(book_id, first) CROSS JOIN LATERAL (
    SELECT book_id, symbol, bar_ts, CASE side WHEN 'BUY' THEN -notional ELSE notional END - fee AS cash
    FROM trade_executions WHERE book_id = mine.book_id AND bar_ts > mine.first
    UNION ALL
    SELECT book_id, symbol, bar_ts, cash FROM booked_actions WHERE book_id = mine.book_id AND bar_ts > mine.first
) x GROUP BY 1, 2, 3
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
    calendar: str | None  # None: nobody described the instrument
    both: bool  # coins and stocks of the book have had one
    listed: bool  # it has had a bar within a week


class Measures:
    """The provider: a call reads the whole step, `remembering` only what may have changed since it last did."""

    def __init__(self) -> None:
        self._memories: dict[int, Memory] = {}

    def __call__(self, rollout_id: int, step: int, since: datetime) -> dict[str, ArmMeasures]:
        """Both arms of a step of a rollout, from the decisions recorded since a moment."""
        reading = _read([rollout_id, step, since, 0, []])
        before: Before = {}
        return observations.measures(reading.observed(place, before) for place in range(len(reading.decisions)))

    def remembering(self, rollout_id: int, step: int, since: datetime) -> dict[str, ArmMeasures]:
        """The same figures, where this process has read before what is settled. A step begun anew is read anew."""
        memory = self._memories.pop(rollout_id, None)  # one that fails half-way is forgotten
        if memory is None or (memory.step, memory.since) != (step, since):
            memory = Memory(rollout_id=rollout_id, step=step, since=since)
        found = memory.measures()
        self._memories[rollout_id] = memory
        for oldest in list(self._memories)[:-MAX_MEMORIES]:
            del self._memories[oldest]
        return found


measure = Measures()


@dataclass(slots=True, kw_only=True)
class Memory:
    """What a process has read of a step: its settled cycles as totals, the others by number, to be read once more.

    A cycle is settled when its book has decided `SETTLED_AFTER` times since, and as often more as its forecasts look
    ahead, and its positions are valued. What changes later still, such as a bar corrected long after, shows in the
    next analysis, which measures the whole.
    """

    rollout_id: int
    step: int
    since: datetime
    last_cycle: int = 0
    unsettled: set[int] = field(default_factory=set)
    awaited: set[int] = field(
        default_factory=set
    )  # cycles that still ran: they may decide after others of higher number
    totals: dict[str, Totals] = field(default_factory=lambda: {arm.value: Totals() for arm in Arm})
    before: Before = field(default_factory=dict)

    def measures(self) -> dict[str, ArmMeasures]:
        """Both arms as of now."""
        running = {row[0] for row in _tuples(_RUNNING, [])}  # before the decisions: none may come in between unseen
        again = sorted(self.unsettled | self.awaited | running)
        reading = _read([self.rollout_id, self.step, self.since, self.last_cycle, again])
        settled, cycles = reading.settled(), {one.cycle_id for one in reading.decisions}
        self.last_cycle, self.unsettled = max(self.last_cycle, *cycles, 0), cycles - settled
        self.awaited = running - settled
        _add(self.totals, reading, settled, self.before)
        fresh = {arm: totals.continued() for arm, totals in self.totals.items()}
        _add(fresh, reading, self.unsettled, self.before.copy())
        return {arm: totals.measures(fresh[arm]) for arm, totals in self.totals.items()}


def _add(totals: dict[str, Totals], reading: Reading, wanted: set[int], before: Before) -> None:
    places = range(len(reading.decisions))
    for cycle, here in groupby(places, key=lambda place: reading.decisions[place].cycle_id):
        if cycle not in wanted:
            continue
        observed = [(reading.decisions[place].bar_ts, reading.observed(place, before)) for place in here]
        for arm, total in totals.items():
            total.add((observed[0][0], cycle), [one for _, one in observed if one.arm == arm])


Before = dict[tuple[str, int, str], float]  # the weight that an arm's last answer would hold
Held = dict[tuple[int, datetime, str], tuple[float, float]]  # weight after a decision's fills, and the PnL in bps


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Decisions in the order of their bars, with what came of them."""

    decisions: list[Decision]
    losses: dict[int, float]  # by place in `decisions`
    held: Held
    live: set[int]  # cycles in which what an arm said was followed
    unvalued: set[tuple[int, datetime]]  # the newest snapshot of each book: what it holds is worth something only later

    def observed(self, place: int, before: Before) -> Observation:
        """The decision at a place as the figures take it; `before` is brought up to it."""
        one = self.decisions[place]
        made = _observed(one, self.losses.get(place), self.held, before)
        return replace(made, decided=False) if one.shadow and one.cycle_id in self.live else made

    def settled(self) -> set[int]:
        """The cycles of which nothing changes any more: of each book the older ones, up to the first that may."""
        found: set[int] = set()
        books: defaultdict[int, dict[int, datetime]] = defaultdict(dict)
        ahead: defaultdict[int, int] = defaultdict(int)
        for one in self.decisions:
            books[one.book_id][one.cycle_id] = one.bar_ts
            ahead[one.book_id] = max(ahead[one.book_id], one.value.get("horizon_bars", 0))
        for book, cycles in books.items():
            for cycle, bar_ts in list(cycles.items())[: -SETTLED_AFTER - ahead[book]]:
                if (book, bar_ts) in self.unvalued:
                    break
                found.add(cycle)
        return found


def _read(params: list[Any]) -> Reading:
    """`params` of `_DECISIONS`."""
    decisions = [Decision(**row) for row in _rows(_DECISIONS, params)]
    followed = [one for one in decisions if not one.shadow]
    held, unvalued = _held(followed)
    return Reading(
        decisions=decisions,
        losses=outcomes.losses(decisions),
        held=held,
        live={one.cycle_id for one in followed},
        unvalued=unvalued,
    )


def _observed(decision: Decision, loss: float | None, held: Held, before: Before) -> Observation:
    if decision.shadow:
        weight, pnl_bps = _hypothetical(decision, before)
    else:
        weight, pnl_bps = held.get((decision.book_id, decision.bar_ts, decision.symbol), (None, None))
    return Observation(
        arm=decision.arm,
        book=decision.book_id,
        cycle=decision.cycle_id,
        symbol=decision.symbol,
        decided=decision.listed,
        failed=decision.failed,
        latency_ms=decision.latency_ms,
        weight=weight,
        pnl_bps=pnl_bps,
        loss=loss,
        n_orders=decision.n_orders,
        n_rejected=decision.n_rejected,
        rows_a_day=rows_a_day(decision.timeframe, closes=decision.calendar != ALWAYS_OPEN, both=decision.both),
    )


def _hypothetical(decision: Decision, before: Before) -> tuple[float | None, float | None]:
    """The weight that the answer alone would hold, and what it earns from one bar of the symbol to the next.

    Where a listed symbol has no bar nothing is earned and nothing changes, whatever is said of it then.
    """
    weight = decision.value.get("weight")
    if decision.close is None:
        return weight, 0.0 if decision.listed else None
    if weight is None:
        return None, None
    key = (decision.arm, decision.book_id, decision.symbol)
    last = decision.value.get("held", before.get(key, 0.0))
    before[key] = weight
    if decision.following is None:
        return weight, None
    return weight, observations.hypothetical_bps(weight, last, decision.close, decision.following, decision.cost_bps)


def _held(decisions: list[Decision]) -> tuple[Held, set[tuple[int, datetime]]]:
    """What the books made in each symbol between the snapshot of a decision and the next one; the last snapshots."""
    if not decisions:
        return {}, set()
    first: dict[int, datetime] = {}
    for one in decisions:
        first.setdefault(one.book_id, one.bar_ts)
    books = [list(first), list(first.values())]
    snapshots: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in _rows(_SNAPSHOTS, books):
        snapshots[row["book_id"]].append({**row, "weights": numbers(_json(row["weights"]))})
    flows = _flows(snapshots, _tuples(_FLOWS, books))
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
                pnl_bps = observations.realised_bps(
                    now["weights"].get(symbol, 0.0) * now["equity"],
                    weight * later["equity"],
                    flows.get((book, symbol, place), 0.0),
                    now["equity"],
                )
                held[book, now["bar_ts"], symbol] = (weight, pnl_bps)
    return held, {(book, path[-1]["bar_ts"]) for book, path in snapshots.items()}


def _flows(
    snapshots: dict[int, list[dict[str, Any]]], fills: Iterable[tuple[Any, ...]]
) -> dict[tuple[int, str, int], float]:
    """Cash of the fills, splits and dividends between two snapshots, by book, symbol and place of the earlier one."""
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
        yield {**named, "value": said(_json(named["value"]))} if "value" in named else named


def said(value: Any) -> dict[str, Any]:
    """What measures can read of an answer, whatever a worker wrote: a part of another shape was not said."""
    if not isinstance(value, dict):
        return {}
    found: dict[str, Any] = {name: each for name, each in numbers(value).items() if name in {"weight", "held"}}
    probability, model, horizon = (value.get(name) for name in ("probability", "model", "horizon_bars"))
    is_forecast = isinstance(probability, list) and len(probability) == 3 and all(map(_is_number, probability))
    if is_forecast and isinstance(model, str) and isinstance(horizon, int) and 0 < horizon <= MOST_HORIZON:
        found |= {"probability": probability, "model": model, "horizon_bars": horizon}
    return found


def numbers(value: Any) -> dict[str, float]:
    """The numbers of an object by name; none of what is no object."""
    return {name: each for name, each in value.items() if _is_number(each)} if isinstance(value, dict) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) <= MOST_NUMBER


def _tuples(statement: str, params: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _json(value: Any) -> Any:
    """A jsonb column read past Django's fields."""
    return json.loads(value) if isinstance(value, str) else value
