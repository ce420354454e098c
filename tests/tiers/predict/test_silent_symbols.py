"""A symbol that lacks what its model looks at: the others go on, and the cycle says which features it lacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tiers.predict.test_inference import FEATURES, MADE, _own_process, ask, book, registered
from trading.models import Book, MLModel

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_own_process")]
OF_VOLUME = ["vwap_gap_20", "illiquidity_5_20"]
__all__ = ["_own_process", "book"]  # fixtures


@pytest.fixture
def without_volume() -> np.ndarray:
    features = FEATURES.copy()
    features[:, 1, np.isin(MADE.columns, OF_VOLUME)] = np.nan
    return features


def test_a_symbol_without_volume_is_silent_and_said_to_be_beside_others(
    book: Book, tmp_path: Path, without_volume: np.ndarray
) -> None:
    registered(tmp_path, "first", 3)
    got = ask(book, features=without_volume)
    assert got.forecast.model_names == ("first", "")
    assert got.fallback == ""
    assert {symbol: sorted(lacking) for symbol, lacking in got.silent.items()} == {"BBB": sorted(OF_VOLUME)}


def test_a_symbol_without_a_bar_lacks_nothing(book: Book, tmp_path: Path) -> None:
    registered(tmp_path, "first", 3)
    closed, never = FEATURES.copy(), FEATURES.copy()
    closed[-1, 1], never[:, 1] = np.nan, np.nan
    for features in (FEATURES, closed, never):
        assert ask(book, features=features).silent == {}


def test_what_a_model_does_not_look_at_is_not_what_is_lacking(
    book: Book, tmp_path: Path, without_volume: np.ndarray
) -> None:
    model = registered(tmp_path, "first", 3)
    card = model.card | {"params": model.card["params"] | {"absent_features": OF_VOLUME[:1]}}
    MLModel.objects.filter(pk=model.pk).update(card=card)
    assert ask(book, features=without_volume).silent == {"BBB": OF_VOLUME[1:]}
