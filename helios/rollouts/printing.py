"""Answers of `manage.py rollouts` as tables for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any, Final

from rich.table import Table

from helios.console import Console
from helios.rollouts.comparison import formatted, table

WIDTH: Final = 120


def printed(action: str, answer: Any) -> str:
    """The answer of an action as text."""
    texts: dict[str, Callable[[Any], str]]
    texts = {"list": _rollouts, "show": _report, "history": _history, "analyses": _analyses}
    return texts[action](answer) if action in texts else _line(answer)


def _rollouts(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return "no live rollouts"
    shown = [
        (str(row["id"]), row["name"], row["target"], row["challenger"], row["state"], row["serves"]) for row in rows
    ]
    return _table(("id", "name", "target", "challenger", "state", "now"), shown)


def _report(row: dict[str, Any]) -> str:
    why = f" ({row['reason']})" if row["reason"] else ""
    facts = [
        f"{row['name']}: {row['challenger']} against {row['champion']} in {row['target']}",
        f"  {row['state']}: {row['serves']}{why}",
        f"  {row['progress']}",
    ]
    if row["next_analysis_at"]:
        facts.append(f"  next analysis {_second(row['next_analysis_at'])}")
    if row["problem"]:
        facts.append(f"  {row['problem']}")
    if row["measured_at"]:
        told = "means and rates with their 95 % intervals; a difference is the mean over bars"
        facts.append(f"  measured {_second(row['measured_at'])}; {told}")
    parts = ["\n".join(facts)]
    if row["arms"]:
        parts.append(_table(("", "champion", "challenger", "difference"), table(row["arms"])))
    if row["analyses"]:
        parts += [_guards(row["analyses"][0]), _analyses(row["analyses"])]
    return "\n\n".join(part for part in parts if part)


def _guards(analysis: dict[str, Any]) -> str:
    """The guards as the last analysis found them."""
    shown = []
    for each in analysis["numbers"].get("guards", []):
        limit, value, samples = f"{each['limit']:g}", formatted(each["value"]), str(each["samples"])
        shown.append((each["metric"], each["kind"], limit, value, samples, each["outcome"]))
    return _table(("guard", "kind", "limit", "value", "samples", "outcome"), shown) if shown else ""


def _history(rows: Sequence[dict[str, Any]]) -> str:
    shown = [
        (_second(row["at"]), row["action"], row["actor"], row["after"].get("serves", ""), row["reason"]) for row in rows
    ]
    return _table(("at", "what", "who", "step", "why"), shown)


def _analyses(rows: Sequence[dict[str, Any]]) -> str:
    shown = [
        (_second(row["at"]), str(row["step"] + 1), row["verdict"] + (" (hard)" if row["hard"] else ""), row["reason"])
        for row in rows
    ]
    return _table(("at", "step", "verdict", "reason"), shown) if shown else "not analysed yet"


def _line(row: dict[str, Any]) -> str:
    why = f" ({row['reason']})" if row["reason"] else ""
    return f"{row['name']} is {row['state']}: {row['serves']}{why}"


def _second(moment: str) -> str:
    return f"{moment[:19].replace('T', ' ')}Z"


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    made = Table(*header, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        made.add_row(*map(str, row))
    out = StringIO()
    Console(file=out, width=WIDTH).print(made)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
