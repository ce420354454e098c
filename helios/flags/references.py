"""What flags refer to must exist: segments and prerequisites, the latter without circles."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from helios.flags.core import graph
from helios.flags.core.definition import FlagDefinition
from helios.flags.core.parts import Prerequisite
from helios.flags.errors import InvalidFlagError
from helios.flags.models import FeatureFlag, FlagSegment, State
from helios.spelling import nearest


@dataclass(frozen=True, slots=True)
class References:
    """What one flag refers to: names of flags and names of segments."""

    flags: frozenset[str]
    segments: frozenset[str]


Known = Mapping[str, References]


def references(values: Mapping[str, object]) -> References:
    """What a flag's column values refer to."""
    return References(
        frozenset(str(each["feature"]) for each in objects(values["prerequisites"])),
        frozenset(names(values["segments"])).union(*(names(rule.get("segments")) for rule in objects(values["rules"]))),
    )


def all_references() -> dict[str, References]:
    """Every flag with what it refers to, by one query."""
    rows = FeatureFlag.objects.values("name", "prerequisites", "segments", "rules")
    return {row["name"]: references(row) for row in rows}


def needing_flag(name: str) -> tuple[str, ...]:
    """The flags that have `name` as a prerequisite."""
    return tuple(sorted(flag for flag, refs in all_references().items() if name in refs.flags))


def needing_segment(name: str, known: Known | None = None) -> tuple[str, ...]:
    """The flags that use the segment, themselves or in a rule. Who asks for many names hands over what is `known`."""
    known = all_references() if known is None else known
    return tuple(sorted(flag for flag, refs in known.items() if name in refs.segments))


def steered_by_flag(name: str, known: Known | None = None) -> frozenset[str]:
    """The flags that `name` can turn: those that need it, those that need these, and so on."""
    return _steered({name}, all_references() if known is None else known)


def steered_by_segment(name: str, known: Known | None = None) -> frozenset[str]:
    """The flags that the segment can turn: those that use it, and all that need these."""
    known = all_references() if known is None else known
    users = {flag for flag, refs in known.items() if name in refs.segments}
    return frozenset(users) | _steered(users, known)


def _steered(starts: Collection[str], known: Mapping[str, References]) -> frozenset[str]:
    found: set[str] = set()
    ahead = set(starts)
    while ahead:
        ahead = {flag for flag, refs in known.items() if not ahead.isdisjoint(refs.flags)} - found
        found |= ahead
    return frozenset(found)


def check_references(touched: Collection[str]) -> None:
    """Raise `InvalidFlagError` where a touched flag refers to what is not there, or closes a circle."""
    known = all_references()
    segments = set(FlagSegment.objects.values_list("name", flat=True))
    asking = {name: _asking(name, refs) for name, refs in known.items()}
    for name in sorted(touched):
        _refuse_unknown("prerequisites", name, known[name].flags, known.keys())
        _refuse_unknown("segments", name, known[name].segments, segments)
        problem = graph.problem(asking, name)
        if problem:
            raise InvalidFlagError(problem, "prerequisites")


def _asking(name: str, refs: References) -> FlagDefinition:
    """No more of a flag than whom it asks."""
    return FlagDefinition(name=name, prerequisites=tuple(Prerequisite(feature=each) for each in sorted(refs.flags)))


def _refuse_unknown(field: str, name: str, wanted: Iterable[str], known: Iterable[str]) -> None:
    for each in sorted(set(wanted).difference(known)):
        close = nearest(each, known)
        hint = f"; did you mean {close}?" if close else ""
        raise InvalidFlagError(f"{field} of {name} must be known ones, was {each!r}{hint}", field)


def objects(value: object) -> list[State]:
    """The JSON objects of a list; none of anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list | tuple) else []


def names(value: object) -> list[str]:
    """The entries of a list as texts; none of anything else."""
    return [str(each) for each in value] if isinstance(value, list | tuple | set | frozenset) else []
