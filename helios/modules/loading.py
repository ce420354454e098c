"""From a dotted path to an implementation that may stand in the pipeline."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol, cast

from django.conf import settings

from helios.modules import core
from helios.modules.errors import ModuleLoadFailed, ModuleRefused

DEFAULT_PACKAGES = ("tiers", "trading")  # the setting MODULE_PACKAGES replaces it


class Implementation(Protocol):
    """What every module must offer: its version, and the function that does its work."""

    VERSION: str
    run: Callable[..., Any]


def allowed_packages() -> tuple[str, ...]:
    """The packages that modules may be loaded from."""
    return tuple(getattr(settings, "MODULE_PACKAGES", DEFAULT_PACKAGES))


def load(name: str, path: str, version: str) -> Implementation:
    """Import `path` and check that it is `version` of something that can run.

    Raises `ModuleRefused` for a path outside the allowed packages (nothing is imported then) and
    `ModuleLoadFailed` with the reason for everything that is wrong with the code.
    """
    core.check_path(path, allowed_packages())
    try:
        found = importlib.import_module(path)
    except (Exception, SystemExit) as error:  # code under test may do anything at import, leaving included
        reason = f"{type(error).__name__}: {error}"
        raise ModuleLoadFailed(f"module {name} could not be imported from {path}: {reason}") from error
    _check(found, name, path, version)
    return cast("Implementation", found)


def _check(found: ModuleType, name: str, path: str, version: str) -> None:
    seen = getattr(found, "VERSION", None)
    if not isinstance(seen, str):
        raise ModuleLoadFailed(f"module {name} must have VERSION, a string, in {path}; it was {seen!r}")
    try:
        same = core.Version.parse(seen) == core.Version.parse(version)
    except ModuleRefused as error:
        raise ModuleLoadFailed(f"module {name} has a bad VERSION in {path}: {error}") from error
    if not same:
        raise ModuleLoadFailed(f"module {name} is registered as {version}, but the code in {path} is {seen}")
    if not callable(getattr(found, "run", None)):
        raise ModuleLoadFailed(f"module {name} must have run, a function, in {path}")
