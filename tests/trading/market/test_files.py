from __future__ import annotations

import gzip
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from helios.errors import DataError
from tests.support.ingest_bars import needs
from trading import sample_data
from trading.market.bars import union
from trading.market.feeds import files
from trading.market.feeds.file_times import A_TIME
from trading.market.feeds.files import FileSource, table_from_frame

TWO_READINGS = "expected numbers that show what a comma and a point in them mean"
HEADER = "ts,open,high,low,close,volume\n"
ROW = "2024-01-01 00:01,1,2,0.5,1.5,5\n"


@pytest.fixture
def write(tmp_path: Path):
    def writer(content: str | bytes, name: str = "prices.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return writer


def source(path: Path, timeframe: str = "1m", **options) -> FileSource:
    return FileSource(path=path, symbol="X", timeframe=timeframe, **options)


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        source(path).read()
    return str(caught.value)


def test_a_csv_is_read_as_columns_with_the_row_numbers_of_an_editor(write):
    got = source(write(HEADER + ROW + "2024-01-01 00:02,1.5,2,1,1,0\n")).read()
    assert got.row.tolist() == [2, 3]
    assert [str(ts)[:16] for ts in got.ts] == ["2024-01-01T00:01", "2024-01-01T00:02"]
    assert (got.close.tolist(), got.volume.tolist()) == ([1.5, 1.0], [5.0, 0.0])


def test_the_first_unreadable_number_is_named_by_file_row_and_column(write):
    body = HEADER + ROW * 15 + "2024-01-01 00:02,1,2,0.5,abc,5\n" + "x,y,z,a,b,c\n"
    assert refused(write(body)) == "prices.csv row 17, column close: expected a number, was 'abc'"


def test_a_file_of_rows_that_cannot_be_read_is_refused_by_its_first_and_keeps_no_sentence_for_each(write, monkeypatch):
    monkeypatch.setattr(files, "MOST_UNREADABLE", 3)
    body = HEADER + ROW + f"{'?' * 99},1,2,1,1,1\n" * 5
    with pytest.raises(DataError) as caught:
        source(write(body)).rows()
    assert (
        str(caught.value)
        == f"prices.csv row 3, column ts: expected {A_TIME}, was '{'?' * 59}, the first of 5 such rows"
    )


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("2024-01-01 00:02,1,2,0.5,,5\n", "prices.csv row 3, column close: expected a number, was empty"),
        ("2024-01-01 00:02,1,2\n", "prices.csv row 3, column low: expected a number, was empty"),
        ("2024-01-01 00:02,1,2,1,1,1,1,1\n", "prices.csv row 3: expected 6 values, was 8"),
        (
            '2024-01-01 00:02,1,2,1,"1,00",1\n',
            f"prices.csv row 2, column low: {TWO_READINGS}, was '0.5'; --decimal comma or --decimal point says it",
        ),
        (
            "yesterday,1,2,1,1,1\n",
            f"prices.csv row 3, column ts: expected {A_TIME}, was 'yesterday'",
        ),
    ],
)
def test_a_malformed_row_is_named(write, line: str, sentence: str):
    assert refused(write(HEADER + ROW + line)) == sentence


def test_a_wide_row_in_a_compressed_file_is_named(write):
    body = gzip.compress((HEADER + ROW + "1,2,3,4,5,6,7\n").encode())
    assert refused(write(body, "prices.csv.gz")) == "prices.csv.gz row 3: expected 6 values, was 7"


def test_a_wide_row_with_a_text_beyond_all_measure_is_refused(write):
    line = ROW.replace("\n", f',"{"x" * 300_000}",7\n')
    sentence = refused(write(HEADER + ROW + line))
    assert sentence.startswith("prices.csv must be a readable csv file, was not: field larger")


@pytest.mark.parametrize("damage", ["body", "name"])
def test_a_damaged_archive_is_refused_in_a_sentence(write, tmp_path: Path, damage: str):
    path = tmp_path / "whole.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("pr\u00e4ces.csv", np.random.default_rng(1).bytes(4_000))
    body = path.read_bytes()
    body = body.replace(b"\xc3", b"\xff") if damage == "name" else body[:1_000] + bytes(500) + body[1_500:]
    assert refused(write(body, "prices.zip")).startswith("prices.zip must be a readable zip, was not: ")


@pytest.mark.parametrize(
    "line",
    [
        "2024-01-02T15:30:00+\u0660\u0665:\u0660\u0660,1,2,0.5,1.5,5\n",
        "\u0662\u0660\u0662\u0664-01-02 15:30:00,1,2,0.5,1.5,5\n",
    ],
)
def test_digits_of_another_script_are_no_time(write, line: str):
    assert "expected a time such as" in refused(write(HEADER + line * 3))


def test_an_unknown_time_format_is_named(write):
    assert "was '2019-10-17 09-AM'" in refused(write(HEADER + "2019-10-17 09-AM,1,2,1,1,1\n"))


def test_a_change_of_time_format_is_named(write):
    body = HEADER + ROW + "2024-31-01 00:02,1,2,1,1,1\n"
    assert refused(write(body)).startswith("prices.csv row 3, column ts: expected a time")


@pytest.mark.parametrize("content", [HEADER, HEADER + "\n\n", "\n" + HEADER])
def test_a_file_with_only_a_header_is_refused(write, content: str):
    assert refused(write(content)) == "prices.csv must hold bars, had only a header"


def test_an_empty_file_is_refused(write):
    assert refused(write("")) == "prices.csv must hold bars, was empty"


def test_missing_columns_are_named_beside_those_there_are(write):
    assert refused(write("when,open,high,low,last\n1,2,3,4,5\n")) == (
        "prices.csv must have column a time (ts, timestamp, datetime or date), close, volume; "
        "it has when, open, high, low, last; --time-column names the one of these that is its time"
    )


@pytest.mark.parametrize("name", ["prices.parquet", "prices.feather"])
def test_a_broken_binary_file_is_refused(write, name: str):
    assert refused(write(b"this is no such file at all", name)).startswith(f"{name} must be a readable")


def test_bytes_that_are_no_text_are_refused(write):
    assert "prices.csv" in refused(write(HEADER.encode() + b"\xff\xfe\x00,1,2,1,1,1\n"))


def test_an_unknown_ending_and_an_absent_file_are_refused(write, tmp_path: Path):
    assert refused(write("x", "prices.xls")) == (
        "prices.xls must end in one of .csv, .tsv, .txt, .parquet, .feather, .arrow, or in these and .gz or .zip"
    )
    assert refused(tmp_path / "none.csv").endswith("none.csv must be a file that exists")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-31 15:30", "2024-01-31T15:30"),
        ("2024-01-31 15:30:00", "2024-01-31T15:30"),
        ("2024-01-31T15:30:00Z", "2024-01-31T15:30"),
        ("2024-01-31T15:30:00+01:00", "2024-01-31T14:30"),
        ("2024-01-31 15:30:00.250000-0500", "2024-01-31T20:30:00.250000"),
        ("2024-01-31 15:30 +00:00", "2024-01-31T15:30"),
        ("2024-01-31 15:30:00 UTC", "2024-01-31T15:30"),
        ("2024-01-31", "2024-01-31T00:00"),
        ("20240131", "2024-01-31T00:00"),
        ("1706715000", "2024-01-31T15:30"),
        ("1706715000000", "2024-01-31T15:30"),
        ("1706715000000000", "2024-01-31T15:30"),
        ("1706715000000000000", "2024-01-31T15:30"),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(write, text: str, expected: str):
    got = source(write(f"{HEADER}{text},1,2,1,1,1\n")).read()
    assert got.ts[0] == np.datetime64(expected, "us")


def test_columns_may_come_in_any_order_case_and_company(write):
    body = "Volume, Close ,LOW,High,Open,Symbol,Date\r\n5,1.5,0.5,2,1,X,2024-01-01 00:01\r\n"
    got = source(write(body)).read()
    assert (got.open[0], got.high[0], got.low[0], got.close[0], got.volume[0]) == (1, 2, 0.5, 1.5, 5)


def test_blank_lines_count_as_rows_and_hold_no_bar(write):
    got = source(write(HEADER + ROW + "\n" + "2024-01-01 00:02,1,2,0.5,1.5,5\n\n")).read()
    assert got.row.tolist() == [2, 4]


def test_a_name_with_brackets_is_no_pattern(write):
    assert source(write(HEADER + ROW, "prices[1].csv")).read().n_rows == 1


def test_open_times_become_closes(write):
    path = write(HEADER + "2024-01-01 00:00,1,2,1,1,1\n")
    assert str(source(path, "1h", times="open").read().ts[0])[:16] == "2024-01-01T01:00"
    assert str(source(path, "1d", times="open").read().ts[0])[:16] == "2024-01-02T00:00"


@pytest.mark.parametrize("times", ["open", "close"])
def test_a_date_names_a_us_day_by_its_sessions_close(write, times: str):
    path = write(HEADER + "2024-03-08,1,2,1,1,1\n2024-03-11,1,2,1,1,1\n")
    got = source(path, "1d", calendar="XNYS", times=times).read()
    assert [str(ts)[:16] for ts in got.ts] == ["2024-03-08T21:00", "2024-03-11T20:00"]


def frame(times: list[object]) -> pl.DataFrame:
    n = len(times)
    return pl.DataFrame({"date": times, **{name: [1.0] * n for name in ("open", "high", "low", "close", "volume")}})


@pytest.mark.parametrize("kind", ["parquet", "feather"])
@pytest.mark.parametrize(
    "time",
    [
        datetime(2024, 1, 31, 15, 30, tzinfo=UTC),
        datetime(2024, 1, 31, 15, 30),  # noqa: DTZ001 - naive on purpose
        1_706_715_000,
        "2024-01-31 15:30",
    ],
)
def test_columnar_files_carry_times_of_any_type(tmp_path: Path, kind: str, time: object):
    path = tmp_path / f"prices.{kind}"
    table = frame([time])
    if kind == "parquet":
        table.write_parquet(path)
    else:
        table.write_ipc(path)
    got = source(path).read()
    assert (got.ts[0], got.row[0]) == (np.datetime64("2024-01-31T15:30", "us"), 1)


def test_zones_units_and_dates_of_columnar_files_become_utc_microseconds():
    paris = frame([datetime(2024, 1, 31, 15, 30)]).with_columns(  # noqa: DTZ001
        pl.col("date").cast(pl.Datetime("ns")).dt.replace_time_zone("Europe/Paris")
    )
    assert table_from_frame("X", "1m", paris).ts[0] == np.datetime64("2024-01-31T14:30", "us")
    assert table_from_frame("X", "1d", frame([date(2024, 1, 31)])).ts[0] == np.datetime64("2024-01-31", "us")


def test_missing_values_and_odd_types_of_columnar_files_are_named():
    gone = frame([1_706_715_000, 1_706_715_060]).with_columns(close=pl.Series([1.0, None]))
    with pytest.raises(DataError, match="X row 2, column close: expected a number, was empty"):
        table_from_frame("X", "1m", gone)
    with pytest.raises(DataError, match=r"X row 1, column date: expected a time .*, was 1.5"):
        table_from_frame("X", "1m", frame([1.5]))
    with pytest.raises(DataError, match=r"X row 1, column date: expected a time .*, was empty"):
        table_from_frame("X", "1m", frame([None]).with_columns(date=pl.lit(None, pl.Datetime)))


def test_frames_come_together_on_their_union_timeline():
    frames = {symbol: sample_data.load(symbol, "1d") for symbol in ("AAPL", "FB", "GOOG")}
    bars = union([table_from_frame(symbol, "1d", each) for symbol, each in frames.items()], "1d")
    assert (bars.symbols, bars.n_bars) == (("AAPL", "FB", "GOOG"), 3270)
    own = ~np.isnan(bars.close)
    assert own.sum(axis=0).tolist() == [3270, 196, 2148]
    np.testing.assert_array_equal(bars.volume[own[:, 1], 1], frames["FB"]["volume"].to_numpy())
    assert np.all(np.diff(bars.ts) > np.timedelta64(0, "us"))


def test_a_real_feather_file_is_read_whole():
    path = needs("crypto", "binance_spot", "BTC_USDT-15m.feather")
    got = source(path, "15m", times="open").read()
    assert str(got.ts[0])[:16] == "2025-05-20T00:15"
