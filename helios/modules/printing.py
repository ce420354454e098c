"""A test report at the terminal: one line a test, the required ones first, and a closing sentence."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from helios.console import Console
from helios.modules.gate.runs import TestReport
from helios.modules.gate.transcript import TestResult

STYLES = {"passed": "green", "failed": "red", "error": "red", "timeout": "red", "killed": "red"}
OPTIONAL_STYLE = "yellow"


def render(report: TestReport, console: Console) -> None:
    """Print the report; what the code printed comes last, when a required test did not pass."""
    console.print(_table(report))
    console.print(summary(report), style="green" if report.passed else "red")
    if not report.passed and report.output.strip():
        console.print("What the code printed:")
        console.print(report.output.rstrip())


def text(report: TestReport, width: int = 150) -> str:
    """The same without colours, for a file or a command's output."""
    out = io.StringIO()
    render(report, Console(file=out, width=width, no_color=True))
    return out.getvalue().rstrip()


def summary(report: TestReport) -> str:
    """One sentence that says whether the version may be used, and if not why."""
    passed = _count(result.outcome == "passed" for result in report.results)
    optional = _count(not result.required and result.outcome != "passed" for result in report.results)
    seconds = f"{report.duration_ms / 1e3:.1f} s"
    counted = f"{passed} of {len(report.results)} tests passed in {seconds}"
    if not report.passed:
        return f"{report.module} {report.version} {report.reason}; {counted}"
    extra = f"; {optional} optional did not" if optional else ""
    return f"{report.module} {report.version} passed: {counted}{extra}"


def _table(report: TestReport) -> Table:
    title = f"{report.module} {report.version}: {', '.join(report.suites)}"
    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    for name in ("suite", "test", "", "outcome"):
        table.add_column(name, no_wrap=name != "test")
    table.add_column("ms", justify="right")
    if any(result.message for result in report.results):
        table.add_column("message", overflow="fold")
    for result in report.results:
        table.add_row(*_row(result)[: len(table.columns)])
    return table


def _row(result: TestResult) -> tuple[str | Text, ...]:
    blocking = result.required or result.outcome == "passed"
    style = STYLES[result.outcome] if blocking else OPTIONAL_STYLE
    return (
        result.suite,
        result.name,
        "" if result.required else "optional",
        Text(result.outcome, style=style),
        f"{result.duration_ms:.1f}",
        result.message,
    )


def _count(values: Iterable[bool]) -> int:
    return sum(1 for value in values if value)


def plain(answer: Any) -> str:
    """An answer of `manage.py modules` as text."""
    if isinstance(answer, list):
        return "\n".join(_columns(answer)) or "none"
    if "results" in answer:
        return text(TestReport.from_json(answer))
    shown = {key: value for key, value in answer.items() if not isinstance(value, list | tuple)}
    return "\n".join(f"{key}: {_value(value)}" for key, value in shown.items())


COLUMNS = {
    "label": ("name", "state", "label", "path", "error"),
    "to": ("id", "kind", "state", "from", "to", "actor", "started_at", "error"),
    "created_at": ("id", "kind", "state", "name", "version", "actor", "created_at", "detail"),
    "pid": ("component", "host", "pid", "generation", "seen_at"),
}


def _columns(rows: list[dict[str, Any]]) -> Iterable[str]:
    wanted = next((names for key, names in COLUMNS.items() if rows and key in rows[0]), ())
    lines = [[_value(row[name]) for name in wanted] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()


def _value(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:%Y-%m-%d %H:%M:%S}" if hasattr(value, "strftime") else str(value)
