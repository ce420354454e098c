"""Names, paths and dependencies of modules: what the registry decides without looking at anything."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Final

from helios.modules.core.versions import comparisons
from helios.modules.errors import ModuleRefused
from helios.redaction import shortened

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)


def check_name(name: str) -> None:
    """Raises `ModuleRefused` where `name` is no name of a slot."""
    if _NAME.fullmatch(name) is None:
        raise ModuleRefused(f"a module's name must read like predict or risk-two, at most 64 letters, was {name!r}")


def check_dependencies(dependencies: object) -> None:
    """Raises `ModuleRefused` where `dependencies` does not map module names to version ranges."""
    if not isinstance(dependencies, dict):
        raise ModuleRefused(f"dependencies must map names to version ranges, was {shortened(repr(dependencies))}")
    for name, wanted in dependencies.items():
        if not isinstance(name, str):
            raise ModuleRefused(f"dependencies must map names to version ranges, one name was {name!r}")
        check_name(name)
        if not isinstance(wanted, str):
            raise ModuleRefused(f"the version range of {name} must be a string, was {wanted!r}")
        comparisons(wanted)


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
    if path in allowed:
        raise ModuleRefused(f"a module's path must lead below {path}, which holds them all, as in {path}.risk")
    if not any(path.startswith(f"{package}.") for package in allowed):
        raise ModuleRefused(f"modules may be loaded from {', '.join(allowed)} only, not from {path!r}")
