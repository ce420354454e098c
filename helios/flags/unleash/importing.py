"""Taking over flags from Unleash's state files: all of a file or nothing of it.

A feature becomes a flag whose strategy is its rules, so that it answers here as it did there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from helios.entries import quoted
from helios.flags import catalog, segments, services
from helios.flags.core.codec import (
    constraint_to_json,
    prerequisite_to_json,
    rule_to_json,
    unknown_segment,
    variant_to_json,
)
from helios.flags.core.definition import FlagDefinition, Strategy
from helios.flags.core.normalising import normalised
from helios.flags.core.parts import Segment
from helios.flags.errors import InvalidFlagError
from helios.flags.models import FeatureFlag, FlagSegment
from helios.flags.rows import Change, changes
from helios.flags.unleash.conformance import fold_events
from helios.flags.unleash.settling import Settled, settle
from helios.flags.unleash.state import parse_state

_NAMELESS: Final = unknown_segment("")  # how the parser begins the name of a segment that has none
_ENTRIES: Final = {  # what of a file's parts holds entries, and as which of a flag's fields they are read
    "features": {
        "strategies": "rules",
        "variants": "variants",
        "dependencies": "prerequisites",
        "segments": "segments",
    },
    "segments": {"constraints": "constraints"},
}
Part = TypeVar("Part", FlagDefinition, Segment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of one flag or segment of the file: created, updated, unchanged, or kept as it was here.

    `notes` say what of it could not be taken over as it stands, and what it means here.
    """

    kind: str
    name: str
    outcome: str
    notes: tuple[str, ...] = ()


def import_state(
    data: object,
    *,
    actor: str,
    reason: str = "imported",
    overwrite: bool = False,
    dry_run: bool = False,
    strict: bool = False,
) -> list[Imported]:
    """Write the segments and flags of a state {features, segments}, or of a file that holds one as `state`.

    What Unleash's clients evaluate as false, such as an operator of a later release, is written as what never holds,
    with a note; `strict` refuses it. Flags that ship with Helios are kept unless `overwrite`. Raises
    `InvalidFlagError` with one sentence; then, as after a `dry_run`, nothing is written.
    """
    present = set(FeatureFlag.objects.values_list("name", flat=True))
    try:
        whole, trimmed = _normalised(_whole(data), strict=strict)
        state = parse_state(whole, strict=strict, once=True)
        settled = Settled(dict(state.features), dict(state.segments)) if strict else settle(state, present)
    except ValueError as error:
        raise InvalidFlagError(str(error)) from error
    _note_trimmed(settled.segments, trimmed["segments"], settled)
    _note_trimmed(settled.features, trimmed["features"], settled)
    kept = set() if overwrite else present & catalog.BY_NAME.keys() & settled.features.keys()
    wanted_segments = [
        (_segment_name(name), segments.ready(_segment_name(name), _segment_fields(segment)), notes)
        for name, segment, notes in _noted(settled.segments, settled)
    ]
    wanted_flags = [
        (name, services.ready(name, _flag_fields(flag, state.descriptions.get(name, ""))), notes)
        for name, flag, notes in _noted(settled.features, settled)
        if name not in kept
    ]
    with changes(actor=actor, reason=reason, dry_run=dry_run) as batch:
        written = [
            _imported("segment", batch.save(FlagSegment, name, fields, new=False), notes)
            for name, fields, notes in wanted_segments
        ]
        flags = [
            _imported("flag", batch.save(FeatureFlag, name, fields, new=False), notes)
            for name, fields, notes in wanted_flags
        ]
    flags += [Imported(kind="flag", name=name, outcome="kept") for name in kept]
    return [*written, *sorted(flags, key=lambda each: each.name)]


def _whole(data: object) -> object:
    held = data["state"] if isinstance(data, Mapping) and isinstance(data.get("state"), Mapping) else data
    return fold_events(held["events"]) if isinstance(held, Mapping) and "events" in held else held


def _normalised(whole: object, *, strict: bool) -> tuple[object, dict[str, list[list[str]]]]:
    """The state with its entries trimmed, and for each feature and segment, in the file's order, which were not."""
    notes: dict[str, list[list[str]]] = {kind: [] for kind in _ENTRIES}
    if not isinstance(whole, Mapping):
        return whole, notes
    tidy = dict(whole)
    for kind, shapes in _ENTRIES.items():
        listed = whole.get(kind)
        if isinstance(listed, list | tuple):
            tidy[kind] = [
                _normalised_part(each, f"{kind}[{at}]", shapes, notes[kind], strict=strict)
                for at, each in enumerate(listed)
            ]
    return tidy, notes


def _normalised_part(part: Any, path: str, shapes: Mapping[str, str], notes: list[list[str]], *, strict: bool) -> Any:
    notes.append([])

    def note(where: str, text: str) -> None:
        if strict:
            raise InvalidFlagError(f"{where} must have no blanks around it, was {quoted(text)}")
        notes[-1].append(f"{where}: the blanks around {quoted(text)} are left out")

    if not isinstance(part, Mapping):
        return part
    return {
        key: normalised(shapes[key], value, note, path=f"{path}.{key}") if key in shapes else value
        for key, value in part.items()
    }


def _noted(parts: Mapping[str, Part], settled: Settled) -> Iterator[tuple[str, Part, tuple[str, ...]]]:
    for name in sorted(parts):
        yield name, parts[name], tuple(settled.notes.get((type(parts[name]), name), ()))


def _note_trimmed(parts: Mapping[str, FlagDefinition | Segment], trimmed: list[list[str]], settled: Settled) -> None:
    """Put what was trimmed in front of a part's notes; settling keeps the file's order."""
    for (name, part), found in zip(parts.items(), trimmed, strict=True):
        if found:
            settled.notes[type(part), name] = [*found, *settled.notes.get((type(part), name), ())]


def _flag_fields(flag: FlagDefinition, description: str) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "enabled": flag.enabled,
        "strategy": Strategy.RULES.value,
        "rules": [_rule(rule_to_json(each)) for each in flag.rules],
        "variants": [variant_to_json(each) for each in flag.variants],
        "prerequisites": [prerequisite_to_json(each) for each in flag.prerequisites],
        "segments": [_segment_name(name) for name in flag.segments],
        "constraints": [constraint_to_json(each) for each in flag.constraints],
        "environments": [],
    }
    if description:
        fields["description"] = description
    return fields


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


def _imported(kind: str, change: Change, notes: tuple[str, ...]) -> Imported:
    outcome = "created" if change.before is None else "updated" if change.changed else "unchanged"
    return Imported(kind=kind, name=change.name, outcome=outcome, notes=notes)
