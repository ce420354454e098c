"""Up to where all minutes of an instrument are known from its venue."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from loguru import logger

from helios.db import statements
from helios.events import record
from trading.enums import Timeframe
from trading.market import gaps
from trading.market.timeframes import TIMEFRAMES
from trading.market.timestamps import moment
from trading.market.write import lock_symbols
from trading.models import FeedCoverage, MarketOHLC

MOST_AHEAD: Final = timedelta(minutes=2)  # that a venue's clock, which is followed, may be ahead of ours
_COVER: Final = """
INSERT INTO feed_coverage AS known (symbol, until, updated_at)
SELECT *, now() FROM unnest(%s::text[], %s::timestamptz[])
ON CONFLICT (symbol) DO UPDATE SET until = greatest(known.until, excluded.until), updated_at = now() RETURNING 1
"""


def cover(until: dict[str, int]) -> None:
    """Note that all minutes of these symbols are known up to these moments; what is known once stays so."""
    symbols = sorted(until)
    statements.fetch(_COVER, [symbols, [moment(until[symbol]) for symbol in symbols]])


def covered(now: datetime, symbols: Collection[str] | None = None) -> dict[str, datetime]:
    """Up to where all is known, by symbol, of those or of all; nothing of one that knows what is still to come."""
    found = FeedCoverage.objects.filter(until__lte=now + MOST_AHEAD)
    return dict((found if symbols is None else found.filter(pk__in=symbols)).values_list("symbol", "until"))


def take_back(symbol: str, claimed: datetime, since: datetime, now: datetime | None) -> None:
    """Forget what a clock that was ahead took for over: that all minutes up to `claimed` are known. Those up to `since`
    are, as before.

    With them go the bars up to there that end after `now`, which were made of a part of their minutes; where it is
    None, as nobody is sure of it, all stay. It is told as `feed.taken_back`.
    """
    made = [each for each, length in TIMEFRAMES.items() if timedelta(seconds=length) < timedelta(days=1)]
    with transaction.atomic():
        lock_symbols([symbol])
        early = MarketOHLC.objects.filter(symbol=symbol, timeframe__in=made, bar_ts__lte=claimed)
        removed = 0 if now is None else early.filter(bar_ts__gt=now).delete()[0]
        gaps.note(symbol, Timeframe.M1, since, claimed, [])
        FeedCoverage.objects.filter(pk=symbol).update(until=since)
        data = {"claimed": claimed.isoformat(), "until": since.isoformat(), "removed": removed}
        record(kind="feed.taken_back", severity="warning", source="trading.market", subject=symbol, data=data)
    logger.bind(symbol=symbol, **data).warning("feed.taken_back")
