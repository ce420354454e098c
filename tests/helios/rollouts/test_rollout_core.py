"""Who is served: sticky, growing with the percentage, and with two arms wherever there are two symbols."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios.flags.core.buckets import bucket
from helios.rollouts.core.assignment import Assignment, Mode, arm_symbols, serves_book

SYMBOLS = ("AAPL", "BTC-USD", "FB", "GOOG", "IBM", "MSFT")
universes = st.lists(st.text("ABCDEFGH", min_size=1, max_size=5), unique=True, max_size=40)
percentages = st.integers(0, 100)
groups = st.text("abc-0123", min_size=1, max_size=8)


def plain(group: str, symbols: list[str], percentage: int) -> set[str]:
    """The same by its definition, slowly."""
    if percentage == 0 or not symbols:
        return set()
    if percentage == 100:
        return set(symbols)
    by_bucket = sorted(symbols, key=lambda symbol: (bucket(group, symbol), symbol))
    inside = {symbol for symbol in symbols if bucket(group, symbol) <= percentage}
    if not inside:
        return {by_bucket[0]}
    if inside == set(symbols) and len(symbols) > 1:
        return inside - {by_bucket[-1]}
    return inside


@given(groups, universes, percentages)
def test_the_served_symbols_are_those_of_the_definition_in_the_order_given(group, symbols, percentage) -> None:
    served = arm_symbols(group, symbols, percentage)
    assert set(served) == plain(group, symbols, percentage)
    assert list(served) == [symbol for symbol in symbols if symbol in served]


@given(groups, universes, percentages, percentages)
def test_a_larger_percentage_takes_no_symbol_away(group, symbols, one, other) -> None:
    small, large = sorted((one, other))
    assert set(arm_symbols(group, symbols, small)) <= set(arm_symbols(group, symbols, large))


@given(groups, universes, st.integers(1, 99))
def test_below_100_percent_there_are_two_arms_wherever_there_are_two_symbols(group, symbols, percentage) -> None:
    served = arm_symbols(group, symbols, percentage)
    assert bool(served) == bool(symbols)
    assert len(symbols) < 2 or len(served) < len(symbols)


@given(groups, universes, percentages, st.randoms())
def test_the_order_of_the_universe_does_not_matter(group, symbols, percentage, random) -> None:
    shuffled = list(symbols)
    random.shuffle(shuffled)
    assert set(arm_symbols(group, shuffled, percentage)) == set(arm_symbols(group, symbols, percentage))


def test_one_percent_of_a_small_universe_is_one_symbol_and_all_of_it_is_everything() -> None:
    assert len(arm_symbols("v2", SYMBOLS, 1)) == 1
    assert arm_symbols("v2", SYMBOLS, 100) == SYMBOLS
    assert arm_symbols("v2", SYMBOLS, 0) == arm_symbols("v2", (), 50) == ()


def test_another_rollout_may_serve_other_symbols() -> None:
    assert len({arm_symbols(f"rollout-{n}", SYMBOLS, 1) for n in range(50)}) > 1


def test_large_universes_get_close_to_their_share() -> None:
    universe = [f"S{n}" for n in range(10_000)]
    for percentage in (1, 5, 25, 50):
        assert abs(len(arm_symbols("v2", universe, percentage)) / 100 - percentage) < 1


def test_a_book_is_served_as_a_whole_or_not() -> None:
    wanted = bucket("v2", "demo")
    assert serves_book("v2", "demo", wanted)
    assert not serves_book("v2", "demo", wanted - 1)
    assert not serves_book("v2", "demo", 0)


def assignment(mode: str = "live", **other) -> Assignment:
    fields = {
        "rollout_id": 7,
        "kind": "module",
        "target": "predict",
        "champion": "1.0.0",
        "challenger": "1.1.0",
        "mode": mode,
        "step": 2,
        "percentage": 5,
        "symbols": ("AAPL",),
        "name": "v2",
    }
    return Assignment(**{**fields, **other})


@pytest.mark.parametrize("mode", [Mode.SHADOW.value, Mode.LIVE.value])
def test_an_assignment_survives_a_row_of_json(mode: str) -> None:
    made = assignment(mode, params={"fast": 10})
    assert Assignment.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_shadow_asks_every_book_and_live_only_its_share() -> None:
    assert assignment("shadow", percentage=0).serves_book("demo")
    assert assignment(percentage=100).serves_book("demo")
    assert not assignment(percentage=bucket("v2", "demo") - 1).serves_book("demo")
