"""`manage.py mode`: who trades how, and every change with its history."""

import pytest
from django.core.management import CommandError, call_command

from tests.support.commands import answered
from trading.models import Book, TradingModeChange

pytestmark = pytest.mark.django_db


def mode(*words):
    return answered("mode", *words)["books"]


def changes():
    return list(TradingModeChange.objects.order_by("id").values_list("before", "after", "reason"))


def test_every_book_is_shown(book):
    assert mode() == [
        {
            "book": "desk",
            "mode": "paper",
            "active": False,
            "state": "ACTIVE",
            "trading_state": "STOPPED",
            "timeframe": "1d",
            "symbols": ["AAPL", "IBM"],
            "currency": "USD",
            "cash": "10000",
        }
    ]


def test_the_table_is_for_people(book, capsys):
    Book.objects.update(symbols=["ETH-BTC"], cash="0.0123456")
    call_command("mode")
    shown = capsys.readouterr().out
    assert "desk" in shown
    assert "0.0123 BTC" in shown
    assert mode()[0]["currency"] == "BTC"


def test_a_narrow_terminal_shows_every_letter_and_the_cash_for_people(book, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    name, symbols = "a-book-with-a-long-name-of-its-own", [f"SYMBOL{n}" for n in range(12)]
    Book.objects.update(name=name, symbols=symbols, cash="1234567.12345678")
    call_command("mode")
    shown = capsys.readouterr().out
    columns = zip(*(line.split("│")[1:-1] for line in shown.splitlines() if line.startswith("│")), strict=True)
    book_, *_, symbols_, cash = ("".join(cell.strip() for cell in column) for column in columns)
    assert (book_, symbols_.replace(" ", ""), cash) == (name, ",".join(symbols), "1,234,567.12")


def test_what_a_terminal_obeys_is_shown_as_its_escape(book, capsys):
    Book.objects.update(name="\x1b[2J\x07")
    call_command("mode")
    assert r"\x1b[2J\x07" in capsys.readouterr().out
    with pytest.raises(CommandError) as refused:
        call_command("mode", "stop", "--book", "\x1b]0;pwn\x07", "--reason", "close")
    assert str(refused.value).isprintable()


def test_without_a_book_the_command_says_how_to_make_one(db, capsys):
    call_command("mode")
    assert "replay" in capsys.readouterr().out


def test_a_book_is_started_and_stopped_with_its_history(book):
    assert mode("start", "--book", "desk", "--reason", "open")[0]["active"] is True
    assert mode("start", "--book", "desk", "--reason", "again")[0]["active"] is True
    assert mode("stop", "--book", "desk", "--reason", "close")[0]["active"] is False
    assert changes() == [("inactive", "active", "open"), ("active", "inactive", "close")]
    assert all(entry.actor.startswith("cli:") for entry in TradingModeChange.objects.all())


@pytest.mark.parametrize(("word", "state"), [("halt", "HALTED"), ("reduce", "REDUCING")])
def test_a_book_is_halted_or_reduced_and_resumed(book, word, state):
    assert mode(word, "--book", "desk", "--reason", "news")[0]["state"] == state
    assert mode("resume", "--book", "desk", "--reason", "over")[0]["state"] == "ACTIVE"
    assert changes() == [("ACTIVE", state, "news"), (state, "ACTIVE", "over")]


def test_the_answer_is_about_the_book_alone(book, capsys):
    assert len(mode("start", "--book", "desk")) == 1
    words = ("halt", "HALTED"), ("stop", "HALTED"), ("resume", "STOPPED"), ("start", "ACTIVE"), ("stop", "STOPPED")
    for word, said in (*words, ("reduce", "STOPPED"), ("start", "REDUCING")):
        call_command("mode", word, "--book", "desk", "--reason", "news")
        assert capsys.readouterr().out == f"desk is {said} (paper).\n"


def test_a_reason_that_comes_after_the_halt_is_kept_once(book):
    for reason in ("", "lunch", "lunch"):
        mode("halt", "--book", "desk", "--reason", reason)
    assert changes() == [("ACTIVE", "HALTED", ""), ("HALTED", "HALTED", "lunch")]


def test_a_halt_needs_no_reason_and_its_end_does(book):
    mode("halt", "--book", "desk")
    with pytest.raises(CommandError, match="goes back from HALTED to ACTIVE for a reason only"):
        mode("resume", "--book", "desk")
    assert Book.objects.get().state == "HALTED"


def test_a_word_to_be_careful_never_loosens_a_halt(book):
    mode("halt", "--book", "desk", "--reason", "storm")
    with pytest.raises(CommandError, match="book 'desk' is HALTED, which only a resume ends: it was not set to REDUC"):
        mode("reduce", "--book", "desk", "--reason", "volatile")
    assert changes() == [("ACTIVE", "HALTED", "storm")]


def test_a_book_moves_between_paper_and_replay(book):
    assert mode("replay", "--book", "desk", "--reason", "test")[0]["mode"] == "replay"
    assert mode("replay", "--book", "desk")[0]["mode"] == "replay"
    assert changes() == [("paper", "replay", "test")]
    assert TradingModeChange.objects.get().actor


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("halt",), "--book must name the book to change"),
        (("halt", "--book", "gone"), "book 'gone' does not exist; there are: desk"),
        (("live", "--book", "desk"), "HELIOS_LIVE_TRADING_ARMED"),
        (("live", "--book", "desk", "--confirm"), "HELIOS_LIVE_TRADING_ARMED"),
        (("fast", "--book", "desk"), "invalid choice: 'fast'"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(book, words, told):
    with pytest.raises(CommandError, match=told):
        mode(*words)
    assert Book.objects.get().mode == "paper"
    assert changes() == []


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("\x1b[2J", "must be one line without control characters, was not"),
        ("one\nanother", "must be one line without control characters, was not"),
        ("x" * 201, "must have at most 200 letters, had 201"),
        ("caf\udce9", "must be text that can be stored, held half a character"),
    ],
)
def test_a_reason_keeps_the_rule_of_the_api_or_nothing_is_changed(book, reason, sentence):
    with pytest.raises(CommandError, match=f"argument --reason: {sentence}"):
        call_command("mode", "halt", "--book", "desk", "--reason", reason)
    assert Book.objects.get(name="desk").state == "ACTIVE"
