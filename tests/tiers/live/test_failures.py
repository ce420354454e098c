"""Killed workers, a broker that goes away, doubled messages: a cycle ends once, no order is doubled or lost."""

import os
import shutil
import signal

import pytest

from tests.support.harness import Stack
from tests.support.replays import STAGES, assert_like_an_undisturbed_run, done, finish, replay

pytestmark = pytest.mark.stack


@pytest.fixture
def desk(shared_desk: Stack) -> Stack:
    """The desk of this module, with its worker at work whatever the test before has left."""
    shared_desk.need_worker()
    return shared_desk


def test_a_worker_killed_in_each_tier_loses_and_doubles_nothing(desk, gate):
    gate.close("pipeline_stage_runs", "NEW.stage = 'ingest'")
    process = replay(desk, "tiers", 5)
    for stage, following in zip(STAGES, (*STAGES[1:], None), strict=True):
        desk.wait_for(gate.reached, what=f"a worker inside {stage}")
        desk.kill("worker")
        gate.open()
        if following is not None:
            gate.close("pipeline_stage_runs", f"NEW.stage = '{following}'")
        desk.start_worker()
    finish(desk, process, "tiers")
    assert_like_an_undisturbed_run(desk, "tiers", 5)


def test_a_sender_killed_in_the_middle_of_an_order_neither_loses_nor_doubles_it(desk, gate):
    process = replay(desk, "sender", 5)
    gate.close("paper_orders", "true")
    desk.wait_for(gate.reached, what="a sender inside the venue")
    desk.kill("worker")
    gate.open()
    assert desk.value("SELECT count(*) FROM orders WHERE status = 'SENDING'") >= 1  # and what is claimed with it
    desk.start_worker()
    finish(desk, process, "sender")
    assert_like_an_undisturbed_run(desk, "sender", 5)


def test_a_killed_pool_process_is_replaced_and_its_task_runs_again(desk, gate):
    process = replay(desk, "pool", 5)
    gate.close("pipeline_stage_runs", "NEW.stage = 'risk'")
    desk.wait_for(gate.reached, what="a worker inside risk")
    for pid in desk.children_of("worker"):
        os.kill(pid, signal.SIGKILL)
    gate.open()
    finish(desk, process, "pool")
    assert_like_an_undisturbed_run(desk, "pool", 5)


@pytest.mark.parametrize(("name", "emptied"), [("outage", False), ("emptied", True)])
def test_the_broker_may_go_away_and_come_back_in_the_middle_of_a_replay_with_nothing_that_it_had(
    desk, gate, name, emptied
):
    """A worker stands inside a stage when the broker goes, and meets the closed door when it hands the cycle on."""
    gate.close("pipeline_stage_runs", "NEW.stage = 'risk'")
    process = replay(desk, name, 5)
    desk.wait_for(gate.reached, what="a worker inside risk")
    desk.stop_valkey()
    gate.release()
    busy = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()"
    )
    desk.wait_for(lambda: desk.value(busy) == 0, what="the stage to be over while the broker is away")
    if emptied:
        shutil.rmtree(desk.valkey.data_dir)
    desk.start_valkey()
    finish(desk, process, name)
    assert done(desk, name) == 5
    assert_like_an_undisturbed_run(desk, name, 5)
