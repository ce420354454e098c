"""When is a flag on? Pure functions against a plain twin, Unleash's own cases and properties."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helios.flags.core.buckets import bucket, share
from helios.flags.core.context import NOBODY, FlagContext
from helios.flags.core.definition import BUCKETS, FlagDefinition, Reason, Strategy, check_product
from helios.flags.core.evaluation import constant
from helios.flags.core.parts import Prerequisite, ScheduleStep, Variant
from tests.support.flags import evaluate
from tests.support.places import SHARED

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
UNLEASH = SHARED / "reference" / "unleash"
AAPL = FlagContext(symbol="AAPL")


def flag(strategy: Strategy, **fields) -> FlagDefinition:
    return FlagDefinition(**{"name": "a_flag", "enabled": True, "strategy": strategy, **fields})


def step(hours: int, percentage: int) -> ScheduleStep:
    return ScheduleStep(at=NOW + timedelta(hours=hours), percentage=percentage)


def murmur3_x86_32(data: bytes, seed: int = 0) -> int:
    """The published algorithm word by word: the slow twin."""
    mask, h = 0xFFFFFFFF, seed

    def rotate(x: int, by: int) -> int:
        return ((x << by) | (x >> (32 - by))) & mask

    def mix(k: int) -> int:
        return rotate(k * 0xCC9E2D51 & mask, 15) * 0x1B873593 & mask

    whole = len(data) // 4 * 4
    for start in range(0, whole, 4):
        h = rotate(h ^ mix(int.from_bytes(data[start : start + 4], "little")), 13) * 5 + 0xE6546B64 & mask
    if data[whole:]:
        h ^= mix(int.from_bytes(data[whole:], "little"))
    h ^= len(data)
    h = (h ^ (h >> 16)) * 0x85EBCA6B & mask
    h = (h ^ (h >> 13)) * 0xC2B2AE35 & mask
    return h ^ (h >> 16)


names = st.text(min_size=1, max_size=12)
moments = st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
contexts = st.builds(
    FlagContext,
    symbol=st.sampled_from(["", "AAPL", "MSFT", "BTC/USD"]),
    user=st.sampled_from(["", "ada"]),
    strategy=st.sampled_from(["", "helios"]),
    system=st.sampled_from(["", "replay"]),
)


@st.composite
def definitions(draw: st.DrawFn) -> FlagDefinition:
    entries = st.frozensets(st.sampled_from(["AAPL", "MSFT", "ada", "helios"]), max_size=3)
    start = draw(st.none() | moments)
    strategy = draw(st.sampled_from(Strategy))
    return FlagDefinition(
        name=draw(st.sampled_from(["one", "another"])),
        enabled=draw(st.booleans()) and strategy is not Strategy.KILL_SWITCH,
        strategy=strategy,
        percentage=draw(st.integers(0, 100)),
        whitelist=draw(entries),
        blacklist=draw(entries),
        gradual_start=start,
        gradual_end=start + timedelta(hours=draw(st.integers(1, 500))) if start else None,
        stickiness=draw(st.sampled_from(["", "user", "desk"])),
    )


@given(group=st.text(max_size=20), held_on=st.text(max_size=20))
@example(group="ÄÖ", held_on="日本")
@example(group="", held_on="")
def test_buckets_equal_the_published_murmur3(group: str, held_on: str) -> None:
    data = f"{group}:{held_on}".encode()
    assert bucket(group, held_on) == murmur3_x86_32(data) % 100 + 1


@pytest.mark.parametrize(("user", "expected"), [("122", True), ("155", False)])
def test_half_of_the_users_are_those_that_unleash_serves(user: str, expected: bool) -> None:
    half = flag(Strategy.PERCENTAGE, percentage=50, group_id="AB12A")
    assert evaluate(half, FlagContext(user=user), NOW).enabled is expected


def test_unleash_gradual_rollout_suite_agrees() -> None:
    path = UNLEASH / "03-gradual-rollout-user-id-strategy.json"
    if not path.exists():
        pytest.skip("Unleash's client specification is not on this machine (shared/reference/unleash)")
    suite = json.loads(path.read_text())
    features = {feature["name"]: feature["strategies"] for feature in suite["state"]["features"]}
    checked = 0
    for case in suite["tests"]:
        rules, user = features[case["toggleName"]], case["context"].get("userId", "")
        if len(rules) > 1 or not user:  # several strategies at once, and 100 % of nobody, are Unleash's alone
            continue
        parameters = rules[0]["parameters"]
        rule = flag(Strategy.PERCENTAGE, percentage=int(parameters["percentage"]), group_id=parameters["groupId"])
        assert evaluate(rule, FlagContext(user=user), NOW).enabled is case["expectedResult"], case["description"]
        checked += 1
    assert checked >= 4


@pytest.mark.parametrize(
    ("definition", "context", "on", "reason"),
    [
        (flag(Strategy.ALL_ON), NOBODY, True, Reason.ALL_ON),
        (flag(Strategy.ALL_ON, enabled=False), AAPL, False, Reason.DISABLED),
        (flag(Strategy.ALL_OFF), AAPL, False, Reason.ALL_OFF),
        (flag(Strategy.KILL_SWITCH, enabled=False), AAPL, False, Reason.KILLED),
        (flag(Strategy.WHITELIST, whitelist=frozenset({"AAPL"})), AAPL, True, Reason.LISTED),
        (flag(Strategy.WHITELIST, whitelist=frozenset({"MSFT"})), AAPL, False, Reason.NOT_LISTED),
        (flag(Strategy.WHITELIST, whitelist=frozenset({"MSFT"})), NOBODY, False, Reason.NOT_LISTED),
        (flag(Strategy.BLACKLIST, blacklist=frozenset({"AAPL"})), AAPL, False, Reason.LISTED),
        (flag(Strategy.BLACKLIST, blacklist=frozenset({"MSFT"})), AAPL, True, Reason.NOT_LISTED),
        (flag(Strategy.PERCENTAGE, percentage=100), NOBODY, True, Reason.IN_SHARE),
        (flag(Strategy.PERCENTAGE, percentage=0), AAPL, False, Reason.OUTSIDE_SHARE),
        (flag(Strategy.PERCENTAGE, percentage=99), NOBODY, False, Reason.NO_IDENTITY),
        (flag(Strategy.GRADUAL, percentage=100), AAPL, False, Reason.OUTSIDE_SHARE),
    ],
)
def test_each_strategy_answers_with_its_reason(
    definition: FlagDefinition, context: FlagContext, on: bool, reason: Reason
) -> None:
    decision = evaluate(definition, context, NOW)
    assert (decision.enabled, decision.reason) == (on, reason)
    assert bool(decision) is on


@pytest.mark.parametrize("identity", ["symbol", "user", "strategy", "system"])
def test_lists_match_any_identity_of_the_context(identity: str) -> None:
    context = FlagContext(**{identity: "me"})
    assert evaluate(flag(Strategy.WHITELIST, whitelist=frozenset({"me"})), context, NOW)
    assert not evaluate(flag(Strategy.BLACKLIST, blacklist=frozenset({"me"})), context, NOW)


@given(definition=definitions(), context=contexts, now=moments)
def test_an_answer_held_ready_is_the_answer_for_every_context_and_moment(
    definition: FlagDefinition, context: FlagContext, now: datetime
) -> None:
    ready = constant(definition)
    if ready is not None:
        assert evaluate(definition, context, now).enabled is ready


@given(definition=definitions(), context=contexts, now=moments)
def test_the_same_question_has_the_same_answer(definition: FlagDefinition, context: FlagContext, now: datetime) -> None:
    assert evaluate(definition, context, now) == evaluate(definition, context, now)


@given(held_on=names, low=st.integers(0, 100), high=st.integers(0, 100))
def test_who_is_served_by_a_percentage_stays_served_by_a_larger_one(held_on: str, low: int, high: int) -> None:
    low, high = sorted((low, high))
    context = FlagContext(symbol=held_on)
    if evaluate(flag(Strategy.PERCENTAGE, percentage=low), context, NOW):
        assert evaluate(flag(Strategy.PERCENTAGE, percentage=high), context, NOW)


def test_a_percentage_serves_about_its_share() -> None:
    quarter = flag(Strategy.PERCENTAGE, percentage=25)
    served = sum(evaluate(quarter, FlagContext(symbol=f"S{n}"), NOW).enabled for n in range(10_000))
    assert 2_350 < served < 2_650  # 3.5 standard deviations of a fair draw


def test_flags_of_one_group_serve_the_same_symbols_and_others_do_not() -> None:
    symbols = [FlagContext(symbol=f"S{n}") for n in range(200)]

    def served(**fields: str) -> list[bool]:
        rule = flag(Strategy.PERCENTAGE, percentage=50, **fields)
        return [evaluate(rule, symbol, NOW).enabled for symbol in symbols]

    assert served(name="one", group_id="g") == served(name="another", group_id="g")
    assert served(name="one") != served(name="another")


def ramp(percentage: int = 60) -> FlagDefinition:
    return flag(Strategy.GRADUAL, percentage=percentage, gradual_start=NOW, gradual_end=NOW + timedelta(hours=10))


@pytest.mark.parametrize(("hours", "expected"), [(-1, 0.0), (0, 0.0), (1, 6.0), (5, 30.0), (10, 60), (99, 60)])
def test_a_ramp_grows_in_a_straight_line_and_stays_at_its_end(hours: int, expected: float) -> None:
    assert share(ramp(), NOW + timedelta(hours=hours)) == pytest.approx(expected)


@given(held_on=names, early=moments, late=moments)
def test_a_ramp_never_takes_back_whom_it_serves(held_on: str, early: datetime, late: datetime) -> None:
    early, late = sorted((early, late))
    context = FlagContext(symbol=held_on)
    if evaluate(ramp(), context, early):
        assert evaluate(ramp(), context, late)


def test_a_ramp_counts_in_any_time_zone() -> None:
    elsewhere = (NOW + timedelta(hours=5)).astimezone(timezone(timedelta(hours=-7)))
    assert share(ramp(), elsewhere) == pytest.approx(30.0)


def test_a_ramp_may_begin_above_zero() -> None:
    begun = flag(
        Strategy.GRADUAL, percentage=60, gradual_from=20, gradual_start=NOW, gradual_end=NOW + timedelta(hours=10)
    )
    shares = [share(begun, NOW + timedelta(hours=hours)) for hours in (-1, 0, 5, 10, 99)]
    assert shares == pytest.approx([0, 20, 40, 60, 60])


LADDER = (step(0, 1), step(1, 2), step(2, 5), step(3, 10), step(4, 25), step(5, 50), step(6, 100))


@pytest.mark.parametrize(
    ("hours", "expected"),
    [(-1, 0), (0, 1), (0.99, 1), (1, 2), (2.5, 5), (3, 10), (4, 25), (5.9, 50), (6, 100), (99, 100)],
)
def test_a_schedule_climbs_its_steps_at_their_times(hours: float, expected: int) -> None:
    assert share(flag(Strategy.PERCENTAGE, schedule=LADDER), NOW + timedelta(hours=hours)) == expected


def test_before_its_first_step_a_schedule_leaves_the_percentage_as_it_is() -> None:
    scheduled = flag(Strategy.PERCENTAGE, percentage=40, schedule=(step(1, 50),))
    assert [share(scheduled, NOW), share(scheduled, NOW + timedelta(hours=1))] == [40, 50]


@pytest.mark.parametrize("strategy", [Strategy.ALL_ON, Strategy.WHITELIST, Strategy.GRADUAL])
def test_a_schedule_moves_percentage_flags_only(strategy: Strategy) -> None:
    plain = evaluate(flag(strategy), AAPL, NOW)
    assert evaluate(flag(strategy, schedule=(step(-1, 100),)), AAPL, NOW) == plain


@given(held_on=names, early=moments, late=moments)
def test_a_climbing_schedule_never_takes_back_whom_it_serves(held_on: str, early: datetime, late: datetime) -> None:
    early, late = sorted((early, late))
    scheduled, context = flag(Strategy.PERCENTAGE, schedule=LADDER), FlagContext(symbol=held_on)
    if evaluate(scheduled, context, early):
        assert evaluate(scheduled, context, late)


@given(shares=st.lists(st.integers(0, 100), min_size=1, max_size=6), now=moments)
def test_a_schedule_serves_the_last_step_that_has_come(shares: list[int], now: datetime) -> None:
    steps = tuple(step(24 * place, percentage) for place, percentage in enumerate(shares))
    served = share(flag(Strategy.PERCENTAGE, percentage=7, schedule=steps), now)
    assert served == ([7, *shares])[sum(each.at <= now for each in steps)]


def test_half_a_character_has_a_bucket_too() -> None:
    assert 1 <= bucket("g", "\ud800") <= BUCKETS


def test_a_percentage_holds_on_the_first_identity_or_on_what_the_flag_names() -> None:
    context = FlagContext(
        symbol="AAPL",
        user="ada",
        strategy="helios",
        system="replay",
        environment="dev",
        attributes={"desk": "crypto"},
    )
    for stickiness, asked, held_on in (
        ("", context, "AAPL"),
        ("", FlagContext(system="replay", user="ada"), "ada"),
        ("user", context, "ada"),
        ("environment", context, "dev"),
        ("desk", context, "crypto"),
    ):
        last = bucket("a_flag", held_on)
        shares = (flag(Strategy.PERCENTAGE, stickiness=stickiness, percentage=each) for each in (last - 1, last))
        assert [evaluate(each, asked, NOW).enabled for each in shares] == [False, True]
    nobody = flag(Strategy.PERCENTAGE, stickiness="floor", percentage=99)
    assert not evaluate(nobody, context, NOW).enabled


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": ""}, "name must be 1 to 100"),
        ({"percentage": 101}, "from 0 to 100, was 101"),
        ({"percentage": -1}, "from 0 to 100, was -1"),
        ({"percentage": 12.5}, "from 0 to 100, was 12.5"),
        ({"percentage": True}, "from 0 to 100, was True"),
        ({"whitelist": frozenset({""})}, "must not be empty"),
        ({"blacklist": frozenset({"A", ""})}, "must not be empty"),
        ({"gradual_start": NOW}, "both a start and an end"),
        ({"gradual_end": NOW}, "both a start and an end"),
        ({"gradual_start": NOW, "gradual_end": NOW}, "end after its start"),
        ({"gradual_start": NOW.replace(tzinfo=None), "gradual_end": NOW}, "time zone"),
        ({"strategy": Strategy.KILL_SWITCH}, "killed flag must be disabled"),
        ({"environments": frozenset({""})}, "must not be empty"),
        ({"gradual_from": 101}, "gradual_from must be a whole number from 0 to 100, was 101"),
        ({"strategy": Strategy.GRADUAL, "gradual_from": 11, "percentage": 10}, "must not fall, was from 11 to 10"),
        ({"schedule": (step(0, 101),)}, "from 0 to 100, was 101"),
        ({"schedule": (ScheduleStep(at=datetime(2026, 1, 1), percentage=1),)}, "time zone"),  # noqa: DTZ001
        ({"schedule": (step(1, 1), step(0, 2))}, "in order of time, was 2026-03-01T12:00:00.00:00 after"),
        ({"schedule": (step(1, 1), step(1, 2))}, "in order of time"),
    ],
)
def test_contradicting_definitions_are_refused_in_one_sentence(fields: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        flag(**{"strategy": Strategy.ALL_ON, **fields})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": "a flag"}, "name must be 1 to 100 letters, digits or _ . ~ -, was 'a flag'"),
        ({"name": "x" * 101}, "name must be 1 to 100"),
        ({"name": "blåbær"}, "name must be 1 to 100"),
        ({"variants": (Variant(name="x"), Variant(name="x"))}, "names of their own, came twice: x"),
        ({"prerequisites": (Prerequisite(feature="a_flag"),)}, "must not be its own prerequisite, a_flag was"),
        ({"prerequisites": (Prerequisite(feature="b"),) * 2}, "must name a flag once, came twice: b"),
    ],
)
def test_the_table_of_helios_is_stricter_than_unleashs_files(fields: dict, sentence: str) -> None:
    definition = flag(**{"strategy": Strategy.ALL_ON, **fields})
    with pytest.raises(ValueError, match=sentence):
        check_product(definition)


def test_a_definition_that_the_table_takes_comes_back_as_it_is() -> None:
    definition = flag(Strategy.ALL_ON, name="a.b_c~d-e", prerequisites=(Prerequisite(feature="b"),))
    assert check_product(definition) is definition


def test_there_are_a_hundred_buckets_and_each_is_used() -> None:
    assert {bucket("g", str(n)) for n in range(2_000)} == set(range(1, BUCKETS + 1))
