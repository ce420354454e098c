"""`manage.py download_data`: bars of a venue, or its public trades, into their tables."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from rich.progress import Progress

from helios.console import Console
from helios.env import get_env
from helios.errors import DataError
from helios.plain_command import PlainCommand
from helios.progress import progress_of, telling
from helios.redaction import printable
from helios.system_checks import OF_SETTINGS
from tiers.ingest.bar_problems import Problem
from tiers.ingest.jumps import warnings
from tiers.live.feed import wanted
from tiers.live.feed.repair import fetch, last_minute
from tiers.live.feed.trade_download import FetchedTrades, fetch_trades
from trading.enums import Timeframe
from trading.market import write as market
from trading.market.calendars import LONGEST_CLOSURE
from trading.market.gaps import Gap
from trading.market.read import bar_range, last_close, last_trade
from trading.venues.base import MarketData, Pair
from trading.venues.registry import market_data

Range = tuple[datetime | None, datetime | None]
Span = tuple[datetime, datetime]
DAYS = 30
MINUTE = timedelta(minutes=1)
# Of a symbol, in one transaction: an interrupted download goes on there.
AT_ONCE = {Timeframe.M1: timedelta(days=1), Timeframe.D1: timedelta(days=1_000)}
STORED = ("inserted", "corrected", "unchanged")
UNSETTLED = timedelta(hours=1)


class Command(PlainCommand):
    help = (
        "Fetch bars of a minute, or days, from a venue; of minutes, 5m, 15m and 1h are made and stored too. "
        "Or its public trades."
    )
    requires_system_checks = OF_SETTINGS

    def add_arguments(self, parser: ArgumentParser) -> None:
        days = "so many days back; default: since the last stored bar or trade, or 30"
        wanted.add_options(parser, days=days, required=True, help="such as BTC/ZAR or AAPL")
        parser.add_argument(
            "-t",
            "--timeframes",
            nargs="+",
            choices=list(Timeframe),
            default=[Timeframe.M1.value],
            metavar="TIMEFRAME",
            help="1d asks for days; any other for minutes, of which all of 1m, 5m, 15m and 1h come; default: 1m",
        )
        parser.add_argument("--dl-trades", action="store_true", help="the public trades, one by one, instead of bars")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        what, download = ("trades", self._trades) if options["dl_trades"] else ("series", self._bars)
        if options["dl_trades"] and options["timeframes"] != [Timeframe.M1.value]:
            raise DataError("--dl-trades stores trades as they came: they have no --timeframes")
        options["time"] = wanted.time_of(options)
        with market_data(options["exchange"], get_env()) as venue:
            rows = download(venue, options, *self._wanted(venue, options))
        if options["json"]:
            self.stdout.write(json.dumps({what: rows}))
            return
        for row in rows:
            figures = ", ".join(f"{row[name]} {name}" for name in STORED if row.get(name)) or "nothing new"
            bad = (
                f"; {row['bad']} broke a rule and were left out, the first in {row['first_bad']}" if row["bad"] else ""
            )
            outside = f"; {row['outside']} outside of its market's hours left out" if row.get("outside") else ""
            silent = f"; {venue.name} tells nothing {_spans(row['silent'])}" if row.get("silent") else ""
            told = f"{figures}{outside}{bad}{silent}"
            self.stdout.write(printable(f"{row['symbol']} {row.get('timeframe', what)}: {told}"))

    def _wanted(self, venue: MarketData, options: dict[str, Any]) -> tuple[list[Pair], datetime]:
        """The pairs, and the last full minute by the venue's clock and by ours."""
        pairs = wanted.pairs(venue, wanted.names(venue, options["pairs"]), strict=True)
        return pairs, last_minute(venue, self.stderr.write)

    def _bars(
        self, venue: MarketData, options: dict[str, Any], pairs: list[Pair], now: datetime
    ) -> list[dict[str, Any]]:
        asked = sorted({Timeframe.D1 if name == Timeframe.D1 else Timeframe.M1 for name in options["timeframes"]})
        spans = [
            (pair, name, *_span(_newest(pair, name, venue.settled_s), options["time"], now))
            for pair in pairs
            for name in asked
        ]
        found: dict[tuple[str, str], _Row] = {}
        with progress_of(Console(stderr=True), quiet=options["json"]) as bar:
            tell = telling(bar, quiet=options["json"])
            for pair, timeframe, after, until in spans:
                base = found.setdefault((pair.symbol, timeframe.value), _Row())
                for start, end in _parts(bar, f"{pair.symbol} {timeframe}", (after, until), AT_ONCE[timeframe]):
                    part = fetch(venue, pair, start, end, now=now, timeframe=timeframe)
                    tell(f"{pair.symbol} {timeframe}: up to {end:%Y-%m-%d %H:%M}, of {until:%Y-%m-%d %H:%M}")
                    base.outside += part.outside
                    base.bad += part.bad
                    base.silent += [part.silent] if part.silent is not None else []
                    for key, result in part.stored.items():
                        found.setdefault(key, _Row()).result += result
        for pair, timeframe, after, until in spans:
            if found[pair.symbol, timeframe.value].result != market.UpsertResult():
                for sentence in warnings(bar_range([pair.symbol], timeframe, after - LONGEST_CLOSURE, until)):
                    self.stderr.write(printable(sentence))
        return [{"symbol": symbol, "timeframe": name, **row.figures()} for (symbol, name), row in found.items()]

    def _trades(
        self, venue: MarketData, options: dict[str, Any], pairs: list[Pair], now: datetime
    ) -> list[dict[str, Any]]:
        rows, settled = [], timedelta(seconds=venue.settled_s)
        with progress_of(Console(stderr=True), quiet=options["json"]) as bar:
            tell = telling(bar, quiet=options["json"])
            for pair in pairs:
                newest = last_trade(pair.symbol)  # what was traded before it may have come to be known after it
                span = _span(newest and newest - settled, options["time"], now)
                found = FetchedTrades()
                for start, end in _parts(bar, f"{pair.symbol} trades", span, AT_ONCE[Timeframe.M1]):
                    counted = _counting(tell, f"{pair.symbol}, time to {end:%Y-%m-%d %H:%M}")
                    found += fetch_trades(venue, pair, start, end, told=counted)
                figures = {"inserted": found.inserted, "unchanged": found.unchanged, **_bad(found.bad)}
                rows.append({"symbol": pair.symbol, **figures})
        return rows


def _counting(tell: Callable[[str], None], of: str) -> Callable[[int], None]:
    return lambda n_trades: tell(f"{of}: {n_trades:,} trades so far")


@dataclass(slots=True)
class _Row:
    """What became of the bars of one series; those outside of the market's hours and bad ones were left out.

    `silent` are the times of which the venue told nothing, which are noted as gaps.
    """

    result: market.UpsertResult = field(default_factory=market.UpsertResult)
    outside: int = 0
    bad: list[Problem] = field(default_factory=list)
    silent: list[Gap] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        stored = {name: getattr(self.result, name) for name in STORED}
        silent: list[list[str]] = []
        for gap in self.silent:
            after, until = gap.after.isoformat(), gap.until.isoformat()
            if silent and silent[-1][1] == after:
                silent[-1][1] = until
            else:
                silent.append([after, until])
        return {**stored, "outside": self.outside, **_bad(self.bad), "silent": silent}


def _bad(problems: Sequence[Problem]) -> dict[str, Any]:
    return {"bad": len(problems), "first_bad": str(problems[0]) if problems else ""}


def _spans(silent: list[list[str]]) -> str:
    """The first of them in words, and how many more there are."""
    after, until = (moment[:16].replace("T", " ") for moment in silent[0])
    more = f", nor of {len(silent) - 1} more times" if silent[1:] else ""
    return f"of {after} to {until} UTC{more}, which is noted as a gap"


def _newest(pair: Pair, timeframe: Timeframe, settled_s: float) -> datetime | None:
    """The last stored close; before it, where a minute without a trade may not have been known to have none then.

    And before the last day, which venues correct for a while.
    """
    newest = last_close(pair.symbol, timeframe)
    back_s = max(settled_s, 3_600.0 if timeframe == Timeframe.D1 else 0.0)
    return newest and newest - timedelta(seconds=back_s)


def _span(newest: datetime | None, asked: Range, now: datetime) -> Span:
    """The time, (after, until], whose bars are asked for: from a full hour, so that no higher bar is made of a part."""
    after, last = asked
    if after is None and last is None:
        after = newest
    if after is None:
        after = (last or now) - timedelta(days=DAYS)
    return after.replace(minute=0, second=0, microsecond=0), min(last or now, now)


def _parts(bar: Progress, what: str, span: Span, step: timedelta) -> Iterator[Span]:
    """The parts of a span, of which the bar tells when they are done."""
    after, until = span
    task = bar.add_task(what, total=(until - after) / MINUTE)
    while after < until:
        end = min(after + step, until)
        if until - end < UNSETTLED:  # else a minute before the seam may be known behind it only, and no hour hold it
            end = until
        yield after, end
        bar.advance(task, (end - after) / MINUTE)
        after = end
