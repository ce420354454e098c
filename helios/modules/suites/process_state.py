"""What an import may not change in the process that makes it: a picture of it before, and the differences."""

from __future__ import annotations

import builtins
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

_HOOKS = ("__import__", "__build_class__")  # names with underscores that no import sets by itself
_LIBRARIES = ("_RJEM_MALLOC_CONF", "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK")  # of polars and scikit-learn
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessState:
    """The process at one moment. Values are kept, so that none of them can be replaced unnoticed."""

    threads: frozenset[int]
    path: tuple[str, ...]
    environment: dict[str, str]
    folder: str
    handlers: tuple[Any, ...]
    streams: tuple[Any, ...]
    names: dict[str, dict[str, Any]]  # module to its global names

    @classmethod
    def now(cls, packages: tuple[str, ...]) -> ProcessState:
        """This process now, with the modules of `packages` and the built-in names."""
        return cls(
            threads=frozenset(thread.ident or 0 for thread in threading.enumerate()),
            path=tuple(sys.path),
            environment=dict(os.environ),
            folder=os.getcwd(),  # noqa: PTH109 - a string is what is compared
            handlers=tuple(signal.getsignal(each) for each in _SIGNALS),
            streams=(sys.stdout, sys.stderr, sys.stdin, sys.excepthook),
            names={name: dict(vars(module)) for name, module in _watched(packages)},
        )

    def changes(self, packages: tuple[str, ...], *, own: str = "") -> list[str]:
        """What differs now, in words; modules under the name `own` are the code's own business."""
        now = ProcessState.now(packages)
        found = [
            sentence
            for differs, sentence in (
                (now.threads - self.threads, f"it left {len(now.threads - self.threads)} threads running"),
                (now.path != self.path, "it changed sys.path"),
                (_own_doing(now.environment, self.environment), "it changed the environment"),
                (now.folder != self.folder, "it changed the working folder"),
                (not _same(now.handlers, self.handlers), "it changed signal handlers"),
                (not _same(now.streams, self.streams), "it replaced standard streams or the exception hook"),
            )
            if differs
        ]
        for name, before in self.names.items():
            if name != own and not name.startswith(f"{own}."):
                found += _rebound(name, before, now.names.get(name))
        for name in sorted(now.names.keys() - self.names.keys()):
            if own and name != own and not name.startswith(f"{own}."):
                found += _planted(name, now.names[name], own)
        return found


def _own_doing(now: Mapping[str, str], before: Mapping[str, str]) -> bool:
    """Whether the environment differs by more than what libraries add to it when they are imported."""
    return {name: value for name, value in now.items() if name in before or name not in _LIBRARIES} != before


def _watched(packages: tuple[str, ...]) -> Iterator[tuple[str, ModuleType]]:
    yield "builtins", builtins
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in packages and isinstance(module, ModuleType):
            yield name, module


def _rebound(name: str, before: Mapping[str, Any], now: Mapping[str, Any] | None) -> Iterator[str]:
    """The names that another module lost, gained or had replaced; a submodule that appeared is no change."""
    if now is None:
        yield f"it removed the module {name}"
        return
    for key in sorted(before.keys() | now.keys()):
        if (key.startswith("__") and key not in _HOOKS) or key == "_":
            continue
        absent = object()
        was, value = before.get(key, absent), now.get(key, absent)
        if was is not value and not (was is absent and isinstance(value, ModuleType)):
            yield f"it changed {name}.{key}"


def _planted(name: str, now: Mapping[str, Any], own: str) -> Iterator[str]:
    """The names of a module that the import brought in which hold something that the code itself made."""
    for key, value in sorted(now.items()):
        maker = str(getattr(value, "__module__", ""))
        if not isinstance(value, ModuleType) and (maker == own or maker.startswith(f"{own}.")):
            yield f"it changed {name}.{key}"


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return all(a is b or a == b for a, b in zip(one, other, strict=True))
