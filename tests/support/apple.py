"""Apple as it was traded, with its splits and the dividends of two years: of the shared test data."""

from __future__ import annotations

import csv
import io
import zipfile
from datetime import date
from decimal import Decimal

import numpy as np

from tests.support.ingest_bars import needs
from tiers.contracts import Bars
from trading.enums import ActionKind
from trading.market.actions import Action
from trading.market.bars import bar_table, union
from trading.market.calendars import Calendar
from trading.market.timestamps import stamp

NEW_YORK = Calendar("XNYS")
SPLITS = {"2000-06-21": 2, "2005-02-28": 2, "2014-06-09": 7, "2020-08-31": 4}
DIVIDENDS = {
    "2012-08-09": "2.65",
    "2012-11-07": "2.65",
    "2013-02-07": "2.65",
    "2013-05-09": "3.05",
    "2013-08-08": "3.05",
    "2013-11-06": "3.05",
    "2014-02-06": "3.05",
    "2014-05-08": "3.29",
}


def action(day: str, kind: str, value: object, *, per: int = 1, symbol: str = "AAPL", before: float | None = None):
    """A split or a dividend of a stock."""
    return Action(
        symbol=symbol,
        ex_ts=NEW_YORK.begins(date.fromisoformat(day)),
        kind=ActionKind(kind),
        value=Decimal(str(value)),
        per=Decimal(per),
        close_before=before,
    )


def traded() -> Bars:
    """The daily bars, prices as they were traded; skips where the data are absent."""
    with zipfile.ZipFile(needs("equity", "daily", "aapl.zip")) as archive:
        rows = list(csv.reader(io.TextIOWrapper(archive.open(archive.namelist()[0]))))
    days = [date.fromisoformat(f"{row[0][:4]}-{row[0][4:6]}-{row[0][6:8]}") for row in rows]
    values = np.array([[float(cell) for cell in row[1:6]] for row in rows])
    ts = np.array([stamp(NEW_YORK.named_day(day)) for day in days])
    return union([bar_table("AAPL", "1d", ts, [*(values[:, :4].T / 10_000), values[:, 4]])], "1d")


def actions(bars: Bars, *, dividends: bool = True) -> tuple[Action, ...]:
    """What happened to the shares, with the closes before."""
    made = [action(day, "split", value) for day, value in SPLITS.items()]
    if dividends:
        made += [action(day, "dividend", value, before=_before(bars, day)) for day, value in DIVIDENDS.items()]
    return tuple(sorted(made, key=lambda each: each.ex_ts))


def _before(bars: Bars, day: str) -> float:
    row = int(np.searchsorted(bars.ts, stamp(NEW_YORK.begins(date.fromisoformat(day)))))
    return float(bars.close[row - 1, 0])


def factor_file() -> list[tuple[date, float, float]]:
    """Day, price factor and split factor up to that day, as QuantConnect's Lean has them."""
    rows = csv.reader(needs("equity", "factor_files", "aapl.csv").read_text().splitlines())
    return [(date.fromisoformat(f"{a[:4]}-{a[4:6]}-{a[6:]}"), float(b), float(c)) for a, b, c, *_ in rows]
