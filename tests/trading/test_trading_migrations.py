"""Migrations that cannot keep what is stored refuse in one sentence that names it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module

import pytest
from django.apps import apps
from django.core.management.base import CommandError
from django.db import connection, migrations

from helios.db.partitions import ensure_partitions
from trading.books.write import create_book
from trading.market import instruments
from trading.models import MarketOHLC, Position

pytestmark = pytest.mark.django_db


def checks(name: str) -> list[migrations.RunPython]:
    found = import_module(f"trading.migrations.{name}").Migration.operations
    return [each for each in found if isinstance(each, migrations.RunPython)]


def test_positions_in_symbols_that_could_never_be_updated_again_are_named() -> None:
    instruments.ensure_instrument("AAA", "equity")
    money = {"initial_cash": Decimal(1000), "fee_bps": Decimal(1), "slippage_bps": Decimal(0)}
    create_book("desk", mode="paper", timeframe="1d", symbols=["AAA"], **money)
    (check,) = checks("0008_symbols")
    check.code(apps, None)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; ALTER TABLE positions DROP CONSTRAINT positions_symbol")
    Position.objects.update(symbol="A B")
    with pytest.raises(
        CommandError, match=rf"there are 'A B' of book 'desk' \(row {Position.objects.get().pk}\): rename"
    ):
        check.code(apps, None)


def test_the_way_back_to_short_sources_names_the_long_ones() -> None:
    (check,) = checks("0005_bars_from_long_sources")
    ohlc = dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0)
    at = datetime(2024, 1, 2, 21, tzinfo=UTC)
    instruments.ensure_instrument("AAA", "equity")
    ensure_partitions("market_ohlc", "year", at, at)
    MarketOHLC.objects.create(symbol="AAA", timeframe="1d", bar_ts=at, source="s" * 64, **ohlc)
    check.reverse_code(apps, None)
    MarketOHLC.objects.update(source="s" * 65)
    with pytest.raises(CommandError, match=f"at most 64 letters .* bars from {'s' * 65}: shorten"):
        check.reverse_code(apps, None)
