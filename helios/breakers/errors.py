"""What callers of a breaker may have to handle."""

from __future__ import annotations

from helios.errors import NotFound, Rejected, Transient


class CircuitOpen(Transient):
    """The call was not made; another may pass in `retry_after_s` seconds (None: when a person closes it)."""

    def __init__(self, name: str, *, reason: str, retry_after_s: float | None) -> None:
        self.name = name
        self.reason = reason
        self.retry_after_s = retry_after_s
        when = "when a person closes it" if retry_after_s is None else f"in {max(retry_after_s, 0.0):.1f} s"
        super().__init__(f"circuit {name} refused the call: {reason}; it may be tried again {when}")

    def __reduce__(self) -> tuple[object, ...]:
        """Celery pickles exceptions across processes; keyword arguments need a hand with that."""
        return _rebuild, (self.name, self.reason, self.retry_after_s)


def _rebuild(name: str, reason: str, retry_after_s: float | None) -> CircuitOpen:
    return CircuitOpen(name, reason=reason, retry_after_s=retry_after_s)


class UnknownBreaker(NotFound):
    """No breaker of that name is configured."""


class SharedStateAway(Transient):
    """Redis, which holds the shared state of the breakers, cannot be reached."""


class SharedStateUnreadable(SharedStateAway):
    """What lies in Redis is no state that a breaker has left there: it counts as away until somebody resets it."""


class InvalidBreaker(Rejected):
    """Settings that make no sense, or a change that this breaker does not allow; nothing was changed."""
