"""Circuit breakers: a dependency that keeps failing is left alone for a while, by all workers together.

with breaker("llm_api"):
    reply = client.messages.create(...)

view = breaker("llm_api").call(ask, context, fallback=lambda error: rules.analyse(context))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from helios.breakers.errors import CircuitOpen, SharedStateAway, UnknownBreaker

if TYPE_CHECKING:
    from helios.breakers.guard import Breaker, breaker, refresh_if_behind
else:

    def __getattr__(name: str) -> Any:
        """What shares its state over Redis is loaded when it is first asked for: the core is importable without it."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = getattr(import_module("helios.breakers.guard"), name)
        return globals()[name]


__all__ = ["Breaker", "CircuitOpen", "SharedStateAway", "UnknownBreaker", "breaker", "refresh_if_behind"]
