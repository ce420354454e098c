"""The suite `data` catches what is wrong with ingest and features: a wrong one for each property."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.mutants import caught, names, one, shipped
from tiers.contracts import shortest
from tiers.gates import samples
from trading.market.bars import FIELDS, Bars

INGEST, FEATURES = shipped("ingest"), shipped("features")


def result(change):
    """The shipped result, changed."""

    def run(rows, **arguments):
        return change(INGEST(rows, **arguments), rows)

    return run


def given(change):
    """The shipped stage on rows that were changed before."""

    def run(rows, **arguments):
        return INGEST([change(table) for table in rows], **arguments)

    return run


def bars_with(bars: Bars, **changes) -> Bars:
    return replace(bars, **{name: change(getattr(bars, name)) for name, change in changes.items()})


def accepted(**changes):
    return result(lambda out, _: replace(out, accepted=bars_with(out.accepted, **changes)))


def mended(table):
    """Prices that are impossible made possible: zero and negative ones positive, unknown ones the close before."""
    values = {}
    for name in FIELDS:
        value = np.abs(getattr(table, name))
        values[name] = np.where(np.isfinite(value) & (value > 0), value, 50.0)
    top = np.maximum.reduce([values[name] for name in FIELDS[:4]])
    bottom = np.minimum.reduce([values[name] for name in FIELDS[:4]])
    return replace(table, **{**values, "high": top, "low": bottom})


def fills_forward(out, rows):
    bars = out.accepted
    fields = {name: getattr(bars, name).copy() for name in FIELDS}
    for place, table in enumerate(rows):
        if bars.n_bars and np.isnan(bars.close[-1, place]) and table.n_rows:
            for name in FIELDS:
                fields[name][-1, place] = getattr(table, name)[-1]
    return replace(out, accepted=replace(bars, **fields))


def takes_all(rows, *, timeframe, bar_ts, calendars, since=None):
    return INGEST(
        rows, timeframe=timeframe, bar_ts=bar_ts, calendars=calendars, since=rows[0].ts[0].item().astimezone()
    )


def wants_rows(rows, **arguments):
    return INGEST(
        [table.take(slice(0, max(1, table.n_rows))) if table.n_rows else rows[9] for table in rows], **arguments
    )


def takes_the_future(rows, *, timeframe, bar_ts, calendars, since=None):
    ahead = max(table.ts[-1] if table.n_rows else samples.timeline(1, "1m")[0] for table in rows)
    from datetime import UTC

    later = max(bar_ts, ahead.item().replace(tzinfo=UTC))
    return replace(INGEST(rows, timeframe=timeframe, bar_ts=later, calendars=calendars, since=since), bar_ts=bar_ts)


def first_row_wins(table):
    _, first = np.unique(table.ts, return_index=True)
    return table.take(first)


def sums_repeats(table):
    order = np.argsort(table.ts, kind="stable")
    ordered = table.take(order)
    _, index, count = np.unique(ordered.ts, return_index=True, return_counts=True)
    kept = ordered.take(index)
    return replace(kept, volume=kept.volume * count)


def trusts_the_order(table):
    rising = np.concatenate([[True], table.ts[1:] > np.maximum.accumulate(table.ts)[:-1]]) if table.n_rows else []
    return table.take(np.asarray(rising, dtype=np.bool_))


def averages_symbols(rows, **arguments):
    out = INGEST(rows, **arguments)
    level = np.nanmean([table.close.mean() for table in rows])
    return replace(out, accepted=bars_with(out.accepted, volume=lambda values: values + level))


def backwards(out, _rows):
    bars = out.accepted
    return replace(out, accepted=replace(bars, ts=bars.ts[::-1]))


def nothing(out, rows):
    return replace(out, accepted=out.accepted.rows(slice(0, 0)))


MUTANTS = [
    (
        "the result speaks of its bar and symbols",
        result(lambda out, _: replace(out, accepted=replace(out.accepted, symbols=("A", "B", "C")))),
        "symbols must keep their order",
    ),
    ("the result speaks of its bar and symbols", result(lambda out, _: out.accepted), "Bars lacks bar_ts"),
    ("a good bar is accepted as it came", accepted(close=lambda values: np.round(values, 2)), "close of a good bar"),
    ("a good bar is accepted as it came", result(nothing), "no symbol lacks its bar"),
    ("only the new bar comes out", takes_all, "59 came out"),
    ("times rise", result(backwards), "times must rise strictly"),
    ("times rise", result(nothing), "there was none"),
    ("prices keep their order", accepted(high=lambda values: values * 0.9), "high and low must hold the others"),
    ("prices keep their order", accepted(volume=lambda values: -values), "volume must not be negative"),
    ("prices keep their order", accepted(low=lambda values: values * 0.0), "low must be above zero"),
    ("prices keep their order", accepted(open=lambda values: values * np.nan), "a bar must be whole or absent"),
    ("impossible bars are refused", given(mended), "must be refused, it was accepted"),
    ("impossible bars are refused", result(lambda out, _: replace(out, problems=())), "must be told as a problem"),
    ("a missing bar stays missing", result(fills_forward), "must stay missing, it got figures"),
    ("no source at all is no error", wants_rows, "IndexError"),
    ("bars of the future are refused", takes_the_future, "no bar may be later than"),
    ("order of rows does not matter", given(trusts_the_order), "rows out of order must give the same bars"),
    ("repeated rows count once", given(sums_repeats), "rows that come twice must count once"),
    (
        "higher bars are made of their parts",
        result(lambda out, _: replace(out, higher=tuple(bars_with(b, high=lambda v: v * 1.01) for b in out.higher))),
        "must hold open, highest, lowest, close and sum of its 5 parts",
    ),
    ("higher bars are made of their parts", result(lambda out, _: replace(out, higher=())), "close, none came"),
    ("one symbol does not touch another", averages_symbols, "must not change BBB, they did"),
    ("problems read as sentences", result(lambda out, _: replace(out, problems=("bad",))), "should name its symbol"),
]


@pytest.mark.parametrize(("name", "run", "message"), MUTANTS)
def test_a_wrong_ingest_module_is_caught_by(name: str, run, message: str):
    assert message in one("ingest", run, name)


def test_every_property_has_a_wrong_ingest_module():
    assert {name for name, _, _ in MUTANTS} == names("ingest")


def test_keeping_the_first_of_two_rows_is_a_fair_choice():
    assert caught("ingest", given(first_row_wins)) == {}


# --- features ---


def changed(change):
    def run(bars):
        return change(np.array(FEATURES(bars)), shortest(bars))

    return run


def on(**changes):
    """The shipped features of bars that were changed before."""

    def run(bars):
        return FEATURES({name: bars_with(each, **changes) for name, each in bars.items()})

    return run


def normalises_over_everything(out, _bars):
    with np.errstate(invalid="ignore"):
        return out - out[np.isfinite(out)].mean() if np.isfinite(out).any() else out


def peeks(out, _bars):
    out[:-1, :, 0] = out[1:, :, 0]
    return out


def fills(values):
    filled = values.copy()
    for row in range(1, len(filled)):
        filled[row] = np.where(np.isnan(filled[row]), filled[row - 1], filled[row])
    return filled


def counts_bars(out, bars):
    out[..., 0] += np.arange(bars.n_bars)[:, None] * 1e-3
    return out


def ranks_symbols(out, _bars):
    with np.errstate(invalid="ignore"):
        out[..., 1] = out[..., 1] - np.nanmax(np.nan_to_num(out[..., 1], nan=-9.0), axis=1, keepdims=True)
    return out


def on_the_clock(out, bars):
    """As if a gap were a bar: shifted by the rows of the common timeline."""
    moved = np.full_like(out, np.nan)
    moved[1:] = out[:-1]
    out[..., 2] = np.where(np.isfinite(bars.close), np.nan_to_num(moved[..., 2]), np.nan)
    return out


def divides_by_zero(out, bars):
    with np.errstate(divide="ignore", invalid="ignore"):
        out[..., 3] = 1.0 / np.where(bars.volume == 0, 0.0, bars.volume)
    return out


FEATURE_MUTANTS = [
    (
        "result is bars by symbols by features",
        changed(lambda out, _: out[..., :-1]),
        "features must be float64 (480, 3, ",
    ),
    ("nothing is infinite", changed(divides_by_zero), "values were infinite"),
    ("whole history gives every feature", changed(lambda out, _: out * np.nan), "must give every feature"),
    ("the future changes nothing", changed(normalises_over_everything), "must not depend on"),
    ("the future changes nothing", changed(peeks), "must not depend on"),
    ("a missing bar has no features", on(**dict.fromkeys(FIELDS, fills)), "it has no features"),
    ("each symbol is read on its own bars", changed(on_the_clock), "features of its own bars, as if it were alone"),
    ("one symbol does not touch another", changed(ranks_symbols), "must not move with another symbol's bars"),
    ("a live window equals the batch", changed(counts_bars), "must give the features of the batch"),
    ("unknown volume stays unknown", on(volume=lambda v: np.nan_to_num(v, nan=1.0)), "must be missing without it"),
    ("features move with the market", changed(lambda out, _: np.where(np.isnan(out), out, 0.0)), "0% did"),
    ("prices may have any scale", changed(lambda out, b: out + b.close[..., None]), "prices in another unit"),
]


@pytest.mark.parametrize(("name", "run", "message"), FEATURE_MUTANTS)
def test_a_wrong_features_module_is_caught_by(name: str, run, message: str):
    assert message in one("features", run, name)


def test_every_property_has_a_wrong_features_module():
    assert {name for name, _, _ in FEATURE_MUTANTS} == names("features")


@pytest.mark.parametrize(("stage", "run"), [("ingest", INGEST), ("features", FEATURES)])
def test_what_ships_passes_every_test(stage: str, run):
    for seed in (7, 8, 9):
        assert caught(stage, run, seed=seed) == {}


def test_the_worlds_of_the_gate_are_those_of_the_contract():
    bars = samples.bars(7)
    known = np.isfinite(bars.close)
    assert known[-1].all()
    assert 0.01 < (~known[200:]).mean() < 0.1
    assert (bars.high[known] >= np.maximum(bars.open, bars.close)[known]).all()
    assert samples.bars(7, whole=True).ts[-1] == np.datetime64("2024-03-06T15:00")
    again = samples.bars(7)
    assert (again.close[known] == bars.close[known]).all()
