"""`manage.py cycles`: which cycles run, and ending one."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from helios.console import Console, Table
from helios.db.lengths import long_fields
from helios.plain_command import PlainCommand, actor, add_reason
from helios.system_checks import OF_SETTINGS
from trading.models import PipelineCycle
from trading.orders.cycle_end import end_for

COLUMNS = ("id", "book", "timeframe", "bar_ts", "status", "stage", "redriven", "reason")


class Command(PlainCommand):
    help = "Show the cycles that run, or end one: it sends nothing more, what may have left is asked about."
    requires_system_checks = OF_SETTINGS
    subject = "cycle"
    actions = ("end",)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", nargs="?", choices=self.actions, help="what to do to one")
        parser.add_argument("number", nargs="?", type=int, help="its number")
        add_reason(parser)
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, **options: Any) -> None:
        shown = PipelineCycle.objects.filter(status=PipelineCycle.Status.RUNNING)
        over = False
        if options["action"]:
            number, over = self._end(options)
            shown = PipelineCycle.objects.filter(pk=number)
        rows = [_row(cycle) for cycle in shown.select_related("book").defer(*long_fields(PipelineCycle)).order_by("pk")]
        if options["json"]:
            self.stdout.write(json.dumps({"cycles": rows}))
            return
        if over:
            return
        table = Table(*COLUMNS)
        for row in rows:
            table.add_row(*map(str, row.values()))
        Console().print(table if rows else "No cycle runs.")

    def _end(self, options: dict[str, Any]) -> tuple[int, bool]:
        """The number of the cycle, and whether it was over already."""
        number = options["number"]
        if number is None:
            raise CommandError("the number of the cycle to end must be given, was not")
        over = PipelineCycle.objects.filter(pk=number).exclude(status=PipelineCycle.Status.RUNNING).exists()
        cycle = end_for(number, actor=actor(), reason=options["reason"])
        if over:
            self.stderr.write(f"Cycle {number} was {cycle.status} already: nothing was done.")
        return cycle.pk, over


def _row(cycle: PipelineCycle) -> dict[str, Any]:
    return {name: getattr(cycle, name) for name in COLUMNS} | {
        "book": cycle.book.name,
        "bar_ts": cycle.bar_ts.isoformat(),
    }
