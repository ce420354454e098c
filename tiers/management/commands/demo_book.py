"""`manage.py demo_book`: a paper book that beat moves through the bundled history, one bar a tick."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.db import transaction

from helios.plain_command import PlainCommand
from helios.system_checks import OF_SETTINGS
from tiers.live import inference, replay
from trading.books import write as books
from trading.books.read import last_bar
from trading.market import instruments, timeline
from trading.models import Book

NAME = "demo"


class Command(PlainCommand):
    help = (
        "Make the demo book, or the next one where it has ended; its bars begin where the model's training data ends."
    )
    requires_system_checks = OF_SETTINGS

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--symbols", default="AAPL,GOOG,IBM,MSFT", help="comma-separated")
        parser.add_argument("--timeframe", default="1d")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        book, created = self._book(instruments.listed(options["symbols"]), options["timeframe"])
        result = {"book": book and book.name, "created": created, "active": bool(book and book.active)}
        said = "No demo book: the model in service was trained on all bars of its symbols that are stored."
        if book is not None:
            said = f"Book {book.name} is {'active' if book.active else 'stopped'}."
        self.stdout.write(json.dumps(result) if options["json"] else said)

    def _book(self, wanted: tuple[str, ...], timeframe: str) -> tuple[Book | None, bool]:
        """The demo book that has bars left, or the next one; None where the model has seen all bars."""
        mine = Book.objects.filter(name__startswith=f"{NAME}-")
        newest = mine.first()
        if newest is not None and self._bars_left(newest):
            return newest, False  # who stopped it means it to stay so
        trained_to = inference.model_for(
            Book(name=NAME, timeframe=timeframe, symbols=list(wanted)), inference.features_in_use(timeframe)
        ).trained_to
        later = [ts for ts in timeline.bar_times(wanted, timeframe) if ts > trained_to]
        if not later:
            return None, False
        plan = replay.prepare(
            symbols=wanted,
            timeframe=timeframe,
            n_bars=len(later),
            first=later[0],
            cash=None,
            name=f"{NAME}-{mine.count() + 1}",
            auto_trading=True,
        )
        with transaction.atomic():
            book = books.add_book(plan.book)
            return books.set_active(book.name, active=True, actor="demo_book", reason="first start"), True

    def _bars_left(self, book: Book) -> bool:
        last = last_bar(book)
        return book.replay_until is None or last is None or last < book.replay_until
