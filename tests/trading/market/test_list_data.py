"""`list_data`: what is stored, of bars, trades and order books."""

from __future__ import annotations

import io
import json
from itertools import product

import pytest
from rich.console import Console

from tests.support.market_bars import make_bars
from tests.trading.market.test_data_commands import Terminal, run
from trading.management.commands import list_data
from trading.market import inventory as stored_series
from trading.market import write as market
from trading.market.order_book_write import store_books
from trading.market.trade_write import store_trades
from trading.models import MarketOHLC

pytestmark = pytest.mark.django_db
T = 1_709_251_260_000_000  # 2024-03-01 00:01 UTC, in microseconds


def test_an_empty_table_says_how_to_fill_it():
    assert "import_data --sample" in run("list_data")
    assert json.loads(run("list_data", "--json")) == {"series": []}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ("--pairs", "BTC/USD"),
            ["BTC-USD 1m", "BTC-USD 5m", "BTC-USD 15m", "VALR:BTC-USD 1m", "VALR:BTC-USD 5m", "VALR:BTC-USD 15m"],
        ),
        (("--pairs", "VALR:BTC-USD", "--timeframes", "5m", "1h"), ["VALR:BTC-USD 5m"]),
        (("--exchange", "valr", "--timeframes", "1m"), ["VALR:BTC-USD 1m"]),
        (("--pairs", "DOGE"), []),
    ],
)
def test_the_list_shows_what_is_asked_for(words: tuple[str, ...], expected: list[str]):
    for symbol, timeframe in product(("BTC-USD", "VALR:BTC-USD", "ACME"), ("1m", "5m", "15m")):
        market.upsert_bars(make_bars(3, symbol, timeframe=timeframe), "x")
    listed = json.loads(run("list_data", *words, "--json"))["series"]
    assert [f"{row['symbol']} {row['timeframe']}" for row in listed] == expected
    assert expected or run("list_data", *words).startswith("No such bars are stored")


def test_the_list_is_a_line_a_series_or_a_table():
    market.upsert_bars(make_bars(3, "A"), "x")
    assert run("list_data") == (
        "A 1m: 3 bars, 0 corrected, 2024-03-01T00:01:00+00:00 .. 2024-03-01T00:03:00+00:00, from x\n"
    )


def test_the_table_of_a_terminal_names_every_series(capsys):
    market.upsert_bars(make_bars(3, "A"), "x")
    run("list_data", out=Terminal())
    assert "2024-03-01" in capsys.readouterr().out
    wide = Console(width=200, file=io.StringIO())
    wide.print(list_data._table([list_data._row(stored) for stored in stored_series.inventory()]))
    assert "2024-03-01T00:01" in wide.file.getvalue()


@pytest.mark.parametrize(("option", "name"), [("--trades", "trades"), ("--order-books", "order_books")])
def test_trades_and_order_books_are_counted_by_symbol(option: str, name: str):
    store_trades([(symbol, T + k, "", "BUY", 1.0, 1.0) for symbol in ("VALR:BTC-ZAR", "A") for k in range(3)])
    store_books([(symbol, T + k, 0, [("9", "1")], []) for symbol in ("VALR:BTC-ZAR", "A") for k in range(3)])
    (row,) = json.loads(run("list_data", option, "--exchange", "valr", "--json"))[name]
    first, last = "2024-03-01T00:01:00+00:00", "2024-03-01T00:01:00.000002+00:00"
    assert row == {"symbol": "VALR:BTC-ZAR", "rows": 3, "first": first, "last": last}
    words = name.replace("_", " ")
    assert run("list_data", option, "-p", "A") == f"A: 3 {words}, {first} .. {last}\n"
    assert run("list_data", option, "-p", "B") == f"No such {words} are stored.\n"


def test_bars_of_no_timeframe_keep_no_other_from_the_list():
    market.upsert_bars(make_bars(3, "A"), "x")
    MarketOHLC.objects.filter(bar_ts__minute=2).update(timeframe="")
    assert run("list_data").startswith("A 1m: 2 bars")
