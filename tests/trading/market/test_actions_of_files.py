"""`import_data --actions`: splits and dividends as people have them, stored once, corrected with a word, or refused."""

from __future__ import annotations

import io
import json
import subprocess
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from django.core.management import CommandError, call_command

from helios.events.models import SystemEvent
from tests.support import apple
from tests.support.market_bars import at
from trading.market import instruments
from trading.market.adjust import adjusted
from trading.market.bars import PRICES
from trading.market.calendars import Calendar
from trading.market.read import bar_range
from trading.market.write import UpsertResult, upsert_bars
from trading.models import CorporateAction, Instrument, MarketOHLC

pytestmark = pytest.mark.django_db


@pytest.fixture
def write(tmp_path: Path):
    def writer(*lines: str, name: str = "actions.csv") -> Path:
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return writer


@pytest.fixture(autouse=True)
def stock() -> None:
    instruments.ensure_instrument("AAPL", "equity")


def run(path: Path, *options: str, symbol: str = "AAPL") -> dict:
    out = io.StringIO()
    call_command("import_data", str(path), "--actions", "--symbol", symbol, "--json", *options, stdout=out)
    return json.loads(out.getvalue())


def refused(path: Path, *options: str) -> str:
    before = stored()
    with pytest.raises(CommandError) as caught:
        run(path, *options)
    assert stored() == before
    return str(caught.value)


def stored() -> list[tuple[str, str, str, str]]:
    return [
        (f"{row.ex_ts:%Y-%m-%d %H:%M}", row.kind, f"{row.value.normalize():f}", f"{row.per.normalize():f}")
        for row in CorporateAction.objects.all()
    ]


SPLIT = ("2014-06-09 04:00", "split", "7", "1")  # midnight in New York
DIVIDEND = ("2014-05-08 04:00", "dividend", "3.29", "1")


@pytest.mark.parametrize(
    "lines",
    [
        ("date,split,dividend", "2014-06-09,7,", "2014-05-08,,3.29"),
        ("Date;Ratio;Amount", "09.06.2014;7:1;", "08.05.2014;;3,29"),
        ("ex_date,action,value", "2014-06-09,SPLIT,7/1", "2014-05-08,Cash Dividend,3.29"),
        (
            "Date,Open,Close,Dividends,Stock Splits",
            "2014-05-07 00:00:00-04:00,1,1,0.0,0.0",
            "2014-05-08 00:00:00-04:00,1,1,3.29,0.0",
            "2014-06-09 00:00:00-04:00,1,1,0.0,7.0",
        ),
    ],
)
def test_a_split_and_a_dividend_are_read_however_they_are_written(write, lines):
    got = run(write(*lines))
    assert stored() == [DIVIDEND, SPLIT]
    assert got["series"][0]["inserted"] == 2
    assert got["understood"]["splits"] == "1: split 7 for 1 on 2014-06-09"
    assert got["understood"]["dividends"] == "1: dividend of 3.29 on 2014-05-08"


def test_columns_with_types_are_read_by_the_clock_of_their_zone(tmp_path):
    path = tmp_path / "yahoo.parquet"
    days = pl.Series("Date", ["2014-05-07", "2014-05-08", "2014-06-09"]).str.to_datetime(time_zone="America/New_York")
    pl.DataFrame([days, pl.Series("Dividends", [0.0, 3.29, 0.0]), pl.Series("Stock Splits", [0, 0, 7])]).write_parquet(
        path
    )
    run(path)
    assert stored() == [DIVIDEND, SPLIT]


@pytest.mark.parametrize(
    ("written", "value", "per"),
    [("1:10", "1", "10"), ("3 for 2", "3", "2"), ("2-for-1", "2", "1"), ("1.5", "1.5", "1"), ("0.1", "0.1", "1")],
)
def test_a_ratio_is_kept_as_exact_as_it_is_written(write, written: str, value: str, per: str):
    run(write("date,split", f"2014-06-09,{written}"))
    assert stored()[0][2:] == (value, per)


def test_a_dry_run_says_the_same_and_stores_nothing(write):
    path = write("date,split", "2014-06-09,7")
    said = run(path, "--dry-run")
    assert stored() == []
    assert said["understood"] == run(path)["understood"]


def test_a_file_twice_changes_nothing_and_a_correction_keeps_what_it_replaced(write):
    path = write("date,dividend", "2014-05-08,3.29")
    run(path)
    assert run(path)["series"][0]["unchanged"] == 1
    path.write_text("date,dividend\n2014-05-08,3.3\n2014-08-07,0.47\n")
    row = run(path)["series"][0]
    assert (row["inserted"], row["corrected"]) == (1, 1)
    assert CorporateAction.objects.get(ex_ts__year=2014, ex_ts__month=5).revision == 1
    event = SystemEvent.objects.get(kind="market.actions")
    assert event.data["corrected"] == [["dividend of 3.29 on 2014-05-08", "dividend of 3.3 on 2014-05-08"]]


AS_PAID = ("2014-05-08,3.29,0", "2014-06-09,0,7", "2014-08-07,0.47,0", "2020-08-07,.82,0", "2020-08-31,0,4")
OF_TODAY = ("2014-05-08,.1175,0", "2014-06-09,0,7", "2014-08-07,.1175,0", "2020-08-07,.205,0", "2020-08-31,0,4")
RAISED = ("2004-06-02,.4,0", "2004-08-30,0,2", "2004-09-01,.45,0")  # Bank of America: .80 was paid before
REVERSE = ("2014-05-08,.5,0", "2014-06-09,0,1:5", "2014-08-07,.5,0")
PAID_NO_MORE = ("2014-05-08,3.29,0", "2014-06-09,0,7")


@pytest.mark.parametrize(
    ("lines", "seem"),
    [
        (OF_TODAY, "0.1175 on 2014-05-08 goes on behind a split as the dividend of 0.1175 on 2014-08-07"),
        (RAISED, "the dividends before the split 2 for 1 on 2004-08-30 seem to be those of a share of today"),
        (REVERSE, "the dividends before the split 1 for 5 on 2014-06-09 seem to be those of a share of today"),
        (
            PAID_NO_MORE,
            "the dividends before the split 7 for 1 on 2014-06-09 are those of a share of their day cannot be told",
        ),
    ],
)
def test_dividends_of_a_share_of_today_are_warned_of(write, lines, seem: str):
    (sentence,) = run(write("Date,Dividends,Stock Splits", *lines))["assumed"]
    assert seem in sentence
    assert sentence.startswith("WARNING") is (lines != PAID_NO_MORE)
    assert sentence.endswith("They must be as they were paid; yfinance divides each by the splits behind it")


@pytest.mark.parametrize(
    "lines", [AS_PAID, AS_PAID[:4], ("2004-06-02,.8,0", "2004-08-30,0,2", "2004-09-01,.45,0"), OF_TODAY[-1:]]
)
def test_dividends_as_they_were_paid_are_stored_without_a_word(write, lines):
    assert run(write("Date,Dividends,Stock Splits", *lines))["assumed"] == []


def test_dividends_are_judged_by_stored_splits_and_dividends_too(write):
    assert run(write("date,split", "2014-06-09,7"))["assumed"] == []
    assert run(write("date,dividend", "2014-08-07,0.47", name="late.csv"))["assumed"] == []
    (sentence,) = run(write("date,dividend", "2014-05-08,0.47", name="early.csv"))["assumed"]
    assert sentence.startswith("WARNING: the dividends before the split 7 for 1 on 2014-06-09 seem")
    assert run(write("date,dividend", "2014-05-08,3.29", name="paid.csv"))["assumed"] == []


def test_a_stored_action_on_another_day_is_refused_until_a_file_says_which_is_right(write):
    run(write("date,dividend", "2014-05-08,3.29", "2014-08-07,0.47"))
    moved = write("date,dividend", "2014-05-12,3.3", name="moved.csv")
    for options in ((), ("--dry-run",)):
        assert (
            "the dividend of 3.3 on 2014-05-12 seems to be the stored dividend of 3.29 on 2014-05-08: --replace"
            in refused(moved, *options)
        )
    run(write("date,dividend,split", "2014-05-14,3.3,", "2014-05-08,,7", name="others.csv"))  # a week, another kind
    run(write("date,dividend", "2014-08-06,.47", "2014-08-07,.47", name="both.csv"))
    run(moved, "--replace")
    assert stored() == [("2014-05-12 04:00", "dividend", "3.3", "1")]


def test_the_instrument_knows_since_when_it_has_actions_and_replacing_takes_those_of_before(write):
    run(write("date,split,dividend", "2014-06-09,7,", "2014-05-08,,3.29"))
    assert Instrument.objects.get().actions_from == at("2014-05-08T04:00")
    run(write("date,split", "2014-06-09,7"), "--replace")
    assert stored() == [SPLIT]
    assert Instrument.objects.get().actions_from == at("2014-06-09T04:00")
    assert SystemEvent.objects.get(kind="market.actions").data["removed"] == ["dividend of 3.29 on 2014-05-08"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ("date,split", "2014-06-09,7", "soon,2"),
            "row 3, column date: expected a date such as 2014-01-31, was 'soon'",
        ),
        (("date,split", "2014-06-08,7"), "row 2, column date: expected a day with a session of XNYS"),
        (("date,split", "2014-06-09,seven"), "row 2, column split: expected new shares for an old one"),
        (("date,split", "2014-06-09,-2"), "row 2, column split: expected new shares for an old one"),
        (("date,split", "2014-06-09,1e30"), "row 2, column split: expected new shares for an old one"),
        (("date,dividend", "2014-06-09,inf"), "row 2, column dividend: expected an amount a share"),
        (("date,split", "2014-06-09,1"), "row 2, column split: expected new shares for an old one"),
        (("date,split", "2014-06-09,2:0"), "row 2, column split: expected new shares for an old one"),
        (("date,dividend", "2014-06-09,1:2"), "row 2, column dividend: expected an amount a share"),
        (
            ("date,action,value", "2014-06-09,merger,2"),
            "row 2, column action: expected split or dividend (in cash), was 'merger'",
        ),
        (("date,action,value", "2014-06-09,split,0"), "row 2, column value: expected new shares for an old one"),
        (("date,dividend", "2014-06-09,1", "2014-06-09,2"), "row 3: expected one dividend a day"),
        (("date,dividend", "1/2/2014,1"), "--dates dmy or --dates mdy says which comes first"),
        (("date,dividend", '2014-06-09,"1,234"'), "--decimal comma or --decimal point says it"),
        (("date,close", "2014-06-09,1"), "must have a column date and one of split or dividend"),
        (("date,dividend,split", "2014-06-09,0,"), "must hold a split or a dividend, holds none"),
        (("date,symbol,split", "2014-06-09,MSFT,2"), "expected bars of AAPL, was 'MSFT'"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence_with_its_place(write, lines, said: str):
    sentence = refused(write(*lines))
    assert said.replace("2014-01-31", "2024-01-31") in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    "name", ["Stock Dividend", "SCRIP_DIVIDEND", "bonus dividend", "Dividend in specie", "dividend, split", "split-off"]
)
def test_what_is_neither_a_split_nor_paid_in_cash_is_refused_by_its_name(write, name: str):
    sentence = refused(write("date,type,value", f'2014-06-09,"{name}",0.05'))
    assert f"row 2, column type: expected split or dividend (in cash), was '{name.lower()}'" in sentence
    assert ("is a split, as 21:20 where 5 % are given" in sentence) is ("dividend" in name.lower())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Reverse stock split", "split"),
        ("SPLIT", "split"),
        ("Special Cash Dividend", "dividend"),
        ("dividends", "dividend"),
    ],
)
def test_a_split_and_a_dividend_in_cash_go_by_more_names(write, name: str, kind: str):
    run(write("date,type,value", f"2014-06-09,{name},0.5"))
    assert [row[1] for row in stored()] == [kind]


def test_an_unknown_instrument_and_options_of_bars_are_refused(write):
    path = write("date,split", "2014-06-09,7")
    with pytest.raises(CommandError, match="MSFT must be stored before its actions, is not; import its prices first"):
        run(path, symbol="MSFT")
    assert refused(path, "--timeframe", "1d") == "import_data --actions takes no --timeframe"


COMMAND = (
    "printf 'date,split\\n2014-06-09,7:1\\n' > actions.csv && python manage.py import_data actions.csv --actions "
    "--symbol AAPL"
)


def imported(write, *bars: str) -> dict:
    path = write("date,open,high,low,close,volume", *(f"{day},{p},{p},{p},{p},1" for day, p in map(str.split, bars)))
    out = io.StringIO()
    call_command("import_data", str(path), "--symbol", "AAPL", "--timeframe", "1d", "--json", stdout=out)
    return json.loads(out.getvalue())


def test_a_split_that_stored_prices_do_not_show_is_refused_as_they_are_adjusted_for_it(write):
    imported(write, "2014-06-06 92.2", "2014-06-09 93.7")
    assert refused(write("date,split", "2014-06-09,7", name="a.csv")) == (
        "AAPL must have prices as they were traded where its splits are stored, and the split 7 for 1 on 2014-06-09 is "
        "not in them: the close before is 92.2, the open behind 93.7. Adjusted prices would be adjusted twice"
    )
    imported(write, "2014-06-06 645.57")
    run(write("date,split", "2014-06-09,7", name="a.csv"))
    assert stored() == [SPLIT]


def test_a_jump_without_an_action_is_warned_of_with_the_command_that_stores_it(write, tmp_path):
    got = imported(write, "2014-06-06 645.57", "2014-06-09 93.7")
    (warning,) = got["assumed"]
    assert warning.startswith(
        "WARNING: AAPL has no action for what looks like a split: 2014-06-09 opens at 0.1451 of the close before, "
        "which looks like a split of 7 for 1. Features, volatility and returns take it for a move of the market"
    )
    assert warning.endswith(COMMAND)
    made = COMMAND.partition(" && ")[0]
    subprocess.run(["sh", "-c", made], cwd=tmp_path, check=True)
    run(tmp_path / "actions.csv")
    assert stored() == [SPLIT]
    again = imported(write, "2014-06-06 645.57", "2014-06-09 93.7")
    assert again["assumed"] == []
    assert "splits" not in again["understood"]


def test_adjusted_prices_beside_a_stored_split_are_refused_and_nothing_is_stored(write):
    run(write("date,split", "2014-06-09,7"))
    with pytest.raises(CommandError, match="Adjusted prices would be adjusted twice"):
        imported(write, "2014-06-06 92.2", "2014-06-09 93.7")
    assert not MarketOHLC.objects.exists()
    imported(write, "2014-06-06 645.57")
    with pytest.raises(CommandError, match="the split 7 for 1 on 2014-06-09 is not in them"):
        imported(write, "2014-06-09 655.9")  # beside the stored bar before
    imported(write, "2014-06-09 93.7")


def test_a_backtest_over_such_a_night_says_so(write):
    days = ["2014-06-02", "2014-06-03", "2014-06-04", "2014-06-05", "2014-06-06", "2014-06-09", "2014-06-10"]
    imported(write, *(f"{day} {645 if day < '2014-06-09' else 93}" for day in days))

    def reasons() -> list[str]:
        out = io.StringIO()
        words = ("--strategy", "buy_and_hold", "--symbols", "AAPL", "--timeframe", "1d", "--json")
        call_command("backtest", *words, stdout=out)
        return json.loads(out.getvalue())["reasons"]

    assert any(each.startswith("WARNING: AAPL has no action") and each.endswith(COMMAND) for each in reasons())
    run(write("date,split", "2014-06-09,7"))
    said = reasons()
    assert not any(each.startswith("WARNING") for each in said)
    assert "Booked on what was held: 1 split (AAPL split 7 for 1 on 2014-06-09)." in said


def test_a_dividend_of_more_than_the_price_is_refused(write):
    imported(write, "2014-06-06 92.2", "2014-06-09 93.7")
    for day in ("2014-06-09", "2014-06-12"):  # the latter comes behind all that is stored
        told = refused(write("date,dividend", f"{day},94", name="a.csv"))
        assert "a dividend must be less than the close before it" in told
    run(write("date,dividend", "2014-06-09,3.29", name="a.csv"))
    with pytest.raises(CommandError, match="a dividend must be less than the close before it, AAPL has a dividend of"):
        imported(write, "2014-06-06 3.2")  # a correction of the close before


def test_a_venues_close_that_a_stored_dividend_takes_all_of_is_left_out_and_told(write):
    imported(write, "2014-06-05 91.8", "2014-06-06 92.2", "2014-06-09 93.7")
    run(write("date,dividend", "2014-06-09,3.29", name="a.csv"))
    bars = bar_range(["AAPL"], "1d")
    wrong = replace(bars, **{name: getattr(bars, name) * [[1.0], [0.03], [1.1]] for name in PRICES})
    assert upsert_bars(wrong, "venue") == UpsertResult(corrected=1, unchanged=1)
    assert bar_range(["AAPL"], "1d").close[:, 0].tolist() == [91.8, 92.2, 93.7 * 1.1]
    told = SystemEvent.objects.get(kind="market.refused")
    assert (told.subject, told.data["n"], told.data["dividend"]) == ("AAPL", 1, "3.29")
    assert told.data["last"] == "2014-06-06T20:00:00+00:00"


def test_no_stored_close_makes_the_bars_of_its_symbol_unreadable(write):
    imported(write, "2014-06-06 92.2", "2014-06-09 93.7")
    run(write("date,dividend", "2014-06-09,3.29", name="a.csv"))
    MarketOHLC.objects.update(open=3.2, high=3.2, low=3.2, close=3.2)
    assert adjusted(bar_range(["AAPL"], "1d")).close[:, 0].tolist() == [3.2, 3.2]


def test_the_days_of_a_coin_begin_at_midnight_utc() -> None:
    assert Calendar("24/7").begins(date(2024, 1, 2)) == at("2024-01-02T00:00")
    assert Calendar("XNYS").begins(date(2024, 1, 2)) == at("2024-01-02T05:00")


def test_list_data_shows_how_many_there_are(write):
    imported(write, "2014-06-06 645.57", "2014-06-09 93.7")
    run(write("date,split", "2014-06-09,7", name="a.csv"))
    out = io.StringIO()
    call_command("list_data", stdout=out)
    assert "2 bars, 0 corrected, 1 splits and dividends, " in out.getvalue()
    assert json.loads(listed())["series"][0]["actions"] == 1


def listed() -> str:
    out = io.StringIO()
    call_command("list_data", "--json", stdout=out)
    return out.getvalue()


def test_apple_held_over_four_splits_is_worth_what_its_shares_are(write):
    """Bought in 1998 at the open of the second day, with no more than a lot of cash beside it."""
    bars = apple.traded()
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    rows = zip(bars.ts.astype("datetime64[D]").tolist(), *(each[:, 0].tolist() for each in columns), strict=True)
    path = write("date,open,high,low,close,volume", *(",".join(map(str, row)) for row in rows))
    call_command("import_data", str(path), "--symbol", "AAPL", "--timeframe", "1d", stdout=io.StringIO())
    run(write("date,split", *(f"{day},{ratio}" for day, ratio in apple.SPLITS.items()), name="splits.csv"))
    out, words = io.StringIO(), ("--strategy", "buy_and_hold", "--symbols", "AAPL", "--timeframe", "1d", "--json")
    call_command("backtest", *words, "--fee-bps", "0", "--slippage-bps", "0", "--cash", "1000000", stdout=out)
    got = json.loads(out.getvalue())
    growth = 2 * 2 * 7 * 4 * bars.close[-1, 0] / bars.open[1, 0]
    assert got["total_return_pct"] / 100 + 1 == pytest.approx(growth, rel=1e-3)
    assert got["max_drawdown_pct"] == pytest.approx(82, abs=1)  # of 2000 to 2003, and no jump of a split
    assert [each["quantity"][1] / each["quantity"][0] for each in got["actions"]] == [2, 2, 7, 4]
    assert not any(each.startswith("WARNING") for each in got["reasons"])
