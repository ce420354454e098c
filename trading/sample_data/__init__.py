"""Real market data that comes with Helios: what there is, and how to read it. README.md tells the rest."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import polars as pl

from helios.errors import DataError

FOLDER = Path(__file__).parent
CATALOGUE = FOLDER / "catalogue.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One bundled series; `first` and `last` are UTC closes, `file` is its name in this folder."""

    symbol: str
    timeframe: str
    rows: int
    first: datetime
    last: datetime
    licence: str
    asset_class: str
    calendar: str
    file: str
    sha256: str
    source: str


@lru_cache(maxsize=1)
def catalogue() -> tuple[Dataset, ...]:
    """Every bundled series, ordered by symbol and timeframe."""
    entries = json.loads(CATALOGUE.read_text())
    return tuple(
        Dataset(
            **{
                **entry,
                "first": datetime.fromisoformat(entry["first"]),
                "last": datetime.fromisoformat(entry["last"]),
            }
        )
        for entry in entries
    )


def load(symbol: str, timeframe: str) -> pl.DataFrame:
    """One series as columns ts (datetime[us, UTC], closes), open, high, low, close, volume (float64).

    Rows are in order of time and hold no missing value; `DataError` names what there is, or a file that was changed.
    """
    for dataset in catalogue():
        if (dataset.symbol, dataset.timeframe) == (symbol, timeframe):
            content = (FOLDER / dataset.file).read_bytes()
            if (found := hashlib.sha256(content).hexdigest()) != dataset.sha256:
                raise DataError(f"{FOLDER / dataset.file} must have SHA-256 {dataset.sha256}, was {found}")
            return pl.read_parquet(io.BytesIO(content))
    there_is = ", ".join(f"{dataset.symbol} {dataset.timeframe}" for dataset in catalogue())
    raise DataError(f"sample data holds {there_is}, not {symbol} {timeframe}")


__all__ = ["Dataset", "catalogue", "load"]
