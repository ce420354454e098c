"""Swaps and rollouts while real workers trade: no cycle is lost, no order differs from an undisturbed run."""

import json

import pytest

from tests.pipeline.replays import assert_like_an_undisturbed_run, decisions, finish, replay

pytestmark = [pytest.mark.stack, pytest.mark.timeout(420)]

# It passes its gate, which runs without a database's address, and fails at its first real call.
FAULTY = """
import os
from tiers.predict import run as base
VERSION = "1.1.0"
def run(predictor, features):
    if "HELIOS_DATABASE_URL" in os.environ:
        raise RuntimeError("works on my machine")
    return base(predictor, features)
"""
BOLD = """
import numpy as np
from tiers.predict import run as base
VERSION = "1.2.0"
def run(predictor, features):
    out = base(predictor, features)
    return np.where(np.isfinite(out), np.array([0.05, 0.15, 0.8]), out)
"""
GUARDS = '[{"metric": "latency_p95_ms", "limit": 1e6, "kind": "hard"}]'


@pytest.fixture
def version(desk, tmp_path):
    """Register and load new code for a slot; returns its label."""
    package = tmp_path / "scratch_live"
    package.mkdir()
    (package / "__init__.py").write_text("")
    desk.environ |= {"PYTHONPATH": str(tmp_path), "HELIOS_MODULE_PACKAGES": "scratch_live,tiers,trading"}

    def register(slot, name, source):
        (package / f"{name}.py").write_text(source)
        label = desk.manage_json("modules", "register", slot, f"scratch_live.{name}")["label"]
        desk.manage("modules", "load", slot, label)
        return label

    return register


def active(desk, slot):
    return desk.value(
        "SELECT v.label FROM modules m JOIN module_versions v ON v.id = m.active_id WHERE m.name = %s", [slot]
    )


def test_a_predictor_that_fails_at_its_first_real_call_is_rolled_back_and_no_order_changes(desk, gate, version):
    desk.start_workers()
    before, faulty = active(desk, "predict"), version("predict", "faulty", FAULTY)
    gate.close("pipeline_stage_runs", "NEW.stage = 'features'")
    process = replay(desk, "disturbed", 6)
    desk.wait_for(gate.reached, what="a cycle under way")
    desk.manage("modules", "swap", "predict", faulty, "--suite", "generic")
    assert active(desk, "predict") == faulty
    gate.release()
    finish(desk, process, "disturbed")
    assert active(desk, "predict") == before
    runs = desk.query(
        "SELECT module_version, fallback, reason FROM pipeline_stage_runs WHERE stage = 'predict' ORDER BY id"
    )
    assert {label for label, _, _ in runs} == {before}  # the cycle under way kept its own, the next one fell back
    assert [fallback for _, fallback, _ in runs] == ["", "previous_version", "", "", "", ""]
    assert "works on my machine" in runs[1][2]
    assert desk.query("SELECT DISTINCT status FROM pipeline_cycles") == [("DONE",)]
    assert_like_an_undisturbed_run(desk, 6)


def test_a_shadow_never_reaches_an_order_and_a_rollback_is_there_at_the_next_cycle(desk, version):
    desk.start_workers()
    bold = version("predict", "bold", BOLD)
    arms = ["rollouts", "create", "bold", "--target", "predict", "--challenger", bold, "--guards", GUARDS]
    steps = [{"kind": "shadow"}, {"kind": "live", "percentage": 50}, {"kind": "live", "percentage": 100}]
    desk.manage(*arms, "--steps", json.dumps(steps), "--start")
    finish(desk, replay(desk, "disturbed", 5), "disturbed")
    assert_like_an_undisturbed_run(desk, 5)
    shadows = desk.query(
        "SELECT arm, shadow, count(*) FROM rollout_decisions WHERE error = '' GROUP BY 1, 2 ORDER BY 1"
    )
    assert shadows == [("challenger", True, 40), ("champion", True, 40)]  # two books, five bars, four symbols
    desk.manage("rollouts", "promote", "bold")
    finish(desk, replay(desk, "served", 5), "served")
    assert decisions(desk, "served")["orders"] != decisions(desk, "calm")["orders"]
    served = desk.query("SELECT DISTINCT symbol FROM rollout_decisions WHERE arm = 'challenger' AND NOT shadow")
    assert 0 < len(served) < 4
    desk.manage("rollouts", "abort", "bold")
    finish(desk, replay(desk, "after", 5), "after")
    assert decisions(desk, "after") == decisions(desk, "calm")
