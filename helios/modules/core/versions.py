"""Versions of modules and ranges of them. Ranges are comparisons joined by commas."""

from __future__ import annotations

import operator as op
import re
from typing import Final

from semver import Version

from helios import versions
from helios.modules.errors import ModuleRefused

MAX_RANGE: Final = 100  # letters
_COMPARISON: Final = re.compile(r"(\^|~|>=|<=|>|<|==|!=)?\s*(\S+)")
_COMPARE: Final = {">=": op.ge, "<=": op.le, ">": op.gt, "<": op.lt, "!=": op.ne, "==": op.eq}


def parse(text: str) -> Version:
    """Raises `ModuleRefused` where `text` is not MAJOR.MINOR.PATCH with an optional -prerelease."""
    try:
        return versions.parse(text)
    except ValueError as error:
        raise ModuleRefused(f"a version must read like 1.4.0 or 2.0.0-rc.1, was {text!r}") from error


def next_breaking(version: Version) -> Version:
    """The first version that may break users of this one: the leftmost number that is not zero grows."""
    if version.major:
        return version.bump_major()
    return version.bump_minor() if version.minor else version.bump_patch()


def label_of(version: str, digest: str) -> str:
    """A version and the first digits of its content's hash, as a semantic version with build metadata."""
    return f"{parse(version)}+{digest[:8]}"


def satisfies(version: str, wanted: str) -> bool:
    """Whether `version` lies in the range `wanted`.

    A range is `*` or comparisons that must all hold: `>=1.2.0,<2.0.0`, `!=1.3.1`, `1.2.0` (exactly),
    `^1.2.0` (up to the next breaking version) and `~1.2.0` (up to the next minor one). A pre-release lies
    only in ranges that name a pre-release of the same version. Raises `ModuleRefused` on anything else.
    """
    candidate, bounds = parse(version), comparisons(wanted)
    release = candidate.finalize_version()
    if candidate.prerelease and not any(each.prerelease and each.finalize_version() == release for _, each in bounds):
        return False
    return all(_holds(candidate, operator, bound) for operator, bound in bounds)


def comparisons(wanted: str) -> list[tuple[str, Version]]:
    """The range as operators and their bounds; none of `*`. Raises `ModuleRefused` for what is no range."""
    if len(wanted) > MAX_RANGE:
        raise ModuleRefused(f"a version range must have at most {MAX_RANGE} letters, had {len(wanted):,}")
    if wanted.strip() == "*":
        return []
    found = []
    for part in wanted.split(","):
        match = _COMPARISON.fullmatch(part.strip())
        if match is None:
            raise ModuleRefused(f"a version range must read like >=1.2.0,<2.0.0 or ^1.2.0 or *, was {wanted!r}")
        found.append((match[1] or "==", parse(match[2])))
    return found


def _holds(candidate: Version, operator: str, bound: Version) -> bool:
    if operator == "^":
        return bound <= candidate < next_breaking(bound)
    if operator == "~":
        return bound <= candidate < bound.bump_minor()
    return bool(_COMPARE[operator](candidate, bound))
