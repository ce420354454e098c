"""What a stream has missed, asked for by request and stored as any download is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from tiers.ingest.minutes import SECOND, Row
from tiers.ingest.prepare import prepare
from tiers.live.bar_storage import series_of, stored_beside
from tiers.live.feed import recorder
from trading.market import write as market
from trading.market.bars import FIELDS, Bars, concatenated
from trading.market.calendars import calendar
from trading.market.lots import USUAL_CALENDARS
from trading.venues.base import MarketData, Pair

SETTLED: Final = timedelta(minutes=10)  # what the venue does not speak of for so long had no trade
Results = dict[tuple[str, str], market.UpsertResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What was stored, the bars by close in microseconds, and up to where all of them are known."""

    stored: Results
    outside: int = 0  # bars of hours in which the market is closed, which are left out
    rows: dict[int, Row]
    until: datetime


def fetch(
    venue: MarketData, pair: Pair, after: datetime, until: datetime, *, now: datetime, timeframe: str = "1m"
) -> Fetched:
    """Store the bars of (after, until] with the higher ones made of them.

    `after` is a full hour, so that no higher bar is made of a part. The newest minutes may not have reached the venue's
    answers yet: known is what it spoke of, and what is long over. Raises: as the venue's requests.
    """
    told = list(venue.bars(pair, timeframe, after, until))
    settled = (now - SETTLED).replace(second=0, microsecond=0)
    spoken = max((close for _, close in told if close is not None), default=after)
    known = max(spoken, min(until, settled))
    hours = calendar(USUAL_CALENDARS[pair.asset_class])
    tables = [table.take(hours.has_close(timeframe, table.ts)) if hours.closes else table for table, _ in told]
    outside = sum(table.n_rows for table, _ in told) - sum(table.n_rows for table in tables)
    tables = [table for table in tables if table.n_rows]
    if not tables:
        return Fetched(stored={}, outside=outside, rows={}, until=known)
    prepared = prepare(
        concatenated(tables),
        hours.name,
        source=pair.symbol,
        not_after=until,
        traded=(after, known),
    )
    series = series_of(prepared, pair.asset_class, venue.source(pair), lot=pair.lot)
    with transaction.atomic():
        market.lock_bars([series.batches[0]])
        stored = market.import_series([stored_beside(series, prepared)[0]])
    return Fetched(stored=stored, outside=outside, rows=_rows(prepared.batches[0]), until=known)


def repair(venue: MarketData, pair: Pair, after: int, until: int, *, now: int) -> tuple[dict[int, Row], int]:
    """The minutes of (after, until], in microseconds, and up to where they are known; stored, and noted so."""
    first = recorder.moment(after).replace(minute=0, second=0, microsecond=0)
    found = fetch(venue, pair, first, recorder.moment(until), now=recorder.moment(now))
    known = max(after, int(found.until.timestamp()) * SECOND)
    recorder.cover({pair.symbol: known})
    return found.rows, known


def back(now: datetime, days: float) -> datetime:
    """The full hour so many days ago."""
    return (now - timedelta(days=days)).replace(minute=0, second=0, microsecond=0)


def _rows(bars: Bars) -> dict[int, Row]:
    columns = [getattr(bars, name)[:, 0].tolist() for name in FIELDS]
    return dict(zip(bars.ts.astype("datetime64[us]").astype(int).tolist(), zip(*columns, strict=True), strict=True))
