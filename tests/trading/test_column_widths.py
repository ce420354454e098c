"""Columns that take over each other's texts: none is shorter than what it is fed from."""

from types import SimpleNamespace

import numpy as np
import pytest
from django.apps import apps
from django.contrib.auth.models import User

from helios.errors import DataError
from tiers.challenge import checks

PAIRS = [  # where a text comes from, and the column that it ends in
    ("trading.Book.feed", "trading.MarketOHLC.source"),
    ("trading.MarketOHLC.source", "events.SystemEvent.source"),
    ("trading.MLModel.name", "trading.Book.model_name"),
    ("trading.MLModel.feature_set", "trading.EngineeredFeatures.feature_set"),
    ("modules.ModuleVersion.label", "trading.StageRun.module_version"),
    ("trading.StageRun.module_version", "trading.EngineeredFeatures.version"),
    ("modules.ModuleVersion.label", "rollouts.Rollout.champion"),
    ("modules.ModuleVersion.label", "rollouts.Rollout.challenger"),
    ("modules.Module.name", "rollouts.Rollout.target"),
    ("trading.Book.name", "rollouts.Rollout.target"),
    ("trading.Book.name", "events.SystemEvent.subject"),
    ("trading.Order.client_order_id", "trading.PaperOrder.client_order_id"),
    ("trading.Order.client_order_id", "trading.TradeExecution.venue_fill_id"),
]
OF_MODULES = {  # texts that a module is free to choose
    "method": "trading.RebalancingEvent.method",
    "reason": "trading.RebalancingEvent.reason",
    "provider": "trading.StrategicDecision.provider",
}
OWN = [model for model in apps.get_models() if model.__module__.startswith(("helios.", "trading.", "sentinel."))]


def width(path: str) -> int | None:
    model, _, column = path.rpartition(".")
    return apps.get_model(model)._meta.get_field(column).max_length


def named(column: str) -> list[tuple[str, int]]:
    """Every column of this name that has a width."""
    fields = [(model._meta.db_table, field) for model in OWN for field in model._meta.fields if field.name == column]
    return [(table, field.max_length) for table, field in fields if field.max_length is not None]


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=lambda path: path)
def test_a_text_fits_where_it_is_handed_on_to(source, target):
    assert width(source) <= width(target)


@pytest.mark.parametrize("text", checks.LONGEST)
def test_a_modules_answer_is_refused_before_its_column_refuses_it(text):
    assert checks.LONGEST[text] == width(OF_MODULES[text])


def test_whoever_acts_is_kept_with_the_whole_name():
    columns = named("actor") + named("registered_by")
    assert len(columns) >= 8
    assert {table for table, held in columns if held < User._meta.get_field("username").max_length} == set()


@pytest.mark.parametrize("column", ["symbol", "timeframe"])
def test_what_an_instrument_and_a_bar_are_called_fits_in_every_table(column):
    longest = width(f"trading.MarketOHLC.{column}")
    assert {table for table, held in named(column) if held < longest} == set()
    assert width("trading.Instrument.symbol") == width("trading.MarketOHLC.symbol")


@pytest.mark.parametrize("answer", ["m" * 33, None])
def test_a_module_that_names_its_method_too_long_has_failed(answer):
    weights, symbols = np.array([0.1]), ("AAPL",)
    told = {"symbols": symbols, "weights": weights, "previous": weights, "turnover": 0.0, "reason": "", "denials": ()}
    tier = SimpleNamespace(run=lambda **_: SimpleNamespace(method=answer, **told))
    with pytest.raises(DataError, match="method of portfolio must be a text of at most 32 letters"):
        checks.checked(tier, "portfolio", (), {"book": SimpleNamespace(symbols=symbols)})
