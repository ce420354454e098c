"""The shipped flags are those of the specification, and the database gets them once."""

from __future__ import annotations

import importlib

import pytest
from django.db import IntegrityError, connection

from helios import flags
from helios.flags import catalog, rows, services
from helios.flags.core.context import FlagContext
from helios.flags.core.definition import Strategy
from helios.flags.models import FeatureFlag, FeatureFlagHistory

ON = {
    "circuit_breakers",
    "hot_reload_modules",
    "websocket_streaming",
    "multi_timeframe_analysis",
    "garch_volatility",
    "kelly_position_sizing",
    "llm_strategic_analysis",
    "llm_enhanced_decisions",
}
OFF = {
    "auto_trading",
    "websocket_v2",
    "neural_network_v2",
    "advanced_risk_engine",
    "black_litterman",
    "portfolio_optimizer_v2",
    "paper_trading_v2",
}
WIRED = {
    "auto_trading",
    "circuit_breakers",
    "neural_network_v2",
    "garch_volatility",
    "kelly_position_sizing",
    "llm_strategic_analysis",
    "llm_enhanced_decisions",
    "advanced_risk_engine",
    "hot_reload_modules",
    "websocket_streaming",
    "websocket_v2",
}


def test_the_catalogue_has_the_fifteen_flags_with_their_defaults() -> None:
    assert {flag.name for flag in catalog.SHIPPED if flag.enabled} == ON
    assert {flag.name for flag in catalog.SHIPPED if not flag.enabled} == OFF
    assert len(catalog.SHIPPED) == len(catalog.BY_NAME) == 15


def test_the_catalogue_says_which_flags_act_already() -> None:
    assert {flag.name for flag in catalog.SHIPPED if flag.wired} == WIRED
    assert catalog.BY_NAME["auto_trading"].wiring == "acts now"
    assert "not wired yet" in catalog.BY_NAME["black_litterman"].wiring


def test_strategies_and_shares_are_those_of_the_specification() -> None:
    special = {
        flag.name: (flag.strategy, flag.percentage) for flag in catalog.SHIPPED if flag.strategy is not Strategy.ALL_ON
    }
    assert special == {
        "websocket_v2": (Strategy.PERCENTAGE, 25),
        "neural_network_v2": (Strategy.PERCENTAGE, 0),
        "advanced_risk_engine": (Strategy.WHITELIST, 0),
        "paper_trading_v2": (Strategy.GRADUAL, 10),
    }


def test_every_description_says_what_on_and_off_do() -> None:
    for flag in catalog.SHIPPED:
        assert flag.description.startswith("On: ")
        assert " Off: " in flag.description


def test_the_migration_installs_what_the_catalogue_says() -> None:
    migration = importlib.import_module("helios.flags.migrations.0003_shipped_flags")
    expected = [
        (flag.name, flag.enabled, flag.strategy.value, flag.percentage, flag.description) for flag in catalog.SHIPPED
    ]
    assert expected == migration.SHIPPED


@pytest.mark.django_db
def test_a_migrated_database_has_the_shipped_flags_and_their_history() -> None:
    assert {flag.name for flag in catalog.SHIPPED} <= set(FeatureFlag.objects.values_list("name", flat=True))
    for flag in catalog.SHIPPED:
        assert flags.is_enabled(flag.name, FlagContext(symbol="AAPL")) is (flag.name in ON)
    assert flags.snapshot().flags == catalog.defaults()
    assert FeatureFlagHistory.objects.filter(action="create").count() >= 15


@pytest.mark.django_db
def test_the_migration_and_the_service_write_the_same_rows() -> None:
    migrated = {flag.name: rows.state(flag) for flag in FeatureFlag.objects.all()}
    FeatureFlag.objects.all().delete()
    services.install_missing(actor="test")
    assert {flag.name: rows.state(flag) for flag in FeatureFlag.objects.all()} == migrated


@pytest.mark.django_db
def test_restoring_adds_only_what_is_missing() -> None:
    services.disable("garch_volatility", actor="test")
    FeatureFlag.objects.filter(name="auto_trading").delete()
    assert [change.name for change in services.install_missing(actor="test")] == ["auto_trading"]
    assert services.install_missing(actor="test") == []
    assert not FeatureFlag.objects.get(name="garch_volatility").enabled


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement", ["UPDATE feature_flag_history SET actor = 'x'", "DELETE FROM feature_flag_history"]
)
def test_history_refuses_to_be_rewritten(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL helios.maintenance = 'off'")
        with pytest.raises(IntegrityError, match="append-only"):
            cursor.execute(statement)
