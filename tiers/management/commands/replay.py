"""`manage.py replay`: bars through the real Celery chain, on a paper book of its own."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from contextlib import nullcontext
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import CommandError
from django.db import transaction
from rich.table import Table

from helios.console import Console
from helios.errors import DataError
from helios.plain_command import PlainCommand, json_object
from helios.progress import progress_of
from helios.redaction import printable
from helios.stack.workers import running_workers
from helios.system_checks import OF_SETTINGS
from tiers.live import replay
from trading.books import write as books
from trading.books.accounting import amount
from trading.market import instruments
from trading.market.days import first_close
from trading.models import Feed


class Command(PlainCommand):
    help = "Replay stored bars through the seven tiers as Celery tasks; fills are paper fills."
    requires_system_checks = OF_SETTINGS

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--symbols", default="AAPL,GOOG,IBM,MSFT", help="comma-separated")
        parser.add_argument("--timeframe", default="1d")
        parser.add_argument("--bars", type=int, default=60, help="how many bars to decide on")
        parser.add_argument("--from", dest="first", help="first day, YYYYMMDD; default: the last bars there are")
        parser.add_argument("--cash", help="money at the start")
        parser.add_argument("--name", help="name of the new book")
        parser.add_argument("--resume", metavar="BOOK", help="go on with the book of a replay that was interrupted")
        parser.add_argument("--source", default="table", help="table, or the same bars in sample or file:PATH")
        parser.add_argument(
            "--params", default="{}", help='of the tiers, as JSON: {"execute": {"max_notional": "5000000"}}'
        )
        parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait for one cycle")
        parser.add_argument("--workers", action="store_true", help="start workers for this replay only")
        parser.add_argument("--continuous", action="store_true", help="leave the bars to beat, and return")
        parser.add_argument("--no-auto-trading", action="store_true", help="decide and record, send nothing")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        result = self._replay(options)
        self.stdout.write(json.dumps(result) if options["json"] else "")
        if not options["json"] and "cycles" in result:
            show(result)
        if result.get("cycles", {}).get("failed"):
            raise CommandError(f"{result['cycles']['failed']} cycles failed; see them in the admin under Cycles")

    def _replay(self, options: dict[str, Any]) -> dict[str, Any]:
        replay.check_timeout(options["timeout"])
        plan = replay.resume(options["resume"]) if options["resume"] else self._plan(options)
        if options["continuous"]:
            with transaction.atomic():
                book = plan.book if plan.book.pk else books.add_book(plan.book)
                books.set_active(book.name, active=True, actor="replay", reason="replay --continuous")
            return {"book": book.name, "bars": len(plan.bars), "active": True}
        started = time.perf_counter()
        if not options["workers"]:
            replay.require_workers()
        try:
            with (
                running_workers() if options["workers"] else nullcontext() as workers,
                replay.stored_book(plan) as book,
                _progress(len(plan.bars)) as advance,
            ):
                ids = replay.run(
                    plan,
                    timeout_s=options["timeout"],
                    progress=lambda _: advance(),
                    idle=workers.tick if workers is not None else lambda: None,
                )
        except BaseException:
            self._say_what_stays(plan)
            raise
        return replay.summary(book.pk, ids, elapsed_s=time.perf_counter() - started)

    def _plan(self, options: dict[str, Any]) -> replay.Plan:
        return replay.prepare(
            symbols=instruments.listed(options["symbols"]),
            timeframe=options["timeframe"],
            n_bars=options["bars"],
            first=_day(options["first"]),
            cash=_money(options["cash"]),
            name=options["name"],
            feed=Feed.parse(options["source"]),
            auto_trading=not options["no_auto_trading"],
            params=json_object("--params", options["params"]),
        )

    def _say_what_stays(self, plan: replay.Plan) -> None:
        """Cycles are history and stay, so a replay that was begun can be finished; one that was not left nothing."""
        if plan.book.pk is not None:
            name = printable(plan.book.name)
            self.stderr.write(f"Book {name} stays; `manage.py replay --resume {name}` decides on its other bars.")


class _progress:  # noqa: N801 - reads as a statement
    """A bar on a terminal; on anything else a line at the first bar, each tenth and each fiftieth; on stderr."""

    def __init__(self, total: int) -> None:
        self.console = Console(stderr=True)
        self.total, self.done = total, 0
        self.bar = progress_of(self.console, counted=True)
        self.task = self.bar.add_task("replaying bars", total=total)

    def __enter__(self) -> Any:
        self.bar.start()
        return self.advance

    def advance(self) -> None:
        self.done += 1
        self.bar.advance(self.task)
        if not self.console.is_terminal and (self.done == 1 or self.done % max(1, min(50, self.total // 10)) == 0):
            self.console.print(f"replayed {self.done} of {self.total} bars")

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


def show(result: dict[str, Any]) -> None:
    """The result as two tables."""
    console, currency = Console(), result["currency"] or ""
    latency = Table("tier", "p50 ms", "p95 ms", title=f"Replay {result['book']}")
    for name, row in result["latency"].items():
        latency.add_row(name, f"{row['p50_ms']:.1f}", f"{row['p95_ms']:.1f}")
    console.print(latency)
    figures = Table("figure", "value", show_header=False)
    for label, value in (
        ("bars", f"{result['first_bar']} to {result['last_bar']}"),
        ("cycles", ", ".join(f"{n} {status}" for status, n in result["cycles"].items())),
        ("state of the book", result["state"]),
        ("orders", ", ".join(f"{n} {status}" for status, n in result["orders"].items())),
        ("fills", str(result["fills"])),
        ("fees paid", amount(Decimal(result["fees_paid"]), currency)),
        ("final equity", amount(Decimal(result["final_equity"]), currency)),
        ("return", f"{result['total_return_pct']:+.2f} %"),
        (
            "ledger",
            f"{result['ledger']['entries']} entries, {'intact' if result['ledger']['intact'] else 'BROKEN'}",
        ),
    ):
        figures.add_row(label, value)
    console.print(figures)
    if seen := result["bars_seen_in_training"]:
        console.print(
            f"In sample: {seen:,} of the book's bars are no later than the training of the model that spoke there. "
            "The figures say nothing about the future.",
            soft_wrap=True,
        )


def _day(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return first_close(text)
    except DataError:
        raise CommandError(f"--from must be a date as YYYYMMDD, was {text!r}") from None


def _money(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        money = Decimal(text)
    except InvalidOperation:
        raise CommandError(f"--cash must be an amount of money, was {text!r}") from None
    if not money.is_finite() or money <= 0:
        raise CommandError(f"--cash must be more than zero, was {text}")
    return money
