"""Swaps and rollouts while real workers trade: no cycle is lost, no order differs from an undisturbed run."""

import json
from pathlib import Path

import pytest

from tests.support.replays import assert_like_an_undisturbed_run, calm, decisions, finish, replay

pytestmark = pytest.mark.stack

# It passes its gate, which runs without a database's address, and fails at its first real call.
FAULTY = """
import os
from tiers.predict import load
from tiers.predict import run as base
VERSION = "1.1.0"
def run(predictor, features):
    if "HELIOS_DATABASE_URL" in os.environ:
        raise RuntimeError("works on my machine")
    return base(predictor, features)
"""
BOLD = """
import numpy as np
from tiers.predict import load
from tiers.predict import run as base
VERSION = "1.2.0"
def run(predictor, features):
    out = base(predictor, features)
    return np.where(np.isfinite(out), np.array([0.05, 0.15, 0.8]), out)
"""
GUARDS = '[{"metric": "latency_p95_ms", "limit": 1e6, "kind": "hard"}]'


@pytest.fixture(scope="module")
def desk(shared_desk, tmp_path_factory):
    """The desk of this module, whose workers know a package of the tests."""
    folder = tmp_path_factory.mktemp("live")
    (folder / "scratch_live").mkdir()
    (folder / "scratch_live" / "__init__.py").write_text("")
    shared_desk.environ |= {"PYTHONPATH": str(folder), "HELIOS_MODULE_PACKAGES": "scratch_live,tiers,trading"}
    shared_desk.start_worker()
    return shared_desk


def register(desk, slot, name, source):
    """Register and load new code for a slot; returns its label."""
    (Path(desk.environ["PYTHONPATH"]) / "scratch_live" / f"{name}.py").write_text(source)
    label = desk.manage_json("modules", "register", slot, f"scratch_live.{name}")["label"]
    desk.manage("modules", "load", slot, label)
    return label


def active(desk, slot):
    return desk.value(
        "SELECT v.label FROM modules m JOIN module_versions v ON v.id = m.active_id WHERE m.name = %s", [slot]
    )


def test_a_predictor_that_fails_at_its_first_real_call_is_rolled_back_and_no_order_changes(desk, gate):
    before, faulty = active(desk, "predict"), register(desk, "predict", "faulty", FAULTY)
    gate.close("pipeline_stage_runs", "NEW.stage = 'features'")
    process = replay(desk, "faulty", 5)
    desk.wait_for(gate.reached, what="a cycle under way")
    desk.manage("modules", "swap", "predict", faulty, "--suite", "generic")
    assert active(desk, "predict") == faulty
    gate.release()
    finish(desk, process, "faulty")
    assert active(desk, "predict") == before
    runs = desk.query(
        "SELECT r.module_version, r.fallback, r.reason FROM pipeline_stage_runs r "
        "JOIN pipeline_cycles c ON c.id = r.cycle_id JOIN portfolio_state b ON b.id = c.book_id "
        "WHERE r.stage = 'predict' AND b.name = 'faulty' ORDER BY r.id"
    )
    assert {label for label, _, _ in runs} == {before}  # the cycle under way kept its own, the next one fell back
    assert [fallback for _, fallback, _ in runs] == ["", "previous_version", "", "", ""]
    assert "works on my machine" in runs[1][2]
    assert desk.query("SELECT DISTINCT status FROM pipeline_cycles") == [("DONE",)]
    assert_like_an_undisturbed_run(desk, "faulty", 5)


def test_a_shadow_never_reaches_an_order_and_a_rollback_is_there_at_the_next_cycle(desk):
    calm(desk, 5)
    bold = register(desk, "predict", "bold", BOLD)
    arms = ["rollouts", "create", "bold", "--target", "predict", "--challenger", bold, "--guards", GUARDS]
    steps = [{"kind": "shadow"}, {"kind": "live", "percentage": 50}, {"kind": "live", "percentage": 100}]
    desk.manage(*arms, "--steps", json.dumps(steps), "--start")
    finish(desk, replay(desk, "shadowed", 5), "shadowed")
    assert_like_an_undisturbed_run(desk, "shadowed", 5)
    shadows = desk.query(
        "SELECT arm, shadow, count(*) FROM rollout_decisions WHERE error = '' GROUP BY 1, 2 ORDER BY 1"
    )
    assert shadows == [("challenger", True, 20), ("champion", True, 20)]  # five bars, four symbols
    desk.manage("rollouts", "promote", "bold")
    finish(desk, replay(desk, "served", 5), "served")
    assert decisions(desk, "served")["orders"] != decisions(desk, calm(desk, 5))["orders"]
    served = desk.query("SELECT DISTINCT symbol FROM rollout_decisions WHERE arm = 'challenger' AND NOT shadow")
    assert 0 < len(served) < 4
    desk.manage("rollouts", "abort", "bold")
    finish(desk, replay(desk, "after", 5), "after")
    assert decisions(desk, "after") == decisions(desk, calm(desk, 5))
