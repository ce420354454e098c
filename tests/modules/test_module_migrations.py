"""Modules of before become slots with one version each, and go back."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from helios.modules import registry, services
from helios.modules.apps import _complete, _seal
from helios.modules.catalog import STAGES
from helios.modules.models import Module, ModuleVersion

pytestmark = pytest.mark.django_db(transaction=True)


def migrate(name: str | None) -> object:
    executor = MigrationExecutor(connection)
    targets = [node for node in executor.loader.graph.leaf_nodes() if node[0] in {"modules", "rollouts"}]
    executor.migrate([("modules", name)] if name else targets)
    return MigrationExecutor(connection).loader.project_state([("modules", name)]).apps if name else apps


@pytest.fixture
def before():
    """The tables as they were before versions, with the shipped modules and one that was never loaded."""
    old = migrate("0003_module_test_runs")
    try:
        module = old.get_model("modules", "Module")
        for generation, stage in enumerate(STAGES, start=1):
            module.objects.update_or_create(
                name=stage,
                defaults={"path": f"tiers.{stage}", "version": "1.0.0", "state": "ACTIVE", "generation": generation},
            )
        module.objects.create(name="spare", path="tiers.gone", version="0.1.0", state="UNLOADED", generation=9)
        yield old
    finally:
        migrate(None)


def test_each_module_becomes_a_slot_with_one_version_in_its_state(before):
    migrate(None)
    rows = Module.objects.select_related("active").order_by("generation")
    assert [(row.name, row.active.version) for row in rows if row.active] == [(stage, "1.0.0") for stage in STAGES]
    spare = ModuleVersion.objects.get(module__name="spare")
    assert (spare.state, spare.label, spare.code, spare.module.active) == ("UNLOADED", "0.1.0", None, None)


def test_their_sources_are_kept_when_migrating_has_ended(before):
    migrate(None)
    registry.forget()
    _seal(apps=apps)
    assert set(registry.pins()) == set(STAGES)
    assert all(label.startswith("1.") and "+" in label for label in registry.pins().values())
    assert callable(registry.resolve("risk").implementation.run)
    assert ModuleVersion.objects.get(module__name="spare").code is None


def test_nothing_is_sealed_while_the_tables_are_those_of_before(before):
    assert not _complete(before)
    _seal(apps=before)  # asks no table that is not there


def test_going_back_keeps_what_stood_in_the_slots():
    services.restore_shipped()
    expected = list(Module.objects.order_by("id").values_list("name", "path", "version", "state"))
    try:
        old = migrate("0003_module_test_runs").get_model("modules", "Module")
        assert list(old.objects.order_by("id").values_list("name", "path", "version", "state")) == expected
    finally:
        migrate(None)
    assert ModuleVersion.objects.filter(state="ACTIVE").count() == len(STAGES)
