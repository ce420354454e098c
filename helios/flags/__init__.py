"""Feature flags.

    from helios import flags

    flags.is_enabled("garch_volatility")
    flags.is_enabled("neural_network_v2", flags.FlagContext(symbol="AAPL"))
    flags.variant("fill_model", flags.FlagContext(symbol="AAPL")).payload
    flags.on_change(lambda names: print("may answer otherwise now:", names))

A lookup reads this process's snapshot: no lock, no I/O after the first one. `refresh_if_behind()` belongs at
the start of every task, `start_listener()` into every process that stays. Changes: `helios.flags.services`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from helios.flags.core.context import FlagContext
from helios.flags.core.definition import Decision, FlagDefinition, Reason, Strategy
from helios.flags.core.parts import VariantResult

if TYPE_CHECKING:
    from helios.flags.process import (
        asking,
        explain,
        forget,
        is_enabled,
        on_change,
        on_staleness,
        refresh_if_behind,
        snapshot,
        start_listener,
        stop_listener,
        unknown,
        variant,
    )
    from helios.flags.snapshots import Snapshot
else:

    def __getattr__(name: str) -> Any:
        """What reads tables and Redis is loaded when it is first asked for: the core is importable without them."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = import_module("helios.flags.snapshots" if name == "Snapshot" else "helios.flags.process")
        globals()[name] = getattr(home, name)
        return globals()[name]


__all__ = [
    "Decision",
    "FlagContext",
    "FlagDefinition",
    "Reason",
    "Snapshot",
    "Strategy",
    "VariantResult",
    "asking",
    "explain",
    "forget",
    "is_enabled",
    "on_change",
    "on_staleness",
    "refresh_if_behind",
    "snapshot",
    "start_listener",
    "stop_listener",
    "unknown",
    "variant",
]
