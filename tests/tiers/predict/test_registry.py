"""Training from stored bars, the registry of models, and the command."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError

from helios.errors import DataError, ModelMissing, Rejected
from helios.events.models import SystemEvent
from tests.support.commands import printed
from tests.support.live_market import make_bars
from tests.support.networks import QUICK, card
from tiers.features.catalog import FEATURE_SET, SET_VERSION
from tiers.features.compute import compute
from tiers.predict import artefact
from tiers.predict.train import TrainParams
from tiers.research import train
from trading.market import instruments
from trading.market import write as market
from trading.models import MLModel
from trading.registry import read as selectors
from trading.registry import write as registry

BASE = (FEATURE_SET, SET_VERSION)

pytestmark = pytest.mark.django_db
SYMBOLS = ("AAA", "BBB")
BARS = make_bars(SYMBOLS, n_bars=1200, seed=4)
BAD_RANGES = ["20210101", "", "2021-2022", "202111-", "20210101-20210102-"]
SHORT = TrainParams(n_folds=1, fit=replace(QUICK.fit, max_epochs=2))


@pytest.fixture
def stored(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """1200 daily bars of two symbols, a training of two epochs, and a folder of its own for models."""
    settings.VAR_DIR = tmp_path
    monkeypatch.setattr(train, "TrainParams", partial(TrainParams, n_folds=1, fit=SHORT.fit))
    for symbol in SYMBOLS:
        instruments.ensure_instrument(symbol, "equity")
    market.upsert_bars(BARS, "test")
    return tmp_path / "models"


def trained(**changes: Any) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "symbols": SYMBOLS,
        "timeframe": "1d",
        "preset": "compact",
        "seed": 7,
        "span": None,
        "role": None,
        "progress": None,
    }
    return train.train_and_register(**{**wanted, **changes})


def run(*arguments: str) -> str:
    return printed("train", "--symbols", "AAA,BBB", *arguments)


def test_the_first_seventy_percent_train_a_champion(stored: Path) -> None:
    got = trained()
    model = MLModel.objects.get()
    assert (model.name, model.role, got["role"], got["reused"]) == (got["name"], "champion", "champion", False)
    assert model.trained_from.isoformat() == got["trained_from"] == train.utc(BARS.ts[0]).isoformat()
    assert model.trained_to.isoformat() == got["trained_to"] == train.utc(BARS.ts[839]).isoformat()
    assert selectors.champion("1d", *BASE, SYMBOLS) == model
    loaded = artefact.load(stored / got["name"])
    assert model.path == f"models/{got['name']}"
    assert selectors.folder_of(model) == stored / got["name"]
    assert loaded.card.weights_sha256 == model.weights_sha256
    assert loaded.card.sha256 == model.artifact_sha256
    assert loaded.card.symbols == list(SYMBOLS)
    assert model.card == json.loads(json.dumps(loaded.card.to_json()))
    assert np.isfinite(loaded.probabilities(compute(BARS))[-1]).all()
    assert len(got["folds"]) == 1
    assert got["folds"][0]["test_to"] <= got["trained_to"]
    assert json.loads(json.dumps(got)) == got


def test_the_same_training_again_is_reused_and_a_damaged_one_is_made_again(stored: Path) -> None:
    first = trained()
    before = MLModel.objects.get().weights_sha256
    again = trained()
    assert again["reused"] is True
    assert {**again, "elapsed_s": 0, "reused": False} == {**first, "elapsed_s": 0}
    (stored / first["name"] / artefact.WEIGHTS).write_bytes(b"torn")
    third = trained()
    assert third["reused"] is False
    assert MLModel.objects.get().weights_sha256 == before, "the same bits from the same data and seed"


def test_an_edited_card_is_made_again_also_where_its_hash_was_edited_too(stored: Path) -> None:
    name = trained()["name"]
    whole = artefact.read_card(stored / name)
    edited = replace(whole, temperature=whole.temperature * 2).to_json()
    for card_of_theirs in (edited, {**edited, artefact.SHA256: whole.sha256}):
        (stored / name / artefact.CARD).write_text(json.dumps(card_of_theirs))
        assert trained()["reused"] is False
        assert artefact.read_card(stored / name).temperature == whole.temperature
        assert MLModel.objects.get().artifact_sha256 == artefact.read_card(stored / name).sha256


def test_a_second_champion_archives_the_first_and_a_challenger_stands_beside_it(stored: Path) -> None:
    first, second = trained(seed=7), trained(seed=8)
    assert first["name"] != second["name"]
    challenger = trained(seed=9, role="challenger")
    roles = dict(MLModel.objects.values_list("name", "role"))
    assert roles == {first["name"]: "archived", second["name"]: "champion", challenger["name"]: "challenger"}
    assert selectors.champion("1d", *BASE, SYMBOLS).name == second["name"]
    found = selectors.challenger("1d", *BASE, SYMBOLS)
    assert found is not None
    assert found.name == challenger["name"]


def test_corrected_bars_give_another_model(stored: Path) -> None:
    def identity(bars: Any = BARS, params: Any = SHORT, seed: int = 7, **features: Any) -> str:
        return train._identity(bars, params, seed, replace(train._source(None, BARS), **features))

    first = identity()
    close = BARS.close.copy()
    close[100, 0] += 0.01
    others = [
        identity(replace(BARS, close=close)),
        identity(seed=8),
        identity(params=replace(SHORT, theta=0.6)),
        identity(label="1.0.0+of_others"),
    ]
    assert len({first, *others}) == 5
    assert identity() == first


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"span": (None, train.utc(BARS.ts[598]))}, "training needs at least 600 bars, AAA, BBB 1d has 599"),
        ({"symbols": ["AAA", "ZZZ"]}, "no 1d bars of ZZZ are stored; stored are AAA, BBB"),
        ({"symbols": []}, "symbols must be at least one and each only once, were none"),
        ({"timeframe": "2d"}, "timeframe must be one of"),
        ({"preset": "huge"}, "preset must be one of compact, base, was 'huge'"),
    ],
    ids=["too few bars", "unknown symbol", "no symbol", "timeframe", "preset"],
)
def test_what_cannot_be_trained_is_refused_and_leaves_nothing(stored: Path, changes: Any, text: str) -> None:
    with pytest.raises(DataError, match=text):
        trained(**changes)
    assert not MLModel.objects.exists()
    assert not stored.exists()


def test_the_command_prints_one_json_object(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    got = json.loads(run("--json", "--role", "challenger", "--timerange", "20210104-20231231"))
    expected = {"name", "role", "reused", "preset", "seed", "symbols", "timeframe", "n_rows", "n_features"}
    expected |= {"folds", "metrics", "trained_from", "trained_to", "path", "elapsed_s"}
    assert expected <= set(got)
    assert (got["role"], got["seed"], got["symbols"]) == ("challenger", 7, ["AAA", "BBB"])
    assert got["trained_from"] == "2021-01-04T21:00:00+00:00"
    assert got["trained_to"] == "2023-12-29T21:00:00+00:00"
    assert set(got["metrics"]) == {"model", "baseline", "persistence"}
    assert "training: 4 of 4 steps, final model, epoch 2" in capsys.readouterr().err


def test_the_command_shows_a_table(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    run()
    shown = capsys.readouterr().out
    assert "Trained compact-1d-" in shown
    assert "Reused compact-1d-" in shown
    assert "log loss, less is better" in shown
    assert re.search(r"BUY and SELL calls +│ [\d,]+ +│", shown)
    assert "AAA, BBB 1d, 2021-01-04 to 2024-03-2" in shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((one, f"--timerange must be like 20050101-20121231, was {one!r}") for one in BAD_RANGES),
        ("20211301-", "--timerange must name days of the calendar, 20211301 in '20211301-' is none"),
        ("20220101-20210101", "--timerange must begin before it ends, was '20220101-20210101'"),
        ("19000101-19001231", "no 1d bars of AAA, BBB from 1900-01-01 00:00 UTC until 1901-01-01 00:00 UTC"),
        ("99990101-99991230", "no 1d bars of AAA, BBB from 9999-01-01 00:00 UTC until"),
    ],
)
def test_a_bad_timerange_is_one_sentence(stored: Path, text: str, expected: str) -> None:
    with pytest.raises(CommandError) as caught:
        run(f"--timerange={text}")
    assert str(caught.value).startswith(expected)
    assert caught.value.returncode == 1
    assert not MLModel.objects.exists()


def test_the_command_says_when_the_model_cannot_be_written(stored: Path) -> None:
    stored.write_text("a file where the folder should be")
    with pytest.raises(CommandError, match=r"the model cannot be written: .*models"):
        run()
    assert not MLModel.objects.exists()


def entry(name: str, **changes: Any) -> dict[str, Any]:
    return replace(card(b"weights"), name=name, **changes).to_json()


def test_a_model_without_a_role_becomes_champion_of_its_timeframe_only() -> None:
    daily = registry.register_model(entry("daily"), path="there")
    hourly = registry.register_model(entry("hourly", timeframe="1h"), path="there")
    assert (daily.role, hourly.role) == ("champion", "champion")
    assert (selectors.champion("1d", *BASE, SYMBOLS), selectors.champion("1h", *BASE, SYMBOLS)) == (daily, hourly)
    assert (daily.path, daily.horizon_bars, daily.metrics) == ("there", 5, {"model": {"log_loss": 1.0}})
    assert registry.registered("daily") == daily
    assert registry.registered("weekly") is None


def described(**classes: str) -> None:
    for symbol, asset_class in classes.items():
        instruments.ensure_instrument(symbol.replace("_", "/"), asset_class)


def test_a_model_serves_no_other_asset_class_than_those_it_was_trained_on() -> None:
    described(SPY="equity", AAPL="equity", BTC_USD="crypto", ETH_USD="crypto")
    stocks = registry.register_model(entry("stocks", timeframe="1h", symbols=["SPY"]), path="there")
    for wanted in (["BTC/USD"], ["SPY", "BTC/USD"]):
        with pytest.raises(ModelMissing) as missing:
            selectors.champion("1h", *BASE, wanted)
        assert str(missing.value) == (
            f"no trained model for timeframe 1h and the asset class of {', '.join(wanted)}, there is one of SPY: "
            f"run `python manage.py train --timeframe 1h --symbols {','.join(wanted)}`"
        )
    assert selectors.champion("1h", *BASE, ["AAPL"]) == stocks
    coins = registry.register_model(entry("coins", timeframe="1h", symbols=["BTC/USD"]), path="there")
    assert selectors.champion("1h", *BASE, ["ETH/USD"]) == coins
    assert selectors.champion("1h", *BASE, ["SPY"]) == stocks, "each universe has a champion of its own"
    with pytest.raises(ModelMissing, match="asset classes of BTC/USD, it was trained on SPY"):
        selectors.refuse_other_classes(stocks, ["BTC/USD"])
    selectors.refuse_other_classes(stocks, ["AAPL"])


@pytest.mark.parametrize(
    ("wanted", "serves"),
    [("A B C", "three"), ("A B", "two"), ("A", "one"), ("C D", "three"), ("D", "newest"), ("B D", "two")],
)
def test_of_several_the_model_that_saw_the_most_of_the_symbols_and_the_fewest_others_serves(
    wanted: str, serves: str
) -> None:
    described(A="equity", B="equity", C="equity", D="equity", E="equity")
    universes = {"three": "C A B", "two": "B A", "one": "A", "newest": "E"}
    for role in ("champion", "challenger"):
        for name, symbols in universes.items():
            model = entry(f"{name}-{role}", symbols=symbols.split())
            registry.register_model(model, path="there", role=role)
    assert selectors.champion("1d", *BASE, wanted.split()).name == f"{serves}-champion"
    found = selectors.challenger("1d", *BASE, wanted.split())
    assert found is not None
    assert found.name == f"{serves}-challenger"


def test_the_order_of_the_symbols_makes_no_other_universe() -> None:
    for name, symbols in (("first", ["A", "B"]), ("second", ["B", "A"])):
        registry.register_model(entry(name, symbols=symbols), path="there")
    assert dict(MLModel.objects.values_list("name", "role")) == {"first": "archived", "second": "champion"}


def test_symbols_that_a_model_never_saw_are_said_in_a_sentence() -> None:
    model = registry.register_model(entry("stocks", symbols=["IBM", "AAPL"]), path="there")
    assert selectors.unseen(model, ["AAPL", "FB", "GE"]) == "stocks never saw FB, GE: it was trained on AAPL, IBM."
    assert selectors.unseen(model, ["IBM"]) == ""


def test_the_same_name_again_renews_the_row() -> None:
    registry.register_model(entry("one"), path="there", role="challenger")
    registry.register_model(entry("one", seed=9), path="elsewhere", role="champion")
    model = MLModel.objects.get()
    assert (model.role, model.seed, model.path) == ("champion", 9, "elsewhere")
    assert selectors.challenger("1d", *BASE, SYMBOLS) is None
    told = SystemEvent.objects.filter(subject="one").order_by("id")
    assert [event.kind for event in told] == ["model.registered", "model.renewed"]
    assert [event.data["role"] for event in told] == ["challenger", "champion"]


def test_archived_models_stand_beside_each_other() -> None:
    for name in ("one", "two"):
        registry.register_model(entry(name), path="there", role="archived")
    assert set(MLModel.objects.values_list("role", flat=True)) == {"archived"}
    with pytest.raises(ModelMissing, match=r"no trained model for timeframe 1d: run `python manage.py train"):
        selectors.champion("1d", *BASE, SYMBOLS)


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(Rejected, match="role must be one of champion, challenger, archived, was 'king'"):
        registry.register_model(entry("one"), path="there", role="king")
    assert not MLModel.objects.exists()
