"""Killed workers, a broker that goes away, doubled messages: a cycle ends once, no order is doubled or lost."""

import os
import signal
import time

import pytest

from helios.stack import processes
from tests.pipeline.replays import STAGES, assert_like_an_undisturbed_run, done, finish, replay

pytestmark = [pytest.mark.stack, pytest.mark.timeout(420)]


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
