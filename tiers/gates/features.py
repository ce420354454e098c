"""The part of the suite `data` that speaks of features modules: bars by timeframe to (n_bars, n_symbols, n_columns)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from helios.modules.suites import Candidate, GateTest, require
from tiers.contracts import Bars, BarsByTimeframe, FeatureSet, FloatArray, shortest
from tiers.contracts.feature_sets import until
from tiers.gates import assertions, completeness, samples
from trading.market.bars import FIELDS

N_BARS, N_SYMBOLS, TIMEFRAME = 480, 3, "1h"
NAME_LETTERS = 32
LIVE_TOLERANCE = 1e-8  # a live window forgets where it began, but for the rounding of its slowest recursion

__all__ = ["TESTS"]


def _set(candidate: Candidate) -> FeatureSet:
    made: FeatureSet = candidate.implementation.feature_set(TIMEFRAME)
    return made


def _features(candidate: Candidate, bars: BarsByTimeframe) -> FloatArray:
    own = shortest(bars)
    expected = (own.n_bars, own.n_symbols, len(_set(candidate).columns))
    return assertions.array(candidate.run(bars), "features", expected)


def _bars(candidate: Candidate, seed: int, *, whole: bool = False) -> dict[str, Bars]:
    """A market in the timeframes of the set, longer than its window."""
    made = _set(candidate)
    market = samples.by_timeframe(seed, n_bars=max(N_BARS, made.window_bars + 96), n_symbols=N_SYMBOLS, whole=whole)
    return {name: market[name] for name in made.timeframes}


def _changed(
    bars: BarsByTimeframe, names: Sequence[str], change: Callable[[FloatArray], FloatArray]
) -> dict[str, Bars]:
    """The bars with some of their fields changed in every timeframe."""
    made = {}
    for timeframe, each in bars.items():
        fields: dict[str, Any] = {name: change(getattr(each, name).copy()) for name in names}
        made[timeframe] = replace(each, **fields)
    return made


def _window(bars: BarsByTimeframe, row: int, n_bars: int) -> dict[str, Bars]:
    """What a live cycle holds at that row of the shortest timeframe: the last bars of each that had closed."""
    closed = until(bars, shortest(bars).ts[row])
    return {name: each.rows(slice(max(0, each.n_bars - n_bars), None)) for name, each in closed.items()}


def the_set_names_its_columns_and_timeframes(candidate: Candidate, _seed: int) -> None:
    made = _set(candidate)
    assertions.fields(made, ("name", "version", "columns", "window_bars", "timeframes"), "a feature set")
    known = all(isinstance(text, str) and 0 < len(text) <= NAME_LETTERS for text in (made.name, made.version))
    require(known, f"a feature set needs a name and a version of at most {NAME_LETTERS} letters, had {made}")
    first = made.timeframes[0]
    require(first == TIMEFRAME, f"the set for {TIMEFRAME} must begin with {TIMEFRAME}, began with {first}")


def result_is_bars_by_symbols_by_features(candidate: Candidate, seed: int) -> None:
    bars = _bars(candidate, seed, whole=True)
    for n_bars in (N_BARS, _set(candidate).window_bars, 5, 1):
        _features(candidate, _window(bars, -1, n_bars))


def nothing_is_infinite(candidate: Candidate, seed: int) -> None:
    flat = _changed(_bars(candidate, seed, whole=True), FIELDS[:4], lambda values: np.full_like(values, 50.0))
    flat = _changed(flat, ("volume",), np.zeros_like)
    for bars in (_bars(candidate, seed), flat):
        infinite = int(np.isinf(_features(candidate, bars)).sum())
        require(not infinite, f"a quotient by zero must be NaN or bounded, {infinite} values were infinite")


def whole_history_gives_every_feature(candidate: Candidate, seed: int) -> None:
    bars = _bars(candidate, seed, whole=True)
    lacking = int(np.isnan(_features(candidate, bars)[-1]).sum())
    n_bars = shortest(bars).n_bars
    require(not lacking, f"a window of {n_bars} whole bars must give every feature, {lacking} were missing")


def the_future_changes_nothing(candidate: Candidate, seed: int) -> None:
    bars = _bars(candidate, seed)
    own = shortest(bars)
    before = _features(candidate, bars)
    for row in (own.n_bars // 2, own.n_bars - 20, own.n_bars - 1):
        last = own.ts[row - 1]
        after = _features(candidate, samples.shocked(bars, last, seed))
        assertions.same(before[:row], after[:row], f"features before bar {row} must not depend on bars from {row} on")
        cut = _features(candidate, until(bars, last))
        assertions.same(before[:row], cut, f"features before bar {row} must not depend on whether later bars exist")


def a_missing_bar_has_no_features(candidate: Candidate, seed: int) -> None:
    bars = _bars(candidate, seed)
    out = _features(candidate, bars)
    absent = np.isnan(shortest(bars).close)
    known = int(np.isfinite(out[absent]).sum())
    require(not known, f"where a symbol has no bar it has no features, {known} values were there")


def each_symbol_is_read_on_its_own_bars(candidate: Candidate, seed: int) -> None:
    bars = _bars(candidate, seed)
    own = np.isfinite(shortest(bars).close[:, 0])
    out, single = _features(candidate, bars), _features(candidate, {name: _alone(each) for name, each in bars.items()})
    assertions.same(out[own, 0], single[:, 0], "a symbol must have the features of its own bars, as if it were alone")


def _alone(bars: Bars) -> Bars:
    own = np.isfinite(bars.close[:, 0])
    fields: dict[str, Any] = {name: np.ascontiguousarray(getattr(bars, name)[own, :1]) for name in FIELDS}
    return Bars(timeframe=bars.timeframe, symbols=bars.symbols[:1], ts=bars.ts[own], **fields)


def one_symbol_does_not_touch_another(candidate: Candidate, seed: int) -> None:
    def other(values: FloatArray) -> FloatArray:
        values[:, 0] *= 7.0 + np.arange(len(values)) % 5
        return values

    bars = _bars(candidate, seed)
    before, after = _features(candidate, bars), _features(candidate, _changed(bars, FIELDS, other))
    assertions.same(before[:, 1:], after[:, 1:], "a symbol's features must not move with another symbol's bars")


def a_live_window_equals_the_batch(candidate: Candidate, seed: int) -> None:
    bars, n_bars = _bars(candidate, seed, whole=True), _set(candidate).window_bars
    batch = _features(candidate, bars)
    for row in (n_bars + 10, len(batch) - 1):
        live = _features(candidate, _window(bars, row, n_bars))
        assertions.same(
            batch[row],
            live[-1],
            f"the last {n_bars} bars must give the features of the batch",
            tolerance=LIVE_TOLERANCE,
        )


def unknown_volume_stays_unknown(candidate: Candidate, seed: int) -> None:
    def gone(values: FloatArray) -> FloatArray:
        values[:, 0] = np.nan
        return values

    bars = _bars(candidate, seed, whole=True)
    plain, out = _features(candidate, bars)[-1, 0], _features(candidate, _changed(bars, ("volume",), gone))[-1, 0]
    known = np.isfinite(out)
    require(known.any(), "features of the prices must stay without a volume, none did")
    assertions.same(plain[known], out[known], "features of the volume must be missing without it")


def features_move_with_the_market(candidate: Candidate, seed: int) -> None:
    one, other = (_features(candidate, _bars(candidate, each))[-1] for each in (seed, seed + 1))
    moved = float((np.abs(one - other) > assertions.TOLERANCE).mean())
    require(moved > 0.5, f"most features should differ between two markets, {moved:.0%} did")


def prices_may_have_any_scale(candidate: Candidate, seed: int) -> None:
    bars = _bars(candidate, seed, whole=True)
    assertions.same(
        _features(candidate, bars)[-1],
        _features(candidate, _changed(bars, FIELDS[:4], lambda values: 1_024.0 * values))[-1],
        "prices in another unit should give the same features",
        tolerance=1e-6,
    )


_ALL = (
    ("the set names its columns and timeframes", the_set_names_its_columns_and_timeframes, True),
    ("result is bars by symbols by features", result_is_bars_by_symbols_by_features, True),
    ("nothing is infinite", nothing_is_infinite, True),
    ("whole history gives every feature", whole_history_gives_every_feature, True),
    ("the future changes nothing", the_future_changes_nothing, True),
    ("a missing bar has no features", a_missing_bar_has_no_features, True),
    ("each symbol is read on its own bars", each_symbol_is_read_on_its_own_bars, True),
    ("one symbol does not touch another", one_symbol_does_not_touch_another, True),
    ("a live window equals the batch", a_live_window_equals_the_batch, True),
    ("unknown volume stays unknown", unknown_volume_stays_unknown, True),
    ("features move with the market", features_move_with_the_market, False),
    ("prices may have any scale", prices_may_have_any_scale, False),
)
TESTS = (
    completeness.completeness_test("features"),
    *(
        GateTest(name=name, function=function, required=needed, contracts=("features",))
        for name, function, needed in _ALL
    ),
)
