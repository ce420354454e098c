"""Of a book that several models serve, each symbol is judged by the labels that its own model was trained on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tests.tiers.backtest.test_evidence import BARS, CARD, MODEL, PRIOR, RNG, backtest
from tiers.backtest import evidence
from tiers.predict import labels

OTHER = SimpleNamespace(
    card=SimpleNamespace(prior=CARD.prior, horizon_bars=2, theta=0.3, params={"volatility_bars": 40}), horizon_bars=2
)


def test_each_symbol_is_judged_by_the_labels_of_its_own_model() -> None:
    said = RNG.dirichlet((3.0, 4.0, 3.0), size=BARS.close.shape)
    found = evidence.of(backtest(said), BARS, [MODEL, OTHER, MODEL])
    rules = [(5, 0.5, 20), (2, 0.3, 40), (5, 0.5, 20)]
    made = [labels.make(BARS.close, horizon_bars=h, theta=theta, volatility_bars=n) for h, theta, n in rules]
    hits, ups, losses, naive = [], [], [], []
    for row in range(100, BARS.n_bars - 2):
        known = [c for c in range(3) if made[c].outcome[row, c] != labels.UNKNOWN]
        outcomes = [int(made[c].outcome[row, c]) for c in known]
        moves = [made[c].forward[row, c] for c in known]
        hits += [(said[row, c, 2] - said[row, c, 0]) * move > 0 for c, move in zip(known, moves, strict=True)]
        ups += [move > 0 for move in moves]
        losses.append(-np.mean([np.log(said[row, c, o]) for c, o in zip(known, outcomes, strict=True)]))
        naive.append(-np.mean(np.log(PRIOR[outcomes])))
    assert found is not None
    assert (found.n_bars, found.n_forecasts) == (900 - 100 - 2, 2 * (900 - 100 - 5) + 900 - 100 - 2)
    assert (found.hit_rate, found.always_up) == (pytest.approx(np.mean(hits)), pytest.approx(np.mean(ups)))
    assert found.log_loss == pytest.approx(np.mean(losses))
    assert found.class_frequencies_log_loss == pytest.approx(np.mean(naive))
