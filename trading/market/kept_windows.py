"""Windows of bars that a process keeps: the next one is the last one with what came since, or that of another process.

Each instrument has a token of its stored bars. The table renews it whoever writes, unless all that came are the next
bars. Where no token has changed, all that a window lacks are the bars after the newest of each symbol.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np

from helios.db import statements
from trading.market import read, shared_windows
from trading.market.actions import Action
from trading.market.bars import FIELDS, Bars, distinct
from trading.market.timeframes import seconds
from trading.market.timestamps import stamp, utc
from trading.models import Instrument

KEPT_WINDOWS = 32  # a process serves a few books, each with a window or two a timeframe
_SINCE = """
    SELECT (s.place - 1)::int4, i.bars_token, b.bar_ts, b.open, b.high, b.low, b.close, b.volume
    FROM unnest(%s::text[], %s::timestamptz[]) WITH ORDINALITY AS s(symbol, after, place)
    LEFT JOIN instruments i ON i.symbol = s.symbol
    LEFT JOIN LATERAL (
        SELECT * FROM market_ohlc
        WHERE symbol = s.symbol AND timeframe = %s AND bar_ts > s.after
        AND bar_ts > %s AND bar_ts <= %s
    ) b ON true
"""


@dataclass(frozen=True, slots=True)
class _Kept:
    bars: Bars
    tokens: tuple[UUID | None, ...]
    has_actions: bool
    actions: tuple[Action, ...] = ()  # of the symbols, later ones too; another one renews the token of its symbol
    resolved: datetime | None = None  # the closes before those that came until then are known


_kept: dict[tuple[tuple[str, ...], str, int], _Kept] = {}  # the one that was asked for last stands last


def bar_window(
    symbols: Sequence[str], timeframe: str, end_ts: datetime, n_bars: int, *, at_least_one: bool = True
) -> Bars:
    """The same as `read.bar_window` gives, of which only what came since the last call is read."""
    key = tuple(symbols), timeframe, n_bars
    kept = _kept.pop(key, None)
    found = None if kept is None or kept.bars.ts[-1] > stamp(end_ts) else _grown(kept, end_ts, n_bars)
    if found is None:
        found = _shared_or_read(*key, end_ts, at_least_one=at_least_one)
    if found.has_actions and (found.resolved is None or _come(found.actions, found.resolved, end_ts)):
        found = replace(found, actions=read.actions(symbols, timeframe), resolved=end_ts)
    if found.bars.n_bars and None not in found.tokens:
        _kept[key] = found
        while len(_kept) > KEPT_WINDOWS:
            del _kept[next(iter(_kept))]
    actions = tuple(each for each in found.actions if each.ex_ts < end_ts)
    return replace(found.bars, actions=actions, **{name: getattr(found.bars, name).copy() for name in FIELDS})


def _shared_or_read(
    symbols: tuple[str, ...], timeframe: str, n_bars: int, end_ts: datetime, *, at_least_one: bool
) -> _Kept:
    """The window that another process has shared with what came since, or that of the table, which is shared then."""
    states = _states(symbols)  # before the bars: one that is corrected in between makes the next call read all again
    tokens = None if None in states[0] else list(map(str, states[0]))
    shared = shared_windows.get(symbols, timeframe, n_bars, tokens) if tokens else None
    if shared is not None and timedelta() <= end_ts - utc(shared.ts[-1]) < n_bars * timedelta(
        seconds=seconds(timeframe)
    ):
        grown = _grown(_Kept(shared, *states), end_ts, n_bars)
        if grown is not None:
            return grown
    found = _Kept(read.plain_window(symbols, timeframe, end_ts, n_bars, at_least_one=at_least_one), *states)
    if tokens and found.bars.n_bars:
        shared_windows.put(found.bars, n_bars, tokens)
    return found


def _states(symbols: tuple[str, ...]) -> tuple[tuple[UUID | None, ...], bool]:
    """The token of each symbol, and whether any of them has actions."""
    rows = Instrument.objects.filter(symbol__in=symbols).values_list("symbol", "bars_token", "actions_from")
    tokens = {symbol: token for symbol, token, _ in rows}
    return tuple(tokens.get(symbol) for symbol in symbols), any(begun is not None for _, _, begun in rows)


def _come(actions: tuple[Action, ...], since: datetime, end_ts: datetime) -> bool:
    """Whether any came since: the close before it is in the table now."""
    return any(since <= each.ex_ts < end_ts for each in actions)


def _grown(kept: _Kept, end_ts: datetime, n_bars: int) -> _Kept | None:
    """The window with the bars up to `end_ts`; None where an earlier one has changed."""
    bars = kept.bars
    known = ~np.isnan(bars.close)
    newest = bars.n_bars - 1 - known[::-1].argmax(axis=0)
    traded = np.any(known, axis=0, keepdims=True)[0].tolist()
    after = [utc(bars.ts[row]) if own else "-infinity" for row, own in zip(newest, traded, strict=True)]
    earliest = utc(bars.ts[newest.min()]) if all(traded) else "-infinity"  # spares the older partitions
    rows = statements.fetch(_SINCE, [list(bars.symbols), after, bars.timeframe, earliest, end_ts])
    tokens = dict(row[:2] for row in rows)
    if tuple(tokens[place] for place in range(bars.n_symbols)) != kept.tokens:
        return None
    new = [row for row in rows if row[2] is not None]
    if not new:
        return kept
    late = kept.resolved is not None and min(row[2] for row in new) <= kept.resolved  # it may be a close before one
    return replace(kept, bars=_joined(bars, new, n_bars), resolved=None if late else kept.resolved)


def _joined(bars: Bars, new: list[tuple[Any, ...]], n_bars: int) -> Bars:
    """The last `n_bars` own bars of each symbol, of a window and of rows that come after them."""
    places, _, moments, *fields = zip(*new, strict=True)
    times = np.array([stamp(moment) for moment in moments])
    ts = distinct(np.concatenate([bars.ts, times]))
    before, since = np.searchsorted(ts, bars.ts), np.searchsorted(ts, times)
    grid = {name: np.full((len(ts), bars.n_symbols), np.nan) for name in FIELDS}
    for name, values in zip(FIELDS, fields, strict=True):
        grid[name][before] = getattr(bars, name)
        grid[name][since, places] = values
    beyond = np.cumsum(~np.isnan(grid["close"])[::-1], axis=0)[::-1] > n_bars
    for column in grid.values():
        column[beyond] = np.nan
    held = ~np.isnan(grid["close"]).all(axis=1)
    return replace(bars, ts=ts[held], **{name: column[held] for name, column in grid.items()})
