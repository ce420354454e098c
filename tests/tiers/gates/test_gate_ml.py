"""The suite `ml` catches what is wrong with a predictor: one wrong implementation for each of its properties."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.mutants import caught, names, one, shipped
from tiers.gates.predictors import RECEPTIVE, features, predictor
from tiers.predict import network

PLAIN = shipped("predict")


@pytest.fixture(autouse=True)
def _one_thread():
    """As in the gate process."""
    with network.threads(1):
        yield


def looks_ahead(model, values):
    out = PLAIN(model, values)
    out[:-1] = 0.9 * out[:-1] + 0.1 * out[1:]
    return out


def smooths_over_the_whole_batch(model, values):
    out = PLAIN(model, values)
    return out * 0.9 + 0.1 * np.nanmean(out, axis=(0, 1))


def knows_when_the_series_ends(model, values):
    out = PLAIN(model, values)
    out[-3:, :, :] = (0.2, 0.2, 0.6)
    return out


def remembers_the_first_bar(model, values):
    out = PLAIN(model, values)
    known = np.isfinite(out).all(axis=2)
    shift = np.tanh(np.nan_to_num(values[0, :, 0])) * 0.01
    out[known] += (shift[None, :, None] * np.array([-1.0, 0.0, 1.0]))[np.zeros(len(out), int)][known]
    return out


def does_not_normalise(model, values):
    return 0.9 * PLAIN(model, values)


def is_out_of_range(model, values):
    out = PLAIN(model, values)
    out[..., 0] -= 1.0
    out[..., 2] += 1.0
    return out


def fills_missing_input(model, values):
    return PLAIN(model, np.nan_to_num(values))


def fills_forecasts(model, values):
    out = PLAIN(model, values)
    out[np.isnan(out).any(axis=2)] = (0.3, 0.4, 0.3)
    return out


def knows_rows_in_part(model, values):
    out = PLAIN(model, values)
    out[..., 1] = np.where(np.isnan(out[..., 1]), 0.4, out[..., 1])
    return out


def never_speaks(model, values):
    return np.full((*values.shape[:2], 3), np.nan)


def says_the_same_always(model, values):
    out = PLAIN(model, values)
    out[np.isfinite(out).all(axis=2)] = (0.3, 0.4, 0.3)
    return out


def mixes_symbols(model, values):
    out = PLAIN(model, values)
    return 0.5 * out + 0.5 * out.mean(axis=1, keepdims=True)


def prefers_the_first_symbol(model, values):
    out = PLAIN(model, values)
    out[:, 0] = 0.5 * out[:, 0] + (0.1, 0.1, 0.3)
    return out


def is_certain(model, values):
    out = PLAIN(model, values)
    known = np.isfinite(out).all(axis=2)
    out[known] = np.eye(3)[out[known].argmax(axis=1)]
    return out


def adapts_its_predictor(model, values):
    model._mean += 0.01 * np.nanmean(values, axis=(0, 1))
    return PLAIN(model, values)


def has_another_shape(model, values):
    return PLAIN(model, values)[..., :2]


def is_single_precision(model, values):
    return PLAIN(model, values).astype(np.float32)


MUTANTS = [
    (looks_ahead, "the future changes nothing", "must not depend on bars from"),
    (smooths_over_the_whole_batch, "the future changes nothing", "must not depend on"),
    (knows_when_the_series_ends, "the future changes nothing", "whether later bars exist"),
    (remembers_the_first_bar, "a live row equals the batch", "must equal the batch"),
    (does_not_normalise, "rows sum to 1", "the sum of sell, hold and buy must be from 1 to 1, was 0.9"),
    (is_out_of_range, "probabilities lie between 0 and 1", "a probability must be from 0 to 1, was -"),
    (fills_missing_input, "missing input gives no forecast", "must have no forecast, it had one"),
    (fills_forecasts, "missing input gives no forecast", "must have no forecast, it had one"),
    (fills_forecasts, "too short a history gives no forecast", "lack history"),
    (knows_rows_in_part, "a row is known or unknown as a whole", "rows are so in part"),
    (never_speaks, "complete input gives a forecast", "must be finite, was nan"),
    (never_speaks, "probabilities lie between 0 and 1", "every row was NaN"),
    (adapts_its_predictor, "the predictor is left as it was", "must forecast afterwards as before, but 450 values"),
    (says_the_same_always, "the forecast depends on the features", "they gave the same"),
    (mixes_symbols, "symbols are read by themselves", "should not move with another symbol's features"),
    (prefers_the_first_symbol, "the order of symbols does not matter", "symbols in another order"),
    (is_certain, "no forecast is certain", "one was 1"),
    (has_another_shape, "result is bars by symbols by three", "must be float64 (80, 3, 3), was float64 (80, 3, 2)"),
    (is_single_precision, "result is bars by symbols by three", "was float32"),
]


def test_the_shipped_predictor_passes_every_test():
    for seed in (7, 8):
        assert caught("predict", PLAIN, seed=seed) == {}


@pytest.mark.parametrize(("run", "name", "message"), MUTANTS, ids=lambda each: getattr(each, "__name__", None))
def test_a_wrong_predictor_is_caught_by(run, name: str, message: str):
    assert message in one("predict", run, name)


def test_every_property_has_a_wrong_predictor():
    assert {name for _, name, _ in MUTANTS} == names("predict")


def test_a_blend_with_the_prior_is_a_good_challenger():
    def blended(model, values):
        """Less sure of itself than the network."""
        return 0.8 * PLAIN(model, values) + 0.2 * np.array(model.card.prior)

    assert caught("predict", blended) == {}
    assert caught("predict", blended, "generic").keys() <= {"it says what it is", "one call is fast"}


def test_the_predictor_of_the_gate_is_a_real_one_that_speaks():
    model = predictor(1)
    out = model.probabilities(features(1))
    assert (model.receptive_bars, model.horizon_bars) == (RECEPTIVE, 5)
    assert np.nanstd(out, axis=(0, 1)).min() > 1e-3
    assert (predictor(1).probabilities(features(1))[-1] == out[-1]).all()
    assert not (predictor(2).probabilities(features(1))[-1] == out[-1]).any()
