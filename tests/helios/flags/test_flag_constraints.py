"""When does a constraint hold? The operators one by one; their plain twin stands in test_flag_compiled."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import pytest
import semver
from hypothesis import given
from hypothesis import strategies as st

from helios.flags.core.constraints import (
    MAX_PATTERN,
    compile_constraint,
    is_timed,
    parse_moment,
    parse_number,
    parse_semver,
    problem,
)
from helios.flags.core.context import NOBODY, FlagContext
from helios.flags.core.parts import Constraint, Operator

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ONE_VALUE = [each for each in Operator if each.startswith(("NUM", "DATE", "SEMVER", "REGEX"))]
MANY_VALUES = [each for each in Operator if each not in ONE_VALUE]
NEW_YEAR = "2026-01-01T00:00:00Z"
LIMITS = {"NUM": "12", "DATE": NEW_YEAR, "SEMVER": "1.2.3", "REGEX": "^A"}


def holds(operator: str, seen: str | None, *values: str, value: str = "", **fields: bool) -> bool:
    constraint = Constraint(context_name="seen", operator=operator, values=values, value=value, **fields)
    context = NOBODY if seen is None else FlagContext(attributes={"seen": seen})
    return compile_constraint(constraint)(context, NOW)


@pytest.mark.parametrize(
    ("operator", "values", "served", "refused"),
    [
        ("IN", ["a", "b"], ["a", "b"], ["A", "ab", "", " a"]),
        ("IN", [""], [""], ["a"]),
        ("NOT_IN", ["a", "b"], ["A", "ab", ""], ["a", "b"]),
        ("STR_STARTS_WITH", ["BTC", "ETH"], ["BTC/USD", "ETH"], ["btc", "xBTC", ""]),
        ("STR_ENDS_WITH", ["/USD"], ["BTC/USD", "/USD"], ["BTC/usd", "/USDT"]),
        ("STR_CONTAINS", ["C/", "x"], ["BTC/USD", "x"], ["BTC", "c/"]),
        ("IN_CIDR", ["10.0.0.0/8", " ::1 "], ["10.1.2.3", "::1"], ["11.0.0.1", "::2", "10.1.2", ""]),
    ],
)
def test_operators_that_compare_with_many_values(
    operator: str, values: list[str], served: list[str], refused: list[str]
) -> None:
    assert [holds(operator, each, *values) for each in served] == [True] * len(served)
    assert [holds(operator, each, *values) for each in refused] == [False] * len(refused)


@pytest.mark.parametrize(
    ("operator", "value", "served", "refused"),
    [
        ("NUM_EQ", "12", ["12", "12.0", "1.2e1", " 12 "], ["12.1", "", "twelve", "1_2", "nan", "0xC"]),
        ("NUM_GT", "12", ["12.5", "1e400"], ["12", "-13"]),
        ("NUM_GTE", "-.5", ["-0.5", "0"], ["-0.6"]),
        ("NUM_LT", "12", ["-1e400", "11.9"], ["12", "inf"]),
        ("NUM_LTE", "12", ["12", "+3."], ["12.0001"]),
        ("DATE_AFTER", NEW_YEAR, ["2026-01-01T00:00:01Z", "2026-01-01T00:00:00-01:00"], [NEW_YEAR]),
        ("DATE_BEFORE", "2026-01-01T01:00:00+01:00", ["2025-12-31T23:59:59.9Z"], [NEW_YEAR, "2025-01-01"]),
        ("SEMVER_EQ", "1.2.3", ["1.2.3", "1.2.3+5"], ["1.2.4", "1.2", "v1.2.3"]),
        ("REGEX", "^A.*L$", ["AAPL", "AL"], ["AAPLE", "aapl", "A\nL"]),
    ],
)  # fmt: skip
def test_operators_that_compare_with_one_value(
    operator: str, value: str, served: list[str], refused: list[str]
) -> None:
    assert [holds(operator, each, value=value) for each in served] == [True] * len(served)
    assert [holds(operator, each, value=value) for each in refused] == [False] * len(refused)


@pytest.mark.parametrize("operator", ["STR_STARTS_WITH", "STR_ENDS_WITH", "STR_CONTAINS"])
def test_texts_may_compare_without_case(operator: str) -> None:
    assert holds(operator, "aapl", "AAPL", "X", case_insensitive=True)
    assert holds(operator, "ÉCOLE", "école", case_insensitive=True)
    assert not holds(operator, "aapl", "AAPL")


@pytest.mark.parametrize("operator", [each for each in Operator if each is not Operator.NOT_IN])
def test_a_missing_value_is_false_and_true_when_inverted(operator: Operator) -> None:
    limit = LIMITS.get(operator.split("_")[0], "")
    assert not holds(operator, None, "a", value=limit)
    assert holds(operator, None, "a", value=limit, inverted=True)


def test_a_missing_value_is_in_no_list() -> None:
    assert holds("NOT_IN", None, "a")
    assert not holds("NOT_IN", None, "a", inverted=True)
    assert not holds("IN", None, "")


def test_an_empty_pattern_matches_whatever_is_given_and_nobody_may_send_one() -> None:
    assert holds("REGEX", "", value="")
    assert holds("REGEX", "AAPL", value="")
    assert "1 to 1000 letters, was ''" in problem(Constraint(context_name="symbol", operator="REGEX"))


def test_a_version_with_a_space_is_none_but_its_limit_may_be_pasted_with_one() -> None:
    assert not holds("SEMVER_EQ", " 1.2.3", value="1.2.3")
    assert holds("SEMVER_EQ", "1.2.3", value=" 1.2.3 ")
    assert not problem(Constraint(context_name="build", operator="SEMVER_EQ", value=" 1.2.3 "))


def test_digits_without_end_take_no_time_to_be_no_number() -> None:
    assert parse_number("1" * 300_000 + "x") is None


@pytest.mark.parametrize(
    ("operator", "limit"),
    [*((each, limit) for each in ONE_VALUE for limit in ("", "(nonsense") if (each, limit) != (Operator.REGEX, ""))],
)
def test_a_limit_that_cannot_be_read_is_false_and_true_when_inverted(operator: Operator, limit: str) -> None:
    assert not holds(operator, limit, value=limit)
    assert holds(operator, limit, value=limit, inverted=True)


@pytest.mark.parametrize("inverted", [False, True])
def test_an_operator_that_nobody_knows_never_holds(inverted: bool) -> None:
    assert not holds("NOT_YET_INVENTED", "a", "a", value="a", inverted=inverted)


def test_without_a_current_time_it_is_now() -> None:
    after = Constraint(context_name="currentTime", operator="DATE_AFTER", value="2026-03-01T11:59:59Z")
    assert compile_constraint(after)(NOBODY, NOW)
    assert not compile_constraint(after)(NOBODY, datetime(2026, 3, 1, tzinfo=UTC))
    told = FlagContext(attributes={"currentTime": "2026-01-01T00:00:00Z"})
    assert not compile_constraint(after)(told, NOW)
    garbled = FlagContext(attributes={"currentTime": "noon"})
    assert not compile_constraint(after)(garbled, NOW)
    assert is_timed(after)
    assert not is_timed(Constraint(context_name="expiry", operator="DATE_AFTER", value="2026-03-01T11:59:59Z"))
    assert not is_timed(Constraint(context_name="currentTime", operator="IN", values=("noon",)))


@pytest.mark.parametrize("name", ["userId", "user"])
def test_unleashs_name_of_the_user_is_the_user(name: str) -> None:
    constraint = compile_constraint(Constraint(context_name=name, operator="IN", values=("ada",)))
    assert constraint(FlagContext(user="ada"), NOW)
    assert constraint(FlagContext(attributes={name: "ada"}), NOW)
    assert not constraint(FlagContext(user="bob", attributes={name: "ada"}), NOW)


@pytest.mark.parametrize("name", ["symbol", "strategy", "system", "environment"])
def test_fields_of_the_context_come_before_attributes_of_the_same_name(name: str) -> None:
    constraint = compile_constraint(Constraint(context_name=name, operator="IN", values=("x",)))
    assert constraint(FlagContext(**{name: "x"}, attributes={name: "y"}), NOW)
    assert constraint(FlagContext(attributes={name: "x"}), NOW)
    assert not constraint(FlagContext(**{name: "y"}, attributes={name: "x"}), NOW)


def test_a_pattern_that_would_take_a_backtracking_matcher_for_ever_ends_at_once() -> None:
    started = time.monotonic()
    assert not holds("REGEX", "a" * 50_000 + "c", value="^(a|a)*(a*)*b$")
    assert time.monotonic() - started < 60  # 2 ** 50,000 steps elsewhere


@pytest.mark.parametrize("pattern", ["a" * (MAX_PATTERN + 1), "a{1001}", "((a{100}){100}){100}", "(a)\\1", "(?=a)"])
def test_patterns_without_a_bound_or_outside_regular_languages_are_none(pattern: str) -> None:
    assert not holds("REGEX", "aa", value=pattern)
    assert "a pattern of RE2" in problem(Constraint(context_name="symbol", operator="REGEX", value=pattern))


def test_half_a_character_matches_nothing_and_breaks_nothing() -> None:
    assert not holds("REGEX", "\ud800", value=".")
    assert not holds("IN_CIDR", "\ud800", "10.0.0.0/8")
    assert holds("IN", "\ud800", "\ud800")
    assert not holds("REGEX", "x", value="\ud800")


@given(
    operator=st.sampled_from(Operator),
    seen=st.text(max_size=20) | st.sampled_from(["9" * 5_000 + ".0.0", "1e" + "9" * 400, "\ud800", "\x00"]),
    limit=st.text(max_size=10) | st.sampled_from(list(LIMITS.values())),
)
def test_no_context_whatever_it_holds_makes_an_evaluation_fail(operator: Operator, seen: str, limit: str) -> None:
    assert holds(operator, seen, limit, value=limit) is not holds(operator, seen, limit, value=limit, inverted=True)


@pytest.mark.parametrize(
    ("seen", "operator", "values", "value"),
    [
        (12, "IN", ("12",), ""),
        (12.5, "NUM_GT", (), "12"),
        (True, "IN", ("true",), ""),
        (NOW, "DATE_AFTER", (), NEW_YEAR),
        (None, "NOT_IN", ("None",), ""),
    ],
)
def test_an_attribute_that_is_no_text_is_read_as_one(
    seen: object, operator: str, values: tuple[str, ...], value: str
) -> None:
    constraint = Constraint(context_name="seen", operator=operator, values=values, value=value)
    assert compile_constraint(constraint)(FlagContext(attributes={"seen": seen}), NOW)


@pytest.mark.parametrize("operator", ONE_VALUE)
def test_what_could_never_hold_is_named(operator: Operator) -> None:
    good = Constraint(context_name="p", operator=operator, value=LIMITS[operator.split("_")[0]])
    assert problem(good) == ""
    assert problem(Constraint(context_name="p", operator=operator, value="(")).startswith("value must be a")
    assert problem(Constraint(context_name="p", operator=operator)).startswith("value must be a")


@pytest.mark.parametrize("operator", MANY_VALUES)
def test_an_empty_list_is_no_problem_for_it_means_nobody(operator: Operator) -> None:
    assert problem(Constraint(context_name="p", operator=operator)) == ""


@pytest.mark.parametrize(
    ("constraint", "sentence"),
    [
        (Constraint(context_name="", operator="IN"), "contextName must name a field of the context, was empty"),
        (Constraint(context_name="p", operator="LIKE"), "operator must be one of IN, NOT_IN, .*, was 'LIKE'"),
        (
            Constraint(context_name="p", operator="IN_CIDR", values=("10.0.0.0/8", "ten")),
            "values must be networks such as 10.0.0.0/8, one was 'ten'",
        ),
    ],
)
def test_other_problems_are_told_in_one_sentence(constraint: Constraint, sentence: str) -> None:
    assert re.fullmatch(sentence, problem(constraint))


@given(text=st.text(max_size=12) | st.floats().map(str) | st.from_regex(r"[+-]?[0-9.eE+-]{1,8}", fullmatch=True))
def test_a_number_is_read_as_python_reads_it_or_not_at_all(text: str) -> None:
    found = parse_number(text)
    if found is not None:
        assert found == float(text)
    elif text.strip().isascii() and "_" not in text:
        with pytest.raises(ValueError):
            float(text) if text.strip().lower().strip("+-") not in {"nan", "inf", "infinity"} else float("x")


versions = st.from_regex(r"[0-9]{1,2}\.[0-9]\.[0-9](-[a-z0-9.]{1,6})?(\+[a-z]{1,3})?", fullmatch=True)


@given(one=versions, other=versions)
def test_versions_are_read_and_ordered_as_the_semver_package_does(one: str, other: str) -> None:
    def theirs(text: str) -> semver.Version | None:
        try:
            return semver.Version.parse(text)
        except ValueError:
            return None

    assert (parse_semver(one) is None) == (theirs(one) is None)
    left, right = parse_semver(one), parse_semver(other)
    if left is not None and right is not None:
        expected = theirs(one).compare(theirs(other))
        assert ((left > right) - (left < right)) == expected


@given(moment=st.datetimes(timezones=st.sampled_from([UTC])))
def test_a_moment_is_read_back_as_it_was_written(moment: datetime) -> None:
    assert parse_moment(moment.isoformat()) == moment


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-02-30T00:00:00Z",
        "2026-01-01T25:00:00Z",
        "1767225600",
        "2026-W01-1",
        "",
    ],
)
def test_what_is_no_moment_of_its_own_zone_is_none(text: str) -> None:
    assert parse_moment(text) is None
