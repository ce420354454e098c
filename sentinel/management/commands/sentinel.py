"""`manage.py sentinel audit|status`: is everything as it should be?"""

from __future__ import annotations

import json
import shutil
from typing import Any, Final

from django.core.management.base import CommandParser
from rich.table import Table
from rich.text import Text

from helios.console import Console
from helios.plain_command import PlainCommand
from helios.redaction import printable
from sentinel import services
from sentinel.selectors import status

COLOURS: Final = {
    "ok": "green",
    "HEALTHY": "bold green",
    "info": "cyan",
    "skipped": "dim",
    "warning": "yellow",
    "DEGRADED": "bold yellow",
    "critical": "red",
    "CRITICAL": "bold red",
}
FAILING: Final = {"critical": {"CRITICAL"}, "warning": {"CRITICAL", "DEGRADED"}}
PLAIN_WIDTH: Final = 140


class Command(PlainCommand):
    help = "Audit the running system (audit), or show what the last audit found (status)."
    requires_system_checks: list[str] = []  # a broken set-up is what this command is for

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="audit|status")
        for name, text in (("audit", "look now and record the findings"), ("status", "show the last audit")):
            action = actions.add_parser(name, help=text)
            action.add_argument("--json", action="store_true", help="print one JSON object")
            action.add_argument(
                "--fail-on",
                choices=sorted(FAILING),
                default="critical",
                help="exit with 1 from this severity on (default: critical)",
            )

    def handle(self, *_: Any, **options: Any) -> None:
        report = services.run_audit().to_json() if options["action"] == "audit" else status()
        self.stdout.write(json.dumps(report) if options["json"] else self._table(report))
        if report["verdict"] in FAILING[options["fail_on"]]:
            raise SystemExit(1)

    def _table(self, report: dict[str, Any]) -> str:
        """The report for people: a line a check, then the verdict."""
        tty = self.stdout.isatty()
        width = shutil.get_terminal_size().columns if tty else PLAIN_WIDTH
        console = Console(width=width, force_terminal=tty, no_color=not tty)
        with console.capture() as capture:
            if report["checks"]:
                console.print(_checks(report["checks"]))
            console.print(_verdict(report))
        return capture.get().rstrip("\n")


def _checks(checks: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("check", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("detail", overflow="fold")
    table.add_column("ms", justify="right", no_wrap=True)
    for check in checks:
        colour = COLOURS.get(check["status"], "")
        table.add_row(
            check["name"],
            Text(check["status"], style=colour),
            printable(check["detail"]),
            f"{check['duration_ms']:.1f}",
        )
    return table


def _verdict(report: dict[str, Any]) -> Text:
    verdict = report["verdict"]
    if verdict == "UNKNOWN":
        return Text("No audit has run yet: run `manage.py sentinel audit`, or start beat and a worker.")
    counts = [
        f"{n} {severity}"
        for severity in ("critical", "warning", "info")
        if (n := sum(finding["severity"] == severity for finding in report["findings"]))
    ]
    age = f", {report['age_s']:.0f} s ago" if report.get("age_s") is not None else ""
    summary = f"findings: {', '.join(counts) or 'none'}{age}"
    return Text.assemble("\nVerdict: ", (verdict, COLOURS.get(verdict, "")), f" ({summary})")
