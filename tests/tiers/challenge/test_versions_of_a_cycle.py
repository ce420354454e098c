"""Swaps while cycles run: no cycle mixes versions, none fails because one changed, and a bad version goes by itself."""

from datetime import timedelta

import pytest
from django.db.models import F

from helios.modules import process, watch
from helios.modules import services as modules
from helios.modules.models import Module, ModuleSwap
from tests.support.challengers import BROKEN
from tests.tiers.challenge.conftest import FIRST, active, finish, orders_of, run
from tiers.challenge import arms
from tiers.contracts.errors import Transient
from tiers.live import stages, store, tasks
from trading.models import LedgerEntry, PipelineCycle, Stage

pytestmark = pytest.mark.django_db
CAREFUL = """
from dataclasses import replace
from tiers.risk import run as base
def run(**named):
    found = base(**named)
    return replace(found, leverage=found.leverage / 2)
"""
NONSENSE = """
from dataclasses import replace
import numpy as np
from tiers.risk import run as base
def run(**named):
    found = base(**named)
    return replace(found, size=np.full_like(found.size, np.nan))
"""
SECOND_CALL = """
from tiers.{slot} import run as base
calls = []
def run(*args, **named):
    calls.append(1)
    if len(calls) > 1:
        raise RuntimeError('the second call fails')
    return base(*args, **named)
"""
SLOW_TO_START = """
from tiers.contracts.errors import Transient
from tiers.execute import run as base
calls = []
def run(*args, **named):
    calls.append(1)
    if len(calls) == 1:
        raise Transient('not yet')
    return base(*args, **named)
"""
BUSY = """
from tiers.contracts.errors import Transient
def run(*args, **named):
    raise Transient('the venue is busy')
"""
PARTS = {  # of a tier, that another stage than its own asks
    "how far it looks back": ("portfolio", "def lookback_bars(*_):\n    raise RuntimeError('how far back?')\n"),
    "what it enforces": ("llm", "def enforce(*_):\n    raise RuntimeError('what view?')\n"),
    "more than leverage": (
        "llm",
        "from dataclasses import replace\ndef enforce(risk, *_):\n    return replace(risk, size=risk.size * 2)\n",
    ),
}


def test_a_cycle_that_began_before_a_swap_finishes_with_what_it_began_with(desk, times, swap):
    calm, tried = desk("calm"), desk("tried")
    run(calm, times[FIRST])
    begun = run(tried, times[FIRST], upto=Stage.RISK)
    old = begun.modules["risk"]
    label = swap("risk", CAREFUL)
    assert finish(begun).status == "DONE"
    assert begun.stage_runs.get(stage="risk").module_version == old
    assert orders_of(tried) == orders_of(calm)
    following = run(tried, times[FIRST + 1])
    assert following.modules["risk"] == following.stage_runs.get(stage="risk").module_version == label
    assert store.load_risk(following).leverage < store.load_risk(begun).leverage


def test_a_process_that_starts_after_a_swap_runs_the_pinned_version_too(book, times, swap):
    begun = run(book, times[FIRST], upto=Stage.RISK)
    swap("risk", BROKEN)
    process.forget()
    watch.forget()
    cycle = finish(begun)
    assert cycle.status == "DONE"
    assert not cycle.stage_runs.filter(fallback="previous_version").exists()
    assert watch.flush() == []


@pytest.mark.parametrize("slot", ["ingest", "features", "predict", "risk", "llm", "portfolio", "execute"])
def test_a_new_version_that_raises_is_replaced_within_the_cycle_and_rolled_back(calm, book, times, swap, slot):
    expected = calm(3)
    before = active(slot)
    bad = swap(slot, BROKEN)
    first = run(book, times[FIRST])
    assert first.status == "DONE"
    stage_run = first.stage_runs.get(stage=slot)
    assert (stage_run.fallback, stage_run.module_version) == ("previous_version", before)
    assert "the new code is broken" in stage_run.reason
    noted = LedgerEntry.objects.get(book=book, kind=slot).payload["previous_version"]
    assert (noted["failed"], noted["serves"]) == (bad, before)
    assert active(slot) == before  # rolled back by itself
    for ts in times[FIRST + 1 : FIRST + 3]:
        assert not run(book, ts).stage_runs.filter(fallback="previous_version").exists()
    assert orders_of(book) == expected.orders


@pytest.mark.parametrize(("slot", "part"), PARTS.values(), ids=PARTS)
def test_a_part_that_fails_in_the_stage_of_another_tier_is_replaced_in_its_own_slot(book, times, swap, slot, part):
    old = active(slot)
    swap(slot, f"from tiers.{slot} import run\n{part}")
    cycle = run(book, times[FIRST])
    assert (cycle.status, cycle.reason) == ("DONE", "")
    fell_back = cycle.stage_runs.filter(fallback="previous_version")
    assert [failed.module_version for failed in fell_back] == [cycle.modules[failed.stage] for failed in fell_back]
    assert fell_back.exists()
    assert (cycle.modules[slot], active(slot)) == (old, old)


def test_an_answer_that_makes_no_sense_counts_as_a_failure(book, times, swap):
    before = active("risk")
    swap("risk", NONSENSE)
    cycle = run(book, times[FIRST])
    assert cycle.status == "DONE"
    assert "size of risk must be finite" in cycle.stage_runs.get(stage="risk").reason
    assert active("risk") == before


@pytest.mark.parametrize("slot", ["predict", "llm", "execute"])
def test_a_new_version_that_goes_on_asking_for_another_try_is_rolled_back(calm, book, times, swap, slot):
    expected, before, stage = calm(1), active(slot), Stage(slot)
    bad = swap(slot, BUSY)
    begun = run(book, times[FIRST], upto=stage)
    for tried in range(arms.PATIENCE):
        with pytest.raises(Transient, match=r"failed in a watched call: the venue is busy$"):
            stages.run_stage(begun.pk, stage, tried=tried)
        assert active(slot) == bad
    stages.run_stage(begun.pk, stage, tried=arms.PATIENCE)
    assert active(slot) == before
    assert (finish(begun).status, orders_of(book)) == ("DONE", expected.orders)


TWO_HOURS = timedelta(hours=2)  # longer than a bar of a day may be late


def unwatched(slot):
    """What was switched in long ago."""
    ModuleSwap.objects.update(state="COMPLETED")
    Module.objects.filter(name=slot).update(watch=None)
    process.forget()


def asks_again(cycle, stage, *, tried=0):
    with pytest.raises(Transient, match="the venue is busy"):
        stages.run_stage(cycle.pk, stage, tried=tried)


def two_hours_later():
    """The same cycles, as they stand when all of it was two hours ago."""
    moments = ("started_at", "progressed_at", "asked_at")
    PipelineCycle.objects.update(**{name: F(name) - TWO_HOURS for name in moments})


def test_a_version_that_nobody_watches_asks_for_another_try_no_longer_than_a_bar_may_be_late(book, times, swap):
    swap("portfolio", BUSY)
    unwatched("portfolio")
    begun = run(book, times[FIRST], upto=Stage.PORTFOLIO)
    for tried in range(arms.PATIENCE + 1):
        asks_again(begun, Stage.PORTFOLIO, tried=tried)
    two_hours_later()
    stages.run_stage(begun.pk, Stage.PORTFOLIO)  # by whatever message
    begun.refresh_from_db()
    assert begun.status == "FAILED"
    assert begun.reason.startswith("portfolio: asked to be tried again for more than 3600 s: ")
    assert "the venue is busy" in begun.reason


def test_a_stage_that_waited_long_for_a_worker_has_asked_for_nothing_yet(book, times, swap):
    """Its message was sent again and again while no worker was there; the cycle is old, and the stage was never run."""
    swap("portfolio", BUSY)
    unwatched("portfolio")
    begun = run(book, times[FIRST], upto=Stage.PORTFOLIO)
    PipelineCycle.objects.update(redriven=5)
    two_hours_later()
    for tried in range(2):
        asks_again(begun, Stage.PORTFOLIO, tried=tried)
    begun.refresh_from_db()
    assert (begun.status, begun.stage) == ("RUNNING", "portfolio")


def test_a_stage_is_given_its_own_time_whatever_the_one_before_it_asked_for(book, times, swap):
    swap("portfolio", SLOW_TO_START.replace("execute", "portfolio"))
    swap("execute", BUSY)
    unwatched("portfolio")
    unwatched("execute")
    begun = run(book, times[FIRST], upto=Stage.PORTFOLIO)
    with pytest.raises(Transient, match="not yet"):
        stages.run_stage(begun.pk, Stage.PORTFOLIO)
    two_hours_later()
    stages.run_stage(begun.pk, Stage.PORTFOLIO, tried=1)
    asks_again(begun, Stage.EXECUTE)


def test_a_watched_version_fails_at_the_end_of_that_time_too(book, times, swap):
    before = active("portfolio")
    swap("portfolio", BUSY)
    begun = run(book, times[FIRST], upto=Stage.PORTFOLIO)
    asks_again(begun, Stage.PORTFOLIO)
    two_hours_later()
    stages.run_stage(begun.pk, Stage.PORTFOLIO)
    assert (finish(begun).status, active("portfolio")) == ("DONE", before)


def test_a_watched_version_does_not_answer_for_a_queue_that_stood(book, times, swap):
    bad = swap("portfolio", BUSY)
    begun = run(book, times[FIRST], upto=Stage.PORTFOLIO)
    PipelineCycle.objects.update(redriven=arms.PATIENCE)
    asks_again(begun, Stage.PORTFOLIO)
    assert active("portfolio") == bad


def test_a_cycle_goes_on_without_a_version_that_its_slot_has_left(calm, book, times, swap):
    expected = calm(1)
    swap("execute", BUSY)
    begun = run(book, times[FIRST], upto=Stage.EXECUTE)
    with pytest.raises(Transient):
        stages.run_stage(begun.pk, Stage.EXECUTE)
    modules.rollback("execute", actor="ann")
    assert (finish(begun).status, orders_of(book)) == ("DONE", expected.orders)


def test_a_stage_that_is_tried_again_runs_no_version_that_was_rolled_back_since(calm, book, times, swap):
    expected, before, left = calm(1), active("execute"), swap("execute", SLOW_TO_START)
    begun = run(book, times[FIRST], upto=Stage.EXECUTE)
    with pytest.raises(Transient):
        stages.run_stage(begun.pk, Stage.EXECUTE)
    modules.rollback("execute", actor="ann")
    stages.run_stage(begun.pk, Stage.EXECUTE, tried=1)
    last = begun.stage_runs.get(stage="execute")
    assert (last.module_version, last.fallback) == (before, "previous_version")
    assert last.reason == f"module execute {left} was rolled back since an earlier try"
    assert orders_of(book) == expected.orders


def test_a_stage_knows_how_often_its_task_was_tried(monkeypatch):
    seen = []
    monkeypatch.setattr(stages, "run_stage", lambda cycle_id, stage, *, tried: seen.append((cycle_id, stage, tried)))
    tasks.tick.app.tasks["tiers.risk"].apply(args=[7], retries=2)
    assert seen == [(7, Stage.RISK, 2)]


def test_every_cycle_that_began_with_a_bad_version_is_saved(desk, times, swap):
    """The second one meets it when it is already rolled back and no longer watched."""
    one, two = desk("one"), desk("two")
    swap("risk", BROKEN)
    first, second = (run(book, times[FIRST], upto=Stage.RISK) for book in (one, two))
    assert finish(first).status == "DONE"
    late = finish(second)
    assert (late.status, late.stage_runs.get(stage="risk").fallback) == ("DONE", "previous_version")
    assert orders_of(one) == orders_of(two)


def test_a_version_that_fails_later_is_rolled_back_while_it_is_watched(book, times, swap):
    before, bad = active("portfolio"), swap("portfolio", SECOND_CALL.format(slot="portfolio"))
    first = run(book, times[FIRST])
    assert first.stage_runs.get(stage="portfolio").module_version == bad
    second = run(book, times[FIRST + 1])
    assert second.stage_runs.get(stage="portfolio").module_version == before
    assert active("portfolio") == before


def test_what_fails_without_a_version_before_it_ends_the_cycle_with_its_reason(book, times, swap, monkeypatch):
    """A version that was watched long enough has no one to answer for it."""
    modules.configure("risk", watch_calls=0)
    swap("risk", BROKEN)
    cycle = run(book, times[FIRST])
    assert (cycle.status, cycle.reason) == ("FAILED", "risk: RuntimeError: the new code is broken")


def test_when_the_version_before_fails_too_the_cycle_ends_with_its_reason(book, times, swap):
    modules.configure("risk", watch_calls=0)
    swap("risk", BROKEN, "1.1.0")
    modules.configure("risk", watch_calls=20)
    swap("risk", BROKEN.replace("new", "newest"), "1.2.0")
    cycle = run(book, times[FIRST])
    assert cycle.status == "FAILED"
    assert cycle.reason.endswith("RuntimeError: the new code is broken")


def test_a_rolled_back_stage_leaves_nothing_of_the_failed_version(book, times, swap):
    swap("execute", BROKEN)
    cycle = run(book, times[FIRST])
    assert cycle.stage_runs.count() == 7
    assert LedgerEntry.objects.filter(cycle_id=cycle.pk, kind="execute").count() == 1


def test_a_cycle_that_starts_while_a_slot_is_empty_ends_with_that_reason_and_no_order(book, times):
    modules.unload("execute", actor="test")
    cycle = run(book, times[FIRST])
    assert (cycle.status, cycle.reason) == (
        "FAILED",
        "execute: module execute must be in use when a cycle starts, none was",
    )
    assert orders_of(book) == []
    modules.activate("execute", actor="test")
    assert run(book, times[FIRST + 1]).status == "DONE"
