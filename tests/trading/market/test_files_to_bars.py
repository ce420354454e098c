"""Small files as people have them, through the command: each row is stored at the moment at which it was known."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from django.core.management import CommandError

from tests.support.commands import printed
from trading.models import Instrument, MarketOHLC

pytestmark = pytest.mark.django_db
HEAD = "Date,Open,High,Low,Close,Volume\n"


def stored() -> list[tuple[str, float]]:
    """The times and closes of all bars, in their order."""
    rows = MarketOHLC.objects.order_by("bar_ts").values_list("bar_ts", "close")
    return [(f"{ts:%Y-%m-%d %H:%M}", float(close)) for ts, close in rows]


def days(first: str, n: int, *, weekends: bool, last: float) -> bytes:
    """Daily rows of 100 from a date on, the last of which closes elsewhere."""
    began = datetime.fromisoformat(first)
    dates = [day for day in (began + timedelta(days=place) for place in range(n)) if weekends or day.weekday() < 5]
    closes = [*[100.0] * (len(dates) - 1), last]
    rows = [f"{day:%Y-%m-%d},100,{max(100, c)},{min(100, c)},{c},10\n" for day, c in zip(dates, closes, strict=True)]
    return (HEAD + "".join(rows)).encode()


def parquet(**columns: list[float]) -> bytes:
    out = io.BytesIO()
    pl.DataFrame(columns).write_parquet(out)
    return out.getvalue()


FLAT = {"Open": [4.58, 4.58], "High": [4.6, 4.6], "Low": [4.5, 4.5], "Close": [4.58, 4.59], "Volume": [1.5, 1.5]}
OF_1993 = (
    f"{HEAD}1993-01-15,43.5,43.9,43.4,43.8,9\n1993-01-18,43.8,43.9,43.5,43.6,9\n1993-01-19,43.6,43.8,43.3,43.5,9\n"
)
NEW_YORK = f"""{HEAD}2024-03-07 00:00:00-05:00,10,11,9,10.5,9
2024-03-08 00:00:00-05:00,10.5,11,10,10.8,9
2024-03-11 00:00:00-04:00,10.8,11,10,10.9,9
2024-03-12 00:00:00-04:00,10.9,12,10,11.9,9
"""
TIMES = """Date,Time,Open,High,Low,Close,Volume
2024-01-02,10:00:00,1,2,1,2,5
2024-01-02,11:00:00,2,3,2,3,5
2024-01-02,12:00:00,3,4,3,4,5
2024-01-03,10:00:00,4,5,4,5,5
"""
ONE_A_DAY = """Date,Time,Open,High,Low,Close,Volume
2024-01-02,10:00:00,4,5,4,5,5
2024-01-03,10:00:00,4,5,4,5,5
2024-01-04,16:00:00,5,6,5,6,5
"""
FLOATS = "Timestamp,Open,High,Low,Close,Volume\n1325412060.0,4.5,4.6,4.5,4.58,1\n1325412120.0,4.5,4.6,4.5,4.59,1\n"
DESCENDING = """Date,Open,High,Low,Close,Adj Close,Volume
2024-01-03,2.9,3,2.9,3,1,5
2024-01-02,2.8,2.8,2.8,2.8,1,5
2024-01-02,2.8,2.8,2.8,2.8,1,5
"""
NASDAQ = "Date,Close/Last,Volume,Open,High,Low\n01/03/2024,$1.0,5,$1,$1,$1\n"
ON_2012 = [("2012-01-01 10:01", 4.58), ("2012-01-01 10:02", 4.59)]
ON_2024 = [("2024-01-03 00:00", 4.58), ("2024-01-04 00:00", 4.59)]
AS_FLOATS = parquet(Timestamp=[1325412060.0, 1325412120.0], **FLAT)
AS_DATES = parquet(date=[20240102, 20240103], **FLAT)


@pytest.mark.parametrize(
    ("name", "symbol", "timeframe", "given", "bars"),
    [
        (
            "king's day before 1998.csv",
            *("OLDSPY", "1d", OF_1993.encode()),
            [("1993-01-15 21:00", 43.8), ("1993-01-18 21:00", 43.6), ("1993-01-19 21:00", 43.5)],
        ),
        (
            "midnights in New York.csv",
            *("YF", "1d", NEW_YORK.encode()),
            [
                *(("2024-03-07 21:00", 10.5), ("2024-03-08 21:00", 10.8)),
                *(("2024-03-11 20:00", 10.9), ("2024-03-12 20:00", 11.9)),
            ],
        ),
        (
            "days of a coin.csv",
            *("COIN/USD", "1d", days("2024-01-02", 9, weekends=True, last=150)),
            [(f"2024-01-{day:02} 00:00", 150.0 if day == 11 else 100.0) for day in range(3, 12)],
        ),
        (
            "days of a stock.csv",
            *("STK", "1d", days("2024-01-02", 9, weekends=False, last=150)),
            [(f"2024-01-{day:02} 21:00", 150.0 if day == 10 else 100.0) for day in (2, 3, 4, 5, 8, 9, 10)],
        ),
        (
            "date and time.csv",
            *("MT/USD", "1h", TIMES.encode()),
            [(f"2024-01-{at}:00", close) for at, close in (("02 10", 2), ("02 11", 3), ("02 12", 4), ("03 10", 5))],
        ),
        (
            "one a day.csv",
            *("MU/USD", "1h", ONE_A_DAY.encode()),
            [("2024-01-02 10:00", 5), ("2024-01-03 10:00", 5), ("2024-01-04 16:00", 6)],
        ),
        ("whole floats.csv", "FE/USD", "1m", FLOATS.encode(), ON_2012),
        ("whole floats.parquet", "FP/USD", "1m", AS_FLOATS, ON_2012),
        ("dates as integers.parquet", "FI/USD", "1d", AS_DATES, ON_2024),
        (
            "descending, a row twice, adjusted closes.csv",
            *("DESC", "1d", DESCENDING.encode()),
            [("2024-01-02 21:00", 2.8), ("2024-01-03 21:00", 3.0)],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_each_row_is_stored_at_the_moment_at_which_it_was_known(
    tmp_path: Path, name: str, symbol: str, timeframe: str, given: bytes, bars: list[tuple[str, float]]
) -> None:
    (tmp_path / name).write_bytes(given)
    told = printed("import_data", str(tmp_path / name), "--symbol", symbol, "--timeframe", timeframe)
    assert f"{symbol} {timeframe}: {len(bars)} rows, {len(bars)} inserted" in told
    assert stored() == bars


def test_numbers_since_1970_that_change_their_unit_within_a_file_are_each_of_their_own(tmp_path: Path) -> None:
    began = datetime(2024, 12, 31, 22, tzinfo=UTC)
    hours = [began + timedelta(hours=place) for place in range(6)]
    units = [1_000 if at.year == 2024 else 1_000_000 for at in hours]  # milliseconds, and since 2025 microseconds
    rows = [
        f"{int(at.timestamp()) * unit},{100 + i},{101 + i},{99 + i},{100.5 + i},10\n"
        for i, (at, unit) in enumerate(zip(hours, units, strict=True))
    ]
    (tmp_path / "mixed.csv").write_text("timestamp,open,high,low,close,volume\n" + "".join(rows))
    for more in (["--dry-run"], []):
        told = printed("import_data", str(tmp_path / "mixed.csv"), "--symbol", "AAA/USD", "--timeframe", "1h", *more)
        assert "time: column timestamp, milliseconds and microseconds since 1970" in told.splitlines()
        assert bool(stored()) is not bool(more)
    assert "AAA/USD 1h: 6 rows, 6 inserted" in told
    assert stored() == [(f"{at:%Y-%m-%d %H:%M}", 100.5 + i) for i, at in enumerate(hours)]
    first, *_, last = MarketOHLC.objects.order_by("bar_ts")
    assert (float(first.open), float(last.close)) == (100.0, 105.5)


def one_of(year: str, *, clock: str) -> bytes:
    """Five bars, the third of a mistyped year."""
    times = [f"2024-01-0{n}" if not clock else f"2024-01-02 00:0{n}:00" for n in range(1, 6)]
    rows = [f"{time.replace('2024', year) if n == 2 else time},10,11,9,10.5,5\n" for n, time in enumerate(times)]
    return ("timestamp,open,high,low,close,volume\n" + "".join(rows)).encode()


FUTURE = "row 4, column timestamp: expected a bar closed by {{now}}, was {} UTC; the file has {!r} there; {}"
DROPS = "--drop-invalid leaves such rows out"
MULTI = "Price,Close,High,Low,Open,Volume\nTicker,AAA,AAA,AAA,AAA,AAA\nDate,,,,,\n2024-01-02,1,1,1,1,5\n"
NO_TIME = (
    "must have column a time (ts, timestamp, datetime or date); it has Price, Close, High, Low, Open, Volume; "
    "--time-column names the one of these that is its time"
)


@pytest.mark.parametrize(
    ("symbol", "timeframe", "given", "sentence"),
    [
        *(
            ("AAB/USD", "1m", one_of(year, clock="00"), FUTURE.format(*[f"{year}-01-02 00:03:00"] * 2, DROPS))
            for year in ("2204", "9024")
        ),
        (
            *("TYP/USD", "1d", one_of("2126", clock="")),  # a coin's day is known at the next midnight
            FUTURE.format("2126-01-04 00:00:00", "2126-01-03", DROPS),
        ),
        (
            *("WT/USD", "1m", days("2024-01-02", 14, weekends=True, last=100)),
            "must have rows 1m apart, was 1d apart (median of 13 distances); --timeframe 1d would fit",
        ),
        ("NDQ", "1d", NASDAQ.encode(), "--dates dmy or --dates mdy says which comes first"),
        (
            *("MULTI", "1d", MULTI.encode()),
            NO_TIME,
        ),
    ],
    ids=["2204", "9024", "2126", "days as minutes", "day or month", "two heads"],
)
def test_a_file_that_cannot_be_meant_is_refused_and_nothing_is_stored(
    tmp_path: Path, symbol: str, timeframe: str, given: bytes, sentence: str
) -> None:
    (tmp_path / "own.csv").write_bytes(given)
    with pytest.raises(CommandError) as caught:
        printed("import_data", str(tmp_path / "own.csv"), "--symbol", symbol, "--timeframe", timeframe)
    before, _, after = sentence.partition("{now}")
    told = str(caught.value)
    assert told.startswith(f"own.csv {before}" if "{now}" in sentence else "own.csv ")
    assert told.endswith(after or before)
    assert not MarketOHLC.objects.exists()
    assert not Instrument.objects.exists()


def test_a_close_that_is_named_close_or_last_is_read_once_the_order_of_its_dates_is_said(tmp_path: Path) -> None:
    (tmp_path / "nasdaq.csv").write_text(NASDAQ)
    words = ("import_data", str(tmp_path / "nasdaq.csv"), "--symbol", "NDQ", "--timeframe", "1d", "--dates", "mdy")
    printed(*words)
    assert stored() == [("2024-01-03 21:00", 1.0)]
    assert MarketOHLC.objects.get().volume == 5


def test_a_table_with_heads_of_three_rows_is_read_by_the_options_that_its_refusals_name(tmp_path: Path) -> None:
    (tmp_path / "multi.csv").write_text(MULTI)
    words = (
        "import_data",
        str(tmp_path / "multi.csv"),
        "--symbol",
        "AAA",
        "--timeframe",
        "1d",
        "--time-column",
        "Price",
    )
    with pytest.raises(CommandError, match=f"row 2, column Price: expected a time .*, was 'Ticker' .*; {DROPS}$"):
        printed(*words)
    assert "AAA 1d: 1 rows, 1 inserted, 2 dropped rows" in printed(*words, "--drop-invalid")
    assert stored() == [("2024-01-02 21:00", 1.0)]
