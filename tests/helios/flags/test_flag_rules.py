"""Unleash's activation strategies as rules of a flag: whom each serves, and which can serve nobody."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from helios.flags.core.activation import STRATEGY_NAMES, problem
from helios.flags.core.buckets import bucket
from helios.flags.core.context import FlagContext
from helios.flags.core.definition import FlagDefinition, Reason, Strategy
from helios.flags.core.evaluation import compile_flags
from helios.flags.core.evaluation_context import EvaluationContext
from helios.flags.core.parts import Rule

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NUMBERS = [str(number) for number in range(150)]


def serves(rule: Rule, context: FlagContext, draw: float = 0.999, hostname: str = "here") -> bool:
    flag = FlagDefinition(name="a_flag", enabled=True, strategy=Strategy.RULES, rules=(rule,))
    around = EvaluationContext(draw=lambda: draw, hostname=hostname)
    return compile_flags({"a_flag": flag}, {}, around)["a_flag"].decide(context, NOW).enabled


def rollout(share: str = "40", **parameters: str) -> Rule:
    return Rule(name="flexibleRollout", parameters={"rollout": share, **parameters})


def attribute(name: str, value: str) -> FlagContext:
    return FlagContext(attributes={name: value})


@pytest.mark.parametrize("name", ["userId", "sessionId", "symbol", "strategy", "system"])
def test_a_rollout_holds_by_default_on_the_first_that_the_context_gives(name: str) -> None:
    for number in NUMBERS:
        inside = bucket("a_flag", number) <= 40
        assert serves(rollout(), attribute(name, number), draw=0.999) is inside
        assert serves(rollout(), attribute(name, number), draw=0.0) is inside


def test_earlier_identities_hide_later_ones() -> None:
    order = ["userId", "sessionId", "symbol", "strategy", "system"]
    inside = next(number for number in NUMBERS if bucket("a_flag", number) <= 40)
    outside = next(number for number in NUMBERS if bucket("a_flag", number) > 40)
    for place, name in enumerate(order):
        later = dict.fromkeys(order[place + 1 :], outside)
        assert serves(rollout(), FlagContext(attributes={name: inside, **later}))


@pytest.mark.parametrize(("draw", "served"), [(0.0, True), (0.399, True), (0.4, False), (0.999, False)])
def test_chance_decides_where_nothing_sticks_or_chance_was_asked_for(draw: float, served: bool) -> None:
    assert serves(rollout(), FlagContext(), draw) is served
    assert serves(rollout(stickiness="random"), FlagContext(user="ada"), draw) is served
    assert serves(Rule(name="gradualRolloutRandom", parameters={"percentage": "40"}), FlagContext(), draw) is served


def test_a_group_is_the_rules_own_else_the_flags_name() -> None:
    for number in NUMBERS:
        context = FlagContext(user=number)
        assert serves(rollout(groupId="pair"), context) is (bucket("pair", number) <= 40)
        assert serves(rollout(groupId=""), context) is (bucket("a_flag", number) <= 40)


@pytest.mark.parametrize("stickiness", ["desk", "sessionId"])
def test_a_stickiness_that_the_context_lacks_serves_nobody_even_at_a_hundred(stickiness: str) -> None:
    assert not serves(rollout("100", stickiness=stickiness), FlagContext(user="ada"))
    assert serves(rollout("100", stickiness=stickiness), attribute(stickiness, "x"))


@pytest.mark.parametrize(
    ("name", "field"), [("gradualRolloutUserId", "userId"), ("gradualRolloutSessionId", "sessionId")]
)
def test_the_gradual_rollouts_share_one_field(name: str, field: str) -> None:
    rule = Rule(name=name, parameters={"percentage": "40", "groupId": "g"})
    for number in NUMBERS:
        assert serves(rule, attribute(field, number)) is (bucket("g", number) <= 40)
    assert not serves(rule, FlagContext(symbol="AAPL"), draw=0.0)
    without_group = Rule(name=name, parameters={"percentage": "40"})
    assert [serves(without_group, attribute(field, number)) for number in NUMBERS] == [
        bucket("", number) <= 40 for number in NUMBERS
    ]


def test_users_are_listed_with_commas_and_any_spaces() -> None:
    rule = Rule(name="userWithId", parameters={"userIds": " ada,  bob ,,eve"})
    assert [serves(rule, FlagContext(user=user)) for user in ("ada", "bob", "eve", "Ada", "")] == [True] * 3 + [
        False
    ] * 2
    assert not serves(Rule(name="userWithId"), FlagContext(user="ada"))
    assert not serves(rule, attribute("userId", ""))


def test_addresses_may_be_networks_and_broken_ones_are_skipped() -> None:
    rule = Rule(name="remoteAddress", parameters={"IPs": "127.0.0.1, nonsense,10.0.0.0/8 , ::1"})
    served = ["127.0.0.1", "10.9.8.7", "::1"]
    assert [serves(rule, attribute("remoteAddress", each)) for each in served] == [True] * 3
    assert [serves(rule, attribute("remoteAddress", each)) for each in ("127.0.0.2", "x", "")] == [False] * 3
    assert not serves(rule, FlagContext())


@pytest.mark.parametrize(("hostname", "served"), [("Here", True), ("there", True), ("elsewhere", False), ("", False)])
def test_hosts_are_served_in_any_case(hostname: str, served: bool) -> None:
    rule = Rule(name="applicationHostname", parameters={"hostNames": "HERE, there,"})
    assert serves(rule, FlagContext(), hostname=hostname) is served


@pytest.mark.parametrize("share", ["", "half", "-1", "0", "nan"])
def test_a_share_that_is_none_serves_nobody(share: str) -> None:
    for name in ("flexibleRollout", "gradualRolloutRandom", "gradualRolloutUserId"):
        rule = Rule(name=name, parameters={"rollout": share, "percentage": share})
        assert not serves(rule, FlagContext(user="ada"), draw=0.0)


def test_one_rule_is_enough_and_no_rule_is_everybody() -> None:
    listed = Rule(name="userWithId", parameters={"userIds": "ada"})
    flag = {"name": "a", "enabled": True, "strategy": Strategy.RULES}
    either = FlagDefinition(**flag, rules=(Rule(name="homeMade"), listed))
    prepared = compile_flags({"a": either}, {}, EvaluationContext())["a"]
    assert (prepared.decide(FlagContext(user="ada"), NOW).reason, prepared.decide(FlagContext(), NOW).reason) == (
        Reason.RULE,
        Reason.NO_RULE,
    )
    assert prepared.decide(FlagContext(user="ada"), NOW).detail == "rule 2: userWithId"
    everybody = compile_flags({"a": FlagDefinition(**flag)}, {}, EvaluationContext())["a"]
    assert everybody.decide(FlagContext(), NOW)
    assert everybody.fixed is True


@pytest.mark.parametrize("name", STRATEGY_NAMES)
def test_a_rule_that_can_serve_somebody_is_no_problem(name: str) -> None:
    assert problem(Rule(name=name, parameters={"rollout": "33.5", "percentage": "100"})) == ""


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (Rule(name="homeMade"), f"name must be one of {', '.join(STRATEGY_NAMES)}, was 'homeMade'"),
        (rollout("101"), "parameters.rollout must be a number from 0 to 100, was '101'"),
        (Rule(name="gradualRolloutRandom"), "parameters.percentage must be a number from 0 to 100, was ''"),
    ],
)
def test_a_rule_that_can_serve_nobody_is_told_in_one_sentence(rule: Rule, sentence: str) -> None:
    assert problem(rule) == sentence
