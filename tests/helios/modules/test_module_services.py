"""Registering, loading, activating and unloading modules."""

from __future__ import annotations

import importlib
import sys
from functools import partial

import pytest
from django.db import IntegrityError, transaction

from helios.errors import Conflict
from helios.events.models import SystemEvent
from helios.modules import process, services
from helios.modules.catalog import SHIPPED, STAGES
from helios.modules.errors import (
    AlreadyTested,
    ModuleLoadFailed,
    ModuleNotActive,
    ModuleRefused,
    SeveralVersions,
    UnknownModule,
)
from helios.modules.gate import runs
from helios.modules.models import Module, ModuleCode, ModuleVersion
from tests.support.together import at_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_gate")]


def state(name: str) -> str:
    return Module.objects.get(name=name).state


def test_the_migration_registers_the_seven_tiers_as_the_catalog_has_them():
    migration = importlib.import_module("helios.modules.migrations.0003_seven_tiers")
    assert tuple(migration.STAGES) == STAGES
    Module.objects.all().delete()
    services.restore_shipped()
    rows = list(Module.objects.values_list("name", "path", "version", "dependencies", "state"))
    assert rows == [(each.name, each.path, each.version, each.dependencies, "ACTIVE") for each in SHIPPED]
    assert services.restore_shipped() == []


def test_the_shipped_tiers_can_all_be_resolved():
    services.restore_shipped()
    found = [process.resolve(stage) for stage in STAGES]
    assert [each.name for each in found] == list(STAGES)
    assert all(each.version == f"{each.implementation.VERSION}+{each.digest[:8]}" for each in found)
    assert all(callable(each.implementation.run) for each in found)


@pytest.mark.usefixtures("chain")
def test_a_module_goes_from_unloaded_to_active_and_back():
    assert state("source") == "UNLOADED"
    assert services.load("source", actor="ann").state == "LOADED"
    assert services.activate("source", actor="ann").state == "ACTIVE"
    assert services.load("source", actor="ann").state == "ACTIVE"
    assert services.activate("source", actor="ann").state == "ACTIVE"
    assert services.unload("source", actor="ann").state == "UNLOADED"
    told = SystemEvent.objects.filter(subject="source", kind="module.state_changed").order_by("id")
    assert [event.data["after"] for event in told] == [*("LOADING", "LOADED") * 2, "ACTIVE", "UNLOADED"]
    assert {event.data["actor"] for event in told} == {"ann"}


@pytest.mark.usefixtures("chain")
def test_activating_loads_what_was_not_loaded():
    assert services.activate("source").state == "ACTIVE"
    assert Module.objects.get(name="source").loaded_at is not None
    assert Module.objects.get(name="source").active.loaded_at is not None


@pytest.mark.usefixtures("chain")
@pytest.mark.parametrize("loaded_before", [False, True])
def test_nothing_is_loaded_or_activated_that_does_not_pass_its_gates(monkeypatch, loaded_before):
    if loaded_before:
        services.load("source")
    asked = []
    monkeypatch.setattr(runs, "passes", lambda version, *_, **by: asked.append((str(version), by)) or "is too bold")
    for change in (services.load, services.activate):
        with pytest.raises(ModuleLoadFailed, match="module source is too bold"):
            change("source", actor="ann")
        assert state("source") == "FAILED"
        services.register("source", Module.objects.get(name="source").path)
    assert [by for _, by in asked] == [{"actor": "ann"}] * 2


@pytest.mark.usefixtures("chain")
def test_every_change_has_the_next_generation():
    before = Module.objects.get(name="sink").generation
    services.load("source")
    assert Module.objects.get(name="source").generation == before + 2  # LOADING, LOADED


@pytest.mark.usefixtures("chain")
def test_a_module_waits_for_what_it_needs():
    with pytest.raises(ModuleRefused, match="module sink needs source to be LOADED or ACTIVE, was UNLOADED"):
        services.load("sink")
    services.load("source")
    services.load("sink")
    with pytest.raises(ModuleRefused, match="module sink needs source to be ACTIVE, was LOADED"):
        services.activate("sink")
    services.activate("source")
    assert services.activate("sink").state == "ACTIVE"


@pytest.mark.usefixtures("chain")
def test_a_dependency_in_an_unfitting_version_is_refused(code):
    services.activate("source", services.register("source", code("source_two", version="2.0.0"), "2.0.0").label)
    with pytest.raises(ModuleRefused, match=r"module sink needs source \^1\.0\.0, but 2\.0\.0 is registered"):
        services.load("sink")


@pytest.mark.usefixtures("chain")
def test_a_dependency_that_is_gone_is_named():
    Module.objects.filter(name="source").delete()
    with pytest.raises(ModuleRefused, match="module sink depends on source, which is not registered"):
        services.load("sink")


@pytest.mark.usefixtures("chain")
def test_a_module_in_use_by_others_is_not_unloaded():
    services.activate("source")
    services.load("sink")
    with pytest.raises(ModuleRefused, match="module source is needed by sink: unload them first"):
        services.unload("source")
    services.unload("sink")
    assert services.unload("source").state == "UNLOADED"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("VERSION = '1.0.0'\nrun = 3\n", "must have run, a function"),
        ("VERSION = '1.0.0'\ndef run(): ...\non_load = 1\n", "may have on_load as a function, was 1"),
        ("VERSION = '1.0.0'\nraise RuntimeError('no model here')\n", "could not .* from .*: RuntimeError: no model"),
        ("VERSION = '1.0.0'\nimport sys\nsys.exit(3)\n", "could not be imported from .*: SystemExit: 3"),
        ("VERSION = '1.0.0'\nimport nothing_of_that_name\n", "could not be imported from .*: ModuleNotFoundError"),
        ("VERSION = '1.0.0'\ndef run(): ...\ndef on_load(): 1 / 0\n", "failed in on_load: ZeroDivisionError"),
    ],
)
def test_code_at_fault_leaves_the_version_failed_with_the_reason(code, source: str, reason: str):
    services.register("risk_two", code("risk_two", source))
    with pytest.raises(ModuleLoadFailed, match=f"module risk_two {reason}"):
        services.activate("risk_two")
    row = Module.objects.get(name="risk_two")
    assert row.state == "FAILED"
    assert row.error.startswith("module risk_two")
    with pytest.raises(ModuleNotActive, match="module risk_two must be ACTIVE to be used, was FAILED"):
        process.resolve("risk_two")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def run(): ...\n", "must state VERSION as a text like '1.4.0', was None"),
        ("VERSION = 1\ndef run(): ...\n", "must state VERSION as a text like '1.4.0', was 1"),
        ("VERSION = '1.0' + '.0'\ndef run(): ...\n", "must state VERSION as a text like '1.4.0', was None"),
        ("VERSION = 'one'\ndef run(): ...\n", "a version must read like"),
        ("VERSION = '1.0.1'\ndef run(): ...\n", "is registered as 1.0.0, but the code in .* is 1.0.1"),
        ("VERSION = '1.0.0'\ndef run(:\n", "must be valid Python, risk_two.py line 2 is not"),
        ("VERSION = '1.0.0'\nDEPENDENCIES = {'features': 'new'}\n", "a version must read like"),
    ],
)
def test_code_that_says_wrong_things_of_itself_is_not_registered(code, source: str, reason: str):
    with pytest.raises(ModuleRefused, match=reason):
        services.register("risk_two", code("risk_two", source), "1.0.0")
    assert not Module.objects.filter(name="risk_two").exists()
    assert not ModuleCode.objects.filter(path__endswith="risk_two").exists()


def test_the_version_and_what_it_needs_may_stand_in_the_code_alone(code):
    row = services.register("risk_two", code("risk_two", "VERSION = '1.2.0'\nDEPENDENCIES = {'features': '^1.0.0'}\n"))
    assert (row.version, row.dependencies) == ("1.2.0", {"features": "^1.0.0"})
    again = services.register("risk_two", code("risk_two", "VERSION = '1.2.1'\n"))
    assert again.dependencies == {"features": "^1.0.0"}


def test_nothing_is_imported_by_registering(code, package):
    services.register("risk_two", code("risk_two", "VERSION = '1.0.0'\nraise RuntimeError\n"))
    assert f"{package}.risk_two" not in sys.modules


def test_a_version_that_failed_is_tried_again_when_it_is_registered_again(code, monkeypatch):
    path = code("risk_two")
    services.register("risk_two", path)
    monkeypatch.setattr(runs, "passes", lambda *_, **__: "could not be imported: the disk was full")
    with pytest.raises(ModuleLoadFailed):
        services.load("risk_two")
    services.register("risk_two", path)
    monkeypatch.setattr(runs, "passes", lambda *_, **__: "")
    row = services.load("risk_two")
    assert (row.state, row.error) == ("LOADED", "")


def test_other_content_is_another_version_and_the_same_content_the_same(code):
    first = services.register("risk_two", code("risk_two"))
    other = services.register("risk_two", code("risk_two", "VERSION = '1.0.0'\ndef run(): ...\n"))
    assert first.version == other.version == "1.0.0"
    assert first.label != other.label
    assert services.register("risk_two", code("risk_two")).pk == first.pk
    assert ModuleVersion.objects.filter(module__name="risk_two").count() == 2


def test_a_path_that_is_no_longer_allowed_is_refused_without_an_import(code, settings, package):
    services.register("risk_two", code("risk_two"), "1.0.0")
    settings.MODULE_PACKAGES = ("tiers",)
    with pytest.raises(ModuleRefused, match="modules may be loaded from tiers only"):
        services.load("risk_two")
    assert state("risk_two") == "UNLOADED"
    assert f"{package}.risk_two" not in sys.modules


def test_registering_again_keeps_who_did_it_first_and_tells_of_everybody(code):
    """The same content under another path is the version that there is, not another one."""
    first = services.register("source", code("source"), actor="ann")
    again = services.register("source", code("source"), dependencies={}, actor="bob")
    assert again.pk == first.pk
    assert (again.registered_by, again.path) == ("ann", first.path)
    told = SystemEvent.objects.filter(subject="source", kind="module.registered").order_by("id")
    assert [event.data["actor"] for event in told] == ["ann", "bob"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("risk_two", "os", "1.0.0"),
            "modules may be loaded from examples.modules, tiers, trading only, not from 'os'",
        ),
        (("risk_two", "tiers.risk", "1"), "a version must read like"),
        (("risk_two", "tiers.risk", "1.0.0", {"features": "new"}), "a version must read like"),
        (("risk_two", "tiers.risk", "1.0.0", {"oracle": "*"}), "depends on oracle, which is not registered"),
        (("risk", "tiers.risk", "9.0.1"), "module risk is registered as 9.0.1, but the code in tiers.risk is 1"),
        (("risk", "tiers.risk", "1.0.0", {"features": "*"}), "is ACTIVE: its dependencies cannot change"),
        (("Risk!", "tiers.risk"), "a module's name must read like predict or risk-two"),
        (("risk_two", "tiers.nowhere"), "code must lie where tiers.nowhere points to, nothing was found there"),
        (("risk_two", "tiers"), "a module's path must lead below tiers"),
    ],
)
def test_a_registration_that_breaks_a_rule_changes_nothing(arguments, message: str):
    services.restore_shipped()
    before = list(Module.objects.values()), list(ModuleVersion.objects.values())
    name, path, *rest = arguments
    with pytest.raises(ModuleRefused, match=message):
        services.register(name, path, *rest[:1], dependencies=rest[1] if len(rest) > 1 else None)
    assert (list(Module.objects.values()), list(ModuleVersion.objects.values())) == before


@pytest.mark.usefixtures("chain")
def test_a_registration_that_closes_a_cycle_is_refused_by_name(code):
    with pytest.raises(
        ModuleRefused,
        match=r"modules depend on each other: (source -> sink -> source|sink -> source -> sink)",
    ):
        services.register("source", code("source"), "1.0.0", dependencies={"sink": "*"})
    assert Module.objects.get(name="source").dependencies == {}


@pytest.mark.usefixtures("chain")
def test_a_version_registered_beside_one_in_use_changes_nothing_yet(code):
    services.activate("source")
    row = services.register("source", code("source_two", version="1.1.0"), "1.1.0")
    slot = Module.objects.get(name="source")
    assert (row.state, slot.state, slot.version) == ("UNLOADED", "ACTIVE", "1.0.0")
    with pytest.raises(ModuleRefused, match=r"module source is in use as 1\.0\.0\+.*: swap it to 1\.1\.0\+"):
        services.activate("source", row.label)
    services.unload("source")
    services.activate("source", row.label)
    assert process.resolve("source").implementation.run(3) == ("1.1.0", 3)


def test_registering_changes_neither_what_was_tested_nor_how_a_slot_that_is_there_may_be_changed(oracle, code):
    services.swap("oracle", oracle["1.1.0"], actor="ann")
    again = partial(services.register, "oracle", code("oracle", version="1.0.0"))
    with pytest.raises(AlreadyTested, match="is LOADED: its dependencies cannot change"):
        again(dependencies={"risk": ">=9"})
    with pytest.raises(AlreadyTested, match="is there: `modules configure` says"):
        again(hot_reloadable=False)
    assert again(hot_reloadable=True).dependencies == {}
    assert services.rollback("oracle", actor="ann").to_version.label == oracle["1.0.0"]
    assert issubclass(AlreadyTested, Conflict)


@pytest.mark.usefixtures("chain")
def test_a_version_that_is_not_in_use_may_be_unloaded_while_others_need_the_slot(code):
    services.activate("source")
    services.load("sink")
    other = services.register("source", code("source_two", version="1.1.0"))
    services.load("source", other.label)
    assert services.unload("source", other.label).state == "UNLOADED"
    assert state("source") == "ACTIVE"


def test_how_a_slot_is_watched_can_be_set_within_bounds():
    services.restore_shipped()
    before = Module.objects.get(name="risk").generation
    assert services.configure("risk", watch_calls=5, watch_failures=2, actor="ann").watch_calls == 5
    row = Module.objects.get(name="risk")
    assert (row.watch_calls, row.watch_failures) == (5, 2)
    assert row.generation > before
    assert services.configure("risk", watch_calls=5).generation == row.generation
    with pytest.raises(ModuleRefused, match="watch_failures must be a whole number from 1 to 1000000, was 0"):
        services.configure("risk", watch_failures=0)


@pytest.mark.parametrize("change", [services.load, services.activate, services.unload])
def test_an_unknown_name_is_told_with_those_there_are(change):
    Module.objects.exclude(name="risk").delete()
    with pytest.raises(UnknownModule, match="no module is named 'oracle'"):
        change("oracle")


@pytest.mark.usefixtures("chain")
def test_a_change_while_the_code_is_imported_wins(monkeypatch):
    def slow(*_: object, **__: object) -> str:
        services.unload("source")
        return ""

    monkeypatch.setattr(runs, "passes", slow)
    with pytest.raises(ModuleRefused, match="module source was changed while it was being loaded"):
        services.load("source")
    assert state("source") == "UNLOADED"


@pytest.mark.usefixtures("chain")
def test_a_change_between_loading_and_activating_wins(monkeypatch):
    monkeypatch.setattr(services, "load", lambda name, label, **_: services.unload(name, label))
    with pytest.raises(ModuleRefused, match="module source must be LOADED to be activated, was UNLOADED"):
        services.activate("source")


def test_the_database_refuses_states_that_do_not_exist_and_failures_without_a_reason():
    for changes in ({"state": "HAPPY"}, {"state": "FAILED", "error": ""}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Module.objects.create(name="odd", path="tiers.odd", version="1.0.0", **changes)


@pytest.mark.django_db(transaction=True)
def test_changes_from_several_threads_never_share_a_generation():
    services.restore_shipped()
    at_once(lambda name: services.configure(name, watch_calls=7), STAGES)
    generations = list(Module.objects.values_list("generation", flat=True))
    assert len(set(generations)) == len(STAGES)


# --- rows from before versions were kept ---


def test_versions_without_sources_are_sealed_with_what_lies_on_disk():
    services.restore_shipped()
    risk = ModuleVersion.objects.get(module__name="risk")
    ModuleVersion.objects.filter(pk=risk.pk).update(code=None, label="0.9.0", version="0.9.0")
    assert services.seal() == ["risk"]
    again = ModuleVersion.objects.get(pk=risk.pk)
    assert (again.label, again.code_id) == (risk.label, risk.code_id)
    assert services.seal() == []
    assert SystemEvent.objects.filter(kind="module.sealed", subject="risk").exists()


def test_a_version_whose_code_is_gone_stays_unsealed_and_is_named(code, tmp_path, package, logged):
    services.register("oracle", code("oracle"))
    ModuleVersion.objects.filter(module__name="oracle").update(code=None)
    (tmp_path / package / "oracle.py").unlink()
    assert (services.seal(), logged[-1]) == ([], "module.not_sealed")


def test_code_registered_between_a_look_and_a_swap_is_not_what_the_swap_means(oracle, code):
    other = services.register("oracle", code("oracle", "VERSION = '1.1.0'\ndef run(value): return 'other'\n"))
    for put_in_charge in (services.swap, services.activate):
        with pytest.raises(SeveralVersions, match=r"named by its label.* 1\.1\.0 may be 1\.1\.0\+.*, 1\.1\.0\+"):
            put_in_charge("oracle", "1.1.0", actor="ann")
    with pytest.raises(SeveralVersions, match=r"there are 1\.1\.0\+"):
        services.activate("oracle", actor="ann")
    assert process.resolve("oracle").version == oracle["1.0.0"]
    services.swap("oracle", oracle["1.1.0"], actor="ann")
    assert services.swap("oracle", other.digest[:12], actor="ann").to_version_id == other.pk
    with pytest.raises(UnknownModule, match=r"has no version 0{12}"):
        services.swap("oracle", "0" * 12, actor="ann")
