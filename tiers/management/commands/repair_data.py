"""`manage.py repair_data`: ask a venue for the bars that lack among stored ones, and note which it does not have."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
from django.core.management import CommandError

from helios.console import Console
from helios.env import get_env
from helios.errors import Transient, error_text
from helios.plain_command import PlainCommand
from helios.progress import progress_of
from helios.redaction import printable
from helios.system_checks import OF_SETTINGS
from tiers.ingest.aggregate import bucket_close
from tiers.live.feed import wanted
from tiers.live.feed.repair import fetch, last_minute
from trading import symbols
from trading.enums import Timeframe
from trading.market.bars import TimeArray
from trading.market.calendars import calendar
from trading.market.inventory import inventory
from trading.market.lots import USUAL_CALENDARS
from trading.market.timeframes import seconds
from trading.market.timeline import bar_times
from trading.market.timestamps import stamp, utc_times
from trading.models import MarketGap
from trading.venues.base import MarketData, Pair
from trading.venues.registry import market_data

Span = tuple[datetime, datetime]
WITHIN = {Timeframe.M1: Timeframe.H1, Timeframe.D1: Timeframe.D1}  # what is asked for holds all bars of such a time
AT_ONCE = 24  # of them, in one transaction


class Command(PlainCommand):
    help = "Find the bars that lack between the first and the last stored one, and ask their venue for them."
    requires_system_checks = OF_SETTINGS

    def add_arguments(self, parser: ArgumentParser) -> None:
        wanted.add_options(parser, days="only of so many days back", help="default: all of the venue's that are stored")
        parser.add_argument(
            "-t",
            "--timeframes",
            nargs="+",
            choices=[each.value for each in WITHIN],
            default=[Timeframe.M1.value],
            metavar="TIMEFRAME",
            help="1m, of which 5m, 15m and 1h come too, or 1d; default: 1m",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        options["time"] = wanted.time_of(options)
        with market_data(options["exchange"], get_env()) as venue:
            rows, failed = self._repair(venue, options)
        if options["json"]:
            self.stdout.write(json.dumps({"series": rows}))
        for row in [] if options["json"] else rows:
            self.stdout.write(printable(_line(row)))
        if failed:
            raise CommandError(f"{len(failed)} series not repaired to the end: {'; '.join(failed)}")
        if not rows and not options["json"]:
            lengths = " and ".join(options["timeframes"])
            self.stdout.write(f"No bars of {lengths} of {options['exchange']} are stored; download_data fetches them.")

    def _repair(self, venue: MarketData, options: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
        """What became of each series, and why some came to no end: an answer that is no good keeps no other one."""
        stored = {(one.symbol, one.timeframe): one for one in inventory()}
        timeframes = options["timeframes"]
        of_venue = [symbol for symbol, name in stored if name in timeframes and symbols.split(symbol)[0] == venue.name]
        names = wanted.names(venue, options["pairs"]) if options["pairs"] else [*dict.fromkeys(of_venue)]
        pairs = wanted.pairs(venue, names, strict=True) if names else []
        if not pairs:
            return [], []
        (after, until), found, failed = options["time"], list[dict[str, Any]](), list[str]()
        now = last_minute(venue, self.stderr.write)
        with progress_of(Console(stderr=True), quiet=options["json"]) as bar:
            for pair, timeframe in ((pair, name) for pair in pairs for name in timeframes):
                if (one := stored.get((pair.symbol, timeframe))) is None:
                    continue
                first = one.first - timedelta(seconds=seconds(timeframe))
                span = max(after or first, first), min(until or one.last, one.last)
                task = bar.add_task(f"{pair.symbol} {timeframe}", total=1.0)
                try:
                    found.append(_repaired(venue, pair, Timeframe(timeframe), span, now, partial(bar.advance, task)))
                except Transient as error:
                    failed.append(f"{pair.symbol} {timeframe}: {error_text(error)}")
        return found, failed


def _repaired(
    venue: MarketData, pair: Pair, timeframe: Timeframe, span: Span, now: datetime, tell: Callable[[float], None]
) -> dict[str, Any]:
    """What became of the bars that lack of one series."""
    due = calendar(USUAL_CALENDARS[pair.asset_class]).grid(timeframe, *map(stamp, span))
    before, n_repaired = _lacking(pair, timeframe, span, due), 0
    parts = list(_parts(due, before, WITHIN[timeframe]))
    for after, until in parts:
        stored = fetch(venue, pair, after, min(until, now), now=now, timeframe=timeframe).stored
        n_repaired += stored[pair.symbol, timeframe].inserted if stored else 0
        tell(1 / len(parts))
    left = MarketGap.objects.filter(symbol=pair.symbol, timeframe=timeframe, until__gt=span[0], after__lt=span[1])
    gaps = [
        {"after": one.after.isoformat(), "until": one.until.isoformat(), "reason": one.reason}
        for one in left.order_by("after")
    ]
    return {
        "symbol": pair.symbol,
        "timeframe": timeframe.value,
        "lacked": len(before),
        "repaired": n_repaired,
        "left": len(_lacking(pair, timeframe, span, due)),
        "gaps": gaps,
    }


def _lacking(pair: Pair, timeframe: Timeframe, span: Span, due: TimeArray) -> TimeArray:
    """The closes, of those that are due, without a bar."""
    have = [stamp(ts) for ts in bar_times([pair.symbol], timeframe, span[0])]
    return np.setdiff1d(due, np.array(have, "datetime64[us]"), assume_unique=True)


def _parts(due: TimeArray, lacking: TimeArray, within: Timeframe) -> Iterator[Span]:
    """The hours, or days, in which bars lack, as times (after, until]; those that follow each other together.

    Hours of which all lacks are asked for by themselves: then the venue's silence shows.
    """
    length = timedelta(seconds=seconds(within))
    holding, n_lacking = np.unique(bucket_close(lacking, within), return_counts=True)
    all_holding, n_due = np.unique(bucket_close(due, within), return_counts=True)
    n_due = n_due[np.isin(all_holding, holding)]
    ends, empty = utc_times(holding), (n_lacking == n_due).tolist()
    first = 0
    for k in range(1, len(ends) + 1):
        full = k - first == AT_ONCE
        if k == len(ends) or full or ends[k] != ends[k - 1] + length or empty[k] != empty[first]:
            yield ends[first] - length, ends[k - 1]
            first = k


def _line(row: dict[str, Any]) -> str:
    series = f"{row['symbol']} {row['timeframe']}"
    if not row["lacked"]:
        return f"{series}: nothing lacks"
    line = f"{series}: {row['lacked']} bars lack, {row['repaired']} repaired"
    if not row["gaps"]:
        return f"{line}; of the others the venue knows no trade" if row["left"] else line
    first = row["gaps"][0]
    return f"{line}; {len(row['gaps'])} gaps are left, the first after {first['after'][:16]}: {first['reason']}"
