"""`manage.py train` from stored bars to a registered artifact, and each of its one-sentence refusals."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from tests.support.commands import answered
from tests.support.feature_markets import random_walk
from tiers.predict import calibration
from tiers.predict.fitting import FitParams
from tiers.predict.train import TrainParams
from tiers.research import train as training
from trading.market import read as market
from trading.market.bars import FIELDS
from trading.market.write import upsert_bars
from trading.models import Instrument, MLModel
from trading.registry.read import unseen

pytestmark = pytest.mark.django_db
QUICK = TrainParams(n_folds=2, fit=FitParams(max_epochs=2, patience=2, segment_bars=64))


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where models are kept in this test; training takes two epochs."""
    monkeypatch.setattr(settings, "VAR_DIR", tmp_path)
    monkeypatch.setattr(training, "TrainParams", lambda preset: replace(QUICK, preset=preset))
    return tmp_path / "models"


@pytest.fixture
def stored() -> None:
    upsert_bars(replace(random_walk(1400, 2, seed=6), symbols=("ONE", "TWO")), "test")


def train(*words: str) -> dict[str, Any]:
    result: dict[str, Any] = answered("train", "--symbols", "ONE,TWO", "--timeframe", "1h", *words)
    return result


@pytest.mark.usefixtures("stored", "models")
def test_last_third_of_the_history_is_held_out_and_the_card_says_so():
    result = train()
    bars = market.bar_range(["ONE", "TWO"], "1h")
    cut = int(0.7 * bars.n_bars)
    assert result["trained_from"] == f"{bars.ts[0].item().isoformat()}+00:00"
    assert result["trained_to"] == f"{bars.ts[cut - 1].item().isoformat()}+00:00"
    assert result["holdout_from"] == f"{bars.ts[cut].item().isoformat()}+00:00"
    assert max(fold["test_to"] for fold in result["folds"]) <= result["trained_to"]


@pytest.mark.usefixtures("models")
def test_symbols_without_any_volume_get_a_model_that_does_without_it():
    walk = replace(random_walk(1400, 2, seed=6), symbols=("ONE", "TWO"))
    for symbol in walk.symbols:
        Instrument.objects.create(symbol=symbol, asset_class="crypto", quantity_step="0.001", price_tick="0.01")
    upsert_bars(replace(walk, volume=0 * walk.volume), "test")
    result = train()
    (note,) = [note for note in result["notes"] if "volume" in note]
    assert note.startswith("The volume of ONE, TWO is always 0: the model does without vwap_gap_20, ")
    assert {"vwap_gap_20", "illiquidity_5_20"} <= set(MLModel.objects.get().card["params"]["absent_features"])
    reasons = answered("backtest", "--symbols", "ONE,TWO", "--timeframe", "1h")["reasons"]
    assert not [sentence for sentence in reasons if "No model spoke" in sentence]


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize(
    ("field", "why"),
    [("volume", "it has no value of vwap_gap_20, "), ("close", "it has 74 bars, and the first row takes 97.")],
)
def test_a_symbol_of_which_no_row_was_trained_on_is_named_and_is_none_of_the_models(field: str, why: str):
    walk = replace(random_walk(1400, 2, seed=6), symbols=("ONE", "TWO"))
    if field == "volume":
        walk = replace(walk, volume=walk.volume * np.array([1.0, 0.0]))
    else:  # listed a few bars before the end of the training
        late = {name: getattr(walk, name).copy() for name in FIELDS}
        for values in late.values():
            values[:905, 1] = np.nan
        walk = replace(walk, **late)
    upsert_bars(walk, "test")
    for result in (train(), train()):  # made, and there already
        (note,) = [note for note in result["notes"] if "trained on" in note]
        assert note.startswith(f"No row of TWO was trained on, and the model does not stand for it: {why}")
        assert result["symbols"] == ["ONE"]
    model = MLModel.objects.get()
    assert model.symbols == model.card["symbols"] == ["ONE"]
    assert unseen(model, ["ONE", "TWO"]) == f"{model.name} never saw TWO: it was trained on ONE."


@pytest.mark.usefixtures("stored", "models")
@pytest.mark.parametrize(("temperature", "n_told"), [(100.0, 1), (1.7, 0)])
def test_a_temperature_that_ends_on_its_bound_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], temperature: float, n_told: int
):
    monkeypatch.setattr(calibration, "fit_temperature", lambda *_, **__: temperature)
    told, result = "The temperature ended at its upper bound 100: ", train()
    assert [note.startswith(told) for note in result["notes"]].count(True) == n_told
    call_command("train", "--symbols", "ONE,TWO", "--timeframe", "1h")
    said = capsys.readouterr().out
    assert said.count(told) == n_told
    assert "(champion)" in said
    assert "It serves books of this timeframe and these symbols from their next bar on" in said


STILL = "its price never moves, so there is no move to label"


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize(
    ("volume", "why"),
    [
        (0.0, f"(ONE, TWO: {STILL})"),
        (5.0, f"(ONE, TWO: {STILL} and it has no value of return_1, "),
        ((0.0, 5.0), f"(ONE: {STILL} and it has no value of return_1, "),
    ],
)
def test_where_no_number_of_bars_helps_none_is_asked_for(volume: float | tuple[float, float], why: str):
    walk, level = random_walk(1400, 2), np.full((1400, 2), 10.0)
    still = dict.fromkeys(("open", "high", "low", "close"), level) | {"volume": 0 * level + volume}
    upsert_bars(replace(walk, symbols=("ONE", "TWO"), **still), "test")
    with pytest.raises(CommandError) as caught:
        train()
    assert f"training needs complete, labelled rows, there were none in 979 bars {why}" in str(caught.value)
    assert not re.search(r"more bars|bars are needed", str(caught.value))


@pytest.mark.usefixtures("models")
def test_a_refusal_says_which_of_the_stored_bars_count():
    upsert_bars(replace(random_walk(700, 2, seed=6), symbols=("ONE", "TWO")), "test")
    with pytest.raises(CommandError, match=r"600 bars, ONE, TWO 1h has 489 \(without --timerange the first 70% of tho"):
        train()


@pytest.mark.usefixtures("stored", "models")
def test_other_seed_role_and_span_make_other_models():
    first = train()
    second = train("--seed", "8", "--role", "challenger")
    third = train("--timerange", "20200101-20200220", "--role", "archived")
    assert len({first["name"], second["name"], third["name"]}) == 3
    assert third["trained_to"] == "2020-02-21T00:00:00+00:00"  # the midnight that ends the day
    roles = dict(MLModel.objects.values_list("name", "role"))
    assert roles == {first["name"]: "champion", second["name"]: "challenger", third["name"]: "archived"}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--symbols", "ONE,NOPE"], "NOPE"),
        (["--symbols", ""], "at least one"),
        (["--timeframe", "7m"], "timeframe must be one of"),
        (["--preset", "huge"], "preset must be one of compact, base, was 'huge'"),
        (["--timerange", "20200101-20200110"], r"training needs at least 600 bars, ONE, TWO 1h has 240$"),
        (["--timerange", "20300101-20310101"], "no 1h bars of ONE, TWO"),
    ],
)
@pytest.mark.usefixtures("stored")
def test_wrong_request_is_one_sentence_and_leaves_nothing(words: list[str], text: str, models: Path):
    with pytest.raises(CommandError, match=text) as caught:
        train(*words)
    assert "\n" not in str(caught.value)
    assert not models.exists()
    assert not MLModel.objects.exists()
