"""The part of the suite `trading` that speaks of strategies: `run(close, start_row=0)` to weights, NaN: as it is."""

from __future__ import annotations

import numpy as np

from helios.modules.suites import Candidate, GateTest, require
from tiers.contracts import FloatArray
from tiers.gates import assertions, samples
from tiers.gates.calls import STRATEGY

N_BARS = 300

__all__ = ["TESTS"]


def _close(seed: int) -> FloatArray:
    return np.ascontiguousarray(samples.bars(seed, n_bars=N_BARS).close)


def _weights(candidate: Candidate, close: FloatArray, start_row: int = 0) -> FloatArray:
    return assertions.array(candidate.run(close.copy(), start_row=start_row), "weights", close.shape)


def weights_are_finite_or_absent(candidate: Candidate, seed: int) -> None:
    out = _weights(candidate, _close(seed))
    require(not np.isinf(out).any(), "a weight must be a number or NaN, some were infinite")


def the_book_never_borrows(candidate: Candidate, seed: int) -> None:
    """What was asked for last sums to at most 1, as it was asked or as prices have carried it since."""
    close = _close(seed)
    out, last = _weights(candidate, close), close[0]
    asked = carried = np.zeros(out.shape[1])
    for row, prices in zip(out, close, strict=True):
        growth = np.nan_to_num(prices / last, nan=1.0)
        carried = carried * growth / (1.0 + (carried * (growth - 1.0)).sum())
        last = np.where(np.isnan(prices), last, prices)
        asked, carried = (np.where(np.isnan(row), weights, row) for weights in (asked, carried))
        gross = min(float(np.abs(weights).sum()) for weights in (asked, carried))
        require(
            gross <= 1.0 + assertions.TOLERANCE, f"the wanted weights must sum to at most 1, they reached {gross:.4f}"
        )


def the_future_changes_nothing(candidate: Candidate, seed: int) -> None:
    close = _close(seed)
    before = _weights(candidate, close)
    for row in (N_BARS // 3, N_BARS // 2, N_BARS - 1):
        after = _weights(candidate, samples.Shock(row=row, seed=seed).of(close))
        assertions.same(before[:row], after[:row], f"weights before bar {row} must not depend on bars from {row} on")
        cut = _weights(candidate, close[:row])
        assertions.same(before[:row], cut, f"weights before bar {row} must not depend on whether later bars exist")


def nothing_is_wanted_before_the_start(candidate: Candidate, seed: int) -> None:
    start = N_BARS // 2
    early = _weights(candidate, _close(seed), start_row=start)[:start]
    require(np.isnan(early).all(), f"rows before start_row only warm up and must be NaN, {start} rows were not")


def what_has_no_bar_is_not_traded(candidate: Candidate, seed: int) -> None:
    close = _close(seed)
    out = _weights(candidate, close)
    traded = int((np.isfinite(out) & np.isnan(close)).sum())
    require(not traded, f"a symbol can only be traded at its own bars, {traded} weights were elsewhere")


def prices_may_have_any_scale(candidate: Candidate, seed: int) -> None:
    close = _close(seed)
    assertions.same(
        _weights(candidate, close),
        _weights(candidate, close * 1_024.0),
        "prices in another unit should give the same weights",
    )


_ALL = (
    ("weights are finite or absent", weights_are_finite_or_absent, True),
    ("the book never borrows", the_book_never_borrows, True),
    ("the future changes nothing", the_future_changes_nothing, True),
    ("nothing is wanted before the start", nothing_is_wanted_before_the_start, True),
    ("what has no bar is not traded", what_has_no_bar_is_not_traded, True),
    ("prices may have any scale", prices_may_have_any_scale, False),
)
TESTS = tuple(
    GateTest(name=name, function=function, required=required, contracts=(STRATEGY,))
    for name, function, required in _ALL
)
