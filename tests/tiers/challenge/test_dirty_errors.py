"""Whatever the text of a module's error holds or does: the cycle ends, the watch rolls back, the guards see it."""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta

import billiard.common
import pytest
from django.utils import timezone

from helios import errors, liveness
from helios.db.failures import UNAVAILABLE
from helios.errors import Transient
from helios.liveness import told_to_end
from helios.modules import process as modules
from helios.modules import watch
from helios.modules.models import Module, ModuleSwap
from helios.rollouts.models import RolloutDecision
from tests.support.challengers import BROKEN, SAME
from tests.tiers.challenge.conftest import FIRST, SYMBOLS, active, finish, orders_of, roll_out, run
from tiers.challenge import arms
from tiers.live import chain, inference, stages
from trading.books import ledger
from trading.models import LedgerEntry, PipelineCycle, Stage
from trading.orders import cycle_end

pytestmark = pytest.mark.django_db

DIRTY = "def run(*args, **named):\n    raise RuntimeError('a\\0b\\ud800c')\n"
NO_TEXT = """
class Mute(Exception):
    def __str__(self):
        raise ValueError('no text')
def run(*args, **named):
    raise Mute
"""
LEAVES = "import sys\ndef run(*args, **named):\n    sys.exit('a\\0b\\ud800c')\n"
PANICS = """
class Panic(BaseException):
    pass
def run(*args, **named):
    raise Panic('a\\0b\\ud800c')
"""
NAMELESS = """
class Meta(type):
    def __getattribute__(cls, name):
        raise KeyError(name)
class Nameless(Exception, metaclass=Meta):
    pass
def run(*args, **named):
    raise Nameless('gone')
"""
HIDES = """
def hidden(self, *_):
    raise Hides
class Own(str):
    rstrip = __getitem__ = __str__ = __format__ = hidden
class Hides(BaseException):
    __class__ = __cause__ = __context__ = __traceback__ = __notes__ = args = property(hidden)
    __repr__ = __reduce__ = __reduce_ex__ = __getattribute__ = __setattr__ = hidden
    def __str__(self):
        return str.__new__(Own, 'hostile')
def run(*args, **named):
    raise Hides
"""
CIRCLES = """
def run(*args, **named):
    one, two = ValueError('one'), ValueError('two')
    one.__cause__, two.__cause__ = two, one
    raise one
"""
ON_TIME = """
from billiard.exceptions import SoftTimeLimitExceeded
def run(*args, **named):
    raise SoftTimeLimitExceeded
"""
STAYS = """
from django.db import OperationalError
def run(*args, **named):
    raise OperationalError('gone')
"""
UNREAD = "its text cannot be read (OSError)"
STEERS = "def run(*args, **named):\n    raise RuntimeError('a\\x1b[2Jb\\u202ec')\n"
ERRORS = {
    "a class that cannot be named": (NAMELESS, "Nameless: gone"),
    "an error whose every part raises": (HIDES, "Hides: hostile"),
    "causes in a circle": (CIRCLES, "ValueError: one"),
    "a NUL and half a surrogate pair": (DIRTY, "RuntimeError: a\ufffdb\ufffdc"),
    "a text that raises": (NO_TEXT, "Mute: its text cannot be read (ValueError)"),
    "what steers a terminal": (STEERS, "RuntimeError: a\ufffd[2Jb\ufffdc"),
    "leaving": (LEAVES, "SystemExit: a\ufffdb\ufffdc"),
    "the limit of a task that has time": (ON_TIME, "SoftTimeLimitExceeded: SoftTimeLimitExceeded()"),
    "the absence of a database that is there": (STAYS, "OperationalError: gone"),
    "a panic, which is no Exception": (PANICS, "Panic: a\ufffdb\ufffdc"),
}
SPIES = """
import sys
from helios.errors import DataError, Transient
from tiers.live.stage_context import Skip
RAN = []
def spy(*_):
    RAN.append(sys._getframe(1).f_code.co_filename)
    raise OSError('told by nobody')
class Spy({base}):
    __class__ = __cause__ = __context__ = __traceback__ = __notes__ = args = property(spy)
    __str__ = __repr__ = __reduce_ex__ = __getattribute__ = __setattr__ = __eq__ = __hash__ = __bool__ = spy
def run(*args, **named):
    raise Spy('hostile')
"""
NO_PRICE = """
from dataclasses import replace
from tiers.execute import run as base
def run(**named):
    plan = base(**named)
    return replace(plan, intents=tuple(replace(each, reference_price=None) for each in plan.intents))
"""
NEXT_IDS = """
from dataclasses import replace
from datetime import timedelta
from tiers.execute import run as base
def run(**named):
    later = base(**named | {'targets': replace(named['targets'], bar_ts=named['targets'].bar_ts + timedelta(days=1))})
    return replace(later, intents=tuple(replace(each, bar_ts=named['targets'].bar_ts) for each in later.intents))
"""
NOT_NUMBERS = """
from dataclasses import replace
from tiers.llm import run as base
def run(*args):
    view = base(*args)
    object.__setattr__(view, 'risk_multiplier', {0.5})
    return view
"""
BAD_REASON = """
from dataclasses import replace
from tiers.llm import run as base
def run(*args):
    return replace(base(*args), provider='a\\0b', reasoning='c\\ud800d')
"""


@pytest.mark.parametrize(("source", "told"), ERRORS.values(), ids=ERRORS)
def test_a_new_version_whose_error_has_odd_text_is_rolled_back_within_its_cycle(
    calm,
    book,
    times,
    swap,
    source,
    told,
):
    expected, before = calm(1), active("execute")
    swap("execute", source)
    cycle = run(book, times[FIRST])
    assert (cycle.status, active("execute")) == ("DONE", before)
    assert cycle.stage_runs.get(stage="execute").reason.endswith(told)
    undone = ModuleSwap.objects.get(state="ROLLED_BACK")
    assert undone.error.endswith(told)
    assert LedgerEntry.objects.get(book=book, kind="execute").payload["previous_version"]["error"].endswith(told)
    assert ledger.verify(book.pk) is None
    assert orders_of(book) == expected.orders


@pytest.mark.parametrize(("source", "told"), ERRORS.values(), ids=ERRORS)
def test_a_shadow_whose_error_has_odd_text_fails_no_cycle_and_is_judged(calm, book, times, challenger, source, told):
    expected = calm(1)
    roll_out("module", "execute", challenger("execute", source))
    assert run(book, times[FIRST]).status == "DONE"
    assert {row.error for row in RolloutDecision.objects.filter(arm="challenger")} == {told}
    assert orders_of(book) == expected.orders


def test_a_task_without_time_ends_its_cycle_also_in_a_shadow(book, times, challenger, monkeypatch):
    monkeypatch.setattr(liveness, "_soft_limit_at", 0.0)
    roll_out("module", "execute", challenger("execute", ON_TIME))
    cycle = run(book, times[FIRST])
    assert (cycle.status, cycle.reason) == ("FAILED", "execute: SoftTimeLimitExceeded: SoftTimeLimitExceeded()")


def test_a_shadow_does_not_answer_for_a_queue_that_stood(calm, book, times, challenger):
    """The chain was sent again and again, and no worker was there to take it."""
    expected = calm(1)
    roll_out("module", "execute", challenger("execute", SAME["execute"]))
    begun = run(book, times[FIRST], upto=Stage.EXECUTE)
    PipelineCycle.objects.update(redriven=arms.PATIENCE + 2)
    assert finish(begun).status == "DONE"
    assert {row.error for row in RolloutDecision.objects.filter(arm="challenger")} == {""}
    assert orders_of(book) == expected.orders


def test_a_try_of_a_stage_with_a_challenger_is_counted_before_it_begins(book, times, challenger, swap):
    swap("execute", "from tiers.contracts.errors import Transient\ndef run(*_, **__):\n    raise Transient('busy')\n")
    roll_out("module", "execute", challenger("execute", SAME["execute"], version="1.2.0"))
    begun = run(book, times[FIRST], upto=Stage.EXECUTE)
    for redriven in (0, 1, 2):
        PipelineCycle.objects.update(redriven=redriven)
        with pytest.raises(Transient):
            stages.run_stage(begun.pk, Stage.EXECUTE)
        begun.refresh_from_db()
        assert begun.tries == redriven  # the first needs no count: who is sent again once may have been tried once


def test_a_shadow_is_asked_no_more_where_the_stage_comes_to_nothing_with_it(calm, book, times, challenger):
    """It may end its process, or take away its connection: nobody else is left to say so."""
    expected = calm(1)
    roll_out("module", "execute", challenger("execute", LEAVES))
    begun = run(book, times[FIRST], upto=Stage.EXECUTE)
    PipelineCycle.objects.update(redriven=arms.PATIENCE, tries=arms.PATIENCE - 1)
    assert finish(begun).status == "DONE"
    told = f"was not asked: {arms.PATIENCE} tries of the stage with it came to nothing"
    assert {row.error for row in RolloutDecision.objects.filter(arm="challenger")} == {told}
    assert orders_of(book) == expected.orders


@pytest.mark.parametrize(("slot", "source"), [("execute", NO_PRICE), ("llm", NOT_NUMBERS)])
def test_an_answer_of_a_shadow_that_cannot_be_kept_is_an_error_of_its_own(book, times, challenger, slot, source):
    roll_out("module", slot, challenger(slot, source))
    cycle = run(book, times[FIRST])
    assert (cycle.status, cycle.reason) == ("DONE", "")
    kept = RolloutDecision.objects.filter(arm="challenger")
    assert [row.error != "" for row in kept] == [True] * len(SYMBOLS)
    assert orders_of(book)


@pytest.mark.parametrize(
    ("source", "told"), [(NO_PRICE, "the price of an order must be"), (NEXT_IDS, "must have the id of its decision")]
)
def test_orders_that_cannot_be_kept_are_a_failure_of_the_version_that_gave_them(book, times, swap, source, told):
    before = active("execute")
    swap("execute", source)
    cycle = run(book, times[FIRST])
    assert (cycle.status, active("execute")) == ("DONE", before)
    assert told in cycle.stage_runs.get(stage="execute").reason


def test_what_an_analyst_says_is_stored_clean(book, times, swap):
    swap("llm", BAD_REASON)
    cycle = run(book, times[FIRST])
    assert (cycle.status, cycle.reason) == ("DONE", "")
    said = cycle.strategic_decision
    assert (said.provider, said.reasoning) == ("a\ufffdb", "c\ufffdd")
    assert ledger.verify(book.pk) is None


@pytest.mark.parametrize("error", [*UNAVAILABLE, RuntimeError])
def test_the_watch_acts_where_not_even_the_failure_can_be_written(book, times, swap, monkeypatch, error):
    before = active("execute")
    swap("execute", BROKEN)
    begun = run(book, times[FIRST], upto=Stage.EXECUTE)

    def refuse(*_, **__):
        raise error("not now")

    monkeypatch.setattr(stages, "_pass_on", refuse)
    monkeypatch.setattr(stages, "end", refuse)
    with pytest.raises(error):
        stages.run_stage(begun.pk, Stage.EXECUTE)
    assert active("execute") == before
    monkeypatch.undo()
    assert finish(begun).status == "DONE"


def test_a_pool_process_that_is_told_to_end_ends_and_blames_nobody(book, times, swap, monkeypatch):
    label = swap("execute", LEAVES)
    begun = run(book, times[FIRST], upto=Stage.EXECUTE)
    monkeypatch.setattr(billiard.common, "_should_have_exited", [True])
    with pytest.raises(SystemExit):
        stages.run_stage(begun.pk, Stage.EXECUTE)
    assert (active("execute"), watch.flush()) == (label, [])
    begun.refresh_from_db()
    assert begun.status == "RUNNING"


def test_a_cycle_whose_pinned_version_is_gone_ends_with_a_reason(book, times, swap):
    label = active("execute")
    begun = run(book, times[FIRST], upto=Stage.EXECUTE)
    begun.modules = {**begun.modules, "execute": label.replace("1.0.0", "9.9.9")}
    begun.save()
    cycle = finish(begun)
    assert cycle.status == "FAILED"
    assert cycle.reason.startswith("execute: module execute has no version 9.9.9")


def test_a_cycle_that_cannot_be_recovered_keeps_no_other_one_running(desk, times, monkeypatch):
    first, second = (run(desk(name), times[FIRST], upto=Stage.RISK) for name in ("one", "two"))
    PipelineCycle.objects.update(progressed_at=timezone.now() - timedelta(hours=1), redriven=chain.MAX_REDRIVES)

    def give_up(cycle, why):
        if cycle.pk == first.pk:
            raise ValueError("not this one")
        cycle_end.give_up(cycle, why)

    monkeypatch.setattr(chain, "give_up", give_up)
    assert chain.recover(stalled_s=60) == 0
    assert [PipelineCycle.objects.get(pk=each.pk).status for each in (first, second)] == ["RUNNING", "FAILED"]
    monkeypatch.undo()
    chain.recover(stalled_s=60)
    assert PipelineCycle.objects.get(pk=first.pk).status == "FAILED"


@pytest.mark.parametrize(("source", "told"), ERRORS.values(), ids=ERRORS)
def test_an_error_of_a_version_long_in_use_ends_its_cycle_with_a_reason(book, times, swap, source, told):
    swap("execute", source)
    ModuleSwap.objects.update(state="COMPLETED")
    Module.objects.update(watch=None)
    modules.refresh_if_behind()
    modules.forget()
    cycle = run(book, times[FIRST])
    assert (cycle.status, cycle.reason) == ("FAILED", f"execute: {told}")


@pytest.mark.parametrize(
    ("slot", "base", "told"),
    [
        ("features", "KeyboardInterrupt", f"Spy: {UNREAD}"),
        ("predict", "BaseException", f"Spy: {UNREAD}"),
        ("risk", "DataError", UNREAD),
        ("llm", "OSError", f"Spy: {UNREAD}"),
        ("execute", "Skip", UNREAD),
    ],
)
def test_no_code_of_the_class_of_an_error_runs_but_where_its_text_is_made(book, times, swap, slot, base, told):
    swap(slot, SPIES.format(base=base))
    ModuleSwap.objects.update(state="COMPLETED")
    Module.objects.update(watch=None)
    modules.refresh_if_behind()
    modules.forget()
    cycle = run(book, times[FIRST])
    if slot == "predict":
        assert cycle.stage_runs.get(stage=slot).reason == told
    else:
        assert (cycle.status, cycle.reason) == ("FAILED", f"{slot}: {told}")
    assert {*modules.resolve(slot).implementation.RAN} == {errors.__file__}


def test_a_panic_of_a_predictor_leaves_the_cycle_the_neutral_forecast(times):
    def panic(_tier):
        raise asyncio.CancelledError("gave up")

    found = inference.forecast(panic, None, bar_ts=times[FIRST], symbols=SYMBOLS)
    assert (found.fallback, found.reason) == (inference.NEUTRAL, "CancelledError: gave up")


@pytest.mark.parametrize(("handler", "own"), [(signal.SIG_IGN, False), (signal.default_int_handler, True)])
def test_an_interrupt_is_a_way_out_only_where_the_process_hears_one(monkeypatch, handler, own):
    monkeypatch.setattr(signal, "getsignal", lambda _: handler)
    assert told_to_end(KeyboardInterrupt()) is own
