"""The part of the suite `data` that speaks of ingest modules: raw rows in, only bars that can be trusted out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np

from helios.modules.suites import Candidate, GateTest, require
from tiers.gates import assertions, completeness, samples
from tiers.gates.samples import BAR_TS, SYMBOLS
from trading.market.bars import FIELDS, PRICES, Bars, BarTable

N = 3
TIMEFRAME = "1m"
HIGHER = ("5m", "15m", "1h")
MINUTE = np.timedelta64(1, "m")
RESULT = ("bar_ts", "accepted", "higher", "problems", "missing")

__all__ = ["TESTS"]


def _ingest(candidate: Candidate, tables: list[BarTable], **changes: Any) -> Any:
    calendars = dict.fromkeys((table.symbol for table in tables), "24/7")
    out = candidate.run(tables, timeframe=TIMEFRAME, bar_ts=BAR_TS, calendars=calendars, **changes)
    assertions.fields(out, RESULT, "the result of ingest")
    return out


def _newest(out: Any, symbol: int = 0) -> dict[str, float]:
    """The five figures of a symbol at the bar, NaN where it has none."""
    bars = out.accepted
    at = bars.n_bars and bars.ts[-1] == samples.timeline(1, TIMEFRAME)[0]
    return {name: float(getattr(bars, name)[-1, symbol]) if at else np.nan for name in FIELDS}


def the_result_speaks_of_its_bar_and_symbols(candidate: Candidate, seed: int) -> None:
    out = _ingest(candidate, samples.tables(seed))
    require(out.bar_ts == BAR_TS, f"the result must be of the bar {BAR_TS}, was of {out.bar_ts}")
    for bars in (out.accepted, *out.higher):
        require(bars.symbols == SYMBOLS[:N], f"symbols must keep their order {SYMBOLS[:N]}, were {bars.symbols}")
    require(out.accepted.timeframe == TIMEFRAME, f"accepted bars must be {TIMEFRAME}, were {out.accepted.timeframe}")


def a_good_bar_is_accepted_as_it_came(candidate: Candidate, seed: int) -> None:
    tables = samples.tables(seed, whole=True)
    out = _ingest(candidate, tables)
    require(not out.missing, f"no symbol lacks its bar, {', '.join(out.missing)} was told to")
    for place, table in enumerate(tables):
        newest = _newest(out, place)
        wrong = [name for name in FIELDS if newest[name] != getattr(table, name)[-1]]
        require(not wrong, f"{', '.join(wrong)} of a good bar must be kept to the last digit, it was not")


def only_the_new_bar_comes_out(candidate: Candidate, seed: int) -> None:
    bars = _ingest(candidate, samples.tables(seed, whole=True)).accepted
    require(bars.n_bars == 1, f"one cycle accepts the one bar at its time, {bars.n_bars} came out")


def times_rise(candidate: Candidate, seed: int) -> None:
    since = BAR_TS - timedelta(minutes=30)
    bars = _ingest(candidate, samples.tables(seed), since=since).accepted
    require(bars.n_bars > 1, "after a pause every bar since then must come out, there was none")
    require(bool((np.diff(bars.ts.astype(np.int64)) > 0).all()), "times must rise strictly, they did not")


def prices_keep_their_order(candidate: Candidate, seed: int) -> None:
    out = _ingest(candidate, samples.tables(seed), since=BAR_TS - timedelta(minutes=45))
    for bars in (out.accepted, *out.higher):
        _in_order(bars)


def impossible_bars_are_refused(candidate: Candidate, seed: int) -> None:
    ways: tuple[tuple[str, str, Callable[[BarTable], float]], ...] = (
        ("a close that is no number", "close", lambda _: np.nan),
        ("an infinite high", "high", lambda _: np.inf),
        ("a price of zero", "low", lambda _: 0.0),
        ("a negative open", "open", lambda _: -1.0),
        ("a high below the low", "high", lambda table: table.low[-1] * 0.9),
        ("a low above the close", "low", lambda table: max(table.close[-1], table.open[-1]) * 1.01),
        ("a negative volume", "volume", lambda _: -5.0),
    )
    for what, name, value in ways:
        tables = samples.tables(seed, whole=True)
        values = getattr(tables[0], name).copy()
        values[-1] = value(tables[0])
        tables[0] = replace(tables[0], **{name: values})
        out = _ingest(candidate, tables)
        refused = np.isnan(_newest(out)["close"]) and SYMBOLS[0] in out.missing
        require(refused, f"a bar with {what} must be refused, it was accepted")
        require(out.problems, f"a bar with {what} must be told as a problem, there was none")


def a_missing_bar_stays_missing(candidate: Candidate, seed: int) -> None:
    tables = samples.tables(seed, whole=True)
    tables[1] = tables[1].take(slice(0, -1))
    tables[2] = tables[2].take(slice(0, 0))
    out = _ingest(candidate, tables)
    for place in (1, 2):
        figures = np.array(list(_newest(out, place).values()))
        require(np.isnan(figures).all(), "a bar that no source gave must stay missing, it got figures")
    require(set(out.missing) == set(SYMBOLS[1:N]), f"missing must name {SYMBOLS[1:N]}, was {out.missing}")


def no_source_at_all_is_no_error(candidate: Candidate, seed: int) -> None:
    out = _ingest(candidate, [table.take(slice(0, 0)) for table in samples.tables(seed)])
    require(set(out.missing) == set(SYMBOLS[:N]), f"without rows every symbol is missing, missing was {out.missing}")


def bars_of_the_future_are_refused(candidate: Candidate, seed: int) -> None:
    tables = samples.tables(seed, whole=True)
    plain = _ingest(candidate, tables)
    ahead = [_appended(table, table.ts[-1:] + MINUTE, 1.5) for table in tables]
    out = _ingest(candidate, ahead)
    last = out.accepted.ts[-1:] if out.accepted.n_bars else []
    require(all(last <= samples.timeline(1, TIMEFRAME)), f"no bar may be later than {BAR_TS}, one was at {last}")
    _equal(plain, out, "a bar that has not closed must change nothing")


def order_of_rows_does_not_matter(candidate: Candidate, seed: int) -> None:
    tables = samples.tables(seed, whole=True)
    rng = np.random.default_rng(seed)
    mixed = [table.take(rng.permutation(table.n_rows)) for table in tables]
    _equal(_ingest(candidate, tables), _ingest(candidate, mixed), "rows out of order must give the same bars")


def repeated_rows_count_once(candidate: Candidate, seed: int) -> None:
    tables = samples.tables(seed, whole=True)
    twice = [table.take(np.repeat(np.arange(table.n_rows), 2)) for table in tables]
    _equal(_ingest(candidate, tables), _ingest(candidate, twice), "rows that come twice must count once")


def higher_bars_are_made_of_their_parts(candidate: Candidate, seed: int) -> None:
    tables = samples.tables(seed, whole=True)
    out = _ingest(candidate, tables)
    found = {bars.timeframe: bars for bars in out.higher}
    require(set(found) == set(HIGHER), f"at a full hour {', '.join(HIGHER)} close, {', '.join(found) or 'none'} came")
    for name, n_parts in zip(HIGHER, (5, 15, 60), strict=True):
        for place, table in enumerate(tables):
            part = table.take(slice(-n_parts, None))
            wanted = (part.open[0], part.high.max(), part.low.min(), part.close[-1], part.volume.sum())
            seen = tuple(float(getattr(found[name], field)[-1, place]) for field in FIELDS)
            same = np.allclose(seen, wanted, rtol=1e-9, atol=0.0)
            require(same, f"the {name} bar must hold open, highest, lowest, close and sum of its {n_parts} parts")


def one_symbol_does_not_touch_another(candidate: Candidate, seed: int) -> None:
    tables = samples.tables(seed, whole=True)
    before = _ingest(candidate, tables)
    bad = replace(tables[0], close=tables[0].close * -1.0, high=np.full(tables[0].n_rows, np.nan))
    after = _ingest(candidate, [bad, *tables[1:]])
    for place in range(1, N):
        same = _newest(before, place) == _newest(after, place)
        require(same, f"bad rows of one symbol must not change {SYMBOLS[place]}, they did")


def problems_read_as_sentences(candidate: Candidate, seed: int) -> None:
    tables = samples.tables(seed, whole=True)
    tables[0] = replace(tables[0], close=np.full(tables[0].n_rows, np.nan))
    for problem in _ingest(candidate, tables).problems:
        text = str(problem)
        ok = getattr(problem, "symbol", "") in SYMBOLS and SYMBOLS[0] in text and len(text) > len(SYMBOLS[0]) + 5
        require(ok, f"a problem should name its symbol and say what is wrong, was {text!r:.80}")


def _in_order(bars: Bars) -> None:
    known = np.isfinite(bars.close)
    for name in FIELDS:
        values = getattr(bars, name)
        require((np.isfinite(values) == known).all(), f"a bar must be whole or absent, {name} was not")
    for name in PRICES:
        require((getattr(bars, name)[known] > 0).all(), f"{name} must be above zero in every bar, one was not")
    top = np.maximum(bars.open, bars.close)[known]
    bottom = np.minimum(bars.open, bars.close)[known]
    require((bars.high[known] >= top).all() and (bars.low[known] <= bottom).all(), "high and low must hold the others")
    require((bars.volume[known] >= 0).all(), "volume must not be negative, one was")


def _appended(table: BarTable, ts: Any, factor: float) -> BarTable:
    """The table with one more row, `factor` times its last."""
    more: dict[str, Any] = {name: np.append(getattr(table, name), factor * getattr(table, name)[-1]) for name in FIELDS}
    return replace(table, ts=np.append(table.ts, ts), row=np.append(table.row, table.row[-1] + 1), **more)


def _equal(one: Any, other: Any, sentence: str) -> None:
    pairs = zip((one.accepted, *one.higher), (other.accepted, *other.higher), strict=False)
    require(len(one.higher) == len(other.higher), f"{sentence}, but other timeframes came out")
    for left, right in pairs:
        require(left.ts.tolist() == right.ts.tolist(), f"{sentence}, but other times came out")
        for name in FIELDS:
            assertions.same(getattr(left, name), getattr(right, name), f"{sentence} ({name}, {left.timeframe})")


_ALL = (
    ("the result speaks of its bar and symbols", the_result_speaks_of_its_bar_and_symbols, True),
    ("a good bar is accepted as it came", a_good_bar_is_accepted_as_it_came, True),
    ("only the new bar comes out", only_the_new_bar_comes_out, True),
    ("times rise", times_rise, True),
    ("prices keep their order", prices_keep_their_order, True),
    ("impossible bars are refused", impossible_bars_are_refused, True),
    ("a missing bar stays missing", a_missing_bar_stays_missing, True),
    ("no source at all is no error", no_source_at_all_is_no_error, True),
    ("bars of the future are refused", bars_of_the_future_are_refused, True),
    ("order of rows does not matter", order_of_rows_does_not_matter, True),
    ("repeated rows count once", repeated_rows_count_once, True),
    ("higher bars are made of their parts", higher_bars_are_made_of_their_parts, True),
    ("one symbol does not touch another", one_symbol_does_not_touch_another, True),
    ("problems read as sentences", problems_read_as_sentences, False),
)
TESTS = (
    completeness.completeness_test("ingest"),
    *(GateTest(name=name, function=each, required=needed, contracts=("ingest",)) for name, each, needed in _ALL),
)
