"""Trades as they came -> bars of a minute. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from tiers.contracts import MINUTE, BarTable, BoolArray, Trades, bar_table, distinct, stamp, utc
from tiers.contracts.errors import DataError
from tiers.ingest.aggregate import bucket_starts
from tiers.ingest.bar_problems import Code, Problem
from tiers.ingest.validate import FIRST_YEAR

FEWEST = 3  # rows; fewer show nothing
SIGNED = 0.05  # of the rows; fewer are mistakes


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """`trades` never fall in time and hold only those that keep every rule; `problems` come by row."""

    trades: Trades
    problems: tuple[Problem, ...]

    @property
    def rejected(self) -> tuple[Problem, ...]:
        """The problems that cost a trade."""
        return tuple(problem for problem in self.problems if problem.rejects)


def check_trades(trades: Trades, *, source: str) -> None:
    """Refuse rows that are no trades: a price every so often, or quantities whose sign tells a side.

    Raises: DataError.
    """
    ts = distinct(trades.ts[~np.isnat(trades.ts)])
    if len(ts) > FEWEST and len(ts) == trades.n_trades and not (ts.astype(np.int64) % MINUTE).any():
        raise DataError(
            f"{source} must hold trades, was {len(ts)} rows at full minutes, no two of them at one: prices at such "
            "times have no open, high and low, and bars need them"
        )
    n_negative = int((trades.quantity < 0).sum())
    if n_negative > SIGNED * trades.n_trades:
        raise DataError(
            f"{source} must have quantities above 0, was below 0 in {n_negative} of {trades.n_trades} rows, as where a "
            "sign tells sells; write them without it, since bars without those rows would be of a part of the trades"
        )


def judge(trades: Trades, *, not_after: datetime) -> Judged:
    """Check times, prices, quantities and repetitions of one symbol's trades, and put them in the order of trading.

    Each bad row is reported once, for the first rule that it breaks. A trade that comes twice under its id counts once.
    Trades of one moment stand by their ids where these are numbers, else as they came; a source that falls in time is
    read from its end.
    """
    bad = np.zeros(trades.n_trades, dtype=bool)
    problems: list[Problem] = []
    for mask, code, column, expected in _rules(trades, not_after):
        problems += [_problem(trades, int(row), code, column, expected) for row in np.flatnonzero(mask & ~bad)]
        bad |= mask
    ordered = _in_order(trades.take(~bad) if bad.any() else trades)
    ordered, notes = _once(ordered)
    return Judged(trades=ordered, problems=tuple(sorted(problems + notes, key=lambda problem: problem.row)))


def minute_bars(trades: Trades) -> tuple[BarTable, npt.NDArray[np.intp]]:
    """Trades in the order of trading -> the 1m bars of the minutes that had any, each named by its close, and the
    number of trades of each.

    Open and close are the first and the last price, high and low the extremes, volume the sum of quantities in units of
    the base. A trade at a full minute belongs to the minute that begins there.
    """
    closes = (trades.ts.astype(np.int64) // MINUTE + 1) * MINUTE
    starts = bucket_starts(closes)
    if not len(starts):
        return bar_table(trades.symbol, "1m", trades.ts, [trades.price] * 5), starts
    ends = np.append(starts[1:], trades.n_trades) - 1
    fields = (
        trades.price[starts],
        np.maximum.reduceat(trades.price, starts),
        np.minimum.reduceat(trades.price, starts),
        trades.price[ends],
        np.add.reduceat(trades.quantity, starts),
    )
    ts = closes[starts].astype("datetime64[us]")
    return bar_table(trades.symbol, "1m", ts, fields, trades.row[starts]), ends - starts + 1


def _rules(trades: Trades, not_after: datetime) -> Iterable[tuple[BoolArray, Code, str, str]]:
    """The rows that break each rule, its code, the column to blame, and what was expected."""
    yield np.isnat(trades.ts), Code.BAD_TIME, "ts", "a time"
    yield np.asarray(trades.ts < FIRST_YEAR), Code.BAD_TIME, "ts", f"a time since {FIRST_YEAR.item().year}"
    by = f"a trade by {not_after:%Y-%m-%d %H:%M:%S} UTC"
    yield np.asarray(trades.ts > stamp(not_after)), Code.FUTURE, "ts", by
    for column in ("price", "quantity"):
        value = getattr(trades, column)
        yield ~np.isfinite(value), Code.NOT_FINITE, column, f"a finite {column}"
        yield value <= 0, Code.NOT_POSITIVE, column, f"a {column} above 0"


def _problem(trades: Trades, row: int, code: Code, column: str, expected: str) -> Problem:
    at = None if np.isnat(trades.ts[row]) else utc(trades.ts[row])
    was = f"{at:%Y-%m-%d %H:%M:%S} UTC" if column == "ts" and at else getattr(trades, column)[row]
    return Problem(
        code=code,
        symbol=trades.symbol,
        row=int(trades.row[row]),
        column=column,
        bar_ts=at,
        detail=f"expected {expected}, was {was}",
    )


def _in_order(trades: Trades) -> Trades:
    if bool(np.all(trades.ts[1:] > trades.ts[:-1])):
        return trades
    numbered = np.char.isdecimal(trades.trade_id) & (np.char.str_len(trades.trade_id) < 19)
    if numbered.all():
        return trades.take(np.lexsort((trades.trade_id.astype(np.int64), trades.ts)))
    before, after = trades.ts[:-1], trades.ts[1:]
    falls = np.count_nonzero(after < before) > np.count_nonzero(after > before)
    turned = trades.take(np.arange(trades.n_trades)[::-1]) if falls else trades
    return turned.take(np.argsort(turned.ts, kind="stable"))


def _once(trades: Trades) -> tuple[Trades, list[Problem]]:
    """Without the repetitions of a trade that has an id; one that comes with other values breaks a rule."""
    named = np.flatnonzero(trades.trade_id != "")
    _, first = np.unique(trades.trade_id[named], return_index=True)
    if len(first) == len(named):
        return trades, []
    by_id = named[np.argsort(trades.trade_id[named], kind="stable")]
    again = np.flatnonzero(trades.trade_id[by_id[1:]] == trades.trade_id[by_id[:-1]]) + 1
    problems = [_repetition(trades, int(by_id[place]), int(by_id[place - 1])) for place in again]
    return trades.take(np.delete(np.arange(trades.n_trades), by_id[again])), problems


def _repetition(trades: Trades, row: int, before: int) -> Problem:
    same = all(each[row] == each[before] for each in (trades.ts, trades.price, trades.quantity, trades.side))
    return Problem(
        code=Code.DUPLICATE if same else Code.CONFLICT,
        symbol=trades.symbol,
        row=int(trades.row[row]),
        column="id",
        bar_ts=utc(trades.ts[row]),
        detail=f"expected each trade once, was {trades.trade_id[row]} again (row {trades.row[before]}) with "
        f"{'the same values' if same else 'other values'}",
    )
