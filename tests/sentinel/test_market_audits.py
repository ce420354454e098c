"""Stale data and gaps, judged without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.audits import Limits, Severity, Snapshot, market
from sentinel.audits.facts import Mode, Series
from trading.market.calendars import ALWAYS_OPEN, US_EQUITIES, calendar
from trading.market.timestamps import stamp, utc

NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)  # a Wednesday
LIMITS = Limits()


def series(
    closes: list[datetime],
    *,
    timeframe: str = "1m",
    clock: datetime = NOW,
    calendar: str = ALWAYS_OPEN,
    mode: Mode = Mode.PAPER,
) -> Series:
    return Series(
        book="b", mode=mode, symbol="BTC/USD", timeframe=timeframe, calendar=calendar, closes=tuple(closes), clock=clock
    )


def every(step: timedelta, last: datetime, n_bars: int) -> list[datetime]:
    return [last - step * back for back in reversed(range(n_bars))]


def sessions(first: datetime, n_days: int) -> list[datetime]:
    """Minute bars from 14:31 to 21:00 UTC on weekdays."""
    days = [first.date() + timedelta(days=n) for n in range(n_days)]
    return [
        datetime(day.year, day.month, day.day, 14, 30, tzinfo=UTC) + timedelta(minutes=minute)
        for day in days
        if day.weekday() < 5
        for minute in range(1, 391)
    ]


def daily(first: datetime, n_days: int) -> list[datetime]:
    closes = [first + timedelta(days=n) for n in range(n_days)]
    return [close for close in closes if close.weekday() < 5]


def stale(one: Series) -> list[Severity]:
    snapshot = Snapshot(taken_at=NOW, readings={}, series=(one,))
    return [finding.severity for finding in market.stale(snapshot, LIMITS)]


def gaps(one: Series) -> list[tuple[Severity, str]]:
    snapshot = Snapshot(taken_at=NOW, readings={}, series=(one,))
    return [(finding.severity, finding.observed) for finding in market.gaps(snapshot, LIMITS)]


# --- stale ---


def test_fresh_data_of_an_open_market_is_no_finding() -> None:
    assert stale(series(every(timedelta(minutes=1), NOW - timedelta(minutes=3), 50))) == []


def test_data_of_an_open_market_that_stopped_is_a_warning_and_critical_when_live() -> None:
    closes = every(timedelta(minutes=1), NOW - timedelta(minutes=3, seconds=1), 50)
    assert stale(series(closes)) == [Severity.WARNING]
    assert stale(series(closes, mode=Mode.LIVE)) == [Severity.CRITICAL]


def test_a_symbol_without_bars_is_a_finding() -> None:
    assert stale(series([])) == [Severity.WARNING]
    assert stale(series([], mode=Mode.LIVE)) == [Severity.CRITICAL]


def test_a_replay_is_judged_by_its_own_clock() -> None:
    clock = datetime(2019, 6, 5, 15, 0, tzinfo=UTC)
    closes = every(timedelta(minutes=1), clock, 50)
    assert stale(series(closes, clock=clock, mode=Mode.REPLAY)) == []
    assert stale(series(closes[:-10], clock=clock, mode=Mode.REPLAY)) == [Severity.WARNING]


@pytest.mark.parametrize(
    ("clock", "n_bars"),
    [
        (datetime(2026, 2, 27, 20, 59, tzinfo=UTC), 0),  # Friday, before its last bar
        (datetime(2026, 2, 27, 23, 0, tzinfo=UTC), 0),  # Friday night
        (datetime(2026, 3, 1, 12, 0, tzinfo=UTC), 0),  # Sunday
        (datetime(2026, 3, 2, 14, 30, 0, tzinfo=UTC), 0),  # Monday, when the session opens
        (datetime(2026, 3, 2, 14, 31, 30, tzinfo=UTC), 1),  # Monday, a bar and a half later
        (datetime(2026, 3, 2, 23, 0, tzinfo=UTC), 390),  # Monday night: a whole session is missing
        (datetime(2026, 3, 3, 14, 40, tzinfo=UTC), 399),  # Tuesday: and ten minutes more, whose last bar closes now
    ],
)
def test_only_the_hours_of_a_session_market_count(clock: datetime, n_bars: int) -> None:
    closes = sessions(datetime(2026, 2, 23, tzinfo=UTC), 5)  # Monday to Friday
    assert market.n_due(series(closes, clock=clock, calendar=US_EQUITIES)) == n_bars


@given(st.integers(0, 8 * 24 * 60))  # before the clock of New York changes
def test_the_lag_of_a_session_market_is_what_counting_minutes_gives(minutes: int) -> None:
    """A slow plain twin: walk through every minute since the newest bar and count those of a session."""
    closes = sessions(datetime(2026, 2, 23, tzinfo=UTC), 5)
    clock = closes[-1] + timedelta(minutes=minutes)
    walked = (closes[-1] + timedelta(minutes=n) for n in range(1, minutes))
    counted = sum(m.weekday() < 5 and time(14, 30) < m.time() <= time(21, 0) for m in walked)
    assert market.n_due(series(closes, clock=clock, calendar=US_EQUITIES)) == counted


@pytest.mark.parametrize(
    "clock",
    [
        datetime(2026, 11, 2, 14, 20, tzinfo=UTC),  # before the first session since New York's clock went back
        datetime(2026, 3, 9, 23, 0, tzinfo=UTC),  # behind the first one since it went forward
        datetime(2026, 11, 26, 20, 0, tzinfo=UTC),  # Thanksgiving
        datetime(2026, 11, 27, 23, 0, tzinfo=UTC),  # behind a half day
    ],
)
def test_no_change_of_clocks_no_holiday_and_no_half_day_makes_data_stale(clock: datetime) -> None:
    hours = calendar(US_EQUITIES)
    closes = [utc(ts) for ts in hours.grid("15m", stamp(clock - timedelta(days=20)), stamp(clock))]
    of_stock = series(closes, timeframe="15m", clock=clock, calendar=US_EQUITIES)
    assert (stale(of_stock), market.missing_bars(of_stock)) == ([], [])
    assert stale(series(closes[:-3], timeframe="15m", clock=clock, calendar=US_EQUITIES)) == [Severity.WARNING]


def test_a_session_market_without_bars_in_its_hours_only_warns_even_when_live() -> None:
    closes = sessions(datetime(2026, 3, 2, tzinfo=UTC), 2)  # Monday and Tuesday
    live = series(closes, clock=NOW, calendar=US_EQUITIES, mode=Mode.LIVE)  # Wednesday 15:00, half an hour in
    assert stale(live) == [Severity.WARNING]


def test_a_weekend_does_not_count_against_daily_bars() -> None:
    closes = daily(datetime(2026, 2, 2, 21, 0, tzinfo=UTC), 26)  # ends Friday the 27th
    monday = datetime(2026, 3, 2, 21, 0, 30, tzinfo=UTC)
    assert stale(series(closes, timeframe="1d", clock=monday, calendar=US_EQUITIES)) == []


def test_three_missing_trading_days_count_against_daily_bars() -> None:
    closes = daily(datetime(2026, 2, 2, 21, 0, tzinfo=UTC), 26)
    friday = datetime(2026, 3, 6, 21, 0, 30, tzinfo=UTC)
    assert stale(series(closes, timeframe="1d", clock=friday, calendar=US_EQUITIES)) == [Severity.WARNING]


# --- gaps ---


def test_an_unbroken_series_has_no_gaps() -> None:
    assert market.missing_bars(series(every(timedelta(minutes=1), NOW, 500))) == []


def test_a_gap_is_told_with_its_length() -> None:
    closes = every(timedelta(minutes=1), NOW, 100)
    del closes[50:55]
    assert gaps(series(closes)) == [(Severity.WARNING, "5 bars in a row")]


def test_one_or_two_missing_bars_are_no_finding() -> None:
    closes = every(timedelta(minutes=1), NOW, 100)
    del closes[50:52]
    assert market.missing_bars(series(closes)) == [2]
    assert gaps(series(closes)) == []


def test_a_gap_in_replayed_history_is_for_reading_only() -> None:
    closes = every(timedelta(minutes=1), NOW, 100)
    del closes[50:55]
    assert gaps(series(closes, mode=Mode.REPLAY)) == [(Severity.INFO, "5 bars in a row")]


def test_nights_and_weekends_are_no_gaps_where_there_are_sessions() -> None:
    closes = sessions(datetime(2026, 2, 23, tzinfo=UTC), 12)
    assert market.missing_bars(series(closes, calendar=US_EQUITIES)) == []
    del closes[100:110]
    assert market.missing_bars(series(closes, calendar=US_EQUITIES)) == [10]


def test_weekends_and_holidays_are_no_gaps_in_daily_bars_and_a_lost_week_is() -> None:
    closes = daily(datetime(2026, 2, 2, 21, 0, tzinfo=UTC), 60)
    day = series(closes, timeframe="1d", calendar=US_EQUITIES)
    assert market.missing_bars(day) == []
    assert market.missing_bars(series(closes[:9] + closes[11:], timeframe="1d", calendar=US_EQUITIES)) == [1]
    assert market.missing_bars(series(closes[:9] + closes[14:], timeframe="1d", calendar=US_EQUITIES)) == [4]


@given(st.sets(st.integers(0, 300), min_size=2))
def test_missing_bars_of_an_open_market_are_exactly_those_left_out(kept: set[int]) -> None:
    closes = [NOW + timedelta(minutes=minute) for minute in sorted(kept)]
    expected = max(kept) - min(kept) + 1 - len(kept)
    assert sum(market.missing_bars(series(closes))) == expected


def test_quiet_minutes_of_a_thin_pair_are_neither_gaps_nor_stale_as_far_as_a_stream_knows_them() -> None:
    minute = timedelta(minutes=1)
    closes = [NOW - minute * back for back in (2_000, 1_900, 90, 60, 59, 30)]
    thin = series(closes)
    assert (stale(thin), market.missing_bars(thin)) == ([Severity.WARNING], [99, 1_809, 29, 28])
    known = replace(thin, known_until=NOW - minute)
    assert (stale(known), market.missing_bars(known)) == ([], [99, 1_809])
    lacking = replace(known, lacking=((NOW - 70 * minute, NOW - 65 * minute),))
    assert market.missing_bars(lacking) == [99, 1_809, 29]
