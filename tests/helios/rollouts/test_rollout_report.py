"""What people read: both arms beside each other, plain words, tables, and the same as JSON."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import IntegrityError

from helios.rollouts import arm_decisions, comparison, describe, selectors, services
from helios.rollouts.arm_decisions import ArmDecision
from helios.rollouts.core.assignment import arm_symbols
from helios.rollouts.core.measures import ArmMeasures
from helios.rollouts.models import RolloutAnalysis, RolloutEvent
from tests.helios.rollouts.conftest import STEPS, T0
from tests.support.arms import arm, reading
from tests.support.commands import printed

pytestmark = pytest.mark.django_db
SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


def command(*arguments: str) -> str:
    return printed("rollouts", *arguments)


def as_json(*arguments: str) -> Any:
    return json.loads(command(*arguments, "--json"))


def decided(row) -> None:
    arm_decisions.record(
        [
            ArmDecision(rollout_id=row.pk, step=row.step, cycle_id=1, bar_ts=T0, symbol=symbol, arm="challenger")
            for symbol in SYMBOLS
        ]
    )


# --- the report ---


def test_the_report_has_both_arms_with_their_intervals(at_step, desk) -> None:
    desk.arms = reading(arm(200, pnl=3.0, n_errors=1, n_orders=9, n_rejected=1, exposure=0.4, drawdown=0.01))
    found = comparison.report(at_step(2))
    challenger = found["arms"]["challenger"]
    assert (challenger["decisions"], challenger["exceptions"], challenger["orders"]) == (200, 1, 9)
    assert challenger["exception_rate"]["estimate"] == 1 / 200
    assert challenger["pnl_bps"]["low"] < 3.0 < challenger["pnl_bps"]["high"]
    assert challenger["latency_p50_ms"] < challenger["latency_p95_ms"]
    difference = found["arms"]["difference"]["pnl_bps"]
    assert difference["low"] < difference["estimate"] < difference["high"]
    json.dumps(found, allow_nan=False)


def test_every_figure_has_its_line_in_the_table(at_step, desk) -> None:
    lines = comparison.table(comparison.report(at_step(2))["arms"])
    assert [line[0] for line in lines] == [
        *("decisions", "PnL net of cost, bps a decision", "log loss", "latency p50, ms", "latency p95, ms"),
        *("exceptions", "exception rate", "orders", "orders rejected", "exposure", "drawdown"),
    ]
    pnl = lines[1]
    assert " to " in pnl[1]
    assert pnl[3][0] in "+-"


def test_bars_that_were_seen_in_training_have_a_line_and_a_number(at_step, desk) -> None:
    desk.arms = reading(arm(40, n_bars=20, n_seen=12), arm(40, n_bars=20, n_seen=12))
    arms = comparison.report(at_step(2))["arms"]
    assert {arms[name]["bars_seen_in_training"] for name in ("champion", "challenger")} == {12}
    assert comparison.table(arms)[1] == ("bars seen in training", "12", "12", "")


def test_too_little_is_a_dash_and_not_a_number(at_step, desk) -> None:
    desk.arms = {"champion": ArmMeasures(), "challenger": ArmMeasures(n_decisions=1, pnl_bps=(1.0,))}
    lines = {line[0]: line[1:] for line in comparison.table(comparison.report(at_step(2))["arms"])}
    assert lines["PnL net of cost, bps a decision"] == ("-", "-", "")
    assert lines["exception rate"][0] == "- (0 to 1)"
    assert comparison.table(None) == []


def test_an_end_shows_what_was_measured_last(at_step, desk) -> None:
    row = at_step(2)
    desk.arms = reading(arm(77, n_errors=50))
    services.advance(row.pk, T0 + timedelta(hours=1))
    desk.arms = reading(arm(99))
    found = comparison.report(selectors.get(row.pk))
    assert found["arms"]["challenger"]["decisions"] == 77
    assert found["measured_at"] == (T0 + timedelta(hours=1)).isoformat()


def test_a_provider_that_raises_costs_the_report_its_numbers_only(at_step, desk) -> None:
    row = at_step(2)
    desk.failure = ZeroDivisionError("no equity")
    found = comparison.report(row)
    assert found["problem"] == "no measures: ZeroDivisionError: no equity"
    assert found["arms"]["challenger"]["decisions"] == 100  # of the last analysis
    assert "no measures" in command("show", "faster")


@pytest.mark.parametrize("arms", ["x", ["x"], {"champion": 1}, {"champion": {}, "challenger": {}, "difference": {}}])
def test_numbers_that_are_not_of_two_arms_cost_the_report_its_numbers_only(at_step, desk, arms: Any) -> None:
    row = services.abort(at_step(2).pk, actor="ops", reason="enough")
    RolloutAnalysis.objects.create(rollout=row, at=T0, step=500, verdict="Success", numbers={"arms": arms})
    found = comparison.report(row)
    assert (found["arms"], found["problem"]) == (None, "the numbers of the last analysis are not those of two arms")
    assert describe.numbered(row.analyses.first()) == "501"


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (RolloutAnalysis, {"step": 1, "verdict": "Success", "numbers": [1]}),
        (RolloutEvent, {"actor": "x", "after": "x"}),
    ],
)
def test_what_is_kept_of_a_rollout_is_an_object(at_step, model: Any, values: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match="_is_object"):
        model.objects.create(rollout=at_step(2), at=T0, **values)


def test_a_move_of_odd_shape_has_its_line_in_the_history(rollout) -> None:
    RolloutEvent.objects.create(rollout=rollout, at=T0, action="x", actor="x", after={"serves": {"a": [1]}})
    RolloutEvent.objects.create(rollout=rollout, at=T0, action="y", actor="x", after={})
    assert "{'a': [1]}" in command("history", "faster")


def test_before_anything_was_measured_there_are_no_arms(rollout) -> None:
    found = comparison.report(rollout)
    assert (found["arms"], found["measured_at"], found["problem"]) == (None, None, "")
    assert "not analysed yet" not in command("show", "faster")


# --- plain words ---


def test_promote_names_the_symbols_that_it_will_serve(at_step) -> None:
    row = at_step(2)
    assert describe.promoting(row) == "promote will serve 50 % of symbols"
    decided(row)
    named = ", ".join(arm_symbols("faster", sorted(SYMBOLS), 50))
    assert describe.promoting(row) == f"promote will serve 50 % of symbols: {named}"


def test_many_symbols_are_counted(at_step) -> None:
    row = at_step(3)
    arm_decisions.record(
        [
            ArmDecision(rollout_id=row.pk, step=3, cycle_id=1, bar_ts=T0, symbol=f"S{n:02}", arm="challenger")
            for n in range(40)
        ]
    )
    n_served = len(arm_symbols("faster", [f"S{n:02}" for n in range(40)], 50))
    assert describe.serves(row).endswith(f" and {n_served - 8} more (step 4 of 5)")


@pytest.mark.parametrize(
    ("step", "now", "next_one"),
    [
        (0, "replay over stored history (step 1 of 5)", "promote will go on to shadow, nothing served"),
        (1, "shadow, nothing served (step 2 of 5)", "promote will serve 1 % of symbols"),
        (4, "100 % of symbols (step 5 of 5)", "promote will put momentum in the place of sma_cross in demo"),
    ],
)
def test_each_step_says_what_it_does_and_what_follows(at_step, step: int, now: str, next_one: str) -> None:
    row = at_step(step)
    assert (describe.serves(row), describe.promoting(row)) == (now, next_one)


def test_the_progress_marks_the_present_step(at_step) -> None:
    row = at_step(3)
    assert describe.progress(row) == "replay > shadow > 1 % > [50 %] > 100 %"
    assert describe.aborting(row) == "abort will leave every symbol to sma_cross from the next cycle on"
    ended = services.abort(row.pk, actor="ada")
    assert describe.progress(ended) == "replay > shadow > 1 % > 50 % > 100 %"
    assert describe.serves(ended) == "over; sma_cross serves"
    assert describe.promoting(ended) == "promote would be refused: the rollout is ABORTED"


# --- the command line ---


def test_a_rollout_is_made_started_and_steered_from_the_command_line(desk, tmp_path) -> None:
    plan = tmp_path / "steps.json"
    plan.write_text(json.dumps(STEPS))
    made = as_json(
        *("create", "faster", "--kind", "strategy", "--target", "demo", "--challenger", "momentum"),
        *("--steps", f"@{plan}", "--params", '{"fast": 5}', "--book", "demo", "--start", "--reason", "try it"),
    )
    assert (made["state"], made["n_steps"], made["params"], made["books"]) == ("RUNNING", 5, {"fast": 5}, ["demo"])
    assert as_json("pause", "faster", "--reason", "lunch")["reason"] == "lunch"
    assert as_json("resume", str(made["id"]))["state"] == "RUNNING"
    assert as_json("promote", "faster")["step"] == 1
    assert as_json("promote", "faster", "--full")["state"] == "PROMOTING"
    services.run_due()
    assert as_json("show", "faster")["state"] == "SUCCEEDED"
    actors = {each["actor"].split(":")[0] for each in as_json("history", "faster")}
    assert actors == {"cli", "rollouts"}
    assert RolloutEvent.objects.last().reason == "try it"


def test_the_lists_of_the_command_line(at_step, desk) -> None:
    at_step(2)
    assert [each["name"] for each in as_json("list")] == ["faster"]
    assert "RUNNING" in command("list")
    assert [each["verdict"] for each in as_json("analyses", "faster")] == ["Success", "Success"]
    assert len(as_json("history", "faster", "--limit", "1")) == 1
    assert "stepped" in command("history", "faster")
    assert "every guard kept" in command("analyses", "faster")
    shown = command("show", "faster")
    for expected in (
        "momentum against sma_cross in demo",
        "[1 %]",
        "champion",
        "PnL net of cost",
        "next analysis",
        "outcome",
    ):
        assert expected in shown
    assert "faster is ABORTED: over; sma_cross serves (enough)" in command("abort", "faster", "--reason", "enough")
    assert command("list").strip() == "no live rollouts"
    assert [each["state"] for each in as_json("list", "--all")] == ["ABORTED"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("show", "nothing"), "a rollout must exist, 'nothing' does not"),
        (("pause", "77"), "a rollout must exist, 77 does not"),
        (("create", "x", "--target", "nowhere", "--challenger", "1.0.0"), "no module is named 'nowhere'"),
        (("create", "x", "--target", "demo", "--challenger", "y", "--steps", "{"), "must be JSON, or @FILE"),
        (("create", "x", "--target", "demo", "--challenger", "y", "--guards", "@/no/file"), "must be JSON, or @FILE"),
        (("create", "x", "--kind", "strategy", "--target", "demo", "--challenger", "y"), "must be a strategy, was 'y'"),
    ],
)
def test_a_mistake_ends_in_one_sentence(desk, arguments, sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        command(*arguments)


def test_numbers_without_an_end_are_kept_out_of_json(at_step, desk) -> None:
    desk.arms = reading(arm(pnl_bps=(math.inf, 1.0), losses=(math.nan,) * 3, exposure=math.nan))
    challenger = comparison.report(at_step(2))["arms"]["challenger"]
    assert challenger["exposure"] is None
    assert challenger["pnl_bps"] == {"n": 2, "estimate": None, "low": None, "high": None}
