"""What a flag is made of, beside its switch: constraints, segments, rules, variants, prerequisites, steps.

The names and meanings are those of Unleash's client specification, so that its files and its SDKs fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

DEFAULT_STICKINESS: Final = "default"
RANDOM_STICKINESS: Final = "random"
NO_VARIANT: Final = "disabled"  # the name of the variant that a flag without one answers with
_NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})


class Operator(StrEnum):
    """How a constraint compares a value of the context with its own."""

    IN = "IN"
    NOT_IN = "NOT_IN"
    STR_STARTS_WITH = "STR_STARTS_WITH"
    STR_ENDS_WITH = "STR_ENDS_WITH"
    STR_CONTAINS = "STR_CONTAINS"
    NUM_EQ = "NUM_EQ"
    NUM_GT = "NUM_GT"
    NUM_GTE = "NUM_GTE"
    NUM_LT = "NUM_LT"
    NUM_LTE = "NUM_LTE"
    DATE_AFTER = "DATE_AFTER"
    DATE_BEFORE = "DATE_BEFORE"
    SEMVER_EQ = "SEMVER_EQ"
    SEMVER_GT = "SEMVER_GT"
    SEMVER_GTE = "SEMVER_GTE"
    SEMVER_LT = "SEMVER_LT"
    SEMVER_LTE = "SEMVER_LTE"
    REGEX = "REGEX"
    IN_CIDR = "IN_CIDR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A condition on one value of the context.

    `operator` is a text: a file may name one of a later specification, which then never holds.
    """

    context_name: str
    operator: str
    values: tuple[str, ...] = ()
    value: str = ""
    inverted: bool = False
    case_insensitive: bool = False
    holds: Callable[[str], bool] | None = field(default=None, init=False, compare=False, repr=False)  # once compiled


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A named set of constraints that several flags share."""

    name: str
    constraints: tuple[Constraint, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What a variant carries: a text, and how to read it (string, number, json, csv)."""

    type: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Values of the context that always get the variant."""

    context_name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One of several answers of a flag that is on; its share is its weight over the sum of all weights."""

    name: str
    weight: int = 0
    payload: Payload | None = None
    stickiness: str = DEFAULT_STICKINESS
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantResult:
    """The variant that a context gets. Without one: called `disabled`, not enabled, no payload."""

    name: str = NO_VARIANT
    enabled: bool = False
    feature_enabled: bool = False
    payload: Payload | None = None

    def to_json(self) -> dict[str, object]:
        """The shape of Unleash's answers; the payload only where there is one."""
        plain: dict[str, object] = {
            "name": self.name,
            "enabled": self.enabled,
            "feature_enabled": self.feature_enabled,
        }
        if self.payload is not None:
            plain["payload"] = {"type": self.payload.type, "value": self.payload.value}
        return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An Unleash activation strategy: it serves whom its constraints, its segments and its own test let pass."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=lambda: _NO_PARAMETERS)
    constraints: tuple[Constraint, ...] = ()
    segments: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prerequisite:
    """A flag that must be on, or with `enabled=False` off, for the same context; or serve one of `variants`."""

    feature: str
    enabled: bool = True
    variants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleStep:
    """From `at` on a percentage flag serves `percentage`, until the next step."""

    at: datetime
    percentage: int
