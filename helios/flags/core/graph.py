"""Who refers to whom, as a mapping from each name to the names that it refers to.

Prerequisites may form chains, never circles, and never more work than is bounded here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from helios.flags.core.definition import FlagDefinition

MAX_COST: Final = 100  # evaluations that asking one flag may cause, its own included

References = Mapping[str, Collection[str]]


def in_order(references: References) -> Iterator[str]:
    """The names, every one after those that it refers to; those on a circle, or behind one, are left out.

    References to names that are not there are skipped.
    """
    waiting = {name: len(set(_known(references, name))) for name in references}
    referring: dict[str, list[str]] = {}
    for name in references:
        for other in set(_known(references, name)):
            referring.setdefault(other, []).append(name)
    ready = [name for name, others in waiting.items() if not others]
    while ready:
        name = ready.pop()
        yield name
        for each in referring.get(name, ()):
            waiting[each] -= 1
            if not waiting[each]:
                ready.append(each)


def costs(references: References) -> dict[str, int]:
    """How many evaluations asking each name may cause, counted up to just above `MAX_COST`, in an order to compile.

    Names on a circle, or behind one, have no cost.
    """
    found: dict[str, int] = {}
    for name in in_order(references):
        found[name] = min(1 + sum(found[other] for other in _known(references, name)), MAX_COST + 1)
    return found


def circle(references: References, starts: Iterable[str]) -> tuple[str, ...]:
    """A circle that one of `starts` runs into, its first name repeated at its end; empty when there is none."""
    done: set[str] = set()
    for start in sorted(starts):
        path, branches = [start], [_known(references, start)]
        while path:
            other = next(branches[-1], None)
            if other is None:
                done.add(path.pop())
                branches.pop()
            elif other in path:
                return (*path[path.index(other) :], other)
            elif other not in done:
                path.append(other)
                branches.append(_known(references, other))
    return ()


def prerequisites(flags: Mapping[str, FlagDefinition]) -> References:
    """Which flags each flag asks."""
    return {name: [each.feature for each in flag.prerequisites] for name, flag in flags.items()}


def problem(flags: Mapping[str, FlagDefinition], name: str) -> str:
    """What is wrong with the prerequisites of `name` among these flags, as one sentence; empty when nothing is."""
    asked = prerequisites(flags)
    missing = [each for each in asked[name] if each not in flags]
    if missing:
        return f"prerequisites must be known flags, {name} asks for {missing[0]}"
    found = circle(asked, [name])
    if found:
        return f"prerequisites must not form a circle, did: {' -> '.join(found)}"
    dear = [each for each, cost in costs(asked).items() if cost > MAX_COST]
    return f"prerequisites must cause at most {MAX_COST} evaluations, those of {dear[0]} cause more" if dear else ""


def _known(references: References, name: str) -> Iterator[str]:
    return (other for other in references.get(name, ()) if other in references)
