"""What `manage.py flags` prints for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from helios.flags import catalog, describe, selectors

Row = dict[str, Any]
_HIDDEN: Final = frozenset({"name", "effect", "history", "wired"})
_NO_MENTION: Final[tuple[object, ...]] = ("", [], None)  # values of newer fields that most flags do not use


def plain(action: str, answer: Any) -> str:
    """The answer of an action as text."""
    if action in _LINES and isinstance(answer, list):
        return "\n".join(_LINES[action](row) for row in answer) or "none"
    if action in _TEXTS and isinstance(answer, dict):
        return _TEXTS[action](answer)
    if isinstance(answer, list):
        return "\n".join(_flag_line(row) for row in answer) or "none"
    return _flag(answer)


def _flag_line(row: Row) -> str:
    wired = {True: "", False: "  (not wired yet)", None: ""}[row["wired"]]
    return f"{row['name']:<26} {'on' if row['enabled'] else 'off':<4} {row['effect']}{wired}"


def _change(row: Row) -> str:
    why = f" ({row['reason']})" if row["reason"] else ""
    return (
        f"{row['entry']:>6} {row['ts'][:19]}Z {row['name']:<26} {row['action']} by {row['actor']}{why} {row['change']}"
    ).rstrip()


def _flag(row: Row) -> str:
    lines = [f"{row['name']}: {row['effect']}"]
    if row.get("changed") is False:
        lines[0] += " (as it already was)"
    if row["wired"] is False:
        lines.append(f"  {catalog.BY_NAME[row['name']].wiring}")
    if "action" in row:
        return "\n".join(lines)
    shown = {key: value for key, value in row.items() if key not in _HIDDEN}
    lines += [f"  {key}: {selectors.short(value)}" for key, value in shown.items() if value not in _NO_MENTION]
    return "\n".join(lines + [f"  {_change(change)}" for change in row["history"]])


def _check(row: Row) -> str:
    because = f"{row['reason']}: {row['detail']}" if row["detail"] else row["reason"]
    return f"{row['name']}: {'on' if row['enabled'] else 'off'}, {because}{_stale_note(row)}"


def _variant(row: Row) -> str:
    payload = row.get("payload")
    carries = f", {payload['type']} {payload['value']}" if payload else ""
    switch = "on" if row["feature_enabled"] else "off"
    return f"{row['flag']}: {row['name']}{carries} (the flag is {switch}){_stale_note(row)}"


def _stale_note(row: Row) -> str:
    return "" if row["status"] == "LIVE" else f"  {row['status']}: a newer state may exist"


def _archived(row: Row) -> str:
    return f"{row['name']}: archived; `manage.py flags restore {row['name']}` brings it back"


def _segment_line(row: Row) -> str:
    held = " and ".join(describe.constraint(each) for each in row["constraints"]) or "holds for everybody"
    used = ", ".join(row["used_by"]) or "no flag"
    return f"{row['name']:<26} {held}; used by {used}"


def _segment(row: Row) -> str:
    if row.get("action") == "remove":
        return f"{row['name']}: removed"
    already = " (as it already was)" if row.get("changed") is False else ""
    return _segment_line(row) + already


def _stale(row: Row) -> str:
    owner = row["owner"] or "nobody"
    return f"{row['name']:<26} {row['reason']:<17} {row['days']:>4} days  owner {owner:<12} {row['action']}"


_LINES: Final[Mapping[str, Callable[[Row], str]]] = {
    "history": _change,
    "segments": _segment_line,
    "stale": _stale,
}
_TEXTS: Final[Mapping[str, Callable[[Row], str]]] = {
    "check": _check,
    "variant": _variant,
    "archive": _archived,
    "segments": _segment,
}
