"""Which model serves which symbol, and the neutral forecast where none can."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.db import OperationalError, connection

from helios.breakers import journal, process
from helios.errors import ModelMissing, Rejected
from helios.events.models import SystemEvent
from helios.modules.errors import WatchedCallFailed
from tests.support.networks import RECEPTIVE, save_model
from tiers import features as features_module
from tiers import predict
from tiers.contracts import Switches
from tiers.contracts.protocols import Replaced
from tiers.features import catalog
from tiers.live import inference
from tiers.live.inference import Outcome
from tiers.predict import artefact
from trading.books.write import create_book
from trading.market import instruments
from trading.models import Book, MLModel
from trading.registry import artefacts
from trading.registry import read as selectors
from trading.registry import write as registry

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_own_process")]
AT = datetime(2024, 1, 2, 21, tzinfo=UTC)
MADE = features_module.feature_set("1d")
FEATURES = np.random.default_rng(1).normal(size=(RECEPTIVE + 9, 2, len(catalog.NAMES)))


@pytest.fixture
def _own_process(clean_redis: object, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> object:
    """Breakers and models as a fresh process has them."""
    settings.VAR_DIR = tmp_path
    process.forget()
    # The journal commits on a connection of its own, past this test's transaction; its own tests cover it.
    monkeypatch.setattr(journal, "write", lambda _entry: None)
    monkeypatch.setattr(artefacts, "_loaded", {})
    monkeypatch.setattr(inference, "_announced", {})
    yield
    process.forget()


@pytest.fixture
def book() -> Book:
    for symbol in ("AAA", "BBB"):
        instruments.ensure_instrument(symbol, "equity")
    money = {"initial_cash": Decimal(1000), "fee_bps": Decimal(1), "slippage_bps": Decimal(0)}
    return create_book("desk", mode="paper", timeframe="1d", symbols=["AAA", "BBB"], **money)


def registered(
    folder: Path, name: str, seed: int, role: str = "champion", horizon: int = 5, timeframe: str = "1d"
) -> MLModel:
    written = save_model(folder / name, seed=seed, name=name, horizon_bars=horizon, timeframe=timeframe)
    return registry.register_model(written.to_json(), path=name, role=role)


def own(model: MLModel) -> np.ndarray:
    return artefact.load(selectors.folder_of(model)).probabilities(FEATURES)[-1]


def ask(book: Book, *served: str, features: np.ndarray = FEATURES, tier: Any = predict) -> Outcome:
    return behind_the_breaker(book, tier, *served, features=features)


def behind_the_breaker(book: Book, tier: Any, *served: str, features: np.ndarray = FEATURES) -> Outcome:
    switches = Switches(neural_network_v2=served)
    asked = partial(inference.ask, book, switches, bar_ts=AT, made=MADE, rows=lambda rows: features[-rows:])
    return inference.forecast(asked, tier, bar_ts=AT, symbols=tuple(book.symbols))


def assert_neutral(got: Outcome, reason: str) -> None:
    assert got.fallback == "neutral_forecast"
    assert reason in got.reason
    assert np.isnan(got.forecast.probability).all()
    assert got.forecast.probability.shape == (2, 3)
    assert (got.forecast.model_names, got.served_by) == (("", ""), {})
    assert got.forecast.bar_ts == AT


def test_the_champion_serves_every_symbol(book: Book, tmp_path: Path) -> None:
    champion = registered(tmp_path, "first", 3)
    got = ask(book)
    np.testing.assert_allclose(got.forecast.probability, own(champion), rtol=0, atol=1e-12)
    assert got.forecast.model_names == ("first", "first")
    assert (got.forecast.symbols, got.forecast.horizon_bars, got.forecast.bar_ts) == (("AAA", "BBB"), (5, 5), AT)
    assert (got.served_by, got.fallback) == ({"first": champion}, "")


def test_a_pinned_model_serves_in_place_of_the_champion(book: Book, tmp_path: Path) -> None:
    registered(tmp_path, "first", 3)
    pinned = registered(tmp_path, "pinned", 4, role="archived", horizon=3)
    book.model_name = "pinned"
    assert inference.model_for(book, MADE) == pinned
    got = ask(book)
    np.testing.assert_allclose(got.forecast.probability, own(pinned), rtol=0, atol=1e-12)
    assert (got.forecast.model_names, got.forecast.horizon_bars) == (("pinned", "pinned"), (3, 3))


def test_a_symbol_that_the_model_never_saw_is_told_once(book: Book, tmp_path: Path) -> None:
    champion = registered(tmp_path, "first", 3)
    instruments.ensure_instrument("CCC", "equity")
    book.symbols = ["CCC", "BBB"]
    for _ in range(2):
        assert ask(book).served_by == {"first": champion}
    told = SystemEvent.objects.get(kind="model.unseen_symbols").data["reason"]
    assert told == "first never saw CCC: it was trained on AAA, BBB."


def test_a_pin_on_nothing_and_one_on_another_asset_class_are_told(book: Book, tmp_path: Path) -> None:
    registered(tmp_path, "first", 3)
    book.model_name = "gone"
    with pytest.raises(ModelMissing, match="book 'desk' is pinned to model 'gone', which does not exist"):
        inference.model_for(book, MADE)
    assert_neutral(ask(book), "pinned to model 'gone'")
    instruments.ensure_instrument("BTC/USD", "crypto")
    book.symbols, book.model_name = ["BTC/USD", "BBB"], "first"
    assert_neutral(ask(book), "on the asset classes of BTC/USD, BBB, it was trained on AAA, BBB")


def test_without_a_model_the_forecast_is_neutral_and_names_the_command(book: Book) -> None:
    assert_neutral(ask(book), "run `python manage.py train --timeframe 1d --symbols AAA,BBB`")
    assert inference.receptive_bars(book) == inference.DEFAULT_RECEPTIVE_BARS


def another_network(folder: Path) -> None:
    save_model(folder, seed=4, name="first")


def another_card(folder: Path) -> None:
    """Whoever writes the card can write a hash into it as well; the registry's they do not reach."""
    card = artefact.read_card(folder)
    edited = replace(card, temperature=card.temperature / 2).to_json()
    (folder / artefact.CARD).write_text(json.dumps(edited))


@pytest.mark.parametrize("put_in_its_place", [another_network, another_card])
def test_what_has_another_hash_is_not_served(
    book: Book, tmp_path: Path, put_in_its_place: Callable[[Path], None]
) -> None:
    registered(tmp_path, "first", 3)
    put_in_its_place(tmp_path / "first")
    card = tmp_path / "first" / artefact.CARD
    assert_neutral(ask(book), f"{card} and its weights must have the hash that was registered")
    assert artefacts._loaded == {}


def test_a_card_from_before_cards_carried_their_hash_is_served(book: Book, tmp_path: Path) -> None:
    registered(tmp_path, "first", 3)
    old = artefact.read_card(tmp_path / "first").to_json()
    del old[artefact.SHA256]
    (tmp_path / "first" / artefact.CARD).write_text(json.dumps(old))
    assert ask(book).fallback == ""


def test_a_project_that_was_moved_finds_its_models(book: Book, tmp_path: Path, settings: Any) -> None:
    settings.VAR_DIR = tmp_path / "var"
    champion = registered(tmp_path / "var", "first", 3)
    settings.VAR_DIR = (tmp_path / "var").rename(tmp_path / "renamed")
    assert ask(book).served_by == {"first": champion}


def test_a_copied_project_reads_its_own_models(book: Book, tmp_path: Path, settings: Any) -> None:
    settings.VAR_DIR = tmp_path / "var"
    registered(tmp_path / "var", "first", 3)
    settings.VAR_DIR = shutil.copytree(tmp_path / "var", tmp_path / "copy")
    (tmp_path / "copy" / "first" / artefact.WEIGHTS).write_bytes(b"torn")
    assert_neutral(ask(book), str(tmp_path / "copy" / "first"))


@pytest.mark.parametrize("path", ["/elsewhere/first", "../first", "models/../../first", ""])
def test_a_model_lies_below_var(book: Book, tmp_path: Path, path: str) -> None:
    model = registered(tmp_path, "first", 3)
    MLModel.objects.filter(pk=model.pk).update(path=path)
    assert_neutral(ask(book), f"the folder of model first must be relative to var/ and below it, was {path!r}")
    with pytest.raises(Rejected, match="path of model first must be relative to var/ and stay below it"):
        registry.register_model(model.card, path=path)


def test_damaged_weights_are_not_served(book: Book, tmp_path: Path) -> None:
    model = registered(tmp_path, "first", 3)
    (selectors.folder_of(model) / artefact.WEIGHTS).write_bytes(b"torn")
    assert_neutral(ask(book), "must have the hash of their card")


def test_the_challenger_serves_only_the_symbols_it_is_given(book: Book, tmp_path: Path) -> None:
    champion = registered(tmp_path, "first", 3)
    challenger = registered(tmp_path, "second", 4, role="challenger", horizon=2)
    got = ask(book, "BBB", "ZZZ")
    np.testing.assert_allclose(got.forecast.probability[0], own(champion)[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(got.forecast.probability[1], own(challenger)[1], rtol=0, atol=1e-12)
    assert not np.allclose(own(champion)[1], own(challenger)[1])
    assert (got.forecast.model_names, got.forecast.horizon_bars) == (("first", "second"), (5, 2))
    assert got.served_by == {"first": champion, "second": challenger}
    alone = ask(book)
    assert alone.forecast.model_names == ("first", "first")
    assert alone.served_by == {"first": champion}


def test_a_symbol_without_complete_input_has_no_forecast_and_no_model(book: Book, tmp_path: Path) -> None:
    registered(tmp_path, "first", 3)
    features = FEATURES.copy()
    features[-2, 1, 0] = np.nan
    got = ask(book, features=features)
    assert np.isfinite(got.forecast.probability[0]).all()
    assert np.isnan(got.forecast.probability[1]).all()
    assert (got.forecast.model_names, got.fallback) == (("first", ""), "")


def test_a_breaker_that_is_open_gives_the_neutral_forecast(book: Book, tmp_path: Path) -> None:
    registered(tmp_path, "first", 3)

    def broken(*_: object) -> np.ndarray:
        raise RuntimeError("the machine is away")

    for _ in range(3):
        assert behind_the_breaker(book, broken).fallback == "neutral_forecast"
    assert_neutral(ask(book), "neural_network")


def loading(*answers: object) -> object:
    """A load of features that fails in its turn."""
    left = list(answers)

    def load(n_rows: int) -> np.ndarray:
        answer = left.pop(0)
        if callable(answer):
            answer()
        return FEATURES[-n_rows:]

    return load


def ask_wrongly() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")


def take_too_long() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 1; SELECT pg_sleep(60)")


def lose() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


ASKED_WRONGLY, TOOK_TOO_LONG = (
    "DataError: division by zero",
    "OperationalError: canceling statement due to statement time",
)


@pytest.mark.parametrize(
    ("answers", "fallback", "reason"),
    [
        ((None, ask_wrongly), "champion_for_challenger", ASKED_WRONGLY),
        ((ask_wrongly,), "neutral_forecast", ASKED_WRONGLY),
        ((None, take_too_long), "champion_for_challenger", TOOK_TOO_LONG),
        ((take_too_long,), "neutral_forecast", TOOK_TOO_LONG),
    ],
)
def test_a_read_that_fails_leaves_the_stage_its_transaction(
    book: Book, tmp_path: Path, answers: tuple[object, ...], fallback: str, reason: str
) -> None:
    registered(tmp_path, "first", 3)
    registered(tmp_path, "second", 4, role="challenger")
    asked = partial(
        inference.ask, book, Switches(neural_network_v2=("BBB",)), bar_ts=AT, made=MADE, rows=loading(*answers)
    )
    got = inference.forecast(asked, predict, bar_ts=AT, symbols=tuple(book.symbols))
    assert got.fallback == fallback
    assert got.reason.startswith(reason)
    assert Book.objects.get() == book


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("answers", [(None, lose), (lose,)])
def test_a_database_that_is_away_is_no_failure_of_a_model(
    book: Book, tmp_path: Path, answers: tuple[object, ...]
) -> None:
    registered(tmp_path, "first", 3)
    registered(tmp_path, "second", 4, role="challenger")
    switches = Switches(neural_network_v2=("BBB",))
    for _ in range(4):  # as many as open the breaker
        asked = partial(inference.ask, book, switches, bar_ts=AT, made=MADE, rows=loading(*answers))
        with pytest.raises(OperationalError):
            inference.forecast(asked, predict, bar_ts=AT, symbols=tuple(book.symbols))
        connection.close()
    assert ask(book).fallback == ""


def test_the_failure_of_a_version_under_watch_passes_and_opens_no_breaker(book: Book, tmp_path: Path) -> None:
    registered(tmp_path, "first", 3)

    def watched(*_: object) -> np.ndarray:
        raise WatchedCallFailed("predict", "2.0.0", RuntimeError("the new code is broken"))

    for _ in range(4):
        with pytest.raises(WatchedCallFailed, match="the new code is broken"):
            behind_the_breaker(book, Replaced(predict, run=watched))
    assert ask(book).fallback == ""


def test_a_model_is_read_once_a_process(book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = registered(tmp_path, "first", 3)
    assert artefacts.loaded(model, predict.load) is artefacts.loaded(model, predict.load)
    monkeypatch.setattr(artefact, "load", lambda _: pytest.fail("read again"))
    assert ask(book).fallback == ""


def test_the_widest_model_decides_how_many_rows_are_read(book: Book, tmp_path: Path) -> None:
    champion = registered(tmp_path, "first", 3)
    assert inference.receptive_bars(book) == RECEPTIVE
    registry.register_model({**champion.card, "name": "second", "receptive_bars": 127}, path="there", role="challenger")
    assert inference.receptive_bars(book) == 127


def test_warming_loads_every_model_in_service(tmp_path: Path) -> None:
    assert inference.warm() == 0
    first = registered(tmp_path, "first", 3)
    second = registered(tmp_path, "second", 4, role="challenger")
    registered(tmp_path, "third", 5, role="archived")
    assert inference.warm() == 2
    assert set(artefacts._loaded) == {
        (each.name, each.artifact_sha256, inference.in_use().load.__module__) for each in (first, second)
    }


def test_a_model_that_cannot_be_warmed_is_named_once_and_keeps_no_other_cold(tmp_path: Path) -> None:
    good = [registered(tmp_path, "first", 3), registered(tmp_path, "last", 5, role="challenger")]
    broken = registered(tmp_path, "hourly", 4, timeframe="1h")
    (selectors.folder_of(broken) / artefact.CARD).unlink()
    for _ in range(2):
        assert inference.warm() == 2
    assert {name for name, *_ in artefacts._loaded} == {each.name for each in good}
    told = SystemEvent.objects.get(kind="model.not_warmed")
    assert (told.subject, told.severity) == ("hourly", "warning")
    assert "must hold a readable card.json" in told.data["reason"]


def test_a_model_that_was_promoted_is_warmed_and_what_no_longer_serves_is_let_go(
    book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(tmp_path, "first", 3)
    inference.warm()
    registered(tmp_path, "second", 4)
    pinned = registered(tmp_path, "third", 5, role="archived")
    assert inference.warm() == 1
    assert [name for name, *_ in artefacts._loaded] == ["second"]
    Book.objects.filter(pk=book.pk).update(model_name=pinned.name, active=True)
    assert inference.warm() == 2
    monkeypatch.setattr(artefacts, "_read", lambda *_: pytest.fail("read in a cycle"))
    assert ask(book, tier=inference.in_use()).served_by.keys() == {"second"}
    book.model_name = pinned.name
    assert ask(book, tier=inference.in_use()).served_by.keys() == {"third"}


def test_of_many_models_the_least_recently_used_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefacts, "MAX_LOADED", 2)
    first, second, third = (registered(tmp_path, f"model-{n}", n, role="archived") for n in range(3))
    for each in (first, second, first, third):
        artefacts.loaded(each, predict.load)
    assert [name for name, *_ in artefacts._loaded] == [first.name, third.name]


def test_threads_that_want_a_model_at_once_read_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, real, read = registered(tmp_path, "first", 3), artefact.load, []
    together = threading.Barrier(4)

    def load(folder: Path) -> artefact.Predictor:
        read.append(folder)
        return real(folder)

    def want(_: int) -> object:
        together.wait()
        return artefacts.loaded(model, predict.load)

    monkeypatch.setattr(artefact, "load", load)
    with ThreadPoolExecutor(4) as pool:
        assert len(set(map(id, pool.map(want, range(4))))) == 1
    assert len(read) == 1
