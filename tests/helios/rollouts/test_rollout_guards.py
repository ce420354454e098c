"""Each guard fails just above its limit, says nothing of too little, and nothing good of what is no number."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios.rollouts.core.arm_summary import arm_numbers
from helios.rollouts.core.assignment import Mode
from helios.rollouts.core.guards import METRICS, Guard, Outcome, Strength, default_guards, judge_guard, parse_guards
from helios.rollouts.core.machine import Verdict
from helios.rollouts.core.measures import ArmMeasures, checked
from helios.rollouts.core.rollout_plan import Step
from helios.rollouts.core.verdict import breach, judge, unreadable
from helios.rollouts.errors import MeasuresUnusable, RolloutRefused
from tests.support.arms import arm, reading

LIVE = Step(kind=Mode.LIVE, percentage=5)
SHADOW = Step(kind=Mode.SHADOW)
LAST = Step(kind=Mode.LIVE, percentage=100)
PREDICT = default_guards("module", "predict")


def guard(metric: str, limit: float, kind: str = "hard", **other) -> Guard:
    return parse_guards([{"metric": metric, "limit": limit, "kind": kind, **other}, *KEPT])[0]


KEPT = [{"metric": "exceptions", "limit": 1_000_000, "kind": "hard"}]


def said(one: Guard, arms, step: Step = LIVE):
    return judge_guard(one, arms, step, seed=1)


@pytest.mark.parametrize(
    ("metric", "measured", "value"),
    [
        ("exception_rate", {"n_errors": 5}, 0.05),
        ("latency_p95_ms", {"latency_ms": (40.0,) * 99 + (400.0,)}, 40.0),
        ("latency_p95_ratio", {"latency_ms": (40.0,) * 100}, 4.0),
        ("rejected_order_rate", {"n_orders": 8, "n_rejected": 2}, 0.25),
        ("exposure", {"exposure": 1.2}, 1.2),
        ("drawdown", {"drawdown": 0.07}, 0.07),
    ],
)
def test_a_guard_passes_at_its_value_and_fails_above(metric: str, measured, value: float) -> None:
    arms = reading(arm(**measured), arm(seed=1))
    arms["champion"] = ArmMeasures(n_decisions=100, latency_ms=(10.0,) * 100)
    at, below = said(guard(metric, value), arms), said(guard(metric, value * 0.99), arms)
    assert at.value == pytest.approx(value)
    assert (at.outcome, below.outcome) == (Outcome.PASSED, Outcome.FAILED)
    assert f"{metric} {value:.4g} is above its hard limit" in below.sentence


def test_a_fall_that_the_champion_had_as_well_is_not_the_challengers_fault() -> None:
    both = reading(arm(drawdown=0.12), arm(drawdown=0.10, seed=1))
    assert said(guard("drawdown_excess", 0.05), both).value == pytest.approx(0.02)
    assert judge(both, PREDICT, LIVE, seed=1).verdict is Verdict.SUCCESS
    alone = reading(arm(drawdown=0.12), arm(drawdown=0.01, seed=1))
    assert judge(alone, PREDICT, LIVE, seed=1).hard


def test_exceptions_are_counted_whatever_their_rate() -> None:
    many = reading(arm(10_000, n_errors=3))
    found = said(parse_guards([{"metric": "exceptions", "limit": 2, "kind": "hard"}])[0], many)
    assert (found.outcome, found.value) == (Outcome.FAILED, 3)


def test_latencies_below_the_floor_are_never_a_bad_ratio() -> None:
    arms = reading(arm(latency=1.0), arm(latency=0.01))
    assert said(guard("latency_p95_ratio", 1.0), arms).value == 1.0


def test_the_deficit_of_pnl_is_what_is_sure_of_it() -> None:
    worse = reading(arm(2_000, pnl=-20.0), arm(2_000, pnl=0.0, seed=1))
    assert said(guard("pnl_deficit_bps", 5, "soft"), worse).outcome is Outcome.FAILED
    noisy = reading(arm(10, pnl=-6.0), arm(10, pnl=0.0, seed=1))
    assert said(guard("pnl_deficit_bps", 5, "soft"), noisy).outcome is Outcome.PASSED
    better = reading(arm(2_000, pnl=20.0), arm(2_000, pnl=0.0, seed=1))
    assert said(guard("pnl_deficit_bps", 0, "soft"), better).outcome is Outcome.PASSED


@pytest.mark.parametrize("n", [400, 30_000])
def test_worse_calibration_is_noticed_in_small_and_in_large_samples(n: int) -> None:
    worse = reading(arm(n, loss=1.4), arm(n, loss=1.0, seed=1))
    assert said(guard("log_loss_excess", 0.02, "soft"), worse).outcome is Outcome.FAILED
    same = reading(arm(n, loss=1.0), arm(n, loss=1.0, seed=1))
    assert said(guard("log_loss_excess", 0.02, "soft"), same).outcome is Outcome.PASSED


@pytest.mark.parametrize(("worse", "outcome"), [(0.0, Outcome.PASSED), (0.05, Outcome.FAILED)])
def test_a_challenger_of_the_easy_symbols_is_judged_by_what_the_champion_says_of_them(
    worse: float, outcome: Outcome
) -> None:
    places = tuple((bar, symbol) for bar in range(100) for symbol in ("easy", "hard"))
    losses = tuple((0.3 if symbol == "easy" else 1.4) + bar % 7 / 10 for bar, symbol in places)
    champion = ArmMeasures(n_decisions=100, losses=losses, losses_of=places)  # of the hard ones
    challenger = replace(champion, losses=tuple(loss + worse for loss in losses))
    found = said(guard("log_loss_excess", 0.005, "soft"), reading(challenger, champion))
    assert (found.outcome, found.samples) == (outcome, 100)
    assert found.value == pytest.approx(worse, abs=1e-12)


@pytest.mark.parametrize("one", PREDICT, ids=lambda one: one.metric)
def test_nothing_measured_is_too_few_or_skipped_and_never_passed(one: Guard) -> None:
    empty = {"champion": ArmMeasures(), "challenger": ArmMeasures()}
    expected = Outcome.TOO_FEW if one.required else Outcome.SKIPPED
    assert said(one, empty).outcome is expected


@pytest.mark.parametrize("metric", [name for name, metric in METRICS.items() if metric.relative])
def test_at_100_percent_nobody_is_left_to_compare_with(metric: str) -> None:
    alone = reading(arm(), ArmMeasures())
    assert said(guard(metric, 1), alone, LAST).outcome is Outcome.SKIPPED
    assert said(guard(metric, 1), alone, LIVE).outcome is Outcome.TOO_FEW


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize(
    ("metric", "field"),
    [
        ("latency_p95_ms", "latency_ms"),
        ("latency_p95_ratio", "latency_ms"),
        ("pnl_deficit_bps", "pnl_bps"),
        ("log_loss_excess", "losses"),
    ],
)
def test_a_value_that_is_no_number_is_an_error(metric: str, field: str, bad: float) -> None:
    broken = reading(arm(**{field: (1.0,) * 50 + (bad,)}))
    found = said(guard(metric, 1_000), broken)
    assert found.outcome is Outcome.UNUSABLE
    assert found.to_json()["value"] is None
    assert "must be a finite number" in found.sentence


def test_the_default_guards_survive_json() -> None:
    assert parse_guards(json.loads(json.dumps([one.to_json() for one in PREDICT]))) == PREDICT


def test_calibration_is_guarded_where_there_are_forecasts() -> None:
    assert "log_loss_excess" in {one.metric for one in PREDICT}
    for kind, target in (("module", "execute"), ("strategy", "predict")):
        assert "log_loss_excess" not in {one.metric for one in default_guards(kind, target)}


@pytest.mark.parametrize(
    ("guards", "sentence"),
    [
        ([], "must have a hard guard, had none"),
        ([{"metric": "pnl_deficit_bps", "limit": 5, "kind": "soft"}], "must have a hard guard"),
        ([{"metric": "profit", "limit": 5, "kind": "hard"}], "metric must be one of exceptions, exception_rate,"),
        ([{"metric": {}, "limit": 5, "kind": "hard"}], "log_loss_excess, was {}"),
        ([{"metric": "exceptions", "limit": 10**400, "kind": "hard"}], "must be a number from 0, was 1000"),
        ([{"metric": "exceptions", "limit": 5, "kind": "firm"}], "must be hard or soft, was 'firm'"),
        ([{"metric": "exceptions", "kind": "hard"}], "an object with metric, limit and kind"),
        ([{"metric": "exceptions", "limit": -1, "kind": "hard"}], "must be a number from 0, was -1"),
        ([{"metric": "exceptions", "limit": math.nan, "kind": "hard"}], "was nan"),
        ([{"metric": "exceptions", "limit": True, "kind": "hard"}], "was True"),
        ([{"metric": "exceptions", "limit": "2", "kind": "hard"}], "was '2'"),
        ([{"metric": "exceptions", "limit": 2, "kind": "hard", "min_samples": 0}], "whole number from 1, was 0"),
        ([{"metric": "pnl_deficit_bps", "limit": 2, "kind": "hard", "min_samples": 1}], "from 2, was 1"),
        ([{"metric": "exceptions", "limit": 2, "kind": "hard", "required": 1}], "must be true or false, was 1"),
        ([{"metric": "exceptions", "limit": 2, "kind": "hard", "note": "x"}], "no fields but"),
        (KEPT * 2, "guarded once, exceptions was twice"),
        (["exceptions"], "a guard must be an object"),
        ("exceptions", "guards must be a list of objects"),
        (None, "guards must be a list of objects, was None"),
    ],
)
def test_bad_guards_are_refused_in_one_sentence(guards, sentence: str) -> None:
    with pytest.raises(RolloutRefused, match=re.escape(sentence)):
        parse_guards(guards)


# --- the verdict of all guards together ---


def verdict(arms, step: Step = LIVE, guards=PREDICT):
    return judge(arms, guards, step, seed=1)


@pytest.mark.parametrize("step", [SHADOW, LIVE, Step(kind=Mode.REPLAY)])
def test_two_healthy_arms_are_a_success(step: Step) -> None:
    found = verdict(reading(), step)
    assert (found.verdict, found.hard) == (Verdict.SUCCESS, False)
    assert found.reason == "100 decisions, every guard kept"
    assert len(found.results) == len(PREDICT)


def test_the_last_step_succeeds_without_a_champion() -> None:
    assert verdict(reading(arm(), ArmMeasures()), LAST).verdict is Verdict.SUCCESS


def test_a_hard_failure_outweighs_everything_else() -> None:
    bad = arm(n_errors=50, pnl_bps=(math.nan,) * 100, losses=())
    found = verdict(reading(bad))
    assert (found.verdict, found.hard) == (Verdict.FAILED, True)
    assert "exceptions 50 is above its hard limit 2; exception_rate 0.5" in found.reason


def test_a_soft_failure_outweighs_what_is_missing() -> None:
    found = verdict(reading(arm(1_000, pnl=-50.0, losses=(math.nan,) * 40), arm(1_000, seed=1)))
    assert (found.verdict, found.hard) == (Verdict.FAILED, False)
    assert found.reason.startswith("pnl_deficit_bps")


def test_an_unusable_number_outweighs_too_few() -> None:
    found = verdict(reading(arm(10, pnl_bps=(math.nan,) * 40)))
    assert found.verdict is Verdict.ERROR


def test_too_few_decisions_say_nothing_and_the_reason_counts_them() -> None:
    found = verdict(reading(arm(29)), Step(kind=Mode.LIVE, percentage=5, min_samples=30))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "the step needs 30 decisions of the challenger, has 29" in found.reason
    assert "pnl_deficit_bps needs 30 samples, has 29" in found.reason


def test_a_champion_without_decisions_is_inconclusive_below_100_percent() -> None:
    assert verdict(reading(arm(), ArmMeasures())).verdict is Verdict.INCONCLUSIVE


counts = st.integers(0, 60)
numbers = st.floats(allow_nan=True, allow_infinity=True, width=32)
arms = st.builds(
    lambda n, errors, latencies, pnl, losses, orders, rejected, exposure, drawdown: ArmMeasures(
        n_decisions=n + errors,
        n_errors=errors,
        latency_ms=tuple(latencies),
        pnl_bps=tuple(pnl),
        losses=tuple(losses),
        n_orders=orders + rejected,
        n_rejected=rejected,
        exposure=exposure,
        drawdown=drawdown,
    ),
    counts,
    st.integers(0, 3),
    st.lists(numbers, max_size=40),
    st.lists(numbers, max_size=40),
    st.lists(numbers, max_size=40),
    counts,
    counts,
    st.none() | numbers,
    st.none() | numbers,
)


@given(arms, arms, st.sampled_from([SHADOW, LIVE, LAST]))
def test_whatever_is_measured_a_success_has_enough_and_breaks_nothing(champion, challenger, step) -> None:
    both = {"champion": champion, "challenger": challenger}
    found = judge(both, PREDICT, step, seed=1)
    json.dumps([each.to_json() for each in found.results], allow_nan=False)
    json.dumps(arm_numbers(both), allow_nan=False)
    if found.verdict is Verdict.SUCCESS:
        assert challenger.n_decisions >= step.min_samples
        assert {each.outcome for each in found.results} <= {Outcome.PASSED, Outcome.SKIPPED}
    assert found.hard == any(
        each.outcome is Outcome.FAILED and each.guard.kind is Strength.HARD for each in found.results
    )
    assert (breach(both, PREDICT, step, seed=1) is not None) == found.hard


def test_a_breach_needs_no_minimum_of_the_step() -> None:
    early = reading(arm(3, n_errors=3))
    found = breach(early, PREDICT, LIVE, seed=1)
    assert found is not None
    assert found.hard
    assert breach(reading(arm(3)), PREDICT, LIVE, seed=1) is None


def test_a_soft_guard_is_no_breach() -> None:
    assert breach(reading(arm(1_000, pnl=-50.0), arm(1_000, seed=1)), PREDICT, LIVE, seed=1) is None


def test_a_provider_that_raises_is_an_error_with_its_words() -> None:
    found = unreadable(ZeroDivisionError("no equity"))
    assert (found.verdict, found.reason) == (Verdict.ERROR, "no measures: ZeroDivisionError: no equity")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (None, "must be a mapping of arms, was NoneType"),
        ({}, "must hold the champion as ArmMeasures, was NoneType"),
        ({"champion": ArmMeasures(), "challenger": {}}, "must hold the challenger as ArmMeasures, was dict"),
        (reading(ArmMeasures(n_decisions=1, n_errors=2)), "n_errors of the challenger must be from 0 to n_decisions 1"),
        (reading(None, ArmMeasures(n_rejected=-1)), "n_rejected of the champion must be from 0 to n_orders 0, was -1"),
    ],
)
def test_measures_that_contradict_themselves_are_refused(answer, sentence: str) -> None:
    with pytest.raises(MeasuresUnusable, match=re.escape(sentence)):
        checked(answer)
