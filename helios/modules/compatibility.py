"""Which versions fit together: what a version needs, who needs the slot it would fill, and no circles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from helios.modules.core.dependencies import check_dependencies, load_order
from helios.modules.core.versions import satisfies
from helios.modules.errors import ModuleRefused
from helios.modules.models import Module, ModuleState, ModuleVersion


def check_graph(rows: Mapping[str, Module], name: str, dependencies: Mapping[str, str]) -> None:
    """Raises `ModuleRefused` for bad ranges, a missing module, or a circle that `dependencies` would close."""
    check_dependencies(dependencies)
    if len(dependencies) > len(rows):
        raise ModuleRefused(f"module {name} may need the {len(rows)} slots that there are, not {len(dependencies):,}")
    known = {each: list(row.dependencies) for each, row in rows.items()}
    load_order({**known, name: list(dependencies)})


def check_needs(version: ModuleVersion, rows: Mapping[str, Module], states: Sequence[ModuleState]) -> None:
    """Raises `ModuleRefused` where a module that `version` needs has no version in one of `states` in its range."""
    name = version.module.name
    for needed, wanted in version.dependencies.items():
        other = rows.get(needed)
        if other is None:
            raise ModuleRefused(f"module {name} depends on {needed}, which is not registered")
        there = [each.version for each in other.versions.all() if each.state in states]
        if not there:
            expected = " or ".join(states)
            raise ModuleRefused(f"module {name} needs {needed} to be {expected}, was {other.state}")
        if not any(satisfies(each, wanted) for each in there):
            raise ModuleRefused(f"module {name} needs {needed} {wanted}, but {', '.join(there)} is registered")


def check_users(version: ModuleVersion, rows: Mapping[str, Module]) -> None:
    """Raises `ModuleRefused` where a module in use needs this slot in a range that `version` is not in."""
    name = version.module.name
    for user in rows.values():
        wanted = user.active.dependencies.get(name) if user.active is not None else None
        if wanted is not None and not satisfies(version.version, wanted):
            raise ModuleRefused(f"module {user.name} in use needs {name} {wanted}, but {version.version} would fill it")


def check_switch(version: ModuleVersion, rows: Mapping[str, Module]) -> None:
    """Raises `ModuleRefused` where `version` may not fill its slot beside what is in use in the others.

    What it needs must be in use in its range, who needs the slot must be content with it, and its needs, which may
    be others than those of the version it replaces, must close no circle.
    """
    check_needs(version, rows, (ModuleState.ACTIVE,))
    check_users(version, rows)
    needs = {row.name: row.active.dependencies for row in rows.values() if row.active is not None}
    needs[version.module.name] = version.dependencies
    load_order({name: [other for other in wanted if other in needs] for name, wanted in needs.items()})


def users_of(rows: Mapping[str, Module], name: str) -> list[str]:
    """Names of the slots with a loaded or active version that needs `name`."""
    return [
        row.name
        for row in rows.values()
        if row.name != name
        and any(
            name in each.dependencies
            for each in row.versions.filter(state__in=[ModuleState.LOADED, ModuleState.ACTIVE])
        )
    ]
