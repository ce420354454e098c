"""Changing flags. Each function is one transaction: row, history, event, generation; announced when committed.

With `version`, the flag's own when it was read, a change that somebody made meanwhile raises
`helios.errors.Conflict` instead of being overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Unpack

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from helios.control.change import By
from helios.flags import catalog, judging
from helios.flags.core.definition import Strategy
from helios.flags.core.fields import EDITABLE, NAME_LISTS, check_field
from helios.flags.core.normalising import normalised
from helios.flags.errors import InvalidFlagError
from helios.flags.models import FeatureFlag, State
from helios.flags.references import needing_flag
from helios.flags.rows import Change, assign, changes, refuse_killed, state
from helios.flags.selectors import history_entry, last_state

DEFAULT_RAMP: Final = timedelta(days=7)  # of a gradual flag that is enabled before it was given times
_MOMENTS: Final = ("gradual_start", "gradual_end", "expires_at")
Step = tuple[datetime, int]


def enable(name: str, *, now: datetime | None = None, **by: Unpack[By]) -> Change:
    """Switch a flag on. A killed one gets its strategy back; a gradual one without times starts now."""

    def apply(flag: FeatureFlag) -> None:
        if flag.strategy == Strategy.KILL_SWITCH:
            flag.strategy, flag.resume_strategy = flag.resume_strategy, ""
        if flag.strategy == Strategy.GRADUAL and flag.gradual_start is None:
            flag.gradual_start = now or timezone.now()
            flag.gradual_end = flag.gradual_start + DEFAULT_RAMP
        flag.enabled = True

    return _change(name, "enable", apply, **by)


def disable(name: str, **by: Unpack[By]) -> Change:
    """Switch a flag off; its strategy stays, and waits."""

    def apply(flag: FeatureFlag) -> None:
        flag.enabled = False

    return _change(name, "disable", apply, **by)


def kill(name: str, **by: Unpack[By]) -> Change:
    """Switch a flag off for everybody and hold it there until it is enabled again on purpose."""

    def apply(flag: FeatureFlag) -> None:
        if flag.strategy != Strategy.KILL_SWITCH:
            flag.resume_strategy, flag.strategy = flag.strategy, Strategy.KILL_SWITCH.value
        flag.enabled = False

    return _change(name, "kill", apply, **by)


def set_percentage(name: str, percentage: int, **by: Unpack[By]) -> Change:
    """Serve this share of sticky ids, a whole number from 0 to 100; a schedule ends. Does not enable a flag."""

    def apply(flag: FeatureFlag) -> None:
        refuse_killed(flag)
        check_field("percentage", percentage)
        flag.strategy, flag.percentage, flag.schedule = Strategy.PERCENTAGE.value, percentage, []

    return _change(name, "set-percentage", apply, **by)


def set_schedule(name: str, steps: Iterable[Step], **by: Unpack[By]) -> Change:
    """Let the share follow these steps, (moment, percentage) with ascending moments; none ends the schedule.

    Before its first step the flag serves `percentage`. Does not enable a disabled flag.
    """
    listed = [_step(step) for step in steps]

    def apply(flag: FeatureFlag) -> None:
        refuse_killed(flag)
        flag.strategy, flag.schedule = Strategy.PERCENTAGE.value, listed

    return _change(name, "set-schedule", apply, **by)


def set_ramp(
    name: str,
    start: datetime,
    end: datetime,
    from_percentage: int,
    to_percentage: int,
    **by: Unpack[By],
) -> Change:
    """Let the share grow evenly from one percentage to another between two moments. Does not enable a flag."""
    wanted = {
        "gradual_start": start,
        "gradual_end": end,
        "gradual_from": from_percentage,
        "percentage": to_percentage,
        "strategy": Strategy.GRADUAL.value,
    }

    fields = ready(name, wanted)

    def apply(flag: FeatureFlag) -> None:
        refuse_killed(flag)
        assign(flag, fields)

    return _change(name, "set-ramp", apply, **by)


def whitelist_add(name: str, entries: Iterable[str], **by: Unpack[By]) -> Change:
    """Put symbols, users, strategies or systems on the whitelist, which acts under that strategy only."""
    wanted = _entries(entries)

    def apply(flag: FeatureFlag) -> None:
        flag.whitelist = sorted({*flag.whitelist, *wanted})

    return _change(name, "whitelist-add", apply, **by)


def whitelist_remove(name: str, entries: Iterable[str], **by: Unpack[By]) -> Change:
    """Take entries off the whitelist; one that is not on it is an error, for it is most likely misspelt."""
    unwanted = set(_entries(entries))

    def apply(flag: FeatureFlag) -> None:
        absent = sorted(unwanted.difference(flag.whitelist))
        if absent:
            raise InvalidFlagError(
                f"entries to remove must be on the whitelist of {name}, was not: {', '.join(absent)}"
            )
        flag.whitelist = [entry for entry in flag.whitelist if entry not in unwanted]

    return _change(name, "whitelist-remove", apply, **by)


def edit(name: str, fields: Mapping[str, Any], *, dry_run: bool = False, **by: Unpack[By]) -> Change:
    """Set several of the `EDITABLE` fields at once; a `dry_run` raises what that would, and writes nothing."""
    wanted = ready(name, fields)

    def apply(flag: FeatureFlag) -> None:
        if {"enabled", "strategy"} & wanted.keys():
            refuse_killed(flag)
        assign(flag, wanted)

    return _change(name, "edit", apply, dry_run=dry_run, **by)


def create(
    name: str, fields: Mapping[str, Any] | None = None, *, actor: str, reason: str = "", dry_run: bool = False
) -> Change:
    """Add a flag, disabled unless `fields` says otherwise; `dry_run` as for an edit."""
    wanted = ready(name, fields or {})
    with changes(actor=actor, reason=reason, dry_run=dry_run) as batch:
        return batch.save(FeatureFlag, name, wanted, new=True)


def ready(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as the columns hold them: bounded, checked, trimmed and read, all of it without a lock."""
    judging.check_cost(name, fields)
    for field, value in fields.items():
        check_field(field, value)
    wanted = {field: _plain(field, value) for field, value in fields.items()}
    judging.check_parts(wanted)
    return wanted


def archive(name: str, *, actor: str, reason: str = "", version: int | None = None) -> Change:
    """Take a flag away; `restore` brings it back from its history.

    Refused for a flag that ships with Helios, and while other flags have it as a prerequisite.
    """
    with changes(actor=actor, reason=reason) as batch:
        flag = batch.flag(name, version)
        if name in catalog.BY_NAME:
            raise InvalidFlagError(f"a flag that ships with Helios must stay, {name} does: disable or kill it instead")
        users = needing_flag(name)
        if users:
            raise InvalidFlagError(f"a flag must not be needed to be archived, {name} is by {', '.join(users)}")
        return batch.remove(flag, "archive")


def restore(name: str, entry: int | None = None, *, actor: str, reason: str = "", version: int | None = None) -> Change:
    """Put a flag back as it was after the change `entry` of its history; without one, as an archived flag last was."""
    past = history_entry(name, entry).after if entry is not None else last_state(name)
    if past is None:
        raise InvalidFlagError(f"a change to restore must have left a flag, {entry} took {name} away")
    with changes(actor=actor, reason=reason) as batch:
        row = FeatureFlag.objects.select_for_update().filter(name=name).first()
        if row is None:
            row, before = FeatureFlag(name=name), None
        else:
            row = batch.flag(name, version)
            before = state(row)
        _assign_past(row, past)
        return batch.write(row, before, "restore")


def install_missing(*, actor: str, reason: str = "shipped with Helios") -> list[Change]:
    """Add the flags of the catalogue that the database lacks, with their defaults; the others stay."""
    with changes(actor=actor, reason=reason) as batch:
        present = set(FeatureFlag.objects.values_list("name", flat=True))
        lacking = [flag for flag in catalog.SHIPPED if flag.name not in present]
        return [batch.save(FeatureFlag, flag.name, ready(flag.name, flag.fields()), new=True) for flag in lacking]


def _change(
    name: str,
    action: str,
    apply: Callable[[FeatureFlag], None],
    *,
    actor: str,
    reason: str = "",
    version: int | None = None,
    dry_run: bool = False,
) -> Change:
    """Lock, apply, check, write."""
    with changes(actor=actor, reason=reason, dry_run=dry_run) as batch:
        flag = batch.flag(name, version)
        before = state(flag)
        apply(flag)
        return batch.write(flag, before, action)


def _plain(field: str, value: Any) -> Any:
    """The value as the column holds it: trimmed, sets sorted and without doubles, so that equal ones look equal."""
    value = normalised(field, value)
    if field in NAME_LISTS:
        return sorted(set(value))
    if isinstance(value, tuple):
        return list(value)
    return value.value if isinstance(value, Strategy) else value


def _assign_past(flag: FeatureFlag, past: State) -> None:
    """Set every field to what the history says; a field younger than the entry gets its default."""
    blank = FeatureFlag()
    for field in (*EDITABLE, "resume_strategy"):
        value = past.get(field, getattr(blank, field))
        setattr(flag, field, parse_datetime(value) if field in _MOMENTS and value else _plain(field, value))


def _step(step: Step) -> dict[str, Any]:
    """A step as the column holds it."""
    at, percentage = step
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise InvalidFlagError(f"a step's moment must be a time with a time zone, was {at!r}", "schedule")
    check_field("percentage", percentage)
    return {"at": at.isoformat(), "percentage": percentage}


def _entries(entries: Iterable[str]) -> list[str]:
    """The entries, checked and trimmed; a bare text stays one, so that it is refused, not read letter by letter."""
    listed = entries if isinstance(entries, str) else list(entries)
    check_field("whitelist", listed)
    return list(normalised("whitelist", listed))
