"""The tables go away and come back, with what ships in them."""

from __future__ import annotations

import re

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection

from helios.breakers.catalog import SHIPPED as BREAKERS
from helios.breakers.models import CircuitBreaker
from helios.control import generations
from helios.db import roles
from helios.flags import catalog, services
from helios.flags.models import FeatureFlag, FeatureFlagHistory
from helios.modules.models import Module
from trading.models import Stage

pytestmark = pytest.mark.django_db(transaction=True)
OURS = ("sentinel", "trading", "rollouts", "modules", "breakers", "flags", "events", "web", "control")
TIERS = [stage.value for stage in Stage if stage is not Stage.DONE]


def migrate(app, *to):
    call_command("migrate", app, *to, verbosity=0)


def ours():
    managed = {model._meta.db_table for app in OURS for model in apps.get_app_config(app).get_models()}
    return managed & set(connection.introspection.table_names())


def test_every_table_can_be_taken_away_and_brought_back():
    tables = ours()
    assert len(tables) > 40
    for app in OURS:
        migrate(app, "zero")
    assert ours() == set()
    call_command("migrate", verbosity=0)
    assert ours() == tables
    assert set(FeatureFlag.objects.values_list("name", flat=True)) == {flag.name for flag in catalog.SHIPPED}
    assert set(CircuitBreaker.objects.values_list("name", flat=True)) == set(BREAKERS)
    slots = Module.objects.order_by("id").values_list("name", "state", "active__state", "active__label")
    assert [row[:3] for row in slots] == [(tier, "ACTIVE", "ACTIVE") for tier in TIERS]
    assert all("+" in label for *_, label in slots)  # their sources were read when migrating had ended


def test_every_column_that_a_role_may_change_is_there():
    for access in roles.ACCESS.values():
        for table, changes in access.items():
            named = {name for names in re.findall(r"\((.*?)\)", changes) for name in names.split(", ")}
            with connection.cursor() as cursor:
                there = {column.name for column in connection.introspection.get_table_description(cursor, table)}
            assert named <= there, table


def test_reversing_the_data_alone_takes_exactly_the_shipped_rows():
    services.create("of_ours", {"enabled": True}, actor="test")
    CircuitBreaker.objects.create(name="of_ours")
    Module.objects.create(name="of_ours", path="tests", version="1.0.0")
    before = generations.read()["flags"].value
    for app in ("modules", "breakers", "flags"):
        migrate(app, "0002")
    for model in (Module, CircuitBreaker, FeatureFlag):
        assert list(model.objects.values_list("name", flat=True)) == ["of_ours"]
    assert FeatureFlagHistory.objects.filter(action="remove").count() == len(catalog.SHIPPED)
    FeatureFlag.objects.create(name="garch_volatility", enabled=False, owner="risk desk")
    call_command("migrate", verbosity=0)
    assert FeatureFlag.objects.count() == len(catalog.SHIPPED) + 1
    assert FeatureFlag.objects.get(name="garch_volatility").owner == "risk desk"
    assert generations.read()["flags"].value == before + 2
