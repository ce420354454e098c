"""What a stream has missed, asked for by request and stored as any download is."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from tiers.ingest.minutes import Row
from tiers.ingest.prepare import prepare
from tiers.live.bar_storage import series_of, stored_beside
from tiers.live.feed import recorder
from trading.enums import AssetClass
from trading.market import write as market
from trading.market.bars import FIELDS, Bars, concatenated
from trading.market.calendars import ALWAYS_OPEN
from trading.venues.valr import market as valr
from trading.venues.valr.client import Client

Results = dict[tuple[str, str], market.UpsertResult]


def fetch(client: Client, pair: valr.Pair, after: datetime, until: datetime) -> tuple[Results, dict[int, Row]]:
    """Store the bars of (after, until] with the higher ones made of them; what was stored, and the minutes by close.

    `after` is a full hour, so that no higher bar is made of a part. Raises: as the venue's requests.
    """
    tables = [table for table in valr.minutes(client, pair, after, until) if table.n_rows]
    if not tables:
        return {}, {}
    prepared = prepare(concatenated(tables), ALWAYS_OPEN, source=pair.symbol, not_after=until, traded=(after, until))
    series = series_of(prepared, AssetClass.CRYPTO, f"{valr.VENUE.lower()}:buckets", lot=pair.lot)
    with transaction.atomic():
        market.lock_bars([series.batches[0]])
        stored = market.import_series([stored_beside(series, prepared)[0]])
    return stored, _rows(prepared.batches[0])


def repair(client: Client, pair: valr.Pair, after: int, until: int) -> dict[int, Row]:
    """The minutes of (after, until], in microseconds; stored, and noted as known."""
    first = recorder.moment(after).replace(minute=0, second=0, microsecond=0)
    _, rows = fetch(client, pair, first, recorder.moment(until))
    recorder.cover({pair.symbol: until})
    return rows


def back(now: datetime, days: float) -> datetime:
    """The full hour so many days ago."""
    return (now - timedelta(days=days)).replace(minute=0, second=0, microsecond=0)


def _rows(bars: Bars) -> dict[int, Row]:
    columns = [getattr(bars, name)[:, 0].tolist() for name in FIELDS]
    return dict(zip(bars.ts.astype("datetime64[us]").astype(int).tolist(), zip(*columns, strict=True), strict=True))
