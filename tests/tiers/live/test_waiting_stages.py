"""A stage that waits on a network holds no transaction meanwhile, and its answer is written once.

On a database of the tests' own, since workers in threads commit.
"""

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D

import pytest
from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connection, connections, transaction
from django.utils import timezone

from helios.env import Env
from tests.support.harness import clone, drop
from tests.support.live_market import make_bars, stored
from tests.tiers.challenge.conftest import _own_process  # noqa: F401 - every test as a fresh process has it
from tests.tiers.llm.conftest import KEY, message, stand_in  # noqa: F401 - a fixture
from tiers.challenge import arms
from tiers.live import chain, handlers, lookback, stages
from tiers.live.handlers import ingest, llm
from trading.books import ledger
from trading.books import write as books
from trading.market.read import bar_window
from trading.market.timestamps import utc
from trading.market.write import lock_bars_shared, upsert_bars
from trading.models import Book, EngineeredFeatures, LedgerEntry, PipelineCycle, Stage, StageRun, StrategicDecision
from trading.orders import cycle_end

PATIENCE_S = 300.0  # of a machine under load; every wait ends with its condition
REPLY = message('{"stance": "RISK_OFF", "conviction": 0.5, "risk_multiplier": 0.5, "reasoning": "thin"}')


pytestmark = pytest.mark.django_db


@contextmanager
def connected_to(name):
    """The connections of this thread, and those that other threads make meanwhile, lead to another database."""
    before = connections[DEFAULT_DB_ALIAS]
    connections.settings[DEFAULT_DB_ALIAS] = {**before.settings_dict, "NAME": name}
    del connections[DEFAULT_DB_ALIAS]
    try:
        yield
    finally:
        connection.close()
        connections.settings[DEFAULT_DB_ALIAS] = before.settings_dict
        connections[DEFAULT_DB_ALIAS] = before


@pytest.fixture(scope="module")
def market(template, django_db_setup, django_db_blocker):
    """The name of a database with a paper book on a small market, and the bars that it has not decided on yet."""
    name = f"helios_{uuid.uuid4().hex}"
    clone(template, name)
    with django_db_blocker.unblock(), connected_to(name):
        bars = stored(make_bars(("AAPL", "IBM"), n_bars=400, seed=3))
        money = {"initial_cash": D(100_000), "fee_bps": D(5), "slippage_bps": D(2)}
        books.create_book("desk", mode="paper", timeframe="1d", symbols=bars.symbols, **money)
    yield name, iter([utc(ts) for ts in bars.ts[350:]])
    drop(name)


@pytest.fixture
def started(db, market, stand_in, monkeypatch):  # noqa: F811
    """A cycle of the next bar, whose analyst is the stand-in."""
    env = Env(anthropic_api_key=KEY, anthropic_base_url=stand_in.url, llm_timeout_s=120.0)
    monkeypatch.setattr(llm, "get_env", lambda: env)
    monkeypatch.setattr(ingest, "late_now", lambda *_: False)
    name, bars = market
    with connected_to(name):
        yield chain.start(Book.objects.get(), next(bars), send=False)
        connection.close()
        PipelineCycle.objects.filter(status="RUNNING").update(status="DONE", finished_at=timezone.now())


@pytest.fixture
def cycle(started):
    """One that is due at the analyst."""
    for stage in chain.STAGES[: chain.STAGES.index(Stage.LLM)]:
        stages.run_stage(started.pk, stage)
    started.refresh_from_db()
    assert (started.status, started.stage) == ("RUNNING", "llm")
    return started


@pytest.fixture
def thinking(cycle, stand_in):  # noqa: F811
    """A worker in a thread, from the moment on in which its analyst has the question; ends when the block does."""
    asked, answer = threading.Event(), threading.Event()

    def behave(handler):
        asked.set()
        assert answer.wait(PATIENCE_S)
        stand_in.behave = None
        stand_in.body = REPLY
        type(handler)._answer(handler, handler)

    def work():
        try:
            return stages.run_stage(cycle.pk, Stage.LLM)
        finally:
            connection.close()

    @contextmanager
    def worker():
        stand_in.behave = behave
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(work)
            try:
                assert asked.wait(PATIENCE_S)
                yield running
            finally:
                answer.set()

    return worker


def sessions():
    """The states of the other sessions, and whether each is in a transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid, state, xact_start IS NOT NULL FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        return cursor.fetchall()


def said_once(cycle):
    """The analyst's answer is there, with one of everything that goes with it."""
    cycle.refresh_from_db()
    assert (cycle.status, cycle.stage) == ("RUNNING", "portfolio")
    assert StrategicDecision.objects.get(cycle=cycle).provider == "anthropic"
    assert StageRun.objects.filter(cycle=cycle, stage="llm").count() == 1
    assert LedgerEntry.objects.filter(cycle=cycle, kind="llm").count() == 1


def test_stages_that_may_wait_work_outside_of_a_transaction(started, stand_in, monkeypatch):  # noqa: F811
    inside, stand_in.body = {}, REPLY

    def watched(stage, handler):
        def run(context):
            inside[stage] = connection.in_atomic_block
            return handler(context)

        return run

    for stage, handler in stages.HANDLERS.items():
        monkeypatch.setitem(stages.HANDLERS, stage, watched(stage, handler))
    for stage in chain.STAGES:
        stages.run_stage(started.pk, stage)
    started.refresh_from_db()
    assert started.status == "DONE"
    assert {stage for stage, within in inside.items() if not within} == handlers.WAITS


def test_no_transaction_is_open_while_the_analyst_thinks(cycle, thinking):
    with thinking() as running:
        assert [(state, in_transaction) for _, state, in_transaction in sessions()] == [("idle", False)]
        with transaction.atomic():
            assert PipelineCycle.objects.select_for_update(nowait=True).get(pk=cycle.pk).stage == "llm"
    assert running.result() == cycle.pk
    said_once(cycle)
    run = cycle.stage_runs.get(stage="llm")
    assert run.fallback == ""
    assert run.queue_ms + run.duration_ms <= (run.finished_at - cycle.started_at) / timedelta(milliseconds=1)


def test_a_second_worker_with_the_same_message_does_not_ask_too(cycle, thinking, stand_in):  # noqa: F811
    with thinking() as running:
        assert stages.run_stage(cycle.pk, Stage.LLM) == cycle.pk
        assert not running.done()
    assert stages.run_stage(cycle.pk, Stage.LLM) == cycle.pk  # it came again
    assert len(stand_in.requests) == 1
    said_once(cycle)


def test_a_worker_that_dies_while_it_waits_has_written_nothing_and_its_message_asks_again(
    cycle,
    thinking,
    stand_in,  # noqa: F811
):
    with thinking() as running, connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 60000)", [sessions()[0][0]])
    with pytest.raises((OperationalError, InterfaceError)):  # the task is tried again after either
        running.result()
    cycle.refresh_from_db()
    assert cycle.stage == "llm"
    assert not StrategicDecision.objects.filter(cycle=cycle).exists()
    assert stages.run_stage(cycle.pk, Stage.LLM) == cycle.pk
    assert len(stand_in.requests) == 2
    said_once(cycle)


def test_an_answer_for_a_cycle_that_has_ended_meanwhile_is_dropped(cycle, thinking):
    with thinking() as running:
        ended = {"status": "FAILED", "reason": "given up", "finished_at": timezone.now()}
        PipelineCycle.objects.filter(pk=cycle.pk).update(**ended)
    assert running.result() == cycle.pk
    cycle.refresh_from_db()
    assert (cycle.status, cycle.stage, cycle.reason) == ("FAILED", "llm", "given up")
    assert not StageRun.objects.filter(cycle=cycle, stage="llm").exists()
    assert not StrategicDecision.objects.filter(cycle=cycle).exists()


@pytest.mark.parametrize("stage", [Stage.FEATURES, Stage.RISK, Stage.EXECUTE], ids=str)
def test_whoever_ends_a_cycle_waits_for_no_module_and_nothing_of_its_answer_stays(
    started,
    stand_in,  # noqa: F811
    monkeypatch,
    stage,
):
    stand_in.body = REPLY
    at_work, answer, champion = threading.Event(), threading.Event(), arms.champion

    def slow(cycle, asked):
        if asked is stage:
            at_work.set()
            assert answer.wait(PATIENCE_S)
        return champion(cycle, asked)

    def work():
        try:
            return stages.run_stage(started.pk, stage)
        finally:
            connection.close()

    for before in chain.STAGES[: chain.STAGES.index(stage)]:
        stages.run_stage(started.pk, before)
    monkeypatch.setattr(arms, "champion", slow)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work)
        try:
            assert at_work.wait(PATIENCE_S)
            assert cycle_end.end_for(started.pk, actor="ana", reason="it hangs").status == "FAILED"
        finally:
            answer.set()
    assert running.result() == started.pk
    started.refresh_from_db()
    assert (started.status, started.reason) == ("FAILED", f"ended by ana at {stage}: it hangs")
    assert LedgerEntry.objects.filter(cycle=started).latest("sequence").kind == "end"
    assert not StageRun.objects.filter(cycle=started, stage=stage).exists()
    made = EngineeredFeatures.objects.filter(bar_ts=started.bar_ts)
    assert not (made.exists() if stage is Stage.FEATURES else started.orders.exists())
    assert ledger.verify(started.book_id) is None


def test_a_bar_corrected_while_features_are_made_of_it_leaves_none_of_the_old(started, monkeypatch):
    def correct():
        bar = bar_window(("AAPL",), "1d", started.bar_ts, 1)
        try:
            return upsert_bars(replace(bar, volume=bar.volume + 1.0), "test").corrected
        finally:
            connection.close()

    def waits():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database d ON d.oid = database "
                "WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted)"
            )
            return cursor.fetchone()[0]

    def read(*args, **named):
        bars = bar_window(*args, **named)
        running.append(pool.submit(correct))
        while not (waits() or running[0].done()):
            time.sleep(0.01)
        return bars

    stages.run_stage(started.pk, Stage.INGEST)
    running = []
    with ThreadPoolExecutor(1) as pool, monkeypatch.context() as patched:
        patched.setattr(lookback.market, "bar_window", read)
        stages.run_stage(started.pk, Stage.FEATURES)
    assert running[0].result() == 1
    kept = EngineeredFeatures.objects.filter(bar_ts=started.bar_ts).values_list("symbol", flat=True)
    assert list(kept) == ["IBM"]


def test_who_waits_for_a_partition_to_be_made_holds_no_symbol_yet(started):
    """Else writers, who take the table first, would wait for it in a circle."""

    def hold():
        try:
            with transaction.atomic():
                lock_bars_shared(["AAPL"])
        finally:
            connection.close()

    def locks(condition):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database "
                f"WHERE datname = current_database() AND {condition}"
            )
            return cursor.fetchone()[0]

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE ONLY market_ohlc IN ACCESS EXCLUSIVE MODE")
            running = pool.submit(hold)
            while not (running.done() or locks("relation = 'market_ohlc'::regclass AND NOT granted")):
                time.sleep(0.01)
            assert not running.done()
            assert locks("locktype = 'advisory'") == 0
        running.result()
