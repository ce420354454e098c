"""Circuit breakers: a dependency that keeps failing is left alone for a while, by all workers together.

with breaker("llm_api"):
    reply = client.messages.create(...)

view = breaker("llm_api").call(ask, context, fallback=lambda error: rules.analyse(context))
"""

from helios.breakers.errors import CircuitOpen, SharedStateAway, UnknownBreaker
from helios.breakers.guard import Breaker, breaker, refresh_if_behind

__all__ = ["Breaker", "CircuitOpen", "SharedStateAway", "UnknownBreaker", "breaker", "refresh_if_behind"]
