"""The suite `ml`: what a predict module must hold. `run(predictor, features)` to (n_bars, n_symbols, 3)."""

from __future__ import annotations

import numpy as np

from helios.modules.suites import Candidate, GateTest, require
from tiers.contracts import FloatArray
from tiers.gates import assertions, completeness
from tiers.gates.predictors import RECEPTIVE, features, predictor

N_BARS, N_SYMBOLS = 80, 3
SUM_TOLERANCE = 1e-6

__all__ = ["TESTS"]


def _run(candidate: Candidate, seed: int, values: FloatArray) -> FloatArray:
    out = candidate.run(predictor(seed), values.copy())
    return assertions.array(out, "probabilities", (*values.shape[:2], 3))


def result_is_bars_by_symbols_by_three(candidate: Candidate, seed: int) -> None:
    for n_bars, n_symbols in ((N_BARS, N_SYMBOLS), (RECEPTIVE, 1), (RECEPTIVE - 1, 2)):
        _run(candidate, seed, features(seed, n_bars=n_bars, n_symbols=n_symbols))


def complete_input_gives_a_forecast(candidate: Candidate, seed: int) -> None:
    out = _run(candidate, seed, features(seed))
    assertions.finite(out[RECEPTIVE - 1 :], f"probabilities after {RECEPTIVE} complete rows")


def probabilities_lie_between_0_and_1(candidate: Candidate, seed: int) -> None:
    for values in (features(seed), 50.0 * features(seed + 1)):
        out = _run(candidate, seed, values)
        known = out[~np.isnan(out).any(axis=2)]
        require(len(known), "some row must carry a forecast, every row was NaN")
        assertions.within(known, 0.0, 1.0, "a probability", slack=0.0)


def rows_sum_to_1(candidate: Candidate, seed: int) -> None:
    out = _run(candidate, seed, features(seed))
    total = out[~np.isnan(out).any(axis=2)].sum(axis=1)
    assertions.within(total, 1.0, 1.0, "the sum of sell, hold and buy", slack=SUM_TOLERANCE)


def a_row_is_known_or_unknown_as_a_whole(candidate: Candidate, seed: int) -> None:
    unknown = np.isnan(_run(candidate, seed, _with_gaps(seed)))
    partly = unknown.any(axis=2) & ~unknown.all(axis=2)
    require(not partly.any(), f"a row must be NaN as a whole, {int(partly.sum())} rows are so in part")


def missing_input_gives_no_forecast(candidate: Candidate, seed: int) -> None:
    values = features(seed)
    row, symbol = N_BARS - 5, seed % N_SYMBOLS
    values[row, symbol, seed % values.shape[2]] = np.nan
    values[:, (symbol + 1) % N_SYMBOLS] = np.nan
    out = _run(candidate, seed, values)
    require(np.isnan(out[row, symbol]).all(), "a bar with a missing feature must have no forecast, it had one")
    absent = out[:, (symbol + 1) % N_SYMBOLS]
    require(np.isnan(absent).all(), "a symbol without features must have no forecast, it had one")


def too_short_a_history_gives_no_forecast(candidate: Candidate, seed: int) -> None:
    out = _run(candidate, seed, features(seed))
    early = np.isfinite(out[: RECEPTIVE - 1]).any()
    require(not early, f"the first {RECEPTIVE - 1} rows lack history and must have no forecast, some had one")


def the_future_changes_nothing(candidate: Candidate, seed: int) -> None:
    values = features(seed)
    before = _run(candidate, seed, values)
    for row in (RECEPTIVE, N_BARS // 2, N_BARS - 1):
        other = values.copy()
        other[row:] = 3.0 + 5.0 * features(seed + row)[row:]
        after = _run(candidate, seed, other)
        assertions.same(before[:row], after[:row], f"forecasts before bar {row} must not depend on bars from {row} on")
        cut = _run(candidate, seed, values[:row])
        assertions.same(before[:row], cut, f"forecasts before bar {row} must not depend on whether later bars exist")


def a_live_row_equals_the_batch(candidate: Candidate, seed: int) -> None:
    values = features(seed)
    batch = _run(candidate, seed, values)
    for row in (RECEPTIVE - 1, N_BARS // 2, N_BARS - 1):
        live = _run(candidate, seed, values[row - RECEPTIVE + 1 : row + 1])
        assertions.same(batch[row], live[-1], f"bar {row} from its last {RECEPTIVE} rows must equal the batch")


def the_predictor_is_left_as_it_was(candidate: Candidate, seed: int) -> None:
    used, values = predictor(seed), features(seed + 1)
    candidate.run(used, features(seed))
    sentence = "a worker keeps its predictor, which must forecast afterwards as before"
    assertions.same(predictor(seed).probabilities(values), used.probabilities(values), sentence)


def the_forecast_depends_on_the_features(candidate: Candidate, seed: int) -> None:
    one, other = _run(candidate, seed, features(seed)), _run(candidate, seed, features(seed + 1))
    moved = np.nanmax(np.abs(one - other))
    require(moved > assertions.TOLERANCE, "other features should give another forecast, they gave the same")


def symbols_are_read_by_themselves(candidate: Candidate, seed: int) -> None:
    values = features(seed)
    before = _run(candidate, seed, values)
    values[:, 0] = 2.0 + 4.0 * features(seed + 1)[:, 0]
    after = _run(candidate, seed, values)
    assertions.same(before[:, 1:], after[:, 1:], "a symbol's forecast should not move with another symbol's features")


def the_order_of_symbols_does_not_matter(candidate: Candidate, seed: int) -> None:
    values = features(seed)
    turned = _run(candidate, seed, np.ascontiguousarray(values[:, ::-1]))
    assertions.same(_run(candidate, seed, values), turned[:, ::-1], "symbols in another order should get the same")


def no_forecast_is_certain(candidate: Candidate, seed: int) -> None:
    out = _run(candidate, seed, features(seed))
    most = float(np.nanmax(out))
    require(most < 1.0 - 1e-12, "a probability should stay below 1, one was 1: a wrong one would cost without bound")


def _with_gaps(seed: int) -> FloatArray:
    values = features(seed)
    rng = np.random.default_rng(seed)
    values[rng.random(values.shape[:2]) < 0.01] = np.nan
    values[10:14, 0] = np.nan
    values[N_BARS - 3, 1, 5] = np.nan
    return values


PREDICT = ("predict",)
TESTS = (
    completeness.completeness_test("predict"),
    GateTest(name="result is bars by symbols by three", function=result_is_bars_by_symbols_by_three, contracts=PREDICT),
    GateTest(name="complete input gives a forecast", function=complete_input_gives_a_forecast, contracts=PREDICT),
    GateTest(name="probabilities lie between 0 and 1", function=probabilities_lie_between_0_and_1, contracts=PREDICT),
    GateTest(name="rows sum to 1", function=rows_sum_to_1, contracts=PREDICT),
    GateTest(
        name="a row is known or unknown as a whole", function=a_row_is_known_or_unknown_as_a_whole, contracts=PREDICT
    ),
    GateTest(name="missing input gives no forecast", function=missing_input_gives_no_forecast, contracts=PREDICT),
    GateTest(
        name="too short a history gives no forecast",
        function=too_short_a_history_gives_no_forecast,
        required=False,
        contracts=PREDICT,
    ),
    GateTest(name="the future changes nothing", function=the_future_changes_nothing, contracts=PREDICT),
    GateTest(name="a live row equals the batch", function=a_live_row_equals_the_batch, contracts=PREDICT),
    GateTest(name="the predictor is left as it was", function=the_predictor_is_left_as_it_was, contracts=PREDICT),
    GateTest(
        name="the forecast depends on the features",
        function=the_forecast_depends_on_the_features,
        required=False,
        contracts=PREDICT,
    ),
    GateTest(
        name="symbols are read by themselves",
        function=symbols_are_read_by_themselves,
        required=False,
        contracts=PREDICT,
    ),
    GateTest(
        name="the order of symbols does not matter",
        function=the_order_of_symbols_does_not_matter,
        required=False,
        contracts=PREDICT,
    ),
    GateTest(name="no forecast is certain", function=no_forecast_is_certain, required=False, contracts=PREDICT),
)
