"""`manage.py list_data`: which bars are stored, and how many splits and dividends beside them; trades, order books."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import TYPE_CHECKING, Any

from helios.plain_command import PlainCommand
from helios.redaction import printable
from helios.system_checks import OF_SETTINGS
from trading import symbols
from trading.enums import Timeframe
from trading.market.inventory import Stored, counted, inventory
from trading.models import MarketTrade, OrderBookSnapshot

if TYPE_CHECKING:  # what draws a table is loaded where a person looks at one
    from helios.console import Table

FILTERS = ("pairs", "timeframes", "exchange")
COLUMNS = ("symbol", "timeframe", "rows", "first", "last", "corrected", "actions", "gaps", "sources")

OTHERS: dict[str, type[MarketTrade | OrderBookSnapshot]] = {"trades": MarketTrade, "order_books": OrderBookSnapshot}
SELDOM = ("actions", "gaps")


class Command(PlainCommand):
    help = "Show the stored bars: symbol, timeframe, how many, from when to when, and where they came from."
    requires_system_checks = OF_SETTINGS

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "-p", "--pairs", nargs="+", metavar="PAIR", help="only these, such as BTC/ZAR or VALR:BTC-ZAR"
        )
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "-t", "--timeframes", nargs="+", choices=list(Timeframe), metavar="TIMEFRAME", help="only these"
        )
        what.add_argument("--trades", action="store_true", help="the public trades instead of bars")
        what.add_argument("--order-books", action="store_true", help="the order books instead of bars")
        parser.add_argument("--exchange", help="only what is of this venue, such as valr")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        kind = next((name for name in OTHERS if options[name]), None)
        if kind is not None:
            self._list(kind, [one for one in counted(OTHERS[kind]) if _is_of(one["symbol"], options)], options)
            return
        rows = [_row(stored) for stored in inventory() if _wanted(stored, options)]
        if options["json"]:
            self.stdout.write(json.dumps({"series": rows}))
        elif not rows and any(options[name] for name in FILTERS):
            self.stdout.write("No such bars are stored; `python manage.py list_data` shows all that are.")
        elif not rows:
            self.stdout.write("No bars are stored; `python manage.py import_data --sample` loads the bundled ones.")
        elif self.stdout.isatty():
            _show(_table(rows))
        else:
            for row in rows:
                self.stdout.write(printable(_line(row)))

    def _list(self, kind: str, rows: list[dict[str, Any]], options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps({kind: rows}))
            return
        words = kind.replace("_", " ")
        for row in rows:
            line = f"{row['symbol']}: {row['rows']} {words}, {row['first']} .. {row['last']}"
            self.stdout.write(printable(line))
        if not rows:
            self.stdout.write(f"No such {words} are stored.")


def _wanted(stored: Stored, options: dict[str, Any]) -> bool:
    timeframes = options["timeframes"]
    return _is_of(stored.symbol, options) and (not timeframes or stored.timeframe in timeframes)


def _is_of(symbol: str, options: dict[str, Any]) -> bool:
    """Whether a symbol is of the pairs and of the venue that are asked for."""
    pairs, exchange = options["pairs"], options["exchange"]
    venue, bare = symbols.split(symbol)
    return (not pairs or not {_plain(symbol), _plain(bare)}.isdisjoint(map(_plain, pairs))) and (
        not exchange or venue == exchange.upper()
    )


def _plain(name: str) -> str:
    """A pair however its two coins are divided."""
    return name.replace("-", "/")


def _row(stored: Stored) -> dict[str, Any]:
    return {
        "symbol": stored.symbol,
        "timeframe": stored.timeframe,
        "rows": stored.rows,
        "first": stored.first.isoformat(),
        "last": stored.last.isoformat(),
        "corrected": stored.corrected,
        "actions": stored.actions,
        "gaps": stored.gaps,
        "sources": list(stored.sources),
    }


def _line(row: dict[str, Any]) -> str:
    span, sources = f"{row['first']} .. {row['last']}", ", ".join(row["sources"])
    bars = f"{row['rows']} bars, {row['corrected']} corrected"
    bars += " (the admin shows what that replaced)" * bool(row["corrected"])
    bars += f", {row['actions']} splits and dividends" * bool(row["actions"])
    bars += f", {row['gaps']} gaps that its venue has not filled" * bool(row["gaps"])
    return f"{row['symbol']} {row['timeframe']}: {bars}, {span}, from {sources}"


def _show(table: Table) -> None:
    from helios.console import Console  # noqa: PLC0415 - see above

    Console().print(table)


def _table(rows: list[dict[str, Any]]) -> Table:
    from helios.console import Table  # noqa: PLC0415 - see above

    table = Table()
    columns = [name for name in COLUMNS if name not in SELDOM or any(row[name] for row in rows)]
    for name in columns:
        table.add_column(name, justify="right" if name in {"rows", "corrected", *SELDOM} else "left")
    for row in rows:
        cells = {
            **row,
            "first": row["first"][:16],
            "last": row["last"][:16],
            "sources": ", ".join(row["sources"]),
        }
        table.add_row(*(str(cells[name]) for name in columns))
    return table
