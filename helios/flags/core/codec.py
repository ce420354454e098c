"""The parts of a flag read from JSON and written to it: the form of our own columns, which Unleash has as well.

`strict` refuses what could never hold (an operator of a later specification, a limit that is no number): what a
person sends is checked so. Otherwise it passes and is evaluated as false, as Unleash's own clients do.
Every function raises ValueError with one sentence that names the path of the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from helios.flags.core import constraints, json_fields
from helios.flags.core.activation import problem as problem_of_rule
from helios.flags.core.parts import (
    DEFAULT_STICKINESS,
    Constraint,
    Override,
    Payload,
    Prerequisite,
    Rule,
    ScheduleStep,
    Variant,
)

MAX_WEIGHT: Final = 1_000_000
_SHARED: Final = ("name", "weight", "stickiness")


def constraint_from_json(data: object, path: str = "constraint", *, strict: bool = True) -> Constraint:
    """{contextName, operator, values, value, inverted, caseInsensitive} as a constraint."""
    plain = json_fields.mapping(data, path)
    constraint = Constraint(
        context_name=json_fields.text(plain, "contextName", path),
        operator=json_fields.text(plain, "operator", path),
        values=json_fields.items(plain, "values", path, json_fields.as_text),
        value=json_fields.text(plain, "value", path, ""),
        inverted=json_fields.boolean(plain, "inverted", path, default=False),
        case_insensitive=json_fields.boolean(plain, "caseInsensitive", path, default=False),
    )
    problem = constraints.problem(constraint) if strict else ""
    if problem:
        raise ValueError(f"{path}.{problem}")
    return constraint


def constraint_to_json(constraint: Constraint) -> dict[str, Any]:
    """The constraint as Unleash writes it, every field given."""
    return {
        "contextName": constraint.context_name,
        "operator": str(constraint.operator),
        "values": list(constraint.values),
        "value": constraint.value,
        "inverted": constraint.inverted,
        "caseInsensitive": constraint.case_insensitive,
    }


def variant_from_json(data: object, path: str = "variant", *, strict: bool = True) -> Variant:
    """{name, weight, payload{type,value}, stickiness, overrides} as a variant."""
    plain = json_fields.mapping(data, path)
    variant = Variant(
        name=json_fields.text(plain, "name", path),
        weight=json_fields.integer(plain, "weight", path, 0, MAX_WEIGHT),
        payload=_payload_from_json(plain.get("payload"), f"{path}.payload"),
        stickiness=json_fields.text(plain, "stickiness", path, "") or DEFAULT_STICKINESS,
        overrides=json_fields.items(plain, "overrides", path, _override_from_json),
    )
    if strict and not variant.name:
        raise json_fields.wrong_type(f"{path}.name", "a text of at least one letter", variant.name)
    return variant


def variant_to_json(variant: Variant) -> dict[str, Any]:
    """The variant as Unleash writes it; payload and overrides only where there are some."""
    plain: dict[str, Any] = {key: getattr(variant, key) for key in _SHARED}
    if variant.payload is not None:
        plain["payload"] = {"type": variant.payload.type, "value": variant.payload.value}
    if variant.overrides:
        plain["overrides"] = [
            {"contextName": each.context_name, "values": list(each.values)} for each in variant.overrides
        ]
    return plain


def _payload_from_json(data: object, path: str) -> Payload | None:
    if data is None:
        return None
    plain = json_fields.mapping(data, path)
    return Payload(type=json_fields.text(plain, "type", path), value=json_fields.text(plain, "value", path))


def _override_from_json(data: object, path: str) -> Override:
    plain = json_fields.mapping(data, path)
    return Override(
        context_name=json_fields.text(plain, "contextName", path),
        values=json_fields.items(plain, "values", path, json_fields.as_text),
    )


def prerequisite_from_json(data: object, path: str = "prerequisite") -> Prerequisite:
    """{feature, enabled, variants} as a prerequisite."""
    plain = json_fields.mapping(data, path)
    prerequisite = Prerequisite(
        feature=json_fields.text(plain, "feature", path),
        enabled=json_fields.boolean(plain, "enabled", path, default=True),
        variants=json_fields.items(plain, "variants", path, json_fields.as_text),
    )
    if not prerequisite.feature:
        raise json_fields.wrong_type(f"{path}.feature", "the name of a flag", prerequisite.feature)
    return prerequisite


def prerequisite_to_json(prerequisite: Prerequisite) -> dict[str, Any]:
    """The prerequisite as Unleash writes it; variants only where some are asked for."""
    plain: dict[str, Any] = {"feature": prerequisite.feature, "enabled": prerequisite.enabled}
    return {**plain, "variants": list(prerequisite.variants)} if prerequisite.variants else plain


def step_from_json(data: object, path: str = "schedule") -> ScheduleStep:
    """{at, percentage} as a step of a schedule; the time in RFC 3339 with its zone."""
    plain = json_fields.mapping(data, path)
    at = constraints.parse_moment(json_fields.text(plain, "at", path))
    if at is None:
        raise json_fields.wrong_type(f"{path}.at", "a moment in RFC 3339 with a zone", plain["at"])
    return ScheduleStep(at=at, percentage=json_fields.integer(plain, "percentage", path, 0, 100))


def rule_from_json(
    data: object, path: str = "rule", *, strict: bool = True, segments: Mapping[str, str] | None = None
) -> Rule:
    """An Unleash strategy {name, parameters, constraints, segments, variants} as a rule.

    Segments are named by text; a number is looked up in `segments` (id as text -> name), and one that is not
    there names a segment that does not exist, so that the rule serves nobody.
    """
    plain = json_fields.mapping(data, path)
    parameters = json_fields.mapping(plain.get("parameters") or {}, f"{path}.parameters")
    rule = Rule(
        name=json_fields.text(plain, "name", path),
        parameters={key: json_fields.text(parameters, key, f"{path}.parameters", "") for key in parameters},
        constraints=json_fields.items(
            plain, "constraints", path, lambda each, at: constraint_from_json(each, at, strict=strict)
        ),
        segments=json_fields.items(
            plain, "segments", path, lambda each, at: segment_name(each, at, segments or {}, strict=strict)
        ),
        variants=json_fields.items(
            plain, "variants", path, lambda each, at: variant_from_json(each, at, strict=strict)
        ),
    )
    problem = problem_of_rule(rule) if strict else ""
    if problem:
        raise ValueError(f"{path}.{problem}")
    return rule


def rule_to_json(rule: Rule) -> dict[str, Any]:
    """The rule as an Unleash strategy, its segments by name."""
    plain: dict[str, Any] = {"name": rule.name, "parameters": dict(rule.parameters)}
    plain["constraints"] = [constraint_to_json(each) for each in rule.constraints]
    if rule.segments:
        plain["segments"] = list(rule.segments)
    if rule.variants:
        plain["variants"] = [variant_to_json(each) for each in rule.variants]
    return plain


def segment_name(data: object, path: str, names: Mapping[str, str], *, strict: bool) -> str:
    """A segment's name, from itself or from its number in `names`."""
    if isinstance(data, str):
        return data
    if type(data) is not int:
        raise json_fields.wrong_type(path, "the name or the number of a segment", data)
    if strict and str(data) not in names:
        raise json_fields.wrong_type(path, "the number of a segment of the file", data)
    return names.get(str(data), unknown_segment(data))


def unknown_segment(number: object) -> str:
    """What a segment is called that has no name: no segment of Helios can be called so."""
    return f"#{number}"
