"""Taking over flags from Unleash's state files: all of a file or nothing of it.

A feature becomes a flag whose strategy is its rules, so that it answers here as it did there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from helios.flags import catalog, segments, services
from helios.flags.changing import Batch, Change, changes
from helios.flags.core import FlagDefinition, Segment, Strategy
from helios.flags.errors import InvalidFlagError
from helios.flags.models import FeatureFlag
from helios.flags.unleash.state import (
    State,
    constraint_to_json,
    parse_state,
    prerequisite_to_json,
    rule_to_json,
    unknown_segment,
    variant_to_json,
)

_NAMELESS: Final = unknown_segment("")  # how the parser begins the name of a segment that has none


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of one flag or segment of the file: created, updated, unchanged, or kept as it was here."""

    kind: str
    name: str
    outcome: str


def import_state(
    data: object, *, actor: str, reason: str = "imported", overwrite: bool = False, dry_run: bool = False
) -> list[Imported]:
    """Write the segments and flags of a state {features, segments}, or of a file that holds one as `state`.

    Flags that ship with Helios are kept unless `overwrite`. Raises `InvalidFlagError` with one sentence; then, as
    after a `dry_run`, nothing is written.
    """
    state = _read(data)
    with changes(actor=actor, reason=reason, dry_run=dry_run) as batch:
        told = [
            _told("segment", segments.put(batch, _segment_name(name), _segment_fields(segment), new=False))
            for name, segment in sorted(state.segments.items())
        ]
        present = set(FeatureFlag.objects.values_list("name", flat=True))
        for name, flag in sorted(state.features.items()):
            if name in present and name in catalog.BY_NAME and not overwrite:
                told.append(Imported(kind="flag", name=name, outcome="kept"))
            else:
                told.append(_flag(batch, flag, state.descriptions.get(name, "")))
        return told


def _read(data: object) -> State:
    held = data["state"] if isinstance(data, Mapping) and isinstance(data.get("state"), Mapping) else data
    try:
        return parse_state(held)
    except ValueError as error:
        raise InvalidFlagError(str(error)) from error


def _flag(batch: Batch, flag: FlagDefinition, description: str) -> Imported:
    fields: dict[str, Any] = {
        "enabled": flag.enabled,
        "strategy": Strategy.RULES.value,
        "rules": [_rule(rule_to_json(each)) for each in flag.rules],
        "variants": [variant_to_json(each) for each in flag.variants],
        "prerequisites": [prerequisite_to_json(each) for each in flag.prerequisites],
        "segments": [_segment_name(name) for name in flag.segments],
        "constraints": [],
        "environments": [],
    }
    if description:
        fields["description"] = description
    return _told("flag", services.put(batch, flag.name, fields, new=False))


def _rule(plain: dict[str, Any]) -> dict[str, Any]:
    named = [_segment_name(name) for name in plain.get("segments", ())]
    return {**plain, "segments": named} if named else plain


def _segment_fields(segment: Segment) -> dict[str, Any]:
    return {
        "constraints": [constraint_to_json(each) for each in segment.constraints],
        "description": segment.description,
    }


def _segment_name(name: str) -> str:
    """The name here: one that the file gives only a number is called after it."""
    return f"segment-{name[len(_NAMELESS) :]}" if name.startswith(_NAMELESS) else name


def _told(kind: str, change: Change) -> Imported:
    outcome = "created" if change.before is None else "updated" if change.changed else "unchanged"
    return Imported(kind=kind, name=change.name, outcome=outcome)
