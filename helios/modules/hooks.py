"""The functions that a module may define to follow its own life in a process. None of them has to be there.

`on_load()` after its code was loaded beside; `on_activate()` before its first call; `on_deactivate()` after another
version took its place; `export_state() -> dict` and `import_state(state, from_version)` carry what a version keeps in
memory over to the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loguru import logger

from helios.errors import error_text
from helios.liveness import told_to_end
from helios.modules.errors import ModuleLoadFailed

NAMES = ("on_load", "on_activate", "on_deactivate", "export_state", "import_state")
log = logger.bind(component="modules")


def refusal(implementation: Any) -> str:
    """What is wrong with a hook that is there and no function; else empty."""
    for name in NAMES:
        hook = getattr(implementation, name, None)
        if hook is not None and not callable(hook):
            return f"may have {name} as a function, was {hook!r}"
    return ""


def loaded(implementation: Any, slot: str) -> None:
    """Run `on_load`; its error is one of loading."""
    try:
        _call(implementation, "on_load")
    except BaseException as error:  # a hook may do anything
        if told_to_end(error):
            raise
        raise ModuleLoadFailed(f"module {slot} failed in on_load: {error_text(error)}") from None


def switched(slot: str, old: Any, new: Any, from_version: str) -> list[str]:
    """Carry the state over and tell both; returns what failed, a sentence each. `old`: None for a first activation."""
    from helios.db.failures import savepoint  # noqa: PLC0415 - the gate's own process switches nothing

    failed: list[str] = []

    def attempt(what: str, work: Callable[[], Any]) -> Any:
        try:
            with savepoint():
                return work()
        except BaseException as error:  # the switch has happened: it is told, not undone here
            if told_to_end(error):
                raise
            failed.append(f"{what} of module {slot} failed: {error_text(error)}")
            log.bind(module=slot, error=error_text(error)).error("modules.hook_failed")
            return None

    def exported() -> Any:
        return old.export_state() if hasattr(old, "export_state") and hasattr(new, "import_state") else None

    if old is not None:
        state = attempt("export_state", exported)
        if state is not None:
            attempt("import_state", lambda: new.import_state(state, from_version))
    attempt("on_activate", lambda: _call(new, "on_activate"))
    if old is not None:
        attempt("on_deactivate", lambda: _call(old, "on_deactivate"))
    return failed


def _call(implementation: Any, name: str) -> None:
    hook = getattr(implementation, name, None)
    if hook is not None:
        hook()
