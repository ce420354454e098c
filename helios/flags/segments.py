"""Changing segments: named constraints that flags share. A change reaches every flag that uses the segment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from helios.flags import judging
from helios.flags.core.fields import check_objects, check_text
from helios.flags.core.normalising import normalised
from helios.flags.errors import InvalidFlagError
from helios.flags.models import FlagSegment
from helios.flags.references import needing_segment
from helios.flags.rows import Change, changes

EDITABLE = ("description", "constraints")


def create(
    name: str, fields: Mapping[str, Any] | None = None, *, actor: str, reason: str = "", dry_run: bool = False
) -> Change:
    """Add a segment. Without constraints it holds for everybody. A `dry_run` raises what that would, and no more."""
    wanted = ready(name, fields or {})
    with changes(actor=actor, reason=reason, dry_run=dry_run) as batch:
        return batch.save(FlagSegment, name, wanted, new=True)


def edit(
    name: str,
    fields: Mapping[str, Any],
    *,
    actor: str,
    reason: str = "",
    version: int | None = None,
    dry_run: bool = False,
) -> Change:
    """Set `constraints` or `description`; with `version`, only if nobody changed the segment since."""
    wanted = ready(name, fields)
    with changes(actor=actor, reason=reason, dry_run=dry_run) as batch:
        batch.segment(name, version)
        return batch.save(FlagSegment, name, wanted, new=False)


def remove(name: str, *, actor: str, reason: str = "", version: int | None = None) -> Change:
    """Take a segment away; refused while a flag uses it, with the names of these flags."""
    with changes(actor=actor, reason=reason) as batch:
        row = batch.segment(name, version)
        users = needing_segment(name)
        if users:
            raise InvalidFlagError(f"a segment must not be in use to be removed, {name} is by {', '.join(users)}")
        return batch.remove(row, "remove")


def ready(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as the columns hold them: bounded, checked, trimmed and read, all of it without a lock."""
    judging.check_cost(name, fields)
    wanted = {field: _plain(field, value) for field, value in fields.items()}
    judging.check_parts(wanted)
    return wanted


def _plain(field: str, value: Any) -> Any:
    if field not in EDITABLE:
        raise InvalidFlagError(f"fields of a segment must be among {', '.join(EDITABLE)}, was {field}", field)
    check_text(field, value)
    if field == "constraints":
        check_objects(field, value)
        return normalised(field, list(value))
    if not isinstance(value, str):
        raise InvalidFlagError(f"{field} must be a text, was {value!r}", field)
    return value
