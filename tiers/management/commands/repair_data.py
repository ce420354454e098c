"""`manage.py repair_data`: ask a venue for the bars that lack among stored ones, and note which it does not have."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
from django.utils import timezone

from helios.console import Console
from helios.env import get_env
from helios.plain_command import PlainCommand
from helios.progress import progress_of
from helios.redaction import printable
from helios.system_checks import OF_SETTINGS
from tiers.ingest.aggregate import bucket_close
from tiers.live.feed import wanted
from tiers.live.feed.repair import fetch
from trading import symbols
from trading.enums import Timeframe
from trading.market.bars import TimeArray
from trading.market.calendars import calendar
from trading.market.days import parse_range
from trading.market.inventory import inventory
from trading.market.lots import USUAL_CALENDARS
from trading.market.timeline import bar_times
from trading.market.timestamps import stamp, utc_times
from trading.models import MarketGap
from trading.venues.base import MarketData, Pair
from trading.venues.registry import market_data

HOUR = timedelta(hours=1)
HOURS_AT_ONCE = 24  # in one transaction
MINUTE = timedelta(minutes=1)


class Command(PlainCommand):
    help = "Find the bars that lack between the first and the last stored one, and ask their venue for them."
    requires_system_checks = OF_SETTINGS

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--exchange", default="valr", help="valr, alpaca or any of ccxt, as binance; default: valr")
        parser.add_argument("--pairs", nargs="+", metavar="PAIR", help="default: all of the venue's that are stored")
        parser.add_argument("--timerange", help="20260101-20260131, either side may be left out")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        with market_data(options["exchange"], get_env()) as venue:
            rows = self._repair(venue, options)
        if options["json"]:
            self.stdout.write(json.dumps({"series": rows}))
            return
        for row in rows:
            self.stdout.write(printable(_line(row)))
        if not rows:
            self.stdout.write(f"No bars of {options['exchange']} are stored; download_data fetches them.")

    def _repair(self, venue: MarketData, options: dict[str, Any]) -> list[dict[str, Any]]:
        stored = {one.symbol: one for one in inventory() if one.timeframe == Timeframe.M1}
        of_venue = [symbol for symbol in stored if symbols.split(symbol)[0] == venue.name]
        names = wanted.names(venue, options["pairs"]) if options["pairs"] else of_venue
        after, until = parse_range(options["timerange"])
        pairs = [pair for pair in wanted.pairs(venue, names, strict=True) if pair.symbol in stored] if names else []
        found = []
        with progress_of(Console(stderr=True), quiet=options["json"]) as bar:
            for pair in pairs:
                first, last = stored[pair.symbol].first - MINUTE, stored[pair.symbol].last
                span = max(after or first, first), min(until or last, last)
                task = bar.add_task(pair.symbol, total=1.0)
                found.append(_repaired(venue, pair, span, partial(bar.advance, task)))
        return found


def _repaired(
    venue: MarketData, pair: Pair, span: tuple[datetime, datetime], tell: Callable[[float], None]
) -> dict[str, Any]:
    """What became of the minutes that lack of one instrument."""
    before, n_repaired, now = _lacking(pair, span), 0, timezone.now()
    parts = list(_parts(_due(pair, span), before))
    for after, until in parts:
        stored = fetch(venue, pair, after, min(until, now.replace(second=0, microsecond=0)), now=now).stored
        n_repaired += stored[pair.symbol, Timeframe.M1].inserted if stored else 0
        tell(1 / len(parts))
    left = MarketGap.objects.filter(
        symbol=pair.symbol, timeframe=Timeframe.M1, until__gt=span[0], after__lt=span[1]
    ).order_by("after")
    gaps = [{"after": one.after.isoformat(), "until": one.until.isoformat(), "reason": one.reason} for one in left]
    n_left = len(_lacking(pair, span))
    return {"symbol": pair.symbol, "lacked": len(before), "repaired": n_repaired, "left": n_left, "gaps": gaps}


def _due(pair: Pair, span: tuple[datetime, datetime]) -> TimeArray:
    """The closes of the minutes in (after, until] in which the market is open."""
    return calendar(USUAL_CALENDARS[pair.asset_class]).grid(Timeframe.M1, *map(stamp, span))


def _lacking(pair: Pair, span: tuple[datetime, datetime]) -> TimeArray:
    """Those of them without a bar."""
    have = [stamp(ts) for ts in bar_times([pair.symbol], Timeframe.M1, span[0])]
    return np.setdiff1d(_due(pair, span), np.array(have, "datetime64[us]"), assume_unique=True)


def _parts(due: TimeArray, lacking: TimeArray) -> Iterator[tuple[datetime, datetime]]:
    """The hours in which minutes lack, as times (after, until]; those that follow each other together.

    Hours of which all lacks are asked for by themselves: then the venue's silence shows.
    """
    hours, n_lacking = np.unique(bucket_close(lacking, Timeframe.H1), return_counts=True)
    all_hours, n_due = np.unique(bucket_close(due, Timeframe.H1), return_counts=True)
    n_due = n_due[np.isin(all_hours, hours)]
    ends, empty = utc_times(hours), (n_lacking == n_due).tolist()
    first = 0
    for k in range(1, len(ends) + 1):
        full = k - first == HOURS_AT_ONCE
        if k == len(ends) or full or ends[k] != ends[k - 1] + HOUR or empty[k] != empty[first]:
            yield ends[first] - HOUR, ends[k - 1]
            first = k


def _line(row: dict[str, Any]) -> str:
    if not row["lacked"]:
        return f"{row['symbol']}: nothing lacks"
    line = f"{row['symbol']}: {row['lacked']} minutes without a bar, {row['repaired']} repaired"
    if not row["gaps"]:
        return f"{line}; of the others the venue knows no trade" if row["left"] else line
    first = row["gaps"][0]
    return f"{line}; {len(row['gaps'])} gaps are left, the first after {first['after'][:16]}: {first['reason']}"
