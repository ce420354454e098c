"""What the actions of `manage.py flags` do: each takes the parsed options and returns plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from helios.control.cli import Options, Row, attribution, read_json
from helios.entries import split, trimmed, whole
from helios.flags import catalog, process, references, segments, selectors, services, stale
from helios.flags.core.constraints import parse_moment
from helios.flags.core.context import IDENTITIES, FlagContext
from helios.flags.errors import InvalidFlagError
from helios.flags.models import FeatureFlag, FeatureFlagHistory, FlagSegment
from helios.flags.rows import Change, state

LAST_CHANGES: Final = 10


def _locked(options: Options) -> dict[str, Any]:
    return {**attribution(options), "version": options["if_version"]}


def _list(_: Options) -> list[Row]:
    return [row_of(flag) for flag in FeatureFlag.objects.order_by("name")]


def _show(options: Options) -> Row:
    flag = selectors.get(options["name"])
    needed = references.needing_flag(flag.name)
    return {**row_of(flag), "needed_by": list(needed), "history": history(flag.name, LAST_CHANGES)}


def _check(options: Options) -> Row:
    selectors.get(options["name"])
    process.refresh_if_behind()
    decision = process.explain(options["name"], context(options), _moment_or_none(options["at"]))
    return {
        "name": options["name"],
        "enabled": decision.enabled,
        "reason": str(decision.reason),
        "detail": decision.detail,
        **_serving(),
    }


def _variant(options: Options) -> Row:
    selectors.get(options["name"])
    process.refresh_if_behind()
    answer = process.variant(options["name"], context(options), _moment_or_none(options["at"]))
    return {"flag": options["name"], **answer.to_json(), **_serving()}


def _serving() -> Row:
    snapshot = process.snapshot()
    return {"generation": snapshot.generation, "status": snapshot.status}


def _set_percentage(options: Options) -> Row:
    return change_row(services.set_percentage(options["name"], options["percentage"], **_locked(options)))


def _schedule(options: Options) -> Row:
    return change_row(
        services.set_schedule(options["name"], [_step(text) for text in options["steps"]], **_locked(options))
    )


def _ramp(options: Options) -> Row:
    start, end = moment(options["start"]), moment(options["end"])
    shares = options["from_percentage"], options["to_percentage"]
    return change_row(services.set_ramp(options["name"], start, end, *shares, **_locked(options)))


def _whitelist(options: Options) -> Row:
    change = services.whitelist_add if options["change"] == "add" else services.whitelist_remove
    return change_row(change(options["name"], _entries(options), **_locked(options)))


def _entries(options: Options) -> list[str]:
    """The entries, of which one word may hold several with commas between them."""
    try:
        return [each for text in options["entries"] for each in split(text) or [text]]
    except ValueError as error:
        raise InvalidFlagError(f"an entry {error}") from error


def _history(options: Options) -> list[Row]:
    rows = history(options["name"], max(options["limit"], 0))
    if options["name"] and not rows:
        selectors.get(options["name"])  # a flag that went keeps its history; a misspelt one never had any
    return rows


def _restore(options: Options) -> list[Row] | Row:
    if options["name"]:
        return change_row(services.restore(options["name"], options["entry"], **_locked(options)))
    named = {**attribution(options), "reason": options["reason"] or "put back"}
    return [change_row(change) for change in services.install_missing(**named)]


def _archive(options: Options) -> Row:
    change = services.archive(options["name"], **_locked(options))
    return {"name": change.name, "action": change.action, "changed": change.changed, "generation": change.generation}


def _segments(options: Options) -> list[Row] | Row:
    if not options["name"]:
        return [segment_row(each) for each in FlagSegment.objects.order_by("name")]
    if options["remove"]:
        change = segments.remove(options["name"], **attribution(options))
        return {"name": change.name, "action": change.action, "changed": change.changed}
    fields = {key: options[key] for key in segments.EDITABLE if options[key] is not None}
    if "constraints" in fields:
        fields["constraints"] = read_json(fields["constraints"], "constraints")
    if not fields:
        return segment_row(selectors.get_segment(options["name"]))
    known = FlagSegment.objects.filter(name=options["name"]).exists()
    change = (segments.edit if known else segments.create)(options["name"], fields, **attribution(options))
    row = segment_row(selectors.get_segment(change.name))
    return {**row, "action": change.action, "changed": change.changed}


def _stale(options: Options) -> list[Row]:
    return [each.plain() for each in stale.report(days=max(options["days"], 0))]


def context(options: Options) -> FlagContext:
    """The context that the options describe."""
    pairs = [text.partition("=") for text in options["attribute"]]
    for name, found, _ in pairs:
        if not name or not found:
            raise InvalidFlagError(f"--attribute must read NAME=VALUE, was {name!r}")
    return FlagContext(
        **{name: trimmed(options[name]) for name in (*IDENTITIES, "environment")},
        attributes={name: value for name, _, value in pairs},
    )


def moment(text: str) -> datetime:
    """A time as people type it: seconds may be missing, the zone may not."""
    at = parse_moment(text if text.count(":") > 1 or "T" not in text else f"{text[:16]}:00{text[16:]}")
    if at is None:
        raise InvalidFlagError(f"a time must be ISO 8601 with a zone, such as 2027-01-31T09:00Z, was {text!r}")
    return at


def _moment_or_none(text: str) -> datetime | None:
    return moment(text) if text else None


def _step(text: str) -> services.Step:
    at, found, share = text.rpartition("=")
    percentage = whole(share)
    if not found or percentage is None:
        raise InvalidFlagError(f"a step must read TIME=PERCENTAGE, such as 2027-01-31T09:00Z=5, was {text!r}")
    return moment(at), percentage


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
    told = ("action", "actor", "reason", "generation", "before", "after")
    return [
        {
            "entry": row.pk,
            "ts": row.ts.isoformat(),
            "name": row.flag_id,
            **{name: getattr(row, name) for name in told},
            "change": selectors.difference(row),
        }
        for row in rows[:limit]
    ]


RUN: Final[Mapping[str, Callable[[Options], Any]]] = {
    "list": _list,
    "show": _show,
    "check": _check,
    "variant": _variant,
    "enable": lambda options: change_row(services.enable(options["name"], **_locked(options))),
    "disable": lambda options: change_row(services.disable(options["name"], **_locked(options))),
    "kill": lambda options: change_row(services.kill(options["name"], **_locked(options))),
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
