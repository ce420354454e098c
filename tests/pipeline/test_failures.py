"""Killed workers, a broker that goes away, doubled messages: a cycle ends once, no order is doubled or lost."""

import os
import signal
import time

import psycopg2
import pytest

from helios.stack import processes
from tests.harness import dsn

pytestmark = [pytest.mark.stack, pytest.mark.timeout(420)]
STAGES = ("ingest", "features", "predict", "risk", "llm", "portfolio", "execute")
GATE = 4711  # an advisory lock that the test holds while a worker waits behind it


@pytest.fixture
def gate(desk):
    """Holds workers inside their transaction: `close(stage)` stops the next run of a stage, `open()` lets it go on."""
    connection = psycopg2.connect(dsn(desk.database))
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(
        "CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN PERFORM pg_advisory_xact_lock({GATE}); RETURN NEW; END $$"
    )

    class Gate:
        def close(self, table, condition):
            cursor.execute(f"SELECT pg_advisory_lock({GATE})")
            cursor.execute(
                f"CREATE TRIGGER gate BEFORE INSERT ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION gate()"
            )
            self.table = table

        def reached(self):
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted",
                [GATE],
            )
            return cursor.fetchone()[0] > 0

        def open(self):
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks "
                "WHERE locktype = 'advisory' AND objid = %s AND NOT granted",
                [GATE],
            )
            cursor.execute(f"SELECT pg_advisory_unlock({GATE})")
            cursor.execute(f"DROP TRIGGER gate ON {self.table}")

    yield Gate()
    connection.close()


def replay(desk, name, n_bars):
    return desk.start_manage(
        name,
        "replay",
        "--from",
        "20120601",
        "--bars",
        str(n_bars),
        "--name",
        name,
        "--timeout",
        "120",
        "--json",
    )


def done(desk, book):
    return desk.value(
        "SELECT count(*) FROM pipeline_cycles c JOIN portfolio_state b ON b.id = c.book_id "
        "WHERE b.name = %s AND c.status = 'DONE'",
        [book],
    )


def decisions(desk, book):
    """Orders and fills of a book without the identifiers that differ between books."""
    orders = desk.query(
        "SELECT o.bar_ts, o.symbol, o.side, o.quantity, o.status FROM orders o "
        "JOIN portfolio_state b ON b.id = o.book_id WHERE b.name = %s ORDER BY 1, 2, 3",
        [book],
    )
    fills = desk.query(
        "SELECT e.bar_ts, e.symbol, e.side, e.quantity, e.price, e.fee FROM trade_executions e "
        "JOIN portfolio_state b ON b.id = e.book_id WHERE b.name = %s ORDER BY 1, 2, 3",
        [book],
    )
    cash = desk.value("SELECT cash FROM portfolio_state WHERE name = %s", [book])
    return {"orders": orders, "fills": fills, "cash": cash}


def assert_like_an_undisturbed_run(desk, n_bars):
    """The disturbed book equals one that nothing happened to, and every stage ran once in every cycle."""
    desk.manage_json("replay", "--from", "20120601", "--bars", str(n_bars), "--name", "calm", "--timeout", "120")
    assert decisions(desk, "disturbed") == decisions(desk, "calm")
    assert decisions(desk, "calm")["orders"]
    assert done(desk, "disturbed") == n_bars
    runs = desk.query("SELECT cycle_id, count(*) FROM pipeline_stage_runs GROUP BY 1")
    assert {count for _, count in runs} == {len(STAGES)}


def finish(desk, process, name):
    desk.wait_for(lambda: process.poll() is not None, timeout_s=240, what="the end of the replay")
    assert process.returncode == 0, desk.log(name).read_text()


def test_a_worker_killed_in_each_tier_loses_and_doubles_nothing(desk, gate):
    desk.start_workers()
    gate.close("pipeline_stage_runs", "NEW.stage = 'ingest'")
    process = replay(desk, "disturbed", 4)
    for stage, following in zip(STAGES, (*STAGES[1:], None), strict=True):
        desk.wait_for(gate.reached, what=f"a worker inside {stage}")
        desk.kill("gpu" if stage == "predict" else "worker")
        gate.open()
        if following is not None:
            gate.close("pipeline_stage_runs", f"NEW.stage = '{following}'")
        if stage == "predict":
            desk.start(processes.gpu_worker())
            desk.wait_for_workers("gpu")
        else:
            desk.start_worker()
    finish(desk, process, "disturbed")
    assert_like_an_undisturbed_run(desk, 4)


def test_a_sender_killed_in_the_middle_of_an_order_neither_loses_nor_doubles_it(desk, gate):
    desk.start_workers()
    process = replay(desk, "disturbed", 5)
    gate.close("paper_orders", "true")
    desk.wait_for(gate.reached, what="a sender inside the venue")
    desk.kill("worker")
    gate.open()
    assert desk.value("SELECT count(*) FROM orders WHERE status = 'SENDING'") == 1
    desk.start_worker()
    finish(desk, process, "disturbed")
    assert_like_an_undisturbed_run(desk, 5)


def test_a_killed_pool_process_is_replaced_and_its_task_runs_again(desk, gate):
    desk.start_workers()
    process = replay(desk, "disturbed", 3)
    gate.close("pipeline_stage_runs", "NEW.stage = 'risk'")
    desk.wait_for(gate.reached, what="a worker inside risk")
    for pid in desk.children_of("worker"):
        os.kill(pid, signal.SIGKILL)
    gate.open()
    finish(desk, process, "disturbed")
    assert_like_an_undisturbed_run(desk, 3)


def test_the_broker_may_go_away_and_come_back_in_the_middle_of_a_replay(desk):
    desk.start_workers()
    process = replay(desk, "disturbed", 25)
    desk.wait_for(lambda: done(desk, "disturbed") >= 5, what="five cycles")
    desk.stop_valkey()
    before = done(desk, "disturbed")
    time.sleep(0.5)  # long enough for a task to meet the closed door
    desk.start_valkey()
    desk.wait_for(lambda: done(desk, "disturbed") > before + 3, timeout_s=150, what="progress after the outage")
    finish(desk, process, "disturbed")
    assert_like_an_undisturbed_run(desk, 25)
