"""`manage.py mode`: which books trade how, and moving one to another mode."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from django.core.management.base import CommandError, CommandParser

from helios.console import Console, Table
from helios.plain_command import PlainCommand, actor, add_reason
from helios.system_checks import OF_SETTINGS
from trading.books import write
from trading.books.accounting import amount, written
from trading.books.read import as_shown, currency, shown_state
from trading.enums import TradingState
from trading.models import Book

COLUMNS = ("book", "mode", "trading_state", "timeframe", "symbols", "cash")
STATES = {"halt": TradingState.HALTED, "reduce": TradingState.REDUCING, "resume": TradingState.ACTIVE}


class Command(PlainCommand):
    help = "Show the trading mode of every book, or change one; every change is kept in its history."
    requires_system_checks = OF_SETTINGS
    subject = "book"
    actions = (*Book.Mode.values, "start", "stop", *STATES)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("to", nargs="?", choices=self.actions, help="what to change it to")
        parser.add_argument("--book", help="the book to change")
        add_reason(parser)
        parser.add_argument("--confirm", action="store_true", help="the second key for live trading")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, **options: Any) -> None:
        if options["to"]:
            self._change(options)
        books = as_shown(Book.objects.filter(name=options["book"]) if options["to"] else Book.objects.all())
        rows = [_row(book) for book in books]
        if options["json"]:
            self.stdout.write(json.dumps({"books": rows}))
            return
        if options["to"]:
            (row,) = rows
            more = (
                ", a cycle still runs"
                if options["to"] == "stop" and books[0].cycles.filter(status="RUNNING").exists()
                else ""
            )
            self.stdout.write(f"{row['book']} is {'stopped' if more else row['trading_state']} ({row['mode']}){more}.")
            return
        table = Table()
        for name in _shown(rows[0]) if rows else ():
            table.add_column(name, justify="right" if name == "cash" else "left")
        for row in rows:
            table.add_row(*_shown(row).values())
        Console().print(table if rows else "There is no book yet; `python manage.py replay` makes one.")

    def _change(self, options: dict[str, Any]) -> None:
        if not options["book"]:
            raise CommandError("--book must name the book to change, it was not given")
        if options["to"] in {"start", "stop"}:
            write.set_active(
                options["book"],
                active=options["to"] == "start",
                actor=actor(),
                reason=options["reason"],
            )
        elif options["to"] in STATES:
            write.set_state(options["book"], STATES[options["to"]], actor=actor(), reason=options["reason"])
        else:
            write.set_mode(
                options["book"],
                options["to"],
                actor=actor(),
                reason=options["reason"],
                confirmed=options["confirm"],
            )


def _row(book: Book) -> dict[str, Any]:
    return {
        "book": book.name,
        "mode": book.mode,
        "active": book.active,
        "state": book.state,
        "trading_state": shown_state(book),
        "timeframe": book.timeframe,
        "symbols": book.symbols,
        "currency": currency(book) or None,
        "cash": written(book.cash),
    }


def _shown(row: dict[str, Any]) -> dict[str, str]:
    """The row for people: the amount says its currency."""
    cash = amount(Decimal(row["cash"]), row["currency"] or "")
    shown = row | {"symbols": ", ".join(row["symbols"]), "cash": cash}
    return {name.replace("_", " "): shown[name] for name in COLUMNS}
