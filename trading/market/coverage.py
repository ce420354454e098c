"""Up to where all minutes of an instrument are known from its venue."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from loguru import logger

from helios.db import statements
from helios.events import record
from trading.enums import Timeframe
from trading.market import gaps
from trading.market.timestamps import moment
from trading.market.write import lock_symbols
from trading.models import FeedCoverage, MarketOHLC

EARLY: Final = timedelta(minutes=2)  # that a venue's clock, which is followed, may be ahead of ours
HALF_KNOWN: Final = timedelta(hours=1)  # of bars that a clock which was ahead took for whole
_COVER: Final = """
INSERT INTO feed_coverage AS known (symbol, until, updated_at)
SELECT *, now() FROM unnest(%s::text[], %s::timestamptz[])
ON CONFLICT (symbol) DO UPDATE SET until = greatest(known.until, excluded.until), updated_at = now() RETURNING 1
"""


def cover(until: dict[str, int]) -> None:
    """Note that all minutes of these symbols are known up to these moments; what is known once stays so."""
    symbols = sorted(until)
    statements.fetch(_COVER, [symbols, [moment(until[symbol]) for symbol in symbols]])


def covered(symbols: Collection[str] | None = None) -> dict[str, datetime]:
    """Up to where all is known, by symbol, of those or of all; nothing of one that knows what is still to come."""
    found = FeedCoverage.objects.filter(until__lte=timezone.now() + EARLY)
    return dict((found if symbols is None else found.filter(pk__in=symbols)).values_list("symbol", "until"))


def take_back(symbol: str, claimed: datetime, now: datetime | None) -> datetime | None:
    """Forget what a clock that was ahead took for over: that all minutes up to `claimed` are known.

    With them go the bars up to there that end after `now`, which were made of a part of their minutes; where it is
    None, as nobody is sure of it, all stay. It is told as `feed.taken_back`. Returns up to where all is known then,
    None where nothing is: an hour before the newest bar, for that may be half a one.
    """
    with transaction.atomic():
        lock_symbols([symbol])
        stored = MarketOHLC.objects.filter(symbol=symbol)
        removed = 0 if now is None else stored.filter(bar_ts__gt=now, bar_ts__lte=claimed).delete()[0]
        newest: datetime | None = stored.filter(timeframe=Timeframe.M1).aggregate(Max("bar_ts"))["bar_ts__max"]
        until = newest and (newest - HALF_KNOWN).replace(minute=0, second=0, microsecond=0)
        if until is None:
            FeedCoverage.objects.filter(pk=symbol).delete()
        else:
            gaps.note(symbol, Timeframe.M1, until, claimed, [])
            FeedCoverage.objects.filter(pk=symbol).update(until=until)
        data = {"until": until and until.isoformat(), "claimed": claimed.isoformat(), "removed": removed}
        record(kind="feed.taken_back", severity="warning", source="trading.market", subject=symbol, data=data)
    logger.bind(symbol=symbol, **data).warning("feed.taken_back")
    return until
