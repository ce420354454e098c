"""`manage.py run_cycle`: one bar of one book through the chain, and what each tier said."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError
from rich.table import Table

from helios.console import Console
from helios.errors import Rejected
from helios.plain_command import PlainCommand
from helios.system_checks import OF_SETTINGS
from tiers.live import chain, replay, schedule
from trading.books.read import get_book
from trading.market.feeds import read as feeds
from trading.models import LedgerEntry, PipelineCycle


class Command(PlainCommand):
    help = "Run one cycle of a book: the next bar that is due, or the one given with --bar."
    requires_system_checks = OF_SETTINGS

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--book", required=True)
        parser.add_argument("--bar", help="close of the bar in UTC, ISO 8601")
        parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait for the cycle")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        book = get_book(options["book"])
        bar_ts = _moment(options["bar"]) if options["bar"] else schedule.due_bar(book)
        if bar_ts is None:
            raise Rejected(f"book {book.name!r} has no bar that is due")
        replay.check_timeout(options["timeout"])
        if not any(table.n_rows for table in feeds.rows(book, bar_ts, bar_ts)):
            raise Rejected(f"book {book.name!r} has no bar at {bar_ts.isoformat()}")
        replay.require_workers()
        cycle = chain.start(book, bar_ts) or PipelineCycle.objects.filter(book=book, bar_ts=bar_ts).first()
        if cycle is None:
            raise Rejected(f"book {book.name!r} is at another bar already, {bar_ts.isoformat()} cannot be started")
        result = _trace(replay.wait_for(cycle.pk, timeout_s=options["timeout"]))
        if options["json"]:
            self.stdout.write(json.dumps(result))
        else:
            _show(result)
        if result["status"] == "FAILED":
            raise CommandError(f"cycle {result['cycle']} failed: {result['reason']}")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"--bar must be a time in ISO 8601, was {text!r}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _trace(cycle: PipelineCycle) -> dict[str, Any]:
    said = dict(LedgerEntry.objects.filter(cycle=cycle).values_list("kind", "payload"))
    stages = [
        {
            "stage": run.stage,
            "duration_ms": round(run.duration_ms, 3),
            "fallback": run.fallback,
            "reason": run.reason,
            "said": said.get(run.stage, {}),
        }
        for run in cycle.stage_runs.all()
    ]
    return {
        "cycle": cycle.pk,
        "book": cycle.book.name,
        "bar_ts": cycle.bar_ts.isoformat(),
        "status": cycle.status,
        "reason": cycle.reason,
        "stages": stages,
    }


def _show(result: dict[str, Any]) -> None:
    table = Table("tier", "ms", "said", title=f"Cycle {result['cycle']} of {result['book']}: {result['status']}")
    for stage in result["stages"]:
        said = {k: v for k, v in stage["said"].items() if k != "bar_ts"}
        note = f"fallback {stage['fallback']}: {stage['reason']}. " if stage["fallback"] else ""
        table.add_row(stage["stage"], f"{stage['duration_ms']:.1f}", note + json.dumps(said))
    Console().print(table)
    if result["reason"]:
        Console().print(result["reason"])
