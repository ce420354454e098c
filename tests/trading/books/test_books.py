"""Books: made whole or not at all, moved with history, live only with two keys."""

import random
from decimal import Decimal

import pytest

from helios.env import get_env
from helios.errors import Rejected
from trading.books import write as books
from trading.books.read import get_book
from trading.models import Book, Position, TradingModeChange

pytestmark = pytest.mark.django_db


def make(**changes):
    options = {
        "mode": "paper",
        "timeframe": "1d",
        "symbols": ["IBM", "AAPL"],
        "initial_cash": Decimal(1000),
        "fee_bps": Decimal(1),
        "slippage_bps": Decimal(1),
    }
    return books.create_book(changes.pop("name", "desk"), **{**options, **changes})


def test_a_new_book_holds_its_cash_and_an_empty_position_a_symbol(instruments):
    book = make()
    assert (book.cash, book.peak_equity, book.symbols) == (1000, 1000, ["AAPL", "IBM"])
    assert Position.objects.filter(book=book, quantity=0).count() == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symbols": ["AAPL", "NOPE"]}, "unknown: NOPE"),
        ({"timeframe": "7m"}, "timeframe must be one of"),
        ({"name": "No Spaces"}, "name"),
        ({"initial_cash": Decimal(-1)}, "initial_cash"),
        ({"symbols": []}, "cannot be made"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_made(instruments, changes, message):
    with pytest.raises(Rejected, match=message):
        make(**changes)
    assert not Book.objects.exists()


def test_a_name_is_given_once(book):
    with pytest.raises(Rejected, match="desk"):
        make()
    assert Book.objects.count() == 1


def test_an_unknown_book_is_told_with_the_ones_there_are(book):
    with pytest.raises(Rejected, match="there are: desk"):
        get_book("other")


def test_a_change_of_mode_is_kept(book):
    change = books.set_mode("desk", "replay", actor="ana", reason="drill")
    assert (change.before, change.after, change.actor) == ("paper", "replay", "ana")
    assert books.set_mode("desk", "replay", actor="ana", reason="again") is None
    assert TradingModeChange.objects.count() == 1


def test_live_is_refused_without_the_first_key(book):
    with pytest.raises(Rejected, match="HELIOS_LIVE_TRADING_ARMED"):
        books.set_mode("desk", "live", actor="ana", reason="", confirmed=True)


def test_live_is_refused_without_the_second_key_and_without_a_venue(book, monkeypatch):
    armed = get_env().model_copy(update={"live_trading_armed": True})
    monkeypatch.setattr(books, "get_env", lambda: armed)
    with pytest.raises(Rejected, match="--confirm"):
        books.set_mode("desk", "live", actor="ana", reason="")
    with pytest.raises(Rejected, match="live venue"):
        books.set_mode("desk", "live", actor="ana", reason="", confirmed=True)
    assert get_book("desk").mode == "paper"


def test_an_unknown_mode_is_refused(book):
    with pytest.raises(Rejected, match="mode must be one of"):
        books.set_mode("desk", "yolo", actor="ana", reason="")


def test_starting_and_stopping_are_kept_once_each(book):
    for active in (True, True, False):
        books.set_active("desk", active=active, actor="ana", reason="")
    assert list(TradingModeChange.objects.order_by("id").values_list("after", flat=True)) == [
        "active",
        "inactive",
    ]


def test_a_halted_book_is_let_trade_again_by_a_person_with_its_drawdown_counted_anew(book):
    book.peak_equity = Decimal(50_000)
    book.save()
    books.set_state("desk", "HALTED", actor="ana", reason="storm")
    assert get_book("desk").peak_equity == 50_000
    resumed = books.set_state("desk", "ACTIVE", actor="ana", reason="calm")
    assert (resumed.state, resumed.peak_equity) == ("ACTIVE", Decimal(10_000))
    assert list(TradingModeChange.objects.order_by("id").values_list("after", flat=True)) == ["HALTED", "ACTIVE"]


def test_an_unknown_state_is_refused(book):
    with pytest.raises(Rejected, match="state must be one of"):
        books.set_state("desk", "ASLEEP", actor="ana", reason="")


def test_letting_a_book_trade_that_trades_changes_nothing(book):
    book.peak_equity = Decimal(50_000)
    book.save()
    assert books.set_state("desk", "ACTIVE", actor="ana", reason="").peak_equity == 50_000
    assert not TradingModeChange.objects.exists()


def test_reducing_by_the_risk_tier_is_taken_over_by_a_person_on_record(book):
    books.set_state_by_risk(book.pk, "REDUCING", seen="ACTIVE", reason="drawdown")
    books.set_state("desk", "REDUCING", actor="ana", reason="so it stays")
    assert books.set_state_by_risk(book.pk, "ACTIVE", seen="REDUCING", reason="drawdown") == "REDUCING"
    rows = TradingModeChange.objects.order_by("id").values_list("before", "after", "actor")
    assert list(rows) == [("ACTIVE", "REDUCING", "risk"), ("REDUCING", "REDUCING", "ana")]


RANK = {"ACTIVE": 0, "REDUCING": 1, "HALTED": 2}


@pytest.mark.parametrize("seed", range(12))
def test_whatever_comes_in_between_a_state_is_loosened_by_a_person_or_by_the_published_rule_only(book, seed):
    """People and risk stages at random; a stage decides on what it saw some steps ago."""
    rng = random.Random(seed)
    seen, held = "ACTIVE", False
    for _ in range(40):
        before = get_book("desk").state
        move = rng.choice(["look", "person", "risk", "risk"])
        if move == "look":
            seen = before
        elif move == "person":
            state = rng.choice(list(RANK))
            if (before, state) == ("HALTED", "REDUCING"):
                with pytest.raises(Rejected, match="only a resume ends"):
                    books.set_state("desk", state, actor="ana", reason="why not")
                assert get_book("desk").state == before
                continue
            books.set_state("desk", state, actor="ana", reason="why not")
            held = state != "ACTIVE"
            assert get_book("desk").state == state
        else:
            wanted = rng.choice(list(RANK))
            binding = books.set_state_by_risk(book.pk, wanted, seen=seen, reason="drawdown")
            after = get_book("desk").state
            assert RANK[binding] >= max(RANK[wanted], RANK[after])
            if RANK[after] < RANK[before]:
                assert (seen, before, after, held) == ("REDUCING", "REDUCING", "ACTIVE", False)
            if RANK[seen] > RANK[before]:
                assert after == before  # a person loosened it after the stage had looked
    chain = list(TradingModeChange.objects.order_by("id").values_list("before", "after"))
    assert [after for _, after in chain][:-1] == [before for before, _ in chain][1:]
    assert (chain[0][0], chain[-1][1]) == ("ACTIVE", get_book("desk").state)
