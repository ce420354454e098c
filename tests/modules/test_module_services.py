"""Registering, loading, activating and unloading, in Python, at the terminal and in the admin."""

from __future__ import annotations

import importlib
import json
import sys
import threading
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.urls import reverse

from helios.events.models import SystemEvent
from helios.modules import loading, registry, services
from helios.modules.catalog import SHIPPED, STAGES
from helios.modules.errors import ModuleLoadFailed, ModuleNotActive, ModuleRefused, UnknownModule
from helios.modules.models import Module

pytestmark = pytest.mark.django_db


def state(name: str) -> str:
    return Module.objects.get(name=name).state


@pytest.fixture
def chain(code) -> None:
    """Two modules of the test's own, the second needing the first."""
    Module.objects.all().delete()
    services.register("source", code("source"), "1.0.0")
    services.register("sink", code("sink"), "1.0.0", dependencies={"source": "^1.0.0"})


def test_the_migration_registers_the_seven_tiers_as_the_catalog_has_them():
    migration = importlib.import_module("helios.modules.migrations.0002_seven_tiers")
    assert tuple(migration.STAGES) == STAGES
    Module.objects.all().delete()
    services.restore_shipped()
    rows = list(Module.objects.values_list("name", "path", "version", "dependencies", "state"))
    assert rows == [(each.name, each.path, each.version, each.dependencies, "ACTIVE") for each in SHIPPED]
    assert services.restore_shipped() == []


def test_the_shipped_tiers_can_all_be_resolved():
    services.restore_shipped()
    found = [registry.resolve(stage) for stage in STAGES]
    assert [(each.name, each.version) for each in found] == [(stage, "1.0.0") for stage in STAGES]
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
    assert [event.data["after"] for event in told] == ["LOADING", "LOADED", "ACTIVE", "UNLOADED"]
    assert {event.data["actor"] for event in told} == {"ann"}


@pytest.mark.usefixtures("chain")
def test_activating_loads_what_was_not_loaded():
    assert services.activate("source").state == "ACTIVE"
    assert Module.objects.get(name="source").loaded_at is not None


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
    services.register("source", code("source_two", version="2.0.0"), "2.0.0")
    services.activate("source")
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
        ("def run(): ...\n", "must have VERSION, a string, in .*; it was None"),
        ("VERSION = 1\ndef run(): ...\n", "must have VERSION, a string, in .*; it was 1"),
        ("VERSION = 'one'\ndef run(): ...\n", "has a bad VERSION in .*: a version must read like"),
        ("VERSION = '1.0.1'\ndef run(): ...\n", "is registered as 1.0.0, but the code in .* is 1.0.1"),
        (
            "raise RuntimeError('no model here')\n",
            "could not be imported from .*: RuntimeError: no model here",
        ),
        ("import sys\nsys.exit(3)\n", "could not be imported from .*: SystemExit: 3"),
        ("def run(:\n", "could not be imported from .*: SyntaxError"),
        ("import nothing_of_that_name\n", "could not be imported from .*: ModuleNotFoundError"),
    ],
)
def test_code_at_fault_leaves_the_module_failed_with_the_reason(code, source: str, reason: str):
    services.register("risk_two", code("risk_two", source), "1.0.0")
    with pytest.raises(ModuleLoadFailed, match=f"module risk_two {reason}"):
        services.activate("risk_two")
    row = Module.objects.get(name="risk_two")
    assert row.state == "FAILED"
    assert row.error.startswith("module risk_two")
    with pytest.raises(ModuleNotActive, match="module risk_two must be ACTIVE to be used, was FAILED"):
        registry.resolve("risk_two")


def test_a_failed_module_is_loaded_again_once_its_code_is_mended(code):
    path = code("risk_two", "raise RuntimeError('not yet')\n")
    services.register("risk_two", path, "1.0.0")
    with pytest.raises(ModuleLoadFailed):
        services.load("risk_two")
    code("risk_two")
    importlib.invalidate_caches()
    row = services.load("risk_two")
    assert (row.state, row.error) == ("LOADED", "")


def test_a_path_that_is_no_longer_allowed_fails_without_an_import(code, settings, package):
    services.register("risk_two", code("risk_two"), "1.0.0")
    settings.MODULE_PACKAGES = ("tiers",)
    with pytest.raises(ModuleRefused, match="modules may be loaded from tiers only"):
        services.load("risk_two")
    assert state("risk_two") == "FAILED"
    assert f"{package}.risk_two" not in sys.modules


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("risk_two", "os", "1.0.0"), "modules may be loaded from tiers, trading only, not from 'os'"),
        (("risk_two", "tiers.risk", "1"), "a version must read like"),
        (("risk_two", "tiers.risk", "1.0.0", {"features": "new"}), "a version must read like"),
        (("risk_two", "tiers.risk", "1.0.0", {"oracle": "*"}), "depends on oracle, which is not registered"),
        (("risk", "tiers.risk", "1.0.1"), "module risk is ACTIVE: unload it before it is registered anew"),
    ],
)
def test_a_registration_that_breaks_a_rule_changes_nothing(arguments, message: str):
    services.restore_shipped()
    before = list(Module.objects.values())
    name, path, version, *rest = arguments
    with pytest.raises(ModuleRefused, match=message):
        services.register(name, path, version, dependencies=rest[0] if rest else None)
    assert list(Module.objects.values()) == before


@pytest.mark.usefixtures("chain")
def test_a_registration_that_closes_a_cycle_is_refused_by_name(code):
    with pytest.raises(
        ModuleRefused,
        match=r"modules depend on each other: (source -> sink -> source|sink -> source -> sink)",
    ):
        services.register("source", code("source"), "1.0.0", dependencies={"sink": "*"})
    assert Module.objects.get(name="source").dependencies == {}


@pytest.mark.usefixtures("chain")
def test_a_module_registered_anew_is_unloaded_in_its_new_version(code):
    services.load("source")
    services.register("source", code("source_two", version="1.1.0"), "1.1.0", hot_reloadable=False)
    row = Module.objects.get(name="source")
    assert (row.state, row.version, row.hot_reloadable) == ("UNLOADED", "1.1.0", False)
    services.activate("source")
    assert registry.resolve("source").implementation.run(3) == ("1.1.0", 3)


@pytest.mark.parametrize("change", [services.load, services.activate, services.unload])
def test_an_unknown_name_is_told_with_those_there_are(change):
    Module.objects.exclude(name="risk").delete()
    with pytest.raises(UnknownModule, match="no module is named 'oracle'"):
        change("oracle")


@pytest.mark.usefixtures("chain")
def test_a_change_while_the_code_is_imported_wins(monkeypatch):
    def slow(*_: str) -> None:
        services.unload("source")

    monkeypatch.setattr(loading, "load", slow)
    with pytest.raises(ModuleRefused, match="module source was changed while it was being loaded"):
        services.load("source")
    assert state("source") == "UNLOADED"


@pytest.mark.usefixtures("chain")
def test_a_change_between_loading_and_activating_wins(monkeypatch):
    monkeypatch.setattr(services, "load", lambda name, **_: services.unload(name))
    with pytest.raises(ModuleRefused, match="module source must be LOADED to be activated, was UNLOADED"):
        services.activate("source")


def test_the_database_refuses_states_that_do_not_exist_and_failures_without_a_reason():
    for changes in ({"state": "HAPPY"}, {"state": "FAILED", "error": ""}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Module.objects.create(name="odd", path="tiers.odd", version="1.0.0", **changes)


@pytest.mark.django_db(transaction=True)
def test_changes_from_several_threads_never_share_a_generation():
    services.restore_shipped()
    Module.objects.update(state="UNLOADED", dependencies={})
    together = threading.Barrier(len(STAGES))

    def work(name: str) -> None:
        try:
            together.wait()
            services.register(name, f"tiers.{name}", "1.0.0")
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(stage,)) for stage in STAGES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    generations = list(Module.objects.values_list("generation", flat=True))
    assert len(set(generations)) == len(STAGES)


# --- at the terminal ---


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("modules", *arguments, stdout=out)
    return out.getvalue().strip()


def test_the_command_lists_modules_after_what_they_need():
    services.restore_shipped()
    assert [line.split()[0] for line in command("list").splitlines()] == list(STAGES)
    assert [row["name"] for row in json.loads(command("list", "--json"))] == list(STAGES)


def test_the_command_registers_loads_activates_and_unloads(code):
    Module.objects.all().delete()
    path = code("oracle", version="1.2.0")
    services.register("source", code("source"), "1.0.0")
    command("activate", "source")
    entered = json.loads(command("register", "oracle", path, "1.2.0", "--needs", "source=>=1.0.0", "--fixed", "--json"))
    assert (entered["state"], entered["dependencies"]) == ("UNLOADED", {"source": ">=1.0.0"})
    assert entered["hot_reloadable"] is False
    assert json.loads(command("load", "oracle", "--json"))["state"] == "LOADED"
    assert "state: ACTIVE" in command("activate", "oracle")
    assert "version: 1.2.0" in command("show", "oracle")
    assert json.loads(command("unload", "oracle", "--json"))["state"] == "UNLOADED"
    assert json.loads(command("restore", "--json"))["restored"] == list(STAGES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "oracle"), "no module is named 'oracle'"),
        (("register", "oracle", "os", "1.0.0"), "modules may be loaded from"),
        (
            ("register", "oracle", "tiers.risk", "1.0.0", "--needs", "features"),
            "--needs must read NAME=RANGE",
        ),
    ],
)
def test_the_command_refuses_in_one_sentence(arguments: tuple[str, ...], message: str):
    with pytest.raises(CommandError, match=message):
        command(*arguments)


def test_a_terminal_without_a_name_is_still_somebody(monkeypatch, code):
    monkeypatch.setattr("getpass.getuser", lambda: (_ for _ in ()).throw(KeyError("uid")))
    command("register", "oracle", code("oracle"), "1.0.0")
    assert SystemEvent.objects.get(kind="module.registered", subject="oracle").data["actor"] == "command line"


# --- in the admin ---

LIST = "admin:modules_module_changelist"


@pytest.fixture
def page(client):
    client.force_login(get_user_model().objects.create_superuser("ann", password="a-long-password"))
    return client


def act(page, action: str, name: str) -> str:
    form = {"action": action, "_selected_action": [Module.objects.get(name=name).pk]}
    return page.post(reverse(LIST), form, follow=True).content.decode()


@pytest.mark.usefixtures("chain")
def test_the_actions_load_activate_and_unload(page):
    assert "source is loaded" in act(page, "load_selected", "source")
    assert "source is in use" in act(page, "activate_selected", "source")
    assert "source is unloaded" in act(page, "unload_selected", "source")
    assert "needs source to be LOADED or ACTIVE" in act(page, "load_selected", "sink")
    text = page.get(reverse(LIST)).content.decode()
    assert "source ^1.0.0" in text


def test_a_module_is_registered_in_the_admin_under_the_same_rules(page, code):
    url = reverse("admin:modules_module_add")
    form = {"name": "oracle", "path": code("oracle"), "version": "1.0.0", "dependencies": "{}"}
    refused = page.post(url, form | {"path": "os"}).content.decode()
    assert "modules may be loaded from" in refused
    assert "This field is required" in page.post(url, form | {"version": ""}).content.decode()
    assert page.post(url, form | {"hot_reloadable": "on"}).status_code == 302
    row = Module.objects.get(name="oracle")
    assert (row.state, row.hot_reloadable) == ("UNLOADED", True)
    assert SystemEvent.objects.get(kind="module.registered", subject="oracle").data["actor"] == "ann"
    shown = page.get(reverse("admin:modules_module_change", args=[row.pk]))
    assert "1.0.0" in shown.content.decode()
    assert "_save" not in shown.content.decode()
    assert page.post(reverse("admin:modules_module_delete", args=[row.pk])).status_code == 403
