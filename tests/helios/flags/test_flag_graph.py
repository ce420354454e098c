"""Prerequisites: chains in order, circles refused by name, work bounded."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from helios.flags.core.context import NOBODY
from helios.flags.core.definition import FlagDefinition, Reason
from helios.flags.core.evaluation import compile_flags
from helios.flags.core.evaluation_context import NOWHERE
from helios.flags.core.graph import MAX_COST, circle, costs, in_order, problem
from helios.flags.core.parts import Prerequisite
from tests.support.flags import evaluate

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
graphs = st.dictionaries(
    st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefg"), max_size=3, unique=True), max_size=6
)


def flags_of(asked: dict[str, list[str]]) -> dict[str, FlagDefinition]:
    return {
        name: FlagDefinition(
            name=name, enabled=True, prerequisites=tuple(Prerequisite(feature=each) for each in others)
        )
        for name, others in asked.items()
    }


def reaches(asked: dict[str, list[str]], start: str, goal: str) -> bool:
    seen, waiting = set(), list(asked.get(start, []))
    while waiting:
        name = waiting.pop()
        if name == goal:
            return True
        if name in asked and name not in seen:
            seen.add(name)
            waiting.extend(asked[name])
    return False


def on_a_circle(asked: dict[str, list[str]], name: str) -> bool:
    return any(reaches(asked, each, each) for each in [name, *asked[name]] if each in asked) or any(
        reaches(asked, name, each) and reaches(asked, each, each) for each in asked
    )


@given(asked=graphs)
def test_the_order_puts_everyone_after_those_asked_and_leaves_circles_out(asked: dict[str, list[str]]) -> None:
    order = list(in_order(asked))
    for place, name in enumerate(order):
        assert set(asked[name]).intersection(asked) <= set(order[:place])
    assert set(order) == {name for name in asked if not on_a_circle(asked, name)}


@given(asked=graphs)
def test_a_circle_is_found_exactly_where_one_is_and_it_is_one(asked: dict[str, list[str]]) -> None:
    for name in asked:
        found = circle(asked, [name])
        assert bool(found) is on_a_circle(asked, name)
        if found:
            assert found[0] == found[-1]
            assert all(later in asked[earlier] for earlier, later in pairwise(found))


@given(asked=graphs)
def test_flags_on_a_circle_or_behind_one_are_off(asked: dict[str, list[str]]) -> None:
    flags = flags_of(asked)
    for name, flag in compile_flags(flags, {}, NOWHERE).items():
        missing = any(each not in asked for each in asked[name])
        if on_a_circle(asked, name):
            assert flag.decide(NOBODY, NOW).reason is Reason.PREREQUISITE
        elif not asked[name]:
            assert flag.decide(NOBODY, NOW)
        elif missing:
            assert not flag.decide(NOBODY, NOW)


def test_a_chain_is_on_while_all_of_it_is() -> None:
    flags = flags_of({"a": ["b"], "b": ["c"], "c": []})
    assert evaluate(flags["a"], NOBODY, NOW, others=flags)
    off = {**flags, "c": FlagDefinition(name="c")}
    decision = evaluate(flags["a"], NOBODY, NOW, others=off)
    assert (decision.enabled, decision.reason, decision.detail) == (False, Reason.PREREQUISITE, "b")


def test_in_unleashs_files_a_chain_is_off() -> None:
    flags = compile_flags(flags_of({"a": ["b"], "b": ["c"], "c": []}), {}, NOWHERE, chains=False)
    assert [bool(flags[name].decide(NOBODY, NOW)) for name in "abc"] == [False, True, True]


def test_a_prerequisite_may_have_to_be_off() -> None:
    child = FlagDefinition(name="child", enabled=True, prerequisites=(Prerequisite(feature="parent", enabled=False),))
    assert evaluate(child, NOBODY, NOW, others={"parent": FlagDefinition(name="parent")})
    assert not evaluate(child, NOBODY, NOW, others={"parent": FlagDefinition(name="parent", enabled=True)})
    assert not evaluate(child, NOBODY, NOW)  # not there is not off


def test_problems_are_told_with_their_names() -> None:
    flags = flags_of({"a": ["b"], "b": ["c"], "c": ["b"], "d": ["gone"], "e": []})
    assert problem(flags, "a") == "prerequisites must not form a circle, did: b -> c -> b"
    assert problem(flags, "d") == "prerequisites must be known flags, d asks for gone"
    assert problem(flags, "e") == ""


def doubling(levels: int) -> dict[str, list[str]]:
    """Each level asks the next one twice, by two names: 2 ** levels evaluations."""
    asked: dict[str, list[str]] = {f"{side}{level}": [] for side in "lr" for level in range(levels)}
    for level in range(levels - 1):
        for side in "lr":
            asked[f"{side}{level}"] = [f"l{level + 1}", f"r{level + 1}"]
    return asked


def test_prerequisites_that_multiply_are_refused_before_they_cost_too_much() -> None:
    small, large = flags_of(doubling(5)), flags_of(doubling(60))
    assert problem(small, "l0") == ""
    assert costs({"a": ["b"], "b": []}) == {"b": 1, "a": 2}
    assert f"at most {MAX_COST} evaluations" in problem(large, "l0")
    prepared = compile_flags(large, {}, NOWHERE)
    assert not prepared["l0"].decide(NOBODY, NOW)  # ends at once, and off
    assert prepared["l59"].decide(NOBODY, NOW)


def test_a_chain_longer_than_the_bound_is_off_and_does_not_exhaust_the_stack() -> None:
    asked = {str(number): [str(number + 1)] for number in range(5_000)} | {"5000": []}
    prepared = compile_flags(flags_of(asked), {}, NOWHERE)
    assert prepared["4990"].decide(NOBODY, NOW)
    assert not prepared["0"].decide(NOBODY, NOW)
    assert circle(asked, ["0"]) == ()
