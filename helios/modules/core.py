"""Versions, ranges, dependency order and dotted paths: what the registry decides without looking at anything.

Versions and their order follow semantic versioning 2.0.0 (semver.org); ranges are comparisons joined by
commas.
"""

from __future__ import annotations

import operator as op
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import total_ordering
from graphlib import CycleError, TopologicalSorter
from typing import Final

from helios.modules.errors import ModuleRefused

_NUMBER: Final = r"0|[1-9][0-9]*"
_IDENTIFIER: Final = rf"(?:{_NUMBER}|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_VERSION: Final = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})"
    rf"(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)
_COMPARISON: Final = re.compile(r"(\^|~|>=|<=|>|<|==|!=)?\s*(\S+)")

_COMPARE: Final = {">=": op.ge, "<=": op.le, ">": op.gt, "<": op.lt, "!=": op.ne, "==": op.eq}


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """A semantic version; build metadata plays no part in the order and is dropped."""

    major: int
    minor: int
    patch: int
    prerelease: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Version:
        """Raises `ModuleRefused` where `text` is not MAJOR.MINOR.PATCH with an optional -prerelease."""
        match = _VERSION.fullmatch(text)
        if match is None:
            raise ModuleRefused(f"a version must read like 1.4.0 or 2.0.0-rc.1, was {text!r}")
        major, minor, patch, prerelease = match.groups()
        return cls(int(major), int(minor), int(patch), tuple(prerelease.split(".")) if prerelease else ())

    def __lt__(self, other: Version) -> bool:
        return self._key() < other._key()

    def __str__(self) -> str:
        base = f"{self.major}.{self.minor}.{self.patch}"
        return f"{base}-{'.'.join(self.prerelease)}" if self.prerelease else base

    def next_breaking(self) -> Version:
        """The first version that may break users of this one: the leftmost number that is not zero grows."""
        if self.major:
            return Version(self.major + 1, 0, 0)
        return Version(0, self.minor + 1, 0) if self.minor else Version(0, 0, self.patch + 1)

    def _key(self) -> tuple[object, ...]:
        # A release is above its pre-releases; numbers are below words; fewer parts are below more.
        parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in self.prerelease)
        return (self.major, self.minor, self.patch, not self.prerelease, parts)


def label(version: str, digest: str) -> str:
    """A version and the first digits of its content's hash, as a semantic version with build metadata."""
    return f"{Version.parse(version)}+{digest[:8]}"


def check_name(name: str) -> None:
    """Raises `ModuleRefused` where `name` is no name of a slot."""
    if _NAME.fullmatch(name) is None:
        raise ModuleRefused(f"a module's name must read like predict or risk-two, at most 64 letters, was {name!r}")


def satisfies(version: str, wanted: str) -> bool:
    """Whether `version` lies in the range `wanted`.

    A range is `*` or comparisons that must all hold: `>=1.2.0,<2.0.0`, `!=1.3.1`, `1.2.0` (exactly),
    `^1.2.0` (up to the next breaking version) and `~1.2.0` (up to the next minor one). A pre-release lies
    only in ranges that name a pre-release of the same version. Raises `ModuleRefused` on anything else.
    """
    candidate = Version.parse(version)
    comparisons = _comparisons(wanted)
    if candidate.prerelease and not any(_same_release(candidate, bound) for _, bound in comparisons):
        return False
    return all(_holds(candidate, operator, bound) for operator, bound in comparisons)


def check_dependencies(dependencies: object) -> None:
    """Raises `ModuleRefused` where `dependencies` does not map module names to version ranges."""
    if not isinstance(dependencies, dict):
        raise ModuleRefused(f"dependencies must map names to version ranges, was {dependencies!r}")
    for name, wanted in dependencies.items():
        if not isinstance(wanted, str):
            raise ModuleRefused(f"the version range of {name} must be a string, was {wanted!r}")
        _comparisons(wanted)


def load_order(dependencies: Mapping[str, Iterable[str]]) -> list[str]:
    """Every module after those it depends on; alphabetical where there is a choice.

    `dependencies` maps a name to the names it needs, all of them keys. Raises `ModuleRefused` naming the
    cycle or the missing module.
    """
    for name, needed in dependencies.items():
        for other in needed:
            if other not in dependencies:
                raise ModuleRefused(f"module {name} depends on {other}, which is not registered")
    sorter = TopologicalSorter(dependencies)
    try:
        sorter.prepare()
    except CycleError as error:
        # graphlib lists each module before the one that needs it
        raise ModuleRefused(f"modules depend on each other: {' -> '.join(reversed(error.args[1]))}") from error
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return order


def check_path(path: str, packages: Iterable[str]) -> None:
    """Raises `ModuleRefused` where `path` is no dotted path into one of the allowed `packages`."""
    parts = path.split(".")
    if not all(part.isascii() and part.isidentifier() and not part.startswith("_") for part in parts):
        raise ModuleRefused(f"a module's path must be a dotted name like tiers.risk, was {path!r}")
    allowed = sorted(packages)
    if not any(path == package or path.startswith(f"{package}.") for package in allowed):
        raise ModuleRefused(f"modules may be loaded from {', '.join(allowed)} only, not from {path!r}")


def _comparisons(wanted: str) -> list[tuple[str, Version]]:
    if wanted.strip() == "*":
        return []
    found = []
    for part in wanted.split(","):
        match = _COMPARISON.fullmatch(part.strip())
        if match is None:
            raise ModuleRefused(f"a version range must read like >=1.2.0,<2.0.0 or ^1.2.0 or *, was {wanted!r}")
        found.append((match[1] or "==", Version.parse(match[2])))
    return found


def _same_release(candidate: Version, bound: Version) -> bool:
    same = (candidate.major, candidate.minor, candidate.patch) == (bound.major, bound.minor, bound.patch)
    return same and bool(bound.prerelease)


def _holds(candidate: Version, operator: str, bound: Version) -> bool:
    if operator == "^":
        return bound <= candidate < bound.next_breaking()
    if operator == "~":
        return bound <= candidate < Version(bound.major, bound.minor + 1, 0)
    return bool(_COMPARE[operator](candidate, bound))
