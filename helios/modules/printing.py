"""Answers of `manage.py modules` for people: columns, one thing line by line, or a test report as a table."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, Final

from rich import box
from rich.table import Table

from helios.console import Console

WIDTH: Final = 150


def report(run: dict[str, Any]) -> str:
    """A test report: a line a test and a closing sentence; what the code printed comes last, where it did not pass."""
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, no_color=True)
    console.print(_table(run))
    console.print(summary(run))
    if not run["passed"] and run["output"].strip():
        console.print("What the code printed:")
        console.print(run["output"].rstrip())
    return out.getvalue().rstrip()


def summary(run: dict[str, Any]) -> str:
    """One sentence that says whether the version may be used, and if not why."""
    passed = sum(each["outcome"] == "passed" for each in run["results"])
    optional = sum(each["outcome"] != "passed" and not each["required"] for each in run["results"])
    counted = f"{passed} of {len(run['results'])} tests passed in {run['duration_ms'] / 1e3:.1f} s"
    if not run["passed"]:
        return f"{run['module']} {run['version']} {run['reason']}; {counted}"
    extra = f"; {optional} optional did not" if optional else ""
    return f"{run['module']} {run['version']} passed: {counted}{extra}"


def _table(run: dict[str, Any]) -> Table:
    title = f"{run['module']} {run['version']}: {', '.join(run['suites'])}"
    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    for name in ("suite", "test", "", "outcome"):
        table.add_column(name, no_wrap=name != "test")
    table.add_column("ms", justify="right")
    if any(each["message"] for each in run["results"]):
        table.add_column("message", overflow="fold")
    for each in run["results"]:
        optional, took = "" if each["required"] else "optional", f"{each['duration_ms']:.1f}"
        row = (each["suite"], each["name"], optional, each["outcome"], took, each["message"])
        table.add_row(*row[: len(table.columns)])
    return table


def plain(answer: Any) -> str:
    """An answer of `manage.py modules` as text."""
    if isinstance(answer, list):
        return "\n".join(_columns(answer)) or "none"
    if "results" in answer:
        return report(answer)
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
