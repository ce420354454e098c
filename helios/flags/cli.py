"""What the actions of `manage.py flags` do: each takes the parsed words and returns plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from helios.control.cli import Row, Words, by, read_json
from helios.entries import split, trimmed
from helios.flags import catalog, process, references, segments, selectors, services, stale
from helios.flags.core.constraints import parse_moment
from helios.flags.core.context import IDENTITIES, FlagContext
from helios.flags.errors import InvalidFlagError
from helios.flags.models import FeatureFlag, FeatureFlagHistory, FlagSegment
from helios.flags.rows import Change, state

LAST_CHANGES: Final = 10


def _locked(words: Words) -> dict[str, Any]:
    return {**by(words), "version": words["if_version"]}


def _list(_: Words) -> list[Row]:
    return [row_of(flag) for flag in FeatureFlag.objects.order_by("name")]


def _show(words: Words) -> Row:
    flag = selectors.get(words["name"])
    needed = references.needing_flag(flag.name)
    return {**row_of(flag), "needed_by": list(needed), "history": history(flag.name, LAST_CHANGES)}


def _check(words: Words) -> Row:
    selectors.get(words["name"])
    process.refresh_if_behind()
    decision = process.explain(words["name"], context(words), _moment_or_none(words["at"]))
    return {
        "name": words["name"],
        "enabled": decision.enabled,
        "reason": str(decision.reason),
        "detail": decision.detail,
        **_serving(),
    }


def _variant(words: Words) -> Row:
    selectors.get(words["name"])
    process.refresh_if_behind()
    answer = process.variant(words["name"], context(words), _moment_or_none(words["at"]))
    return {"flag": words["name"], **answer.to_json(), **_serving()}


def _serving() -> Row:
    snapshot = process.snapshot()
    return {"generation": snapshot.generation, "status": snapshot.status}


def _set_percentage(words: Words) -> Row:
    return change_row(services.set_percentage(words["name"], words["percentage"], **_locked(words)))


def _schedule(words: Words) -> Row:
    return change_row(services.set_schedule(words["name"], [_step(text) for text in words["steps"]], **_locked(words)))


def _ramp(words: Words) -> Row:
    start, end = moment(words["start"]), moment(words["end"])
    shares = words["from_percentage"], words["to_percentage"]
    return change_row(services.set_ramp(words["name"], start, end, *shares, **_locked(words)))


def _whitelist(words: Words) -> Row:
    change = services.whitelist_add if words["change"] == "add" else services.whitelist_remove
    return change_row(change(words["name"], _entries(words), **_locked(words)))


def _entries(words: Words) -> list[str]:
    """The entries, of which one word may hold several with commas between them; one that is listed so is itself."""
    kept = selectors.get(words["name"]).whitelist if words["change"] == "remove" else []
    try:
        return [each for text in words["entries"] for each in ([text] if text in kept else split(text) or [text])]
    except ValueError as error:
        raise InvalidFlagError(f"an entry {error}") from error


def _history(words: Words) -> list[Row]:
    rows = history(words["name"], max(words["limit"], 0))
    if words["name"] and not rows:
        selectors.get(words["name"])  # a flag that went keeps its history; a misspelt one never had any
    return rows


def _restore(words: Words) -> list[Row] | Row:
    if words["name"]:
        return change_row(services.restore(words["name"], words["entry"], **_locked(words)))
    named = {**by(words), "reason": words["reason"] or "put back"}
    return [change_row(change) for change in services.install_missing(**named)]


def _archive(words: Words) -> Row:
    change = services.archive(words["name"], **_locked(words))
    return {"name": change.name, "action": change.action, "changed": change.changed, "generation": change.generation}


def _segments(words: Words) -> list[Row] | Row:
    if not words["name"]:
        return [segment_row(each) for each in FlagSegment.objects.order_by("name")]
    if words["remove"]:
        change = segments.remove(words["name"], **by(words))
        return {"name": change.name, "action": change.action, "changed": change.changed}
    fields = {key: words[key] for key in segments.EDITABLE if words[key] is not None}
    if "constraints" in fields:
        fields["constraints"] = read_json(fields["constraints"], "constraints")
    if not fields:
        return segment_row(selectors.get_segment(words["name"]))
    known = FlagSegment.objects.filter(name=words["name"]).exists()
    change = (segments.edit if known else segments.create)(words["name"], fields, **by(words))
    row = segment_row(selectors.get_segment(change.name))
    return {**row, "action": change.action, "changed": change.changed}


def _stale(words: Words) -> list[Row]:
    return [each.plain() for each in stale.report(days=max(words["days"], 0))]


def context(words: Words) -> FlagContext:
    """The context that the words describe."""
    pairs = [text.partition("=") for text in words["attribute"]]
    for name, found, _ in pairs:
        if not name or not found:
            raise InvalidFlagError(f"--attribute must read NAME=VALUE, was {name!r}")
    return FlagContext(
        **{name: trimmed(words[name]) for name in (*IDENTITIES, "environment")},
        attributes={name: value for name, _, value in pairs},
    )


def moment(text: str) -> datetime:
    """A time as people type it: seconds may be missing, the zone may not."""
    whole = text if text.count(":") > 1 or "T" not in text else _with_seconds(text)
    at = parse_moment(whole)
    if at is None:
        raise InvalidFlagError(f"a time must be ISO 8601 with a zone, such as 2027-01-31T09:00Z, was {text!r}")
    return at


def _with_seconds(text: str) -> str:
    head, tail = text[:16], text[16:]
    return f"{head}:00{tail}"


def _moment_or_none(text: str) -> datetime | None:
    return moment(text) if text else None


def _step(text: str) -> services.Step:
    at, found, percentage = text.rpartition("=")
    if not found or not percentage.lstrip("-").isdigit():
        raise InvalidFlagError(f"a step must read TIME=PERCENTAGE, such as 2027-01-31T09:00Z=5, was {text!r}")
    return moment(at), int(percentage)


def row_of(flag: FeatureFlag) -> Row:
    """One flag as the actions print it."""
    shipped = catalog.BY_NAME.get(flag.name)
    return {
        **state(flag),
        "generation": flag.generation,
        "version": flag.version,
        "wired": shipped.wired if shipped else None,
        "effect": selectors.effect(flag),
    }


def segment_row(segment: FlagSegment) -> Row:
    """One segment, and who uses it."""
    used = references.needing_segment(segment.name)
    return {**state(segment), "version": segment.version, "used_by": list(used)}


def change_row(change: Change) -> Row:
    """A flag after a change of it."""
    flag = selectors.get(change.name)
    return {**row_of(flag), "action": change.action, "changed": change.changed}


def history(name: str | None, limit: int) -> list[Row]:
    """The changes of a flag, or of all, newest first."""
    rows = FeatureFlagHistory.objects.all()
    if name:
        rows = rows.filter(flag_id=name)  # type: ignore[misc]  # the key is the flag's name
    return [
        {
            "entry": row.pk,
            "ts": row.ts.isoformat(),
            "name": row.flag_id,
            "action": row.action,
            "actor": row.actor,
            "reason": row.reason,
            "generation": row.generation,
            "before": row.before,
            "after": row.after,
            "change": selectors.difference(row),
        }
        for row in rows[:limit]
    ]


RUN: Final[Mapping[str, Callable[[Words], Any]]] = {
    "list": _list,
    "show": _show,
    "check": _check,
    "variant": _variant,
    "enable": lambda words: change_row(services.enable(words["name"], **_locked(words))),
    "disable": lambda words: change_row(services.disable(words["name"], **_locked(words))),
    "kill": lambda words: change_row(services.kill(words["name"], **_locked(words))),
    "set-percentage": _set_percentage,
    "schedule": _schedule,
    "ramp": _ramp,
    "whitelist": _whitelist,
    "history": _history,
    "restore": _restore,
    "archive": _archive,
    "segments": _segments,
    "stale": _stale,
}
