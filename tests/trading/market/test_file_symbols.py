"""A file that says whose bars it holds is of one instrument, and of the one that is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from helios.errors import DataError
from trading.market.feeds.files import FileSource

NAMES = "date,open,high,low,close,volume"


@pytest.fixture
def source(tmp_path: Path):
    """A file with a further column of names, a day for each."""

    def make(column: str, *written: str, symbol: str = "AAPL", **options) -> FileSource:
        days = [f"2024-01-{day:02d},{day},{day},{day},{day},1,{name}" for day, name in enumerate(written, 8)]
        path = tmp_path / "prices.csv"
        path.write_text("\n".join([f"{NAMES},{column}", *days]))
        return FileSource(path=path, symbol=symbol, timeframe="1d", calendar="XNYS", **options)

    return make


def refused(found: FileSource) -> str:
    with pytest.raises(DataError) as caught:
        found.read()
    return str(caught.value)


@pytest.mark.parametrize("column", ["symbol", "Symbol", "<TICKER>", "tic", "Name", "asset_id"])
def test_bars_of_two_instruments_are_refused_until_one_is_chosen(source, column: str) -> None:
    assert refused(source(column, "AAPL", "aapl", "", "MSFT", "MSFT")) == (
        f"prices.csv row 5, column {column}: expected bars of one instrument, was 'MSFT' beside 'AAPL'; "
        "--file-symbol says the rows of which one to read"
    )
    assert source(column, "AAPL", "aapl", "", "MSFT", file_symbol="AAPL").read().close.tolist() == [8, 9]
    chosen = source(column, "AAPL", "MSFT", "AAPL", "MSFT", symbol="MINE", file_symbol="msft").rows()
    assert (chosen.fields[0].tolist(), chosen.rows.tolist()) == ([9, 11], [3, 5])


def test_bars_of_another_instrument_are_refused_until_its_name_is_given(source) -> None:
    assert refused(source("Ticker", "MSFT", "MSFT")) == (
        "prices.csv row 2, column Ticker: expected bars of AAPL, was 'MSFT'; --file-symbol MSFT reads them as AAPL"
    )
    assert source("Ticker", "MSFT", "MSFT", file_symbol="MSFT").read().n_rows == 2


@pytest.mark.parametrize(
    ("written", "symbol"),
    [
        ("aapl", "AAPL"),
        ("AAPL.US", "AAPL"),
        ("NASDAQ:AAPL", "AAPL"),
        ("GSPC", "^GSPC"),
        ("BTCUSD", "VALR:BTC/USD"),
        ("BTC", "BTC-USDT"),
        ("EURUSD", "EURUSD=X"),
        ("M&M", "M&M.NS"),
    ],
)
def test_a_name_that_is_another_way_to_write_the_symbol_agrees(source, written: str, symbol: str) -> None:
    assert source("symbol", written, symbol=symbol).read().n_rows == 1


@pytest.mark.parametrize(
    ("written", "symbol"), [("BRK.A", "BRK.B"), ("BTCUSDT", "BTC/USD"), ("BTC", "BTC-27DEC24-50000-C"), ("GOOG", "GO")]
)
def test_a_name_that_only_looks_alike_is_another_one(source, written: str, symbol: str) -> None:
    assert refused(source("symbol", written, symbol=symbol)).endswith(f"reads them as {symbol}")


@pytest.mark.parametrize(
    ("column", "written", "told"),
    [
        ("symbol", ("MSFT", "IBM"), "column symbol has MSFT, IBM"),
        ("note", ("a", "b"), f"it has no column such as symbol or ticker, but {NAMES.replace(',', ', ')}, note"),
    ],
)
def test_a_chosen_name_that_no_row_has_is_told(source, column: str, written: tuple[str, ...], told: str) -> None:
    sentence = refused(source(column, *written, file_symbol="AAPL"))
    assert sentence == f"prices.csv must have rows of AAPL, that --file-symbol names; {told}"


@pytest.mark.parametrize("column", ["Name", "code", "note"])
def test_a_column_that_holds_no_symbol_need_not_agree(source, column: str) -> None:
    assert source(column, "Apple Inc.", "Apple Inc.").read().n_rows == 2
