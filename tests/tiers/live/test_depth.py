"""The order books of a stream: which are noted, and which are asked for again."""

from __future__ import annotations

from tiers.live.feed.depth import PATIENCE, OrderBooks
from trading.market.timestamps import MINUTE, SECOND
from trading.venues.streaming import Depth, Offer

T = 1_767_607_200_000_000  # 2026-01-05 10:00
BIDS: list[Offer] = [("a", "10", "1")]
ASKS: list[Offer] = [("b", "11", "2")]


def whole(at: int, sequence: int, bids: list[Offer] = BIDS) -> Depth:
    return Depth("BTCZAR", at, sequence, bids, ASKS, whole=True)


def change(at: int, sequence: int, *bids: Offer) -> Depth:
    return Depth("BTCZAR", at, sequence, list(bids), [], whole=False, first=sequence)


def books() -> OrderBooks:
    made = OrderBooks({"BTCZAR": "VALR:BTC-ZAR"})
    made.subscribed(T)
    made.apply(whole(T + SECOND, 5), T + SECOND)
    return made


def test_a_book_is_noted_as_it_was_when_its_minute_ended_by_the_next_message() -> None:
    made = books()
    assert made.apply(change(T + 59 * SECOND, 6, ("c", "10.5", "3")), T + MINUTE) is None
    noted = made.apply(change(T + MINUTE + 1, 7, ("c", "10.5", "0")), T + MINUTE + 1)
    assert noted is not None
    assert (noted.symbol, noted.ts, noted.sequence) == ("VALR:BTC-ZAR", T + MINUTE, 6)
    assert (noted.bids, noted.asks) == ([("10.5", "3"), ("10", "1")], [("11", "2")])
    assert made.apply(change(T + MINUTE + 2, 8, ("c", "10.5", "1")), T + MINUTE + 2) is None


def test_a_book_of_which_a_change_was_missed_is_not_noted_and_is_asked_for_now_and_then() -> None:
    made, at = books(), T + MINUTE + SECOND
    assert made.apply(change(at, 7, ("c", "10.5", "3")), at) is None
    assert made.to_ask(at) == ["BTCZAR"]
    assert made.to_ask(at + PATIENCE - 1) == []
    assert made.to_ask(at + PATIENCE) == ["BTCZAR"]
    made.apply(whole(at + PATIENCE, 9), at + PATIENCE)
    assert made.to_ask(at + 9 * PATIENCE) == []


def test_books_of_long_ago_are_not_noted() -> None:
    made, day = books(), 24 * 60 * MINUTE
    for back in range(100, 0, -1):
        assert made.apply(whole(T - day - back * MINUTE, 5), T + 5 * SECOND) is None


def test_a_book_that_is_asked_for_is_noted_at_once_unless_it_is_false() -> None:
    made, now = OrderBooks({"BTCZAR": "VALR:BTC-ZAR"}), T + MINUTE + SECOND
    noted = made.answered(whole(T, 5), now)
    assert noted is not None
    assert (noted.symbol, noted.ts, noted.sequence, noted.bids) == ("VALR:BTC-ZAR", now, 5, [("10", "1")])
    assert made.answered(whole(T - MINUTE, 3), now + MINUTE) is not None  # by another count, and of a quiet market
    assert made.answered(whole(T, 6, [("a", "11", "1")]), now + 2 * MINUTE) is None
    assert made.answered(Depth("BTCZAR", T, 6, [], [], whole=True), now + 2 * MINUTE) is None
    assert made.answered(whole(now + 9 * MINUTE, 7), now + 3 * MINUTE) is None


def test_a_book_of_later_and_a_crossed_one_are_lost() -> None:
    for told in (whole(T + MINUTE, 6), change(T + 2 * SECOND, 6, ("c", "11", "1"))):
        made = books()
        assert made.apply(told, T + 3 * SECOND) is None
        assert made.to_ask(T + PATIENCE) == ["BTCZAR"]


def test_a_message_of_later_is_told_and_keeps_no_minute_from_being_noted() -> None:
    made = books()
    made.apply(change(T + 10**9 * SECOND, 6), T + 2 * SECOND)
    made.apply(whole(T + 3 * SECOND, 7), T + 3 * SECOND)
    noted = made.apply(change(T + MINUTE + SECOND, 8, ("c", "10.5", "3")), T + MINUTE + SECOND)
    assert noted is not None
    assert noted.ts == T + MINUTE


def test_a_venue_that_counts_anew_is_believed() -> None:
    made, later = books(), [("a", "10.2", "1")]
    made.apply(whole(T + 30 * SECOND, 1, later), T + 30 * SECOND)
    noted = made.apply(change(T + MINUTE + SECOND, 2, ("c", "10.5", "3")), T + MINUTE + SECOND)
    assert noted is not None
    assert noted.bids == [("10.2", "1")]
