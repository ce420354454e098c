"""Numbers are stored with all their digits, and the migration to that loses none."""

from datetime import UTC, datetime
from decimal import Decimal as D

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import StateApps

from helios.db.partitions import ensure_partitions
from trading.books.write import create_book
from trading.models import Book, Instrument, MarketTrade, Position
from trading.models.columns import Exact

pytestmark = pytest.mark.django_db

T = datetime(2024, 1, 2, 21, tzinfo=UTC)
BEFORE, AFTER = [("trading", "0005_models_by_universe")], [("trading", "0008_positions_carry_cost")]


def migrated(to: list[tuple[str, str]]) -> StateApps:
    """The models as they are once the tables are at this migration."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    return MigrationExecutor(connection).migrate(to).apps


def bounded() -> list[tuple[str, str]]:
    """Tables and columns of ours whose numeric has bounds, but for those of basis points."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' "
            "AND data_type = 'numeric' AND numeric_precision IS NOT NULL AND column_name NOT LIKE '%_bps' "
            "AND table_name NOT LIKE 'django%'"
        )
        return cursor.fetchall()


@pytest.mark.parametrize("text", ["4.186662803811e-9", "1e-18", "25000000000000.12345678", "123456789012345678901234"])
def test_a_number_comes_back_as_it_was(text):
    Instrument.objects.create(symbol="X", asset_class="crypto", quantity_step=D(text), price_tick=D(text))
    assert Instrument.objects.get().quantity_step == D(text)
    ensure_partitions("market_trades", "month", T, T)
    MarketTrade.objects.create(symbol="X", ts=T, trade_id="1", side="BUY", price=D(text), quantity=D(text))
    assert MarketTrade.objects.get().price == D(text)


@pytest.mark.parametrize("value", [float("inf"), "NaN", D("-Infinity")])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ValidationError):
        Exact().to_python(value)


def test_a_float_is_the_shortest_decimal_that_names_it():
    assert Exact().to_python(0.1) == D("0.1")


def fill(apps, book, number, side, quantity, price):
    cycle = apps.get_model("trading", "PipelineCycle").objects.create(
        book=book, timeframe="1d", bar_ts=T.replace(day=number), mode="paper", status="DONE", finished_at=T
    )
    common = {"book": book, "symbol": "AAPL", "side": side, "quantity": D(quantity), "bar_ts": T}
    order = apps.get_model("trading", "Order").objects.create(
        cycle=cycle, client_order_id=f"h{number}", reference_price=D(price), status="FILLED", **common
    )
    notional = (D(quantity) * D(price)).quantize(D("1e-8"))
    executions = apps.get_model("trading", "TradeExecution").objects
    executions.create(
        order=order, venue_fill_id=f"f{number}", price=D(price), notional=notional, fee=D("0.5"), **common
    )


def test_positions_of_before_get_the_cost_and_the_profit_that_their_fills_made():
    ensure_partitions("market_trades", "month", T, T)
    apps = migrated(BEFORE)
    assert ("market_trades_y2024m01", "price") in bounded()
    money = {name: D(1000) for name in ("initial_cash", "cash", "peak_equity")}
    common = {"mode": "paper", "timeframe": "1d", "symbols": ["AAPL"], "fee_bps": 10, "slippage_bps": 0}
    book = apps.get_model("trading", "Book").objects.create(name="desk", **common, **money)
    fill(apps, book, 1, "BUY", "3", "10.00000001")
    fill(apps, book, 2, "BUY", "4", "10.00000002")
    fill(apps, book, 3, "SELL", "3", "11")
    fill(apps, book, 4, "SELL", "6", "12")
    positions = apps.get_model("trading", "Position").objects
    positions.create(book=book, symbol="AAPL", quantity=D(-2), average_price=D(12), realised_pnl=D("10.9999999"))
    positions.create(book=book, symbol="IBM", quantity=D(3), average_price=D("7.5"), realised_pnl=D(2))

    migrated(AFTER)
    assert bounded() == []
    kept = Book.objects.get().positions.values_list("symbol", "quantity", "cost", "realised_pnl")
    paid = D("30.00000003") + D("40.00000008")
    of_sold = (paid * 3 / 7).quantize(D("1e-8"))
    realised = (33 - of_sold) + (48 - (paid - of_sold))
    assert list(kept) == [("AAPL", D(-2), D(-24), realised), ("IBM", D(3), D("22.5"), D(2))]
    with connection.cursor() as cursor:
        cursor.execute("SELECT symbol, average_price::float, unrealised_pnl FROM v_active_positions ORDER BY symbol")
        assert cursor.fetchall() == [("AAPL", 12.0, None), ("IBM", 7.5, None)]


def test_the_way_back_makes_average_prices_of_costs():
    Instrument.objects.create(symbol="X", asset_class="crypto", quantity_step=1, price_tick=1)
    book = create_book(
        "desk", mode="paper", timeframe="1d", symbols=["X"], initial_cash=D(1), fee_bps=D(0), slippage_bps=D(0)
    )
    Position.objects.update_or_create(book=book, symbol="X", defaults={"quantity": D(-8), "cost": D(-100)})
    apps = migrated(BEFORE)
    assert apps.get_model("trading", "Position").objects.get().average_price == D("12.5")
    migrated(AFTER)
    assert Position.objects.values_list("cost", flat=True).get() == D(-100)


def test_the_limit_on_one_order_that_a_book_set_keeps_its_value_under_its_new_name_and_back():
    before, after = [("trading", "0009_moves_of_workers")], [("trading", "0010_limit_in_the_currency_of_the_book")]
    own = {"execute": {"max_notional_usd": "5000", "cash_buffer": "0.02"}, "portfolio": {"cost_bps": 3}}
    Instrument.objects.create(symbol="X", asset_class="crypto", quantity_step=1, price_tick=1)
    for name in ("own", "plain"):
        create_book(
            name, mode="paper", timeframe="1d", symbols=["X"], initial_cash=D(1), fee_bps=D(0), slippage_bps=D(0)
        )
    migrated(before)
    Book.objects.filter(name="own").update(params=own)
    migrated(after)
    book = Book.objects.get(name="own")
    assert book.params == {"execute": {"max_notional": "5000", "cash_buffer": "0.02"}, "portfolio": {"cost_bps": 3}}
    assert Book.objects.get(name="plain").params == {}
    migrated(before)
    assert Book.objects.get(name="own").params == own
