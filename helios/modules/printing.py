"""A test report at the terminal: one line a test, the required ones first, and a closing sentence."""

from __future__ import annotations

import io
from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from helios.modules.testing import TestReport, TestResult

STYLES = {"passed": "green", "failed": "red", "error": "red", "timeout": "red", "killed": "red"}
OPTIONAL_STYLE = "yellow"


def render(report: TestReport, console: Console) -> None:
    """Print the report; what the code printed comes last, when a required test did not pass."""
    console.print(_table(report))
    console.print(summary(report), highlight=False, markup=False, style="green" if report.passed else "red")
    if not report.passed and report.output.strip():
        console.print("What the code printed:", highlight=False)
        console.print(Text(report.output.rstrip()), highlight=False)


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
    told = f"{passed} of {len(report.results)} tests passed in {seconds}"
    if not report.passed:
        return f"{report.module} {report.version} {report.reason}; {told}"
    extra = f"; {optional} optional did not" if optional else ""
    return f"{report.module} {report.version} passed: {told}{extra}"


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
        Text(result.name),
        "" if result.required else "optional",
        Text(result.outcome, style=style),
        f"{result.duration_ms:.1f}",
        Text(result.message),
    )


def _count(values: Iterable[bool]) -> int:
    return sum(1 for value in values if value)
