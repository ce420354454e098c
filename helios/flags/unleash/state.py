"""Unleash's JSON read into definitions and written from them, as `GET /api/client/features` serves it.

`strict` refuses what could never hold (an operator of a later specification, a limit that is no number): what a
person sends is checked so. Unleash's own clients let it pass and evaluate it as false: `strict=False`.
Every function raises ValueError with one sentence that names the path of the field.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from helios.flags.core import json_fields
from helios.flags.core.codec import (
    constraint_from_json,
    constraint_to_json,
    prerequisite_from_json,
    rule_from_json,
    segment_name,
    unknown_segment,
    variant_from_json,
)
from helios.flags.core.definition import NAME, FlagDefinition, Strategy
from helios.flags.core.parts import Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The flags and segments of a state file, by name, and what people wrote about each flag."""

    features: Mapping[str, FlagDefinition]
    segments: Mapping[str, Segment]
    descriptions: Mapping[str, str] = field(default_factory=dict)


def segment_from_json(data: object, path: str = "segment", *, strict: bool = True) -> Segment:
    """{id, name, constraints} as a segment; one without a name is called after its number."""
    plain = json_fields.mapping(data, path)
    number = plain.get("id")
    return Segment(
        name=json_fields.text(plain, "name", path, "") or unknown_segment(number),
        constraints=json_fields.items(
            plain, "constraints", path, lambda each, at: constraint_from_json(each, at, strict=strict)
        ),
        description=json_fields.text(plain, "description", path, ""),
    )


def segment_to_json(segment: Segment, number: int) -> dict[str, Any]:
    """The segment as Unleash writes it; `number` is the id that strategies refer to."""
    return {
        "id": number,
        "name": segment.name,
        "constraints": [constraint_to_json(each) for each in segment.constraints],
    }


def feature_from_json(
    data: object, path: str = "feature", *, strict: bool = True, segments: Mapping[str, str] | None = None
) -> FlagDefinition:
    """One feature of a state file as a flag whose strategy is its rules."""
    plain = json_fields.mapping(data, path)
    name = json_fields.text(plain, "name", path)
    if strict and not NAME.fullmatch(name):
        raise json_fields.wrong_type(f"{path}.name", "1 to 100 letters, digits or _ . ~ -", name)
    return FlagDefinition(
        name=name,
        enabled=json_fields.boolean(plain, "enabled", path, default=False),
        strategy=Strategy.RULES,
        rules=json_fields.items(
            plain,
            "strategies",
            path,
            lambda each, at: rule_from_json(each, at, strict=strict, segments=segments),
        ),
        segments=json_fields.items(
            plain, "segments", path, lambda each, at: segment_name(each, at, segments or {}, strict=strict)
        ),
        variants=json_fields.items(
            plain, "variants", path, lambda each, at: variant_from_json(each, at, strict=strict)
        ),
        prerequisites=json_fields.items(plain, "dependencies", path, prerequisite_from_json),
    )


def parse_state(data: object, *, strict: bool = True, once: bool = False) -> State:
    """{features, segments} as flags and segments by name; a name that comes twice is wrong when strict or `once`."""
    plain = json_fields.mapping(data, "the state")
    if not isinstance(plain.get("features"), list):
        raise json_fields.wrong_type("features", "a list", plain.get("features"))
    segments, names = _segments(plain, strict=strict)
    features = json_fields.read_list(
        plain["features"], "features", lambda each, at: feature_from_json(each, at, strict=strict, segments=names)
    )
    if strict or once:
        _refuse_twice("features", [each.name for each in features])
    return State(
        features={each.name: each for each in features},
        segments=segments,
        descriptions={
            each.name: json_fields.text(raw, "description", f"features[{number}]", "")
            for number, (each, raw) in enumerate(zip(features, plain["features"], strict=True))
        },
    )


def _segments(plain: Mapping[str, Any], *, strict: bool) -> tuple[dict[str, Segment], dict[str, str]]:
    """The segments by name, and which name each number has; the name is the number where it comes twice."""
    listed = json_fields.read_list(
        plain.get("segments"), "segments", lambda each, at: segment_from_json(each, at, strict=strict)
    )
    called = [each.name for each in listed]
    counts = Counter(called)
    if strict:
        _refuse_twice("segments", called)
    segments, names = {}, {}
    for segment, raw in zip(listed, plain.get("segments") or (), strict=True):
        name = segment.name if counts[segment.name] == 1 else unknown_segment(raw.get("id"))
        segments[name] = Segment(name=name, constraints=segment.constraints, description=segment.description)
        names[str(raw.get("id"))] = name
    return segments, names


def _refuse_twice(path: str, names: Sequence[str]) -> None:
    counts = Counter(names)
    twice = next((name for name in names if counts[name] > 1), None)
    if twice is not None:
        raise ValueError(f"{path} must have names of their own, came twice: {twice}")
