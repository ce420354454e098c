"""`manage.py download_data`: bars of a venue into the market table."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from helios.console import Console
from helios.env import get_env
from helios.errors import DataError, HeliosError
from helios.plain_command import PlainCommand
from helios.redaction import printable
from helios.system_checks import OF_SETTINGS
from tiers.live.feed import wanted
from tiers.live.feed.repair import fetch
from trading.enums import Timeframe
from trading.market import write as market
from trading.market.days import parse_range
from trading.market.read import last_close
from trading.venues.base import MarketData, Pair
from trading.venues.registry import market_data

Range = tuple[datetime | None, datetime | None]
DAYS = 30
MINUTE = timedelta(minutes=1)
AT_ONCE = timedelta(days=1)  # of a symbol, in one transaction: an interrupted download goes on there
AHEAD_S = 1.0  # a clock that differs less is right


class Command(PlainCommand):
    help = "Fetch bars of a minute from a venue, and store them with the higher timeframes that are made of them."
    requires_system_checks = OF_SETTINGS

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--exchange", choices=["valr"], default="valr", help="default: valr")
        parser.add_argument("--pairs", nargs="+", required=True, metavar="PAIR", help="such as BTC-ZAR or BTC/ZAR")
        span = parser.add_mutually_exclusive_group()
        span.add_argument("--timerange", help="20260101-20260131, either side may be left out")
        span.add_argument("--days", type=int, help="so many days back; default: since the last stored bar, or 30")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        try:
            with market_data(options["exchange"], get_env()) as venue:
                rows = self._download(venue, options)
        except HeliosError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps({"series": rows}))
            return
        for row in rows:
            figures = ", ".join(f"{row[name]} {name}" for name in ("inserted", "corrected", "unchanged") if row[name])
            self.stdout.write(printable(f"{row['symbol']} {row['timeframe']}: {figures or 'nothing new'}"))

    def _download(self, venue: MarketData, options: dict[str, Any]) -> list[dict[str, Any]]:
        names, first_last = wanted.names(venue, options["pairs"]), _range(options)
        pairs = wanted.pairs(venue, names, strict=True)
        skew_s = venue.skew_s() or 0.0
        if abs(skew_s) > AHEAD_S:
            order = "ahead of" if skew_s > 0 else "behind"
            self.stderr.write(f"{venue.name}'s clock is {abs(skew_s):.1f} s {order} this machine's")
        now = timezone.now() + timedelta(seconds=min(skew_s, 0.0))
        spans = [_span(pair, first_last, options["days"], now.replace(second=0, microsecond=0)) for pair in pairs]
        console, found = Console(stderr=True), dict[tuple[str, str], market.UpsertResult]()
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        quiet = options["json"] or not console.is_terminal
        with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
            for pair, (after, until) in zip(pairs, spans, strict=True):
                task = bar.add_task(pair.symbol, total=(until - after) / MINUTE)
                for start, end in _parts(after, until):
                    for key, result in fetch(venue, pair, start, end, now=now).stored.items():
                        found[key] = found.get(key, market.UpsertResult()) + result
                    bar.advance(task, (end - start) / MINUTE)
                found.setdefault((pair.symbol, Timeframe.M1.value), market.UpsertResult())
        return [
            {
                "symbol": symbol,
                "timeframe": timeframe,
                "inserted": result.inserted,
                "corrected": result.corrected,
                "unchanged": result.unchanged,
            }
            for (symbol, timeframe), result in found.items()
        ]


def _range(options: dict[str, Any]) -> Range:
    if options["days"] is not None and options["days"] < 1:
        raise DataError(f"--days must be 1 or more, was {options['days']}")
    return parse_range(options["timerange"])


def _span(pair: Pair, wanted: Range, days: int | None, now: datetime) -> tuple[datetime, datetime]:
    """The time, (after, until], whose bars are asked for: from a full hour, so that no higher bar is made of a part."""
    after, last = wanted
    if after is None and days is None and last is None:
        after = last_close(pair.symbol, Timeframe.M1.value)
    if after is None:
        after = (last or now) - timedelta(days=days or DAYS)
    return after.replace(minute=0, second=0, microsecond=0), min(last or now, now)


def _parts(after: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    while after < until:
        yield after, min(after + AT_ONCE, until)
        after += AT_ONCE
