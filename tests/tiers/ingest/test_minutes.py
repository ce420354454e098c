"""What a stream tells of one symbol: when a minute is over, what it is made of, what is missed, what it completes."""

from __future__ import annotations

from tiers.ingest import minutes as minutes_room
from tiers.ingest.minutes import GRACE, MOST_TOLD, Closed, Minutes
from trading.market.timestamps import MINUTE, SECOND

T = 1_700_006_400_000_000  # a full hour
ROW = (10.0, 12.0, 9.0, 11.0, 7.0)
TRADES = [(5, 10.0, 1.0), (20, 12.0, 2.0), (40, 9.0, 3.0), (59, 11.0, 1.0)]


def minutes(*, heard_from: int | None = T) -> Minutes:
    return Minutes(symbol="X", until=T, heard_from=heard_from)


def told(of: Minutes, start: int = T) -> None:
    for second, price, quantity in TRADES:
        of.trade(start + second * SECOND, price, quantity, "BUY")


def known(of: Minutes) -> int:
    """So many minutes are known without a gap."""
    return (of.until - T) // MINUTE


def test_a_minute_is_over_when_the_venue_says_so_and_its_trades_are_those_that_were_heard():
    of = minutes()
    told(of)
    closed = of.bar(T + MINUTE, ROW)
    assert closed == Closed(
        symbol="X", close=T + MINUTE, row=ROW, trades=tuple((T + s * SECOND, p, q, "BUY", "") for s, p, q in TRADES)
    )
    assert (known(of), of.open) == (1, {})


def test_where_trades_tell_something_else_the_venue_is_believed_and_they_are_not_kept():
    of = minutes()
    told(of)
    of.trade(T + 59 * SECOND, 13.0, 1.0, "SELL")  # told twice, or of another market
    closed = of.bar(T + MINUTE, ROW)
    assert closed is not None
    assert (closed.row, closed.trades, closed.differs) == (ROW, (), True)


def test_a_minute_that_was_heard_in_part_says_nothing_against_the_venue():
    of = minutes(heard_from=T + SECOND)
    told(of)
    closed = of.bar(T + MINUTE, ROW)
    assert closed is not None
    assert (closed.trades, closed.differs) == ((), False)


def test_nobody_traded_is_known_as_well():
    of = minutes()
    assert of.bar(T + MINUTE, None) == Closed(symbol="X", close=T + MINUTE, row=None)
    assert known(of) == 1


def test_what_is_told_twice_is_once_and_what_is_corrected_is_told_again():
    of = minutes()
    assert of.bar(T + MINUTE, ROW) is not None
    assert of.bar(T + MINUTE, ROW) is None
    corrected = of.bar(T + MINUTE, (*ROW[:4], 8.0))
    assert corrected == Closed(symbol="X", close=T + MINUTE, row=(*ROW[:4], 8.0))
    assert of.bar(T - 100 * MINUTE, ROW) is None


def test_a_bar_that_is_corrected_again_and_again_is_left_as_it_is():
    of = minutes()
    told_n = sum(of.bar(T + MINUTE, (*ROW[:4], float(n))) is not None for n in range(1_000))
    assert told_n == minutes_room.MOST_TOLD


def test_a_bar_that_no_market_has_is_told_a_few_times_and_of_no_minute_long_ago():
    of, upside_down = minutes(), (*ROW[:1], ROW[2] / 2, *ROW[2:])
    told = [of.bar(T + MINUTE, upside_down) for _ in range(50)]
    assert [one is not None for one in told] == [True] * MOST_TOLD + [False] * (50 - MOST_TOLD)
    assert of.bar(T - 100 * MINUTE, upside_down) is None


def test_a_minute_without_a_word_is_asked_for_when_its_grace_is_over_and_one_before_a_known_one_at_once():
    of = minutes()
    assert of.overdue(T + MINUTE + GRACE - 1) is None
    assert of.overdue(T + MINUTE + GRACE) == (T, T + MINUTE)
    of.bar(T + 3 * MINUTE, ROW)
    assert (known(of), of.overdue(T + 3 * MINUTE)) == (0, (T, T + 2 * MINUTE))
    of.answered(T, T + 2 * MINUTE, {T + 2 * MINUTE: ROW})
    assert (known(of), of.overdue(T + 3 * MINUTE)) == (3, None)
    assert of.known == {T + MINUTE: None, T + 2 * MINUTE: ROW, T + 3 * MINUTE: ROW}


def test_a_bar_in_another_unit_is_doubted_and_one_of_a_market_that_moves_is_not():
    of = minutes()
    of.tick = 0.01
    assert of.doubt(ROW) == ""
    of.bar(T + MINUTE, ROW)
    of.bar(T + 2 * MINUTE, None)
    assert of.doubt(tuple(100 * price for price in ROW)) == (
        "must be within 2 times the newest close, 11, was 900 to 1200"
    )
    assert of.doubt((0.1, 0.12, 0.09, 0.11, 7.0)).startswith("must be within 2 times")
    assert of.doubt((11.0, 21.9, 5.6, 11.0, 7.0)) == ""
    assert of.doubt((11.005, 11.01, 11.0, 11.0, 7.0)) == "must have prices in steps of 0.01, was 11.005"
    of.tick = 1e-8
    assert of.doubt((11.12345678, 11.2, 11.0, 11.00000001, 7.0)) == ""


def test_a_late_trade_of_a_minute_that_is_known_is_not_kept_behind_one_that_is_not():
    of = minutes()
    of.bar(T + 3 * MINUTE, ROW)
    of.trade(T + 2 * MINUTE + SECOND, 10.0, 1.0, "BUY")
    assert (of.until, of.open, of.n_open) == (T, {}, 0)


def test_a_lost_connection_forgets_what_may_lack_trades():
    of = minutes()
    told(of)
    of.lost()
    assert (of.open, of.heard_from) == ({}, None)


def test_higher_bars_are_made_once_of_whole_minutes_and_lack_nothing_where_nobody_traded():
    of = minutes()
    found = []
    for number in range(1, 61):
        before = of.until
        of.bar(T + number * MINUTE, None if number % 2 else (number, number + 1, number - 1, number, 1.0))
        found += of.higher(before)
    assert [(bar.timeframe, (bar.close - T) // MINUTE) for bar in found] == sorted(
        [("5m", n) for n in range(5, 61, 5)] + [("15m", n) for n in range(15, 61, 15)] + [("1h", 60)],
        key=lambda one: (one[1], ["5m", "15m", "1h"].index(one[0])),
    )
    assert (found[0].n, found[-1].n) == (2, 30)


def test_a_corrected_minute_corrects_the_bars_above_it_for_an_hour():
    of = minutes()
    for number in range(1, 121):
        of.bar(T + number * MINUTE, ROW)
    late = T + 61 * MINUTE
    assert of.bar(late, (*ROW[:1], 99.0, *ROW[2:])) is not None
    found = {(bar.timeframe, (bar.close - T) // MINUTE) for bar in of.higher(late - MINUTE)}
    assert {("5m", 65), ("15m", 75), ("1h", 120)} <= found
    assert of.bar(T + 60 * MINUTE, (*ROW[:1], 99.0, *ROW[2:])) is None  # longer ago: found by request


def test_an_hour_whose_beginning_nobody_knows_is_left_to_who_asks_for_it():
    of = Minutes(symbol="X", until=T + 3 * MINUTE)
    of.bar(T + 4 * MINUTE, ROW)
    before = of.until
    of.bar(T + 5 * MINUTE, ROW)
    assert of.higher(before) == []


def test_no_more_than_two_hours_are_kept():
    of = minutes()
    for number in range(1, 200):
        of.bar(T + number * MINUTE, ROW)
    assert len(of.known) == 120
