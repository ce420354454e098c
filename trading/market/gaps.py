"""What a venue was asked for and does not have: noted, until it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from trading.models import MarketGap
from trading.models.market import LONGEST_REASON


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A time, (after, until], without bars, and why."""

    after: datetime
    until: datetime
    reason: str


def note(symbol: str, timeframe: str, after: datetime, until: datetime, left: Sequence[Gap]) -> None:
    """All of (after, until] was asked for: these are the gaps that are left in it."""
    of = {"symbol": symbol, "timeframe": timeframe}
    before = MarketGap.objects.filter(**of, after__lt=until, until__gt=after)
    beside = [Gap(after=g.after, until=after, reason=g.reason) for g in before if g.after < after]
    beside += [Gap(after=until, until=g.until, reason=g.reason) for g in before if g.until > until]
    before.delete()
    rows = [MarketGap(after=g.after, until=g.until, reason=g.reason[:LONGEST_REASON], **of) for g in (*beside, *left)]
    MarketGap.objects.bulk_create(rows, ignore_conflicts=True)
