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
    assert got["problems"] == ["BTC-USDT: 5 bars are missing at 2024-01-01 00:06 .. 2024-01-01 00:10 UTC"]
    assert got["understood"]["gaps"] == (
        "not known, as a minute without a trade has no bar; the longest run of such: 5 bars are missing at 2024-01-01 "
        "00:06 .. 2024-01-01 00:10 UTC"
    )
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


def test_an_id_without_end_is_refused_in_words(write):
    with pytest.raises(CommandError, match="id must hold ids of at most 100 letters, the longest has 60,000"):
        run(write(*ROWS, f"1704067806000,{'7' * 60_000},9,1"))


def test_rows_that_break_a_rule_are_left_out_with_a_word(write):
    got = run(write(*ROWS, ROWS[0], "1704067806000,5,-9,1", "x,6,9,1"), "--drop-invalid")
    assert got["series"][0]["inserted"] == 4
    assert [text.partition(": ")[0] for text in got["problems"][:-1]] == [
        "BTC-USDT row 8, column timestamp",
        "BTC-USDT row 6, column id",
        "BTC-USDT row 7, column price",
    ]


def test_trades_before_a_session_cost_no_bar_of_it(write):
    """The first hour of a session shares its hour of the clock with minutes before it."""
    opens = 1_704_205_800  # 2024-01-02 09:30 in New York
    seconds = [*range(-5_400, 0, 300), *range(0, 7_200, 90)]  # of the session's minutes every third has no trade
    rows = [f"{opens + s}000,{k},{10 + k % 3},1" for k, s in enumerate(seconds)]
    got = run(write(*rows), "--asset-class", "equity", "--drop-invalid", symbol="SHS")
    assert {row["timeframe"]: row["inserted"] for row in got["series"]}["1h"] == 2
    assert [f"{ts:%H:%M}" for ts in market.bar_range(["SHS"], "1h").ts.tolist()] == ["15:00", "16:00"]


def test_of_trades_outside_of_sessions_each_is_counted(write):
    opens = 1_704_205_800  # 2024-01-02 09:30 in New York
    rows = [f"{opens + s}000,{s},10,1" for s in [*range(-600, 0, 20), *range(0, 7_200, 90)]]  # three a minute before it
    with pytest.raises(CommandError, match=r"\(29 more rows break a rule\)"):
        run(write(*rows), "--asset-class", "equity", symbol="SHS")
    got = run(write(*rows), "--asset-class", "equity", "--drop-invalid", symbol="SHS")
    assert (got["series"][0]["dropped_rows"], got["understood"]["dropped"][:16]) == (30, "30 rows: row 2, ")


def test_a_file_of_each_session_gives_all_its_hours(write):
    for opens in (1_704_205_800, 1_704_292_200):  # 2024-01-02 and 03, 09:30 in New York
        rows = [f"{opens + s}000,{s},{10 + s % 3},1" for s in [*range(0, 23_400, 90), 23_399]]
        run(write(*rows), "--asset-class", "equity", symbol="SHS")
    hours = [f"{ts:%d %H}" for ts in market.bar_range(["SHS"], "1h").ts.tolist()]
    assert hours == [f"{day} {hour}" for day in ("02", "03") for hour in range(15, 22)]


def test_a_real_file_gives_its_files_of_minutes_and_of_five_minutes():
    run(needs("crypto", "freqtrade", "XRP_ETH-trades.feather"), symbol="XRP/ETH")
    assert_stored("XRP/ETH")


def tape(first: int, last: int) -> list[str]:
    """A trade every seven seconds, numbered, at a price and of an amount of its own."""
    return [f"{1704067200000 + 7000 * k + 13},{k},{100 + k % 11 + k / 1000},{1 + k % 5}" for k in range(first, last)]


def stored() -> dict[str, list[list[float]]]:
    found = {name: market.bar_range(["BTC-USDT"], name) for name in ("1m", "5m", "15m", "1h")}
    return {name: [getattr(bars, field)[:, 0].tolist() for field in FIELDS] for name, bars in found.items()}


def test_a_file_that_begins_or_ends_within_a_stored_minute_leaves_it_as_it_is(write):
    run(write(*tape(0, 1200)))  # 140 minutes
    whole = stored()
    for first, last in ((100, 1105), (517, 1200), (0, 777)):
        got = run(write(*tape(first, last)))
        assert all(not row["corrected"] for row in got["series"])
        assert stored() == whole
    assert got["understood"]["kept"] == (
        "the minute of 2024-01-01 01:31 UTC stays as it is stored: the file begins or ends in it"
    )
    assert "kept" not in run(write(*tape(0, 1200)))["understood"]


def test_files_that_overlap_by_a_minute_give_what_one_file_gives_whichever_comes_first(write):
    run(write(*tape(0, 1200)))
    whole = stored()
    for parts in (((0, 620), (600, 1200)), ((600, 1200), (0, 620))):
        run(write(*tape(0, 4)), "--replace")
        for first, last in parts:
            run(write(*tape(first, last)))
        assert stored() == whole


def test_a_price_at_every_bar_is_no_trade_and_signs_are_no_quantities(write):
    prices = [f"{1704067200000 + 3_600_000 * k},{100 + k},5" for k in range(5)]
    with pytest.raises(CommandError, match="must hold trades, was 5 rows at full minutes, no two of them at one: pri"):
        run(write(*prices, header="time,price,volume"), "--drop-invalid")
    signed = [f"{row.rpartition(',')[0]},{(-1) ** k}" for k, row in enumerate(tape(0, 9))]
    with pytest.raises(CommandError, match="must have quantities above 0, was below 0 in 4 of 9 rows, as where a sign"):
        run(write(*signed), "--drop-invalid")
    assert not MarketOHLC.objects.exists()
