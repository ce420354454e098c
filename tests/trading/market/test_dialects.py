"""Files as people have them are read as what they say, or refused with the option that would settle them."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios.errors import DataError
from trading.market.bars import FIELDS, BarTable
from trading.market.feeds import typed_process
from trading.market.feeds.file_text import MAX_BYTES, MAX_COLUMNS, MAX_ROWS, MAX_VALUES, MAX_ZIPPED
from trading.market.feeds.files import FileSource

NAMES = "Date,Open,High,Low,Close,Volume"
PLAIN = f"{NAMES}\n2024-01-02,1.5,2,1,1.5,1234\n2024-01-03,1.5,2.25,1,2,5678\n"
MANY = st.floats(1e-9, 1e9).map(lambda value: float(f"{value:.6g}"))
FORMS = {
    "iso": "%Y-%m-%d %H:%M:%S",
    "german": "%d.%m.%Y %H:%M",
    "american": "%m/%d/%Y %H:%M",
    "british": "%d/%m/%Y %H:%M",
    "compact": "%Y%m%d %H%M%S",
}


def read(content: str | bytes, folder: Path, name: str = "prices.csv", timeframe: str = "1d", **options) -> BarTable:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return FileSource(path=path, symbol="X", timeframe=timeframe, **options).read()


def refused(content: str | bytes, folder: Path, **options) -> str:
    with pytest.raises(DataError) as caught:
        read(content, folder, **options)
    return str(caught.value)


def zipped(**members: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in members.items():
            archive.writestr(f"{name}.csv", text)
    return out.getvalue()


def number(value: float, mark: str, *, grouped: bool) -> str:
    text = f"{value:,.9f}" if grouped else f"{value:.9f}"
    return text if mark == "." else text.translate(str.maketrans(",.", ".,"))


@given(
    values=st.lists(st.tuples(*[MANY] * 5), min_size=13, max_size=20),
    separator=st.sampled_from(",;\t|"),
    mark=st.sampled_from(".,"),
    grouped=st.booleans(),
    quoted=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
    form=st.sampled_from([*FORMS]),
    descending=st.booleans(),
    repeated=st.booleans(),
)
def test_a_table_of_bars_in_any_dialect_reads_back_equal(
    tmp_path_factory, *, values, separator, mark, grouped, quoted, encoding, ending, form, descending, repeated
):
    quoted |= separator == "," and (mark == "," or grouped)
    days = np.datetime64("2024-01-01", "us") + np.arange(len(values)) * np.timedelta64(86_400 + 3_600, "s")
    rows = [
        [ts.item().strftime(FORMS[form]), *(number(value, mark, grouped=grouped) for value in row)]
        for ts, row in zip(days, values, strict=True)
    ]
    header = ["Date", "Open", "High", "Low", "Close", "Volume"]
    lines = [header, *(rows[::-1] if descending else rows)]
    lines[4:4] = [header] * repeated
    text = ending.join(separator.join(f'"{cell}"' if quoted else cell for cell in line) for line in lines)
    got = read((text + ending).encode(encoding), tmp_path_factory.getbasetemp(), timeframe="1h")
    order = np.argsort(got.ts)
    assert np.array_equal(got.ts[order], days)
    for column, name in enumerate(FIELDS):
        expected = [float(f"{row[column]:.9f}") for row in values]
        np.testing.assert_allclose(getattr(got, name)[order], expected, rtol=1e-15)


def closes(table: BarTable) -> list[float]:
    return table.close.tolist()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("prices.csv.gz", gzip.compress(PLAIN.encode(), mtime=0)),
        ("prices.zip", zipped(prices=PLAIN)),
        ("prices.csv.zip", zipped(**{"__MACOSX/prices": "junk", "prices": PLAIN})),
        ("prices.tsv", PLAIN.replace(",", "\t")),
        ("prices.txt", PLAIN.replace(",", ";").replace(".", ",")),
        ("prices.csv", f"https://www.example.org/download\n{PLAIN}"),
        ("prices.csv", f"Prices of X\u2028 to\fday\r\n\r\n{PLAIN}"),
        ("prices.csv", PLAIN.replace("Date,Open,High,Low,Close,Volume", "<DATE>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>")),
        ("prices.csv", PLAIN.encode("utf-16-le")),
        ("prices.csv", PLAIN.replace("1.5,1234", "$1.5,1 234")),
        ("prices.csv", PLAIN.replace("1.5,1234", '1.5,"1,234"')),
        ("prices.csv", PLAIN.replace("1234\n", "1234,,\n")),
    ],
)
def test_packed_named_and_written_otherwise_a_file_says_the_same(tmp_path: Path, name: str, content: str | bytes):
    got = read(content, tmp_path, name)
    assert (closes(got), got.volume.tolist()) == ([1.5, 2.0], [1234.0, 5678.0])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (zipped(a=PLAIN, b=PLAIN), "prices.zip must hold one file, holds 2: 'a.csv', 'b.csv'"),
        (zipped(), "prices.zip must hold one file, holds 0: nothing"),
        (b"PK no archive", "prices.zip must be a readable zip, was not: File is not a zip file"),
    ],
)
def test_an_archive_of_anything_but_one_file_is_refused(tmp_path: Path, content: bytes, sentence: str):
    assert refused(content, tmp_path, name="prices.zip") == sentence


def packed(name: str) -> bytes:
    """Little that unpacks to more rows or values than are read."""
    if name.endswith(".parquet"):
        out = io.BytesIO()
        pl.DataFrame({"ts": pl.repeat(0, MAX_ROWS + 1, eager=True)}).write_parquet(out)
        return out.getvalue()
    n_columns = MAX_COLUMNS if name.startswith("wide") else 6
    header = NAMES + "," * (n_columns - 6)
    return gzip.compress((header + "\n" * (MAX_VALUES // n_columns + 1)).encode(), mtime=0)


@pytest.mark.parametrize(
    ("name", "had"),
    [
        ("prices.csv.gz", "13,333,334 rows of 6"),
        ("wide.csv.gz", "80,001 rows of 1,000"),
        ("prices.parquet", "8,000,001 rows of 1"),
    ],
)
def test_a_file_that_unpacks_to_more_than_memory_holds_is_to_be_imported_in_parts(tmp_path, name, had):
    most = "must have 8,000,000 rows and 80,000,000 values at most"
    assert refused(packed(name), tmp_path, name=name) == f"{name} {most}, had {had}; import it in parts"


@pytest.mark.parametrize(("kind", "n_more"), [("csv", MAX_COLUMNS), ("csv", 200_000), ("parquet", MAX_COLUMNS)])
def test_a_file_of_more_columns_than_a_table_has_is_refused(tmp_path: Path, kind: str, n_more: int):
    more = [f"c{n}" for n in range(n_more)]
    header = ",".join([NAMES, *more])
    content = typed(kind, **dict.fromkeys(more, pl.lit(0))) if kind != "csv" else PLAIN.replace(NAMES, header)
    most = "must have 1,000 columns at most, had more"
    assert refused(content, tmp_path, name=f"prices.{kind}") == f"prices.{kind} {most}"
    assert refused(PLAIN.rstrip() + "," * (n_more + 1), tmp_path) == f"prices.csv {most}"
    of_lines = '"\n"' + ",,,,,,," * 20  # in one row, however many lines it has
    assert refused(PLAIN + of_lines * (n_more // 100), tmp_path) == f"prices.csv {most}"


@pytest.mark.parametrize(("name", "most"), [("prices.csv", MAX_BYTES), ("prices.zip", MAX_ZIPPED)])
def test_a_file_of_more_bytes_than_memory_holds_is_to_be_imported_in_parts(tmp_path, name, most):
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(most + 1)
    with pytest.raises(DataError, match=rf"must be of {most >> 20} MiB at most, was larger; import it in parts"):
        FileSource(path=path, symbol="X", timeframe="1d").read()


def typed(kind: str, **columns: object) -> bytes:
    """Two bars as a typed file, with more columns."""
    out = io.BytesIO()
    frame = pl.read_csv(io.StringIO(PLAIN)).with_columns(**columns)
    frame.write_parquet(out) if kind == "parquet" else frame.write_ipc(out, compression="zstd")
    return out.getvalue()


@pytest.fixture
def little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that reads typed files has a twentieth of its memory."""
    script = tmp_path / "typed_process.py"
    source = Path(typed_process.__file__).read_text()
    script.write_text(source.replace("MEMORY: Final = 3 * 2**30", "MEMORY: Final = 150 * 2**20"))
    monkeypatch.setattr(typed_process, "__file__", str(script))


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("kind", ["parquet", "feather"])
def test_lists_structures_and_bytes_are_left_packed(tmp_path: Path, kind: str):
    zeros = pl.zeros(2**25, pl.Int64, eager=True).implode()
    lists = pl.concat([zeros, pl.Series([[0]], dtype=pl.List(pl.Int64))])
    content = typed(kind, lists=lists, structs=pl.struct(a=lists), bytes=pl.lit(b"0"))
    assert len(content) < 2**20
    assert read(content, tmp_path, name=f"prices.{kind}").close.tolist() == [1.5, 2.0]
    only = io.BytesIO()
    pl.DataFrame({"lists": [[0]]}).write_parquet(only)
    said = refused(only.getvalue(), tmp_path, name="prices.parquet")
    assert said == "prices.parquet must have columns of times, numbers or text, had none"


@pytest.mark.parametrize("kind", ["parquet", "feather"])
def test_a_column_of_lists_that_a_bar_needs_is_named(tmp_path: Path, kind: str):
    said = refused(typed(kind, Open=pl.concat_list("Open"), Close=pl.struct("Close")), tmp_path, name=f"prices.{kind}")
    assert said == (
        f"prices.{kind} must have column open, close; it has Date, High, Low, Volume; Open, Close, of lists, "
        "structures, durations or bytes, not read"
    )
    said = refused(typed(kind, Date=pl.concat_list("Date")), tmp_path, name=f"prices.{kind}", time_column="Date")
    assert said.endswith("Close, Volume; Date, of lists, structures, durations or bytes, not read")


@pytest.mark.parametrize("kind", ["parquet", "feather"])
@pytest.mark.parametrize("type_", [pl.Categorical, pl.Enum(["1", "1.5", "2", "2,250.0", "2024-01-02", "2024-01-03"])])
def test_text_of_few_words_is_text(tmp_path: Path, kind: str, type_: pl.DataType):
    columns = {
        "Date": ["2024-01-02", "2024-01-03"],
        "Open": ["1.5", "1.5"],
        "High": ["2", "2,250.0"],
        "Low": ["1", "1"],
        "Close": ["1.5", "2"],
    }
    content = typed(kind, **{name: pl.Series(values).cast(type_) for name, values in columns.items()})
    got = read(content, tmp_path, name=f"prices.{kind}")
    assert (got.open.tolist(), got.high.tolist(), got.close.tolist()) == ([1.5, 1.5], [2.0, 2250.0], [1.5, 2.0])
    assert got.ts.astype("datetime64[D]").astype(str).tolist() == ["2024-01-03", "2024-01-04"]


@pytest.mark.parametrize("kind", ["parquet", "feather"])
@pytest.mark.parametrize(
    ("date", "zone"),
    [
        (pl.Series([-(2**63) + 1, 2**63 - 1]).cast(pl.Datetime("us")), ""),
        (pl.Series([-(2**63) + 1, 2**63 - 1]).cast(pl.Datetime("ms")), "America/New_York"),
        (pl.Series([-(2**63) + 1, 2**63 - 1]).cast(pl.Datetime("us", "UTC")), ""),
        (pl.Series([-(2**31), 2**31 - 1]).cast(pl.Date), "America/New_York"),
    ],
)
def test_times_that_no_calendar_has_are_none(tmp_path: Path, kind: str, date: pl.Series, zone: str):
    said = refused(typed(kind, Date=date), tmp_path, name=f"prices.{kind}", zone=zone)
    assert said.startswith(f"prices.{kind} row 1, column Date: expected a time such as 2024-01-31 15:30:00")
    assert said.endswith("was empty, the first of 2 such rows")


@pytest.mark.parametrize("zone", ["", "America/New_York"])
def test_years_that_no_calendar_has_are_none(tmp_path: Path, zone: str):
    said = refused(PLAIN.replace("2024", "-5000"), tmp_path, zone=zone)
    assert said.startswith("prices.csv row 2, column Date: expected a time such as 2024-01-31 15:30:00")
    assert said.endswith("was '-5000-01-02', the first of 2 such rows")


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("kind", ["parquet", "feather"])
def test_a_typed_file_that_unpacks_to_more_than_memory_holds_is_to_be_imported_in_parts(tmp_path: Path, kind: str):
    texts = pl.DataFrame({"note": [f"{n}" * 2**19 for n in range(100, 300)]})
    out = io.BytesIO()
    texts.write_parquet(out) if kind == "parquet" else texts.write_ipc(out, compression="zstd")
    assert len(out.getvalue()) < 2**20
    said = refused(out.getvalue(), tmp_path, name=f"prices.{kind}")
    assert said == f"prices.{kind} must unpack to 1024 MiB at most, took more; import it in parts"


@pytest.mark.usefixtures("little_memory")
def test_a_head_that_unpacks_to_more_than_memory_holds_is_refused(tmp_path: Path):
    out = io.BytesIO()
    pl.DataFrame([pl.Series(f"{n}", [], pl.Int8) for n in range(100_000)]).write_parquet(out)
    said = refused(out.getvalue(), tmp_path, name="prices.parquet")
    assert said == "prices.parquet must unpack to 1024 MiB at most, took more; import it in parts"


def test_a_word_that_is_said_very_often_counts_as_often(tmp_path: Path):
    out = io.BytesIO()
    pl.DataFrame({"note": pl.Series(["0" * 2**20]).gather([0] * 1100)}).write_parquet(out)
    said = refused(out.getvalue(), tmp_path, name="prices.parquet")
    assert said == "prices.parquet must unpack to 1024 MiB at most, took more; import it in parts"


@pytest.mark.parametrize("name", ["prices.csv.gz", "prices.zip"])
def test_a_damaged_archive_is_refused(tmp_path: Path, name: str):
    whole = gzip.compress(PLAIN.encode(), mtime=0) if name.endswith("gz") else zipped(prices=PLAIN)
    for damaged in (whole[: len(whole) // 2], whole[:45] + b"\xff\xff\xff" + whole[48:]):
        assert refused(damaged, tmp_path, name=name).startswith(f"{name} must be a readable {name[-3:].strip('.')}")


@pytest.mark.parametrize(
    ("cells", "options", "close"),
    [
        ('1.5,2.5,1.5,"1,234",1', {}, 1234.0),
        ('"1,5","2,5","1,5","1,234",1', {}, 1.234),
        ('"1,234","1,240","1,233","1,234",1', {"decimal": "comma"}, 1.234),
        ('"1,234","1,240","1,233","1,234",1', {"decimal": "point"}, 1234.0),
        ('"1,234","1,240","1,233","1,234","1,234,567"', {}, 1234.0),
        ('"1,234","1,240","1,233","1.234","0,5"', {}, 1234.0),
        ('"12,34,567","12,34,567","12,34,567","12,34,567",1', {}, 1234567.0),
    ],
)
def test_what_a_comma_means_is_shown_by_the_other_numbers_or_said(tmp_path: Path, cells: str, options, close: float):
    assert closes(read(f"{NAMES}\n2024-01-02,{cells}\n", tmp_path, **options)) == [close]


@pytest.mark.parametrize(
    ("separator", "cell"),
    [(",", '"1,234"'), (";", "1,234"), (";", "1.234")],
)
def test_a_number_with_two_readings_is_refused_with_the_option_that_settles_it(
    tmp_path: Path, separator: str, cell: str
):
    header, row = NAMES.replace(",", separator), separator.join(["2024-01-02", *[cell] * 5])
    bare = cell.strip('"')
    assert refused(f"{header}\n{row}\n", tmp_path) == (
        "prices.csv row 2, column open: expected numbers that show what a comma and a point in them mean, was "
        f"'{bare}'; --decimal comma or --decimal point says it"
    )


@pytest.mark.parametrize(
    ("dates", "options", "first"),
    [
        (["1/2/2024", "1/13/2024"], {}, "2024-01-02"),
        (["1/2/2024", "13/2/2024"], {}, "2024-02-01"),
        (["01.02.2024"], {}, "2024-02-01"),
        (["1/2/2024"], {"dates": "mdy"}, "2024-01-02"),
        (["1-2-2024"], {"dates": "dmy"}, "2024-02-01"),
        (["02-Jan-2024"], {}, "2024-01-02"),
        (["20240102"], {}, "2024-01-02"),
        (["2024/1/2"], {}, "2024-01-02"),
    ],
)
def test_dates_are_read_in_the_order_that_they_show(tmp_path: Path, dates: list[str], options, first: str):
    got = read(
        NAMES + "".join(f"\n{date},1,1,1,1,1" for date in dates), tmp_path, timeframe="1d", times="close", **options
    )
    assert str(got.ts[0])[:10] == first


@pytest.mark.parametrize("dates", [["01/02/2024"], ["13/02/2024", "02/13/2024"]])
def test_dates_that_do_not_tell_the_day_from_the_month_are_refused(tmp_path: Path, dates: list[str]):
    body = NAMES + "".join(f"\n{date},1,1,1,1,1" for date in dates)
    assert refused(body, tmp_path) == (
        "prices.csv row 2, column Date: expected dates that tell the day from the month, was "
        f"'{dates[0]}'; --dates dmy or --dates mdy says which comes first"
    )


@pytest.mark.parametrize("cell", ["", "null", "-", "NaN", "n/a", "None", "1.2.3", "1,2,3", "12O", "1,5 %"])
def test_a_cell_without_a_number_is_named(tmp_path: Path, cell: str):
    shown = f"'{cell}'" if cell else "empty"
    assert refused(f'{NAMES}\n2024-01-02,1,1,1,1,1\n2024-01-03,1,1,1,"{cell}",1\n', tmp_path) == (
        f"prices.csv row 3, column Close: expected a number, was {shown}"
    )


def test_a_line_of_values_in_the_place_of_the_header_is_named(tmp_path: Path):
    assert refused("1704067200000,1,1,1,1,5\n", tmp_path) == (
        "prices.csv row 1: expected the names of the columns (a time (ts, timestamp, datetime or date), open, high, "
        "low, close, volume), was 1704067200000, 1, 1, 1, 1, 5; add a first line that names each column, as "
        "open_time,open,high,low,close,volume"
    )


def test_a_column_that_is_there_twice_is_named(tmp_path: Path):
    for twice, shown in ((f"{NAMES},close", "'Close' and 'close'"), (f"{NAMES},Close", "'Close' and 'Close'")):
        sentence = refused(f"{twice}\n2024-01-02,1,1,1,1,1,2\n", tmp_path, time_column="Date")
        assert sentence == f"prices.csv must have column close once, has it as {shown}"
