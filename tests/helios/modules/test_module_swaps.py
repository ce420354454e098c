"""Swaps and rollbacks in one process: what is refused, what each step leaves behind, who may do what meanwhile."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from helios.events.models import SystemEvent
from helios.modules import presence, process, services, swapping
from helios.modules.errors import (
    InUse,
    ModuleRefused,
    SwapFailed,
    SwapRunning,
    UnknownModule,
)
from helios.modules.gate import runs
from helios.modules.models import Module, ModuleSwap, ModuleVersion
from tests.helios.modules.conftest import used

PASSES = runs.passes  # which `open_gate` replaces
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_gate")]


def slot() -> Module:
    return Module.objects.select_related("active", "previous").get(name="oracle")


def test_a_swap_goes_through_its_steps_and_all_say_so(oracle):
    told: list[str] = []
    swap = services.swap("oracle", "1.1.0", actor="ann", reason="sharper", progress=told.append)
    assert (swap.state, swap.actor, swap.reason, swap.error) == ("SWITCHED", "ann", "sharper", "")
    assert (swap.from_version.label, swap.to_version.label) == (oracle["1.0.0"], oracle["1.1.0"])
    assert (slot().active.label, slot().previous.label) == (oracle["1.1.0"], oracle["1.0.0"])
    assert [row.state for row in slot().versions.order_by("id")] == ["LOADED", "ACTIVE", "UNLOADED"]
    steps = ["versions fit", "tests passed", "ready in 0 processes", "in use from the next task on"]
    assert [step in words for step, words in zip(steps, told, strict=True)] == [True] * 4
    event = SystemEvent.objects.get(kind="module.swapped")
    assert (event.subject, event.data["actor"], event.data["to"]) == ("oracle", "ann", oracle["1.1.0"])


def test_a_task_follows_at_its_start_and_a_running_one_keeps_what_it_has(oracle):
    running = process.resolve("oracle")
    services.swap("oracle", oracle["1.1.0"], actor="ann")
    assert process.resolve("oracle") is running
    assert used() == oracle["1.1.0"]


@pytest.mark.parametrize(
    ("version", "error", "message"),
    [
        ("1.0.0", ModuleRefused, r"module oracle 1\.0\.0\+.* is in use already"),
        ("2.0.0", ModuleRefused, r"module user in use needs oracle \^1\.0\.0, but 2\.0\.0 would fill it"),
        ("3.0.0", UnknownModule, "module oracle has no version 3.0.0; there are 2.0.0"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(oracle, version: str, error: type, message: str):
    before = list(Module.objects.values()), list(ModuleVersion.objects.values())
    with pytest.raises(error, match=message):
        services.swap("oracle", version, actor="ann")
    assert (list(Module.objects.values()), list(ModuleVersion.objects.values())) == before
    assert not ModuleSwap.objects.exists()


def test_what_a_version_needs_must_be_in_use_in_its_range(oracle, code):
    row = services.register("user", code("user", version="1.1.0"), dependencies={"oracle": "^1.1.0"})
    with pytest.raises(ModuleRefused, match=r"module user needs oracle \^1\.1\.0, but 1\.0\.0 is registered"):
        services.swap("user", row.label, actor="ann")
    services.swap("oracle", "1.1.0", actor="ann")
    assert services.swap("user", row.label, actor="ann").state == "SWITCHED"


def test_versions_that_each_fit_must_not_close_a_circle_together(oracle, code):
    """Neither registration shows it: each version is seen beside the ones in use, which need nothing of the sort."""
    services.register("seer", code("seer"))
    services.activate("seer")
    circle = services.register("oracle", code("oracle", version="1.3.0"), dependencies={"seer": "*"})
    closing = services.register("seer", code("seer", version="1.3.0"), dependencies={"oracle": "*"})
    services.swap("oracle", circle.label, actor="ann")
    with pytest.raises(ModuleRefused, match=r"modules depend on each other: (oracle -> seer -> |seer -> oracle -> )"):
        services.swap("seer", closing.label, actor="ann")
    assert Module.objects.get(name="seer").active.version == "1.0.0"


def test_a_rollback_closes_no_circle_either(oracle, code):
    services.register("seer", code("seer"))
    services.activate("seer")
    circle = services.register("oracle", code("oracle", version="1.3.0"), dependencies={"seer": "*"})
    services.swap("oracle", circle.label, actor="ann")
    services.swap("oracle", oracle["1.1.0"], actor="ann")
    services.swap(
        "seer",
        services.register("seer", code("seer", version="1.3.0"), dependencies={"oracle": "*"}).label,
        actor="ann",
    )
    with pytest.raises(ModuleRefused, match="modules depend on each other"):
        services.rollback("oracle", actor="ann")
    assert used() == oracle["1.1.0"]


def test_a_module_that_is_not_hot_reloadable_is_not_swapped(oracle):
    services.configure("oracle", hot_reloadable=False)
    with pytest.raises(ModuleRefused, match="module oracle may not be swapped while the pipeline runs: unload it"):
        services.swap("oracle", "1.1.0", actor="ann")


def test_an_unknown_module_and_a_nameless_actor_are_refused(oracle):
    with pytest.raises(UnknownModule, match="no module is named 'seer'; there are oracle, user"):
        services.swap("seer", "1.0.0", actor="ann")
    with pytest.raises(ModuleRefused, match="a change must name its actor"):
        services.swap("oracle", "1.1.0", actor="")


def test_a_failed_test_ends_the_swap_before_any_process_hears_of_it(oracle, monkeypatch):
    monkeypatch.setattr(runs, "passes", lambda *_, **__: "generic test 'finite' failed: NaN in row 3")
    with pytest.raises(SwapFailed, match="did not pass its tests: generic test 'finite' failed: NaN in row 3"):
        services.swap("oracle", "1.1.0", actor="ann")
    swap = ModuleSwap.objects.get()
    assert (swap.state, used()) == ("FAILED", oracle["1.0.0"])
    assert "NaN in row 3" in swap.error
    failed = ModuleVersion.objects.get(label=oracle["1.1.0"])
    assert (failed.state, failed.error) == ("FAILED", swap.error)
    assert SystemEvent.objects.get(kind="module.swap_failed").severity == "warning"


def test_the_wanted_suites_reach_the_gate(oracle, monkeypatch):
    asked = []
    monkeypatch.setattr(runs, "passes", lambda version, suites, *, actor: asked.append((suites, actor)) or "")
    services.swap("oracle", "1.1.0", actor="ann", suites=["generic", "risk"])
    assert asked == [(["generic", "risk"], "ann")]


def test_wanted_suites_come_on_top_of_those_that_gate_the_slot(oracle, monkeypatch, settings):
    settings.MODULE_GATES = {"oracle": ("generic", "risk")}
    asked = []
    monkeypatch.setattr(runs, "passes", PASSES)
    refused = SimpleNamespace(reason="too bold")
    monkeypatch.setattr(runs, "run_suites", lambda _name, _label, suites, **_: asked.append(set(suites)) or refused)
    for suites in ((), ["generic"], ["trading"]):
        with pytest.raises(SwapFailed, match="did not pass its tests: too bold"):
            services.swap("oracle", oracle["1.1.0"], actor="ann", suites=suites)
    assert asked == [{"generic", "risk"}, {"generic", "risk"}, {"generic", "risk", "trading"}]


@pytest.mark.parametrize("state", ["UNLOADED", "FAILED"])
def test_a_rollback_brings_back_no_version_that_was_refused_since(oracle, state):
    services.configure("oracle", watch_calls=0)
    services.swap("oracle", "1.1.0", actor="ann")
    ModuleVersion.objects.filter(label=oracle["1.0.0"]).update(state=state, error="leaks")
    with pytest.raises(ModuleRefused, match="can go back to a LOADED version"):
        services.rollback("oracle", actor="ann")
    assert slot().active.label == oracle["1.1.0"]


def test_a_rollback_brings_back_no_code_from_a_package_that_is_no_longer_allowed(oracle, settings):
    services.swap("oracle", "1.1.0", actor="ann")
    settings.MODULE_PACKAGES = ("tiers",)
    with pytest.raises(ModuleRefused, match="modules may be loaded from tiers only"):
        services.rollback("oracle", actor="ann")


def test_an_interrupted_swap_is_failed_and_the_interruption_goes_on(oracle, monkeypatch):
    def interrupted(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "passes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        services.swap("oracle", "1.1.0", actor="ann")
    assert (ModuleSwap.objects.get().state, ModuleSwap.objects.get().error) == ("FAILED", "KeyboardInterrupt")


# --- others at the same time ---


@pytest.fixture
def running(oracle) -> ModuleSwap:
    """A swap that somebody else has begun."""
    return swapping.begin("oracle", "1.1.0", actor="bob", reason="")


def test_a_swap_during_a_swap_is_refused_by_name_and_time(running):
    with pytest.raises(SwapRunning, match=r"module oracle is being swapped to 1\.1\.0\+.* by bob since 20.*UTC"):
        services.swap("oracle", "1.1.0", actor="ann")
    assert ModuleSwap.objects.count() == 1


@pytest.mark.parametrize("change", [services.unload, services.load])
def test_other_changes_wait_for_a_running_swap(running, change):
    with pytest.raises(ModuleRefused, match=r"module oracle is being swapped .*by bob"):
        change("oracle", actor="ann")


@pytest.fixture
def meanwhile(oracle, code) -> ModuleSwap:
    """A swap that somebody has begun while the version in use may still be rolled back."""
    services.swap("oracle", "1.1.0", actor="ann")
    return swapping.begin(
        "oracle", services.register("oracle", code("oracle", version="1.2.0")).label, actor="bob", reason=""
    )


def test_a_rollback_waits_for_no_swap_and_ends_it(oracle, meanwhile):
    swapping._step(meanwhile, "TESTING")
    swapping._step(meanwhile, "PREPARING")
    silent = presence.enter("worker")
    assert services.rollback("oracle", actor="ann", reason="it loses money").to_version.label == oracle["1.0.0"]
    for step in (lambda: swapping._prepared(meanwhile, print), lambda: swapping._step(meanwhile, "SWITCHED")):
        with pytest.raises(SwapFailed, match="is failed: module oracle was rolled back by ann meanwhile"):
            step()
    with pytest.raises(SwapFailed):
        swapping._switch(meanwhile)
    assert (used(), meanwhile.to_version.state) == (oracle["1.0.0"], "UNLOADED")
    presence.leave(silent)
    assert services.swap("oracle", meanwhile.to_version.label, actor="ann").state == "SWITCHED"


def test_a_rollback_that_is_refused_leaves_the_swap_to_go_on(running):
    with pytest.raises(ModuleRefused, match="must have a version before the one in use to go back to, has none"):
        services.rollback("oracle", actor="ann")
    running.refresh_from_db()
    assert running.state == "CHECKING"


def test_a_rollback_may_name_the_version_that_is_to_leave(oracle, meanwhile):
    with pytest.raises(
        InUse, match=rf"must be in use as .* to be rolled back from it, is as {re.escape(oracle['1.1.0'])}"
    ):
        services.rollback("oracle", oracle["1.0.0"], actor="ann")
    meanwhile.refresh_from_db()
    assert meanwhile.state == "CHECKING"
    assert services.rollback("oracle", oracle["1.1.0"], actor="ann").to_version.label == oracle["1.0.0"]


def test_another_slot_may_be_swapped_meanwhile(running, code):
    row = services.register("user", code("user", version="1.0.1"))
    assert services.swap("user", row.label, actor="ann").state == "SWITCHED"


def test_the_database_itself_keeps_a_second_open_swap_out(running):
    with pytest.raises(IntegrityError), transaction.atomic():
        ModuleSwap.objects.create(
            module=running.module, to_version=running.to_version, actor="x", owner="x", expires_at=timezone.now()
        )


def test_a_swap_whose_lease_ran_out_is_failed_by_the_next_one(running, oracle):
    ModuleSwap.objects.update(expires_at=timezone.now() - timedelta(seconds=1), owner="elsewhere:1")
    assert services.swap("oracle", "1.1.0", actor="ann").state == "SWITCHED"
    running.refresh_from_db()
    assert (running.state, running.error) == ("FAILED", "its owner elsewhere:1 died while it was checking versions")


def test_a_clock_that_is_wrong_here_takes_no_living_swap_for_dead(running, monkeypatch):
    """A lease is written and read by the database's clock, the only one that all processes share."""
    ahead = timezone.now() + timedelta(hours=1)
    monkeypatch.setattr(timezone, "now", lambda: ahead)
    assert swapping.recover() == []
    running.refresh_from_db()
    assert running.state == "CHECKING"


def test_a_swap_whose_owner_is_gone_from_this_machine_is_failed_at_once(running):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    ModuleSwap.objects.update(owner=f"{presence.host()}:{child}")
    assert services.recover() == ["oracle"]
    assert services.recover() == []


def test_an_owner_that_was_taken_for_dead_does_not_switch_afterwards(running, oracle):
    ModuleSwap.objects.update(state="FAILED", error="its owner died")
    for step in (lambda: swapping._step(running, "TESTING"), lambda: swapping._switch(running)):
        with pytest.raises(SwapFailed, match=r"must be .* to go on, is failed: its owner died"):
            step()
    assert used() == oracle["1.0.0"]


def test_a_slot_that_changed_under_a_swap_is_not_switched(running, oracle):
    swapping._step(running, "TESTING")
    swapping._step(running, "PREPARING")
    Module.objects.filter(name="oracle").update(active=None)
    with pytest.raises(SwapFailed, match="module oracle was changed by somebody else while it was being swapped"):
        swapping._switch(running)


def test_versions_are_checked_again_at_the_switch(oracle, monkeypatch, code):
    def meanwhile(*_: object, **__: object) -> str:
        strict = services.register("user", code("user", version="1.0.1"), dependencies={"oracle": "==1.0.0"})
        monkeypatch.setattr(runs, "passes", lambda *_, **__: "")
        services.swap("user", strict.label, actor="bob")
        return ""

    monkeypatch.setattr(runs, "passes", meanwhile)
    with pytest.raises(ModuleRefused, match=r"module user in use needs oracle ==1.0.0, but 1.1.0 would fill it"):
        services.swap("oracle", "1.1.0", actor="ann")
    assert ModuleSwap.objects.filter(module__name="oracle", state="FAILED").count() == 1
