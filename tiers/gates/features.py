"""The part of the suite `data` that speaks of features modules: `run(bars)` to (n_bars, n_symbols, n_features)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from helios.modules.suites import Candidate, GateTest, require
from tiers.contracts import FloatArray
from tiers.features import catalog
from tiers.gates import assertions, inputs
from trading.market.bars import Bars

N_BARS, N_SYMBOLS = 480, 3
WINDOW = catalog.WINDOW_BARS
N_FEATURES = len(catalog.NAMES)
FIELDS = ("open", "high", "low", "close", "volume")
LIVE_TOLERANCE = 1e-8  # a live window forgets where it began, but for the rounding of its slowest recursion

__all__ = ["TESTS"]


def _features(candidate: Candidate, bars: Bars) -> FloatArray:
    return assertions.array(candidate.run(bars), "features", (bars.n_bars, bars.n_symbols, N_FEATURES))


def _bars(seed: int, *, whole: bool = False, n_bars: int = N_BARS) -> Bars:
    return inputs.bars(seed, n_bars=n_bars, n_symbols=N_SYMBOLS, whole=whole)


def _changed(bars: Bars, **fields: FloatArray) -> Bars:
    made: dict[str, Any] = fields
    return replace(bars, **made)


def _shocked(bars: Bars, row: int, seed: int) -> Bars:
    """The same bars up to `row`, other ones from there on, as whole as before."""
    rng = np.random.default_rng(seed)
    factor = 1.0 + 0.5 * rng.random((bars.n_bars - row, bars.n_symbols))
    fields = {name: getattr(bars, name).copy() for name in FIELDS}
    for values in fields.values():
        values[row:] *= factor
    return _changed(bars, **fields)


def result_is_bars_by_symbols_by_features(candidate: Candidate, seed: int) -> None:
    for n_bars in (N_BARS, WINDOW, 5, 1):
        _features(candidate, _bars(seed, n_bars=n_bars, whole=True))


def nothing_is_infinite(candidate: Candidate, seed: int) -> None:
    flat = _bars(seed, whole=True)
    still = np.full((N_BARS, N_SYMBOLS), 50.0)
    flat = _changed(flat, open=still, high=still, low=still, close=still, volume=np.zeros_like(still))
    for bars in (_bars(seed), flat):
        infinite = int(np.isinf(_features(candidate, bars)).sum())
        require(not infinite, f"a quotient by zero must be NaN or bounded, {infinite} values were infinite")


def whole_history_gives_every_feature(candidate: Candidate, seed: int) -> None:
    newest = _features(candidate, _bars(seed, whole=True))[-1]
    lacking = int(np.isnan(newest).sum())
    require(not lacking, f"a window of {N_BARS} whole bars must give every feature, {lacking} were missing")


def the_future_changes_nothing(candidate: Candidate, seed: int) -> None:
    bars = _bars(seed)
    before = _features(candidate, bars)
    for row in (N_BARS // 2, N_BARS - 20, N_BARS - 1):
        after = _features(candidate, _shocked(bars, row, seed))
        assertions.same(before[:row], after[:row], f"features before bar {row} must not depend on bars from {row} on")
        cut = _features(candidate, bars.rows(slice(0, row)))
        assertions.same(before[:row], cut, f"features before bar {row} must not depend on whether later bars exist")


def a_missing_bar_has_no_features(candidate: Candidate, seed: int) -> None:
    bars = _bars(seed)
    out = _features(candidate, bars)
    absent = np.isnan(bars.close)
    known = int(np.isfinite(out[absent]).sum())
    require(not known, f"where a symbol has no bar it has no features, {known} values were there")


def each_symbol_is_read_on_its_own_bars(candidate: Candidate, seed: int) -> None:
    bars = _bars(seed)
    out = _features(candidate, bars)
    own = np.isfinite(bars.close[:, 0])
    alone = Bars(
        timeframe=bars.timeframe,
        symbols=bars.symbols[:1],
        ts=bars.ts[own],
        **{name: np.ascontiguousarray(getattr(bars, name)[own, :1]) for name in FIELDS},
    )
    single = _features(candidate, alone)
    assertions.same(out[own, 0], single[:, 0], "a symbol must have the features of its own bars, as if it were alone")


def one_symbol_does_not_touch_another(candidate: Candidate, seed: int) -> None:
    bars, other = _bars(seed), _bars(seed + 1)
    fields = {name: getattr(bars, name).copy() for name in FIELDS}
    for name, values in fields.items():
        values[:, 0] = 7.0 * getattr(other, name)[:, 0]
    before, after = _features(candidate, bars), _features(candidate, _changed(bars, **fields))
    assertions.same(before[:, 1:], after[:, 1:], "a symbol's features must not move with another symbol's bars")


def a_live_window_equals_the_batch(candidate: Candidate, seed: int) -> None:
    bars = _bars(seed, whole=True)
    batch = _features(candidate, bars)
    for row in (WINDOW + 10, N_BARS - 1):
        live = _features(candidate, bars.rows(slice(row + 1 - WINDOW, row + 1)))
        assertions.same(
            batch[row],
            live[-1],
            f"the last {WINDOW} bars must give the features of the batch",
            tolerance=LIVE_TOLERANCE,
        )


def unknown_volume_stays_unknown(candidate: Candidate, seed: int) -> None:
    bars = _bars(seed, whole=True)
    volume = bars.volume.copy()
    volume[:, 0] = np.nan
    plain, out = _features(candidate, bars)[-1, 0], _features(candidate, _changed(bars, volume=volume))[-1, 0]
    known = np.isfinite(out)
    require(not known.all(), "features of the volume must be missing without it, all were there")
    require(known.any(), "features of the prices must stay without a volume, none did")
    assertions.same(plain[known], out[known], "features that need no volume must not change without it")


def features_move_with_the_market(candidate: Candidate, seed: int) -> None:
    one, other = _features(candidate, _bars(seed))[-1], _features(candidate, _bars(seed + 1))[-1]
    moved = float((np.abs(one - other) > assertions.TOLERANCE).mean())
    require(moved > 0.5, f"most features should differ between two markets, {moved:.0%} did")


def prices_may_have_any_scale(candidate: Candidate, seed: int) -> None:
    bars = _bars(seed, whole=True)
    scaled = {name: 1_024.0 * getattr(bars, name) for name in FIELDS[:4]}
    assertions.same(
        _features(candidate, bars)[-1],
        _features(candidate, _changed(bars, **scaled))[-1],
        "prices in another unit should give the same features",
        tolerance=1e-6,
    )


_ALL = (
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
TESTS = tuple(
    GateTest(name=name, function=function, required=required, contracts=("features",))
    for name, function, required in _ALL
)
