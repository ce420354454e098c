"""The window of outcomes as text: what counts, what has left, and how little of it there is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios.breakers.core import sliding_window
from helios.breakers.core.sliding_window import SLOTS, Counts


@dataclass(frozen=True)
class Bounds:
    window_calls: int = 0
    window_s: float = 0.0


CALLS = Bounds(window_calls=4)
TIME = Bounds(window_s=60)
BOTH = Bounds(window_calls=4, window_s=60)

steps = st.lists(st.tuples(st.sampled_from("SFsf"), st.integers(1, 5), st.floats(0, 20)), max_size=30)


def filled(bounds: Bounds, outcomes: str, now: float = 1_000.0) -> str:
    text = ""
    for letter in outcomes:
        text = sliding_window.add(text, bounds, now, letter, 1)
    return text


def test_equal_outcomes_make_one_run():
    assert filled(CALLS, "SSSF") == "0S3,0F1"
    assert filled(TIME, "SSSF", now=1_000.4) == "1000000S3,1000000F1"


def test_only_the_last_calls_stay_exactly():
    assert sliding_window.letters(filled(CALLS, "FFSFSS")) == "SFSS"
    assert sliding_window.letters(sliding_window.add("0F2,0S2", CALLS, 0, "S", 3)) == "SSSS"  # part of a run leaves too


def test_a_window_of_calls_alone_never_grows_old():
    assert sliding_window.recent(filled(CALLS, "SF"), CALLS, now=1e9) == "0S1,0F1"


def test_an_outcome_leaves_when_it_is_as_old_as_the_window():
    text = filled(TIME, "F", now=1_000.0)
    assert sliding_window.counts(sliding_window.recent(text, TIME, now=1_059.9)) == Counts(calls=1, failures=1)
    assert sliding_window.recent(text, TIME, now=1_060.0) == ""


def test_with_both_bounds_both_hold():
    text = filled(BOTH, "FFFFF", now=1_000.0)
    assert sliding_window.letters(text) == "FFFF"
    text = sliding_window.add(text, BOTH, 1_030.0, "S", 1)
    assert sliding_window.letters(sliding_window.recent(text, BOTH, now=1_061.0)) == "S"


def test_what_lies_in_the_future_is_gone_when_the_clock_was_turned_back():
    assert sliding_window.recent(filled(TIME, "F", now=5_000.0), TIME, now=1_000.0) == ""


def test_outcomes_that_are_told_late_count_from_when_they_happened():
    text = sliding_window.add("", TIME, 1_000.0, "F", 2, age_ms=30_000)
    assert sliding_window.counts(sliding_window.recent(text, TIME, now=1_029.0)).failures == 2
    assert sliding_window.recent(text, TIME, now=1_030.0) == ""
    assert sliding_window.add("", TIME, 1_000.0, "F", 2, age_ms=61_000) == ""  # too old when they arrive


def test_failures_and_slow_calls_are_counted_apart():
    counted = sliding_window.counts("0S2,0F1,0s3,0f4")
    assert counted == Counts(calls=10, failures=5, slow=7)
    assert (counted.failure_rate, counted.slow_rate) == (0.5, 0.7)
    assert (Counts().failure_rate, Counts().slow_rate) == (0.0, 0.0)


def test_a_window_can_be_put_on_another_clock_and_told_by_age():
    text = filled(TIME, "SF", now=1_000.0)
    moved = sliding_window.moved(text, -999_000)
    assert moved == "1000S1,1000F1"
    assert sliding_window.aged(moved, now=3.0) == "2000S1,2000F1"
    assert sliding_window.moved("0S1", 500) == "0S1"  # no time was kept
    assert sliding_window.aged("0S1", now=3.0) == "0S1"


def test_times_before_the_clock_began_are_read_too():
    assert sliding_window.runs(sliding_window.moved("1000S1", -61_000)) == [(-60_000, "S", 1)]


@given(steps)
def test_text_says_what_the_runs_say(story):
    text, now = "", 1_000.0
    for letter, number, seconds in story:
        now += seconds
        text = sliding_window.add(text, BOTH, now, letter, number)
    assert sliding_window.text(sliding_window.runs(text)) == text


@pytest.mark.parametrize("bounds", [CALLS, TIME, BOTH, Bounds(window_calls=50, window_s=7.5)])
@given(story=steps)
def test_a_window_counts_what_a_plain_list_of_calls_counts(bounds, story):
    calls, text, now = [], "", 1_000.0
    width = max(1, math.floor(bounds.window_s * 1000 / SLOTS))
    for letter, number, seconds in story:
        now += seconds
        now_ms = math.floor(now * 1000)
        text = sliding_window.add(sliding_window.recent(text, bounds, now), bounds, now, letter, number)
        calls += [(now_ms // width * width, letter)] * number
        if bounds.window_s:
            calls = [call for call in calls if call[0] > now_ms - bounds.window_s * 1000]
        if bounds.window_calls:
            calls = calls[-bounds.window_calls :]
        expected = [letter for _, letter in calls]
        assert sorted(sliding_window.letters(text)) == sorted(expected)
        if bounds.window_calls:
            assert list(sliding_window.letters(text)) == expected


@given(st.lists(st.tuples(st.sampled_from("SFsf"), st.integers(1, 10**6), st.floats(0, 3)), max_size=400))
def test_a_window_by_time_stays_small_however_many_calls_there_are(story):
    text, now = "", 1_000.0
    for letter, number, seconds in story:
        now += seconds
        text = sliding_window.add(sliding_window.recent(text, TIME, now), TIME, now, letter, number)
    assert len(sliding_window.runs(text)) <= 4 * (SLOTS + 1)


@given(st.floats(0, 59.0), st.floats(0, 1e6))
def test_an_outcome_counts_for_all_but_a_sixtieth_of_the_window(age, start):
    text = sliding_window.add("", TIME, start + 1_000, "F", 1)
    assert sliding_window.counts(sliding_window.recent(text, TIME, start + 1_000 + age)).failures == 1
