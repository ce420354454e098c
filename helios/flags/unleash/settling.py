"""A state made fit for Helios's tables, where only what can hold may stand, with a note of each thing that could not.

What Unleash's clients evaluate as false, or as a share of 0, is put in words that mean the same here: a file of a
later release is taken over instead of refused for one strategy. Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from helios.flags.core import json_fields
from helios.flags.core.activation import SHARE_IN, STRATEGY_NAMES
from helios.flags.core.activation import problem as problem_of_rule
from helios.flags.core.codec import unknown_segment
from helios.flags.core.constraints import parse_network, parse_number
from helios.flags.core.constraints import problem as problem_of_constraint
from helios.flags.core.definition import BUCKETS, NAME, FlagDefinition
from helios.flags.core.parts import Constraint, Operator, Prerequisite, Rule, Segment
from helios.flags.unleash.state import State

_OTHER: Final = re.compile(r"[^A-Za-z0-9_.~-]+")
Note = Callable[[str], None]
NOBODY: Final = Constraint(context_name="userId", operator=Operator.IN)  # in an empty list is nobody


@dataclass(slots=True)
class Settled:
    """The state as it can be written, and in words what was changed for it, by kind and name."""

    features: dict[str, FlagDefinition] = field(default_factory=dict)
    segments: dict[str, Segment] = field(default_factory=dict)
    notes: dict[tuple[type, str], list[str]] = field(default_factory=dict)


def settle(state: State, present: Collection[str]) -> Settled:
    """Every feature and segment as it can be written; `present` are flags that the features may ask beside their own.

    Raises ValueError where a feature cannot even be named.
    """
    settled = Settled()
    called = {name: _called(name) for name in state.segments}
    for name, segment in state.segments.items():
        own = called[name]
        if own in settled.segments:
            raise ValueError(f"segments must have names of their own, came twice: {own}")
        note = settled.notes.setdefault((Segment, own), []).append
        if own != name:
            note(f"it was called {name!r}")
        settled.segments[own] = replace(segment, name=own, constraints=_constraints(segment.constraints, "", note))
    flags = {*state.features, *present}
    for number, (name, flag) in enumerate(state.features.items()):
        if not NAME.fullmatch(name):
            raise json_fields.wrong_type(f"features[{number}].name", "1 to 100 letters, digits or _ . ~ -", name)
        note = settled.notes.setdefault((FlagDefinition, name), []).append
        settled.features[name] = _flag(flag, called, flags, note)
    return settled


def _called(segment: str) -> str:
    """The name of a segment here: free text there, letters, digits or _ . ~ - here. One that is a number stays."""
    if segment.startswith(unknown_segment("")) or NAME.fullmatch(segment):
        return segment
    own = _OTHER.sub("-", segment).strip("-_.~")[:100]
    if not own:
        raise json_fields.wrong_type("a segment's name", "1 to 100 letters, digits or _ . ~ -", segment)
    return own


def _flag(flag: FlagDefinition, segments: Mapping[str, str], flags: Collection[str], note: Note) -> FlagDefinition:
    asked = tuple(each for each in flag.prerequisites if _is_known(each, flags, note))
    known, nobody = _segments(flag.segments, segments, "", note)
    unmet = (NOBODY,) if len(asked) < len(flag.prerequisites) else ()
    return replace(
        flag,
        prerequisites=asked,
        segments=known,
        constraints=(*flag.constraints, *(unmet or nobody)),
        rules=tuple(_rule(each, f"strategies[{at}]", segments, note) for at, each in enumerate(flag.rules)),
    )


def _is_known(prerequisite: Prerequisite, flags: Collection[str], note: Note) -> bool:
    if prerequisite.feature in flags:
        return True
    note(f"it depends on {prerequisite.feature}, which is not there: on for nobody")
    return False


def _rule(rule: Rule, path: str, segments: Mapping[str, str], note: Note) -> Rule:
    if rule.name not in STRATEGY_NAMES:
        note(f"{path}: no strategy is called {rule.name!r} here: it serves nobody")
        return Rule(name="default", constraints=(NOBODY,))
    known, nobody = _segments(rule.segments, segments, f"{path}.", note)
    return replace(
        rule,
        parameters=_parameters(rule, path, note),
        constraints=(*_constraints(rule.constraints, f"{path}.", note), *nobody),
        segments=known,
    )


def _parameters(rule: Rule, path: str, note: Note) -> Mapping[str, str]:
    if not problem_of_rule(rule):
        return rule.parameters
    name = SHARE_IN[rule.name]
    served = min(max(parse_number(rule.parameters.get(name, "")) or 0.0, 0.0), float(BUCKETS))
    note(f"{path}.{problem_of_rule(rule)}: {served:g} % are served")
    return {**rule.parameters, name: f"{served:g}"}


def _segments(
    names: Collection[str], segments: Mapping[str, str], path: str, note: Note
) -> tuple[tuple[str, ...], tuple[Constraint, ...]]:
    """The segments that are there, and what stands for the others: a segment that is not there holds for nobody."""
    gone = [name for name in names if name not in segments]
    for name in gone:
        note(f"{path}segments: segment {name} is not in the file: it holds for nobody")
    return tuple(segments[name] for name in names if name in segments), (NOBODY,) if gone else ()


def _constraints(constraints: tuple[Constraint, ...], path: str, note: Note) -> tuple[Constraint, ...]:
    return tuple(_constraint(each, f"{path}constraints[{at}]", note) for at, each in enumerate(constraints))


def _constraint(constraint: Constraint, path: str, note: Note) -> Constraint:
    if constraint.operator not in set(Operator):
        note(f"{path}: no operator is called {constraint.operator!r} here: it never holds")
        return NOBODY
    problem = problem_of_constraint(constraint)
    if not problem:
        return constraint
    if constraint.context_name and constraint.operator == Operator.IN_CIDR:
        note(f"{path}.{problem}: it is left out")
        return replace(constraint, values=tuple(each for each in constraint.values if parse_network(each) is not None))
    if constraint.context_name and constraint.operator == Operator.REGEX and not constraint.value:
        note(f"{path}.{problem}: any value that is given matches")
        return replace(constraint, operator=Operator.STR_CONTAINS, values=("",))
    holds = (constraint.operator == Operator.NOT_IN) is not constraint.inverted
    note(f"{path}.{problem}: it {'always' if holds else 'never'} holds")
    return replace(NOBODY, operator=Operator.NOT_IN if holds else Operator.IN)
