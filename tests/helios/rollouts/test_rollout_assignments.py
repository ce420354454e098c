"""What a cycle is told, and what it writes down."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from django.db import DatabaseError, transaction

from helios.control import generations
from helios.rollouts import arm_decisions, process, selectors, services
from helios.rollouts.arm_decisions import ArmDecision
from helios.rollouts.core.assignment import arm_symbols
from helios.rollouts.models import RolloutDecision
from tests.helios.rollouts.conftest import T0, asked

pytestmark = pytest.mark.django_db
SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


def test_before_it_starts_and_in_a_replay_a_cycle_hears_nothing(plan) -> None:
    row = plan()
    assert asked(SYMBOLS) == ()
    services.start(row.pk, actor="ada", now=T0)
    assert asked(SYMBOLS) == ()


def test_a_shadow_has_all_symbols_and_a_live_step_its_sticky_share(at_step) -> None:
    row = at_step(1)
    (shadow,) = asked(SYMBOLS)
    assert (shadow.mode, shadow.shadow, shadow.symbols, shadow.step) == ("shadow", True, SYMBOLS, 1)
    at_step(3)
    (live,) = asked(SYMBOLS)
    assert (live.mode, live.percentage, live.symbols) == ("live", 50, arm_symbols("faster", SYMBOLS, 50))
    assert (live.rollout_id, live.kind, live.target) == (row.pk, "strategy", "demo")
    assert (live.champion, live.challenger) == ("sma_cross", "momentum")


def test_a_rollout_may_be_kept_to_some_books(plan) -> None:
    row = services.start(plan(books=["demo"], params={"fast": 3}).pk, actor="ada", now=T0)
    services.promote(row.pk, actor="ada")
    assert asked(SYMBOLS, book="other") == ()
    assert asked(SYMBOLS)[0].params == {"fast": 3}


def test_it_costs_a_cycle_no_query_while_no_rollout_has_moved(at_step, django_assert_num_queries) -> None:
    at_step(3)
    assert asked(SYMBOLS)
    seen = generations.read()["rollouts"]
    with django_assert_num_queries(0):
        assert not process.refresh_if_behind(seen)
        assert selectors.assignments(SYMBOLS, book="demo")


def decision(row, symbol: str = "AAPL", arm: str = "challenger", **other) -> ArmDecision:
    fields = {"step": row.step, "cycle_id": 7, "bar_ts": T0, "value": {"weight": 0.5}, "latency_ms": 2.0}
    return ArmDecision(rollout_id=row.pk, symbol=symbol, arm=arm, **{**fields, **other})


def test_both_arms_of_a_cycle_are_kept_once(rollout) -> None:
    rows = [decision(rollout, arm=arm) for arm in ("champion", "challenger")]
    assert arm_decisions.record(rows, now=T0) == 2
    arm_decisions.record([decision(rollout, value={"weight": 9})], now=T0 + timedelta(hours=1))
    kept = RolloutDecision.objects.get(arm="challenger")
    assert (RolloutDecision.objects.count(), kept.value, kept.recorded_at) == (2, {"weight": 0.5}, T0)


def test_numbers_that_are_none_are_kept_as_null_and_long_errors_are_cut(rollout) -> None:
    value = {"probability": (math.nan, 0.2, math.inf), "deep": {"weight": -math.inf}, "name": "x", "n": 3}
    arm_decisions.record([decision(rollout, value=value, error="e" * 900, shadow=True, latency_ms=math.nan)])
    kept = RolloutDecision.objects.get()
    assert kept.value == {"probability": [None, 0.2, None], "deep": {"weight": None}, "name": "x", "n": 3}
    assert (len(kept.error), kept.shadow, kept.latency_ms) == (500, True, None)


def test_an_unknown_arm_is_refused_before_anything_is_written(rollout) -> None:
    with pytest.raises(ValueError, match="'third'"):
        arm_decisions.record([decision(rollout), decision(rollout, arm="third")])
    assert not RolloutDecision.objects.exists()


def test_decisions_go_with_their_transaction_and_never_change(rollout, strict) -> None:
    point = transaction.savepoint()
    arm_decisions.record([decision(rollout)])
    transaction.savepoint_rollback(point)
    assert not RolloutDecision.objects.exists()
    arm_decisions.record([decision(rollout)])
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        RolloutDecision.objects.update(error="x")


def test_the_symbols_of_a_rollout_are_those_that_cycles_decided_on(rollout) -> None:
    arm_decisions.record(
        [decision(rollout, symbol, arm) for symbol in ("MSFT", "AAPL") for arm in ("champion", "challenger")]
    )
    assert selectors.seen_symbols(rollout) == ("AAPL", "MSFT")
