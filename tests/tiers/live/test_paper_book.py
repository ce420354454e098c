"""`paper_book`: a book that trades what comes in, where a model speaks of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError

from tests.support import networks
from tests.support.commands import answered, printed
from tests.support.live_market import make_bars, stored
from tiers.live import book_params
from trading.models import Book
from trading.registry import artefacts

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _market(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.VAR_DIR = tmp_path
    monkeypatch.setattr(artefacts, "_loaded", {})
    stored(make_bars(("AAPL", "IBM"), n_bars=60, seed=3))


def run(*words: str) -> dict[str, Any]:
    return answered("paper_book", "live", "--symbols", "AAPL,IBM", "--timeframe", "1d", *words)


def test_a_book_of_the_tiers_or_of_a_strategy_begins_with_the_next_bar(tmp_path: Path) -> None:
    networks.serve(tmp_path, "AAPL", "IBM", name="both")
    assert run("--cash", "5000", "--strategy", "sma_cross", "--params", '{"fast": 3, "slow": 8}')["active"] is True
    book = Book.objects.get()
    assert (book.mode, book.cash, book.strategy) == (
        "paper",
        5000,
        {"name": "sma_cross", "params": {"fast": 3, "slow": 8}},
    )
    assert book.active
    words = ("--symbols", "AAPL,IBM", "--timeframe", "1d", "--strategy", "sma_cross")
    assert "trades inside the limits of the other tiers" in printed("paper_book", "told", *words)
    with pytest.raises(CommandError, match="name must be free"):
        run()


def test_without_a_model_it_would_buy_nothing_and_is_refused() -> None:
    with pytest.raises(CommandError, match="no trained model"):
        run("--strategy", "buy_and_hold")
    assert not Book.objects.exists()


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ("[1]", r"--params must be a JSON object such as \{\"name\": 10\}, was '\[1\]'"),
        ('{"execute": {"most": 1}}', "execute|most"),
        ('{"fast": 1}', "fast"),
    ],
)
def test_parameters_of_the_tiers_are_the_books_own_and_others_are_refused(
    tmp_path: Path, params: str, told: str
) -> None:
    networks.serve(tmp_path, "AAPL", "IBM", name="both")
    with pytest.raises(CommandError, match=told):
        run("--params", params)
    assert not Book.objects.exists()
    run("--params", '{"execute": {"max_notional": "5000000"}}')
    assert book_params.params_of(Book.objects.get()).execute.max_notional == 5_000_000
    words = ("--symbols", "AAPL", "--timeframe", "1d", "--strategy", "sma_cross", "--params")
    answered("paper_book", "sma", *words, '{"fast": 3, "slow": 8, "execute": {"max_notional": "7"}}')
    book = Book.objects.get(name="sma")
    assert (book.strategy["params"], book_params.params_of(book).execute.max_notional) == ({"fast": 3, "slow": 8}, 7)
