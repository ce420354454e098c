"""One rule of what a symbol is, wherever one enters; the database holds to it too."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from helios.errors import DataError, Rejected
from tests.support.live_market import make_bars
from trading import sample_data, symbols
from trading.books import write as books
from trading.market import instruments
from trading.market import write as market
from trading.models import Instrument, MarketOHLC

REAL = ["AAPL", "BRK.B", "BF-B", "BTC/USD", "ES=F", "^GSPC", "EURUSD=X", "0700.HK", "BTC-27DEC24-50000-C", "M&M.NS"]
REAL += ["$SPX", ".SPX", "/ES", "@ES#", "BTC_USDT", "ES1!", "kPEPE", "1000SHIB/USDT", "A", "SPY251219C00650000"]
REAL += ["VALR:BTC-ZAR", "BINANCE.US:BTCUSDT", "XJSE:NPN", "4CHAN:A", "XCME:/ES"]
NO_SYMBOLS = ["", " ", "AA PL", "AAPL,MSFT", "AA\nPL", "AAPL\n", " AAPL", "A" * 33, "VALR:" + "A" * 28, "-AAPL", ".."]
NO_SYMBOLS += ["valr:BTC-ZAR", ":BTC-ZAR", "VALR:", "VALR:LUNO:BTC-ZAR", "VA LR:BTC-ZAR", "VALR: BTC-ZAR"]
NO_SYMBOLS += ["A'B", 'A"', "A\\B", "A%B", "A?B", "A;B", "A|B", "<A>", "Ä", "\u0410APL", "A\u200bB", "A\x00B"]


@pytest.mark.parametrize("symbol", REAL)
def test_what_venues_write_is_a_symbol(symbol: str) -> None:
    assert symbols.check(symbol) == symbol
    assert symbols.listed(f" {symbol} ,{symbol},\n") == (symbol,)


def test_the_bundled_data_has_symbols() -> None:
    assert {symbols.check(each.symbol) for each in sample_data.catalogue()}


@pytest.mark.parametrize("text", NO_SYMBOLS)
def test_anything_else_is_refused_with_what_was_expected_and_what_came(text: str) -> None:
    with pytest.raises(DataError, match=r"a symbol must be 1 to 32 letters, digits or .* was ") as refused:
        symbols.check(text)
    assert str(refused.value).isprintable()


@given(st.text(max_size=40))
def test_a_symbol_can_be_named_again(text: str) -> None:
    try:
        symbol = symbols.parse(text)
    except DataError:
        return
    assert symbols.listed(f"AAPL, {symbol}") == tuple(dict.fromkeys(["AAPL", symbol]))


def test_a_list_without_a_symbol_is_refused() -> None:
    with pytest.raises(DataError, match=r"--symbols must name at least one symbol, was ' , '"):
        symbols.listed(" , ")


@pytest.mark.django_db
def test_no_way_in_stores_what_is_no_symbol() -> None:
    text = "AAPL,MSFT"
    bars = make_bars((text,), n_bars=3, seed=1)
    for store in (
        lambda: market.upsert_bars(bars, source="test"),
        lambda: instruments.ensure_instrument(text, "equity"),
        lambda: market.import_series([market.Series(symbol=text, asset_class="equity", source="t", batches=(bars,))]),
    ):
        with pytest.raises(DataError, match="a symbol must be"):
            store()
    with pytest.raises(DataError, match="a symbol must be"):
        books.create_book("desk", **book_of([text]))
    assert not MarketOHLC.objects.exists()
    assert not Instrument.objects.exists()


def book_of(names: list[str]) -> dict[str, Any]:
    return {"mode": "paper", "timeframe": "1d", "symbols": names, "initial_cash": 1, "fee_bps": 0, "slippage_bps": 0}


@pytest.mark.django_db
def test_the_database_holds_the_same_rule() -> None:
    condition = "SELECT each, each ~ %s AND length(each) <= 32 FROM unnest(%s::text[]) AS t(each)"
    texts = [text for text in (*REAL, *NO_SYMBOLS) if "\x00" not in text]
    with connection.cursor() as cursor:
        cursor.execute(condition, [symbols.PATTERN, texts])
        assert dict(cursor.fetchall()) == {text: text in REAL for text in texts}
    row = ("AA PL", "1d", datetime(2024, 1, 2, tzinfo=UTC), 1, 1, 1, 1, 1, "t")
    market.upsert_bars(make_bars(("AAPL",), n_bars=500, seed=1, start="2023-01-02"), source="test")
    with pytest.raises(IntegrityError, match="market_ohlc_symbol"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO market_ohlc (symbol, timeframe, bar_ts, open, high, low, close, volume, source) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            row,
        )
    money = {"quantity_step": 1, "price_tick": 1}
    with pytest.raises(IntegrityError, match="instruments_symbol"), transaction.atomic():
        Instrument.objects.create(symbol="AAPL,MSFT", asset_class="equity", **money)


@pytest.mark.django_db
def test_an_instrument_is_written_in_one_way() -> None:
    instruments.ensure_instrument("MSFT", "equity")
    with pytest.raises(DataError, match="the symbol must be written MSFT, as it is stored, was msft"):
        instruments.ensure_instrument("msft", "equity")
    with pytest.raises(Rejected, match=r"unknown: msft; did you mean MSFT\?"):
        books.create_book("desk", **book_of(["msft"]))
    assert books.create_book("desk", **book_of(["MSFT"])).symbols == ["MSFT"]


CSV = "ts,open,high,low,close,volume\n2024-01-02,1,2,1,2,5\n2024-01-03,1,2,1,2,5\n"


@pytest.mark.django_db
def test_import_data_refuses_what_could_not_be_named_again(tmp_path: Path) -> None:
    file = tmp_path / "b.csv"
    file.write_text(CSV)
    with pytest.raises(CommandError, match="a symbol must be"):
        call_command("import_data", str(file), "--symbol", "AAPL,MSFT", "--timeframe", "1d")
    assert not MarketOHLC.objects.exists()
    assert not Instrument.objects.exists()


@pytest.mark.django_db
def test_import_data_leaves_out_the_blanks_around_a_symbol(tmp_path: Path) -> None:
    file = tmp_path / "b.csv"
    file.write_text(CSV)
    call_command("import_data", str(file), "--symbol", " BRK.B\n", "--timeframe", "1d", stdout=io.StringIO())
    assert Instrument.objects.get().symbol == "BRK.B"
    assert MarketOHLC.objects.filter(symbol="BRK.B").count() == 2


@pytest.mark.django_db
@pytest.mark.parametrize(
    "words",
    [("replay",), ("backtest", "--strategy", "buy_and_hold"), ("train",), ("demo_book",)],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize(
    ("typed", "told"), [("AAPL,MS FT", "a symbol must be .* was 'MS FT'"), (" , ", "--symbols must name at least one")]
)
def test_every_list_of_symbols_is_read_by_the_same_rule(words: tuple[str, ...], typed: str, told: str) -> None:
    with pytest.raises(CommandError, match=told):
        call_command(*words, "--symbols", typed)
