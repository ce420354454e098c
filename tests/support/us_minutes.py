"""A stock of two real days, of which one ends early: its minutes as others have them, early and late hours too."""

from __future__ import annotations

import zipfile
from datetime import datetime, timedelta

from tests.support.ingest_bars import needs
from trading.market.calendars import NEW_YORK

DAYS = ("20151223", "20151224")
Row = tuple[datetime, float, float, float, float, float]


def goog_minutes(*days: str) -> list[Row]:
    """The bars by their beginnings; prices are written in hundredths of a cent."""
    rows = []
    for day in days or DAYS:
        with zipfile.ZipFile(needs("equity", "minute", "goog", f"{day}_trade.zip")) as file:
            lines = file.read(file.namelist()[0]).decode().split()
        midnight = datetime.strptime(day, "%Y%m%d").replace(tzinfo=NEW_YORK)
        for line in lines:
            ms, *prices, volume = line.split(",")
            figures = [int(price) / 10_000 for price in prices]
            rows.append((midnight + timedelta(milliseconds=int(ms)), *figures, float(volume)))
    return rows
