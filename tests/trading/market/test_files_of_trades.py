"""`import_data` with a file of trades: its minutes, and higher bars that lack nothing where nobody traded."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.support.ingest_bars import needs
from tests.support.xrp_eth import assert_stored
from trading.market import read as market
from trading.market.bars import FIELDS
from trading.models import MarketOHLC

pytestmark = pytest.mark.django_db
ROWS = (
    "1704067201000,1,10,1",
    "1704067321000,2,12,2",  # 00:02:01: nobody traded in the minute before
    "1704067499000,3,11,4",  # 00:04:59
    "1704067805000,4,9,1",  # 00:10:05
)


def run(path: Path, *options: str, symbol: str = "BTC-USDT") -> dict:
    out = io.StringIO()
    call_command("import_data", str(path), "--symbol", symbol, "--json", *options, stdout=out)
    return json.loads(out.getvalue())


@pytest.fixture
def write(tmp_path: Path):
    def writer(*rows: str, header: str = "timestamp,id,price,amount") -> Path:
        path = tmp_path / "trades.csv"
        path.write_text("\n".join([header, *rows]))
        return path

    return writer


def test_minutes_without_a_trade_are_no_gap_and_five_of_them_are_whole(write):
    got = run(write(*ROWS))
    assert [(row["timeframe"], row["inserted"]) for row in got["series"]] == [("1m", 4), ("5m", 1)]
    assert got["problems"] == []
    assert got["understood"]["names"].startswith("trades, as a price and a quantity stand in each row")
    five = market.bar_range(["BTC-USDT"], "5m")
    assert [getattr(five, name)[0, 0] for name in FIELDS] == [10, 12, 10, 11, 7]


@pytest.mark.parametrize(
    "header", ["Time,trade_id,Price,Qty", "tradedAt,id,price,quantity", "trade_time,tid,trade_price,volume"]
)
def test_trades_are_known_by_their_columns(write, header):
    assert run(write(*ROWS, header=header))["series"][0]["inserted"] == 4


def test_what_speaks_of_bars_is_refused_for_trades_and_nothing_is_stored(write):
    for option, value in (("--timeframe", "5m"), ("--times", "open")):
        with pytest.raises(CommandError, match="of which bars of 1m and above are made; it takes no --ti"):
            run(write(*ROWS), option, value)
    with pytest.raises(CommandError, match=r"csv row 6, column price: expected a price above 0, was -9.0; --drop-"):
        run(write(*ROWS, "1704067806000,5,-9,1"))
    with pytest.raises(CommandError, match=r"trades.csv row 2, column timestamp: expected a trade by 20"):
        run(write("4070908800000,1,10,1"), "--drop-invalid")
    assert not MarketOHLC.objects.exists()


def test_rows_that_break_a_rule_are_left_out_with_a_word(write):
    got = run(write(*ROWS, ROWS[0], "1704067806000,5,-9,1", "x,6,9,1"), "--drop-invalid")
    assert got["series"][0]["inserted"] == 4
    assert [text.partition(": ")[0] for text in got["problems"]] == [
        "BTC-USDT row 8, column timestamp",
        "BTC-USDT row 6, column id",
        "BTC-USDT row 7, column price",
    ]


def test_a_real_file_gives_its_files_of_minutes_and_of_five_minutes():
    run(needs("crypto", "freqtrade", "XRP_ETH-trades.feather"), symbol="XRP/ETH")
    assert_stored("XRP/ETH")
