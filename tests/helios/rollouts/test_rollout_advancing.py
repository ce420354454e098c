"""What time does: a Success goes on, a hard failure ends, everything else pauses, and nothing happens too early."""

from __future__ import annotations

import math
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from helios.errors import Rejected, Transient
from helios.events.models import SystemEvent
from helios.rollouts import advancing, selectors, services, tasks
from helios.rollouts.core.measures import ArmMeasures
from helios.rollouts.core.verdict import Judgement, judge
from helios.rollouts.models import Rollout, RolloutAnalysis, RolloutEvent
from tests.helios.rollouts.conftest import T0, Desk, asked
from tests.support.arms import arm, reading

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


def due(row: Rollout):
    row.refresh_from_db()
    return row.next_analysis_at


def served(book: str = "demo") -> int:
    return sum(len(each.symbols) for each in asked(SYMBOLS, book=book))


def test_a_healthy_challenger_goes_all_the_way(rollout: Rollout, desk: Desk) -> None:
    shares, now = [], T0
    while selectors.get(rollout.pk).state == "RUNNING":
        shares.append([(each.mode, len(each.symbols)) for each in asked(SYMBOLS)])
        now = max(now, due(rollout))
        services.run_due(now)
    assert shares[:3] == [[], [("shadow", 5)], [("live", 1)]]
    assert shares[3][0][0] == "live"
    assert 1 <= shares[3][0][1] < 5
    assert shares[4] == [("live", 5)]
    rollout.refresh_from_db()
    assert (rollout.state, rollout.reason) == ("SUCCEEDED", "momentum serves demo")
    assert desk.champion == "momentum"
    assert served() == 0
    assert [each.verdict for each in RolloutAnalysis.objects.all()] == ["Success"] * 5
    actions = list(RolloutEvent.objects.order_by("id").values_list("action", flat=True))
    assert actions == ["created", "started", *["stepped"] * 4, "promoting", "succeeded"]


def test_each_step_is_measured_since_it_began(rollout: Rollout, desk: Desk) -> None:
    services.advance(rollout.pk, T0)
    services.advance(rollout.pk, T0 + MINUTE)
    services.advance(rollout.pk, T0 + 2 * MINUTE)
    assert desk.asked == [(rollout.pk, 0, T0), (rollout.pk, 1, T0), (rollout.pk, 2, T0 + MINUTE)]


def test_before_its_interval_is_over_nothing_is_measured(at_step, desk: Desk) -> None:
    row = at_step(2)
    assert services.advance(row.pk, due(row) - timedelta(seconds=1)) is None
    assert services.run_due(due(row) - timedelta(seconds=1)) == []
    assert desk.asked == []
    assert services.advance(row.pk, due(row)) is not None


@pytest.mark.parametrize("step", [0, 1, 2, 3, 4])
def test_a_hard_failure_rolls_back_at_any_step(at_step, desk: Desk, step: int) -> None:
    row = at_step(step)
    desk.arms = reading(arm(n_errors=40))
    analysis = services.advance(row.pk, due(row))
    row.refresh_from_db()
    assert (row.state, row.step, row.next_analysis_at) == ("ROLLED_BACK", step, None)
    assert "exceptions 40 is above its hard limit 2" in row.reason
    assert (analysis.verdict, analysis.hard) == ("Failed", True)
    assert served() == 0
    event = SystemEvent.objects.filter(kind="rollout.rolled_back").get()
    assert (event.severity, event.data["before"]["step"]) == ("critical", step)
    assert services.run_due(T0 + timedelta(days=9)) == []


def test_the_first_step_wants_proof_more_of_it_at_each_look_and_later_ones_watch(
    rollout: Rollout, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What decides nothing passes no first step, and ends no later one; a gain that is shown passes the first."""
    looks = []

    def judged(*args: Any, look: int, **named: Any) -> Judgement:
        looks.append(look)
        return judge(*args, look=look, **named)

    monkeypatch.setattr(advancing, "judge", judged)
    wide = tuple(np.random.default_rng(9).normal(0.0, 300.0, 100).tolist())
    unclear, proven = reading(arm(pnl_bps=wide)), desk.arms
    desk.arms = unclear
    for n_looks in (1, 2):
        found = services.advance(rollout.pk, max(T0, due(rollout)))
        assert (found.verdict, looks[-1]) == ("Inconclusive", n_looks)
        assert "pnl_deficit_bps may be " in found.reason
        assert (selectors.get(rollout.pk).state, selectors.get(rollout.pk).step) == ("RUNNING", 0)
    desk.arms = proven
    assert services.advance(rollout.pk, due(rollout)).verdict == "Success"
    assert (looks[-1], selectors.get(rollout.pk).step) == (3, 1)
    desk.arms = unclear
    assert services.advance(rollout.pk, due(rollout)).verdict == "Success"
    assert looks[-1] == 0


def test_a_soft_failure_pauses_and_the_share_stays(at_step, desk: Desk) -> None:
    row = at_step(3)
    before = served()
    desk.arms = reading(arm(500, pnl=-40.0), arm(500, seed=1))
    services.advance(row.pk, due(row))
    row.refresh_from_db()
    assert (row.state, row.step, row.cause) == ("PAUSED", 3, "soft guard")
    assert "pnl_deficit_bps" in row.reason
    assert served() == before > 0
    assert services.run_due(T0 + timedelta(days=9)) == []


def test_after_a_soft_failure_a_person_begins_the_step_anew(at_step, desk: Desk) -> None:
    row = at_step(3)
    desk.arms = reading(arm(500, pnl=-40.0), arm(500, seed=1))
    services.advance(row.pk, due(row))
    later = T0 + timedelta(hours=2)
    assert services.resume(row.pk, actor="ada", now=later).measured_since == later


@pytest.mark.parametrize(
    ("reported", "verdict", "cause"),
    [
        (reading(arm(9)), "Inconclusive", "inconclusive"),
        (reading(arm(), ArmMeasures()), "Inconclusive", "inconclusive"),
        (reading(arm(pnl_bps=(math.nan,) * 50)), "Error", "error"),
        ({"champion": arm()}, "Error", "error"),
        (None, "Error", "error"),
    ],
)
def test_three_readings_that_say_nothing_pause(at_step, desk: Desk, reported, verdict: str, cause: str) -> None:
    row = at_step(2)
    desk.arms = reported
    since = row.measured_since
    for expected in ("RUNNING", "RUNNING", "PAUSED"):
        assert services.advance(row.pk, due(row)).verdict == verdict
        row.refresh_from_db()
        assert (row.state, row.step, row.measured_since) == (expected, 2, since)
    assert row.cause == cause
    assert row.reason == RolloutAnalysis.objects.first().reason != ""


def test_a_provider_that_raises_is_an_error_with_its_words(at_step, desk: Desk) -> None:
    row = at_step(2)
    desk.failure = ZeroDivisionError("no equity")
    analysis = services.advance(row.pk, due(row))
    assert (analysis.verdict, analysis.reason) == ("Error", "no measures: ZeroDivisionError: no equity")


def test_a_setting_that_names_nothing_is_an_error(at_step, settings) -> None:
    row = at_step(2)
    settings.ROLLOUT_MEASURES = "nowhere.at.all"
    assert "No module named 'nowhere'" in services.advance(row.pk, due(row)).reason


def test_the_limits_are_the_rollouts_own(plan, desk: Desk) -> None:
    row = services.start(plan(inconclusive_limit=1, error_limit=5).pk, actor="ada", now=T0)
    desk.failure = RuntimeError("away")
    for _ in range(4):
        services.advance(row.pk, due(row))
    assert selectors.get(row.pk).state == "RUNNING"
    desk.failure, desk.arms = None, reading(arm(3))
    services.advance(row.pk, due(row))
    assert selectors.get(row.pk).cause == "inconclusive"


def test_an_analysis_keeps_every_guard_with_value_limit_and_outcome(at_step) -> None:
    row = at_step(2)
    numbers = services.advance(row.pk, due(row)).numbers
    assert [each["metric"] for each in numbers["guards"]] == [each["metric"] for each in row.guards]
    p95 = next(each for each in numbers["guards"] if each["metric"] == "latency_p95_ms")
    assert (p95["limit"], p95["outcome"], p95["kind"]) == (1_000, "passed", "hard")
    assert 8 < p95["value"] < 13
    assert numbers["arms"]["challenger"]["decisions"] == 100
    assert numbers["arms"]["difference"]["pnl_bps"]["low"] < numbers["arms"]["difference"]["pnl_bps"]["high"]


def test_an_analysis_that_moves_nothing_does_not_count_as_a_change(at_step, desk: Desk) -> None:
    row = at_step(2)
    seen = row.version
    desk.arms = reading(arm(3))
    services.advance(row.pk, due(row))
    assert services.pause(row.pk, actor="ada", version=seen).state == "PAUSED"


# --- after every cycle ---


def test_a_hard_failure_does_not_wait_for_the_interval(at_step, desk: Desk) -> None:
    row = at_step(1)
    desk.arms = reading(arm(4, n_errors=4))
    analysis = services.react(row.pk, T0 + timedelta(seconds=61))
    row.refresh_from_db()
    assert (row.state, analysis.hard, analysis.step) == ("ROLLED_BACK", True, 1)
    assert served() == 0


def test_a_paused_rollout_still_serves_so_its_hard_guards_still_act(at_step, desk: Desk) -> None:
    row = services.pause(at_step(3).pk, actor="ada")
    desk.arms = reading(arm(drawdown=0.3))
    services.react(row.pk)
    row.refresh_from_db()
    assert (row.state, row.reason) == ("ROLLED_BACK", "drawdown 0.3 is above its hard limit 0.25")


def test_a_promotion_that_waits_for_its_turn_is_still_guarded(at_step, desk: Desk) -> None:
    row = at_step(4)
    desk.refusal = Transient("another swap runs")
    services.advance(row.pk, due(row))
    assert selectors.get(row.pk).state == "PROMOTING"
    assert services.react(row.pk) is None
    desk.arms = reading(arm(drawdown=0.3))
    services.react(row.pk)
    assert (selectors.get(row.pk).state, served()) == ("ROLLED_BACK", 0)
    assert services.run_due() == []
    assert desk.promoted == []


def test_a_promotion_that_was_done_or_is_being_done_is_not_called_back(at_step, desk: Desk, monkeypatch) -> None:
    row = services.promote(at_step(4).pk, actor="ada")
    desk.arms = reading(arm(drawdown=0.3))
    desk.champion = "momentum"
    assert services.react(row.pk) is None
    desk.champion = "sma_cross"
    monkeypatch.setattr(advancing, "claimed", lambda *_: nullcontext(enter_result=False))
    assert services.react(row.pk) is None
    assert selectors.get(row.pk).state == "PROMOTING"


@pytest.mark.parametrize("reported", [reading(), reading(arm(500, pnl=-40.0)), reading(arm(2)), None])
def test_soft_or_missing_numbers_are_left_to_the_analysis(at_step, desk: Desk, reported) -> None:
    row = at_step(2)
    desk.arms, n_analyses = reported, RolloutAnalysis.objects.count()
    assert services.react(row.pk) is None
    assert (selectors.get(row.pk).state, RolloutAnalysis.objects.count()) == ("RUNNING", n_analyses)


@pytest.mark.parametrize("state", ["PENDING", "replay", "ABORTED"])
def test_a_rollout_that_no_cycle_runs_is_not_measured_after_a_cycle(plan, desk: Desk, state: str) -> None:
    row = plan()
    if state == "replay":
        services.start(row.pk, actor="ada", now=T0)
    elif state == "ABORTED":
        services.abort(row.pk, actor="ada")
    assert services.react(row.pk) is None
    assert desk.asked == []


# --- the champion, and its place ---


@pytest.mark.parametrize("notice", ["advance", "react"])
def test_another_champion_pauses(at_step, desk: Desk, notice: str) -> None:
    row = at_step(2)
    desk.champion = "buy_and_hold"
    getattr(services, notice)(row.pk, due(row))
    row.refresh_from_db()
    assert (row.state, row.cause, row.step) == ("PAUSED", "champion changed", 2)
    assert row.reason == "the champion must stay sma_cross while it is compared, is now buy_and_hold"
    assert desk.asked == []
    resumed = services.resume(row.pk, actor="ada", now=T0 + timedelta(hours=1))
    assert (resumed.champion, resumed.measured_since) == ("buy_and_hold", T0 + timedelta(hours=1))


def test_a_target_that_went_away_pauses_but_a_lost_connection_does_not(at_step, desk: Desk, settings) -> None:
    row = at_step(2)

    def away(*_):
        raise Transient("the database is away")

    settings.ROLLOUT_STRATEGIES = away
    assert services.run_due(due(row)) == [row.pk]
    assert services.react(row.pk) is None
    assert selectors.get(row.pk).state == "RUNNING"

    def gone(*_):
        raise Rejected("no book demo")

    settings.ROLLOUT_STRATEGIES = gone
    services.advance(row.pk, due(row))
    assert "while it is compared, does not: no book demo" in selectors.get(row.pk).reason


def test_a_promotion_that_is_refused_pauses_with_the_reason_and_can_be_tried_again(at_step, desk: Desk) -> None:
    row = at_step(4)
    desk.refusal = Rejected("the book must be idle, was trading")
    services.advance(row.pk, due(row))
    row.refresh_from_db()
    assert (row.state, row.cause) == ("PAUSED", "promotion failed")
    assert row.reason == "promotion failed: the book must be idle, was trading"
    assert served() == len(SYMBOLS)
    desk.refusal = None
    services.promote(row.pk, actor="ada")
    services.run_due()
    assert selectors.get(row.pk).state == "SUCCEEDED"


def test_a_defect_in_one_rollout_leaves_the_others_their_turn(plan, desk: Desk, monkeypatch) -> None:
    first = services.start(plan().pk, actor="ada", now=T0)
    real = advancing.get
    monkeypatch.setattr(advancing, "get", lambda pk: 1 / 0 if pk == first.pk else real(pk))
    assert services.run_due(T0) == [first.pk]
    assert selectors.get(first.pk).step == 0


def test_the_beats_task_does_what_is_due(rollout: Rollout) -> None:
    assert tasks.advance() == 1
    assert selectors.get(rollout.pk).step == 1
    assert tasks.advance() == 0


def test_a_promotion_that_may_succeed_later_is_tried_again_by_itself(at_step, desk: Desk) -> None:
    row = at_step(4)
    desk.refusal = Transient("another swap runs")
    services.advance(row.pk, due(row))
    services.run_due()
    assert selectors.get(row.pk).state == "PROMOTING"
    desk.refusal = None
    services.run_due()
    assert selectors.get(row.pk).state == "SUCCEEDED"


def test_a_promotion_that_nobody_is_carrying_out_can_be_aborted(at_step, desk: Desk) -> None:
    row = services.promote(at_step(2).pk, full=True, actor="ada")
    assert services.abort(row.pk, actor="ada").state == "ABORTED"
    assert services.run_due() == []
    assert desk.promoted == []


def test_a_replay_that_is_resumed_is_analysed_at_once(rollout) -> None:
    services.pause(rollout.pk, actor="ada", reason="a look", now=T0)
    later = T0 + timedelta(minutes=5)
    assert services.resume(rollout.pk, actor="ada", now=later).next_analysis_at == later
