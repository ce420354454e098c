"""Connections that ask nothing, or never take their answer, are closed: a process has a bounded number of them.

Where nearly all are taken, a new one takes the place of the one that has asked nothing for longest.
"""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

LOOK_S: Final = 10.0  # between two looks at a connection
ANSWERED_LOOKS: Final = 12  # so many looks may a request take, with its answer
CROWDED: Final = 0.9  # of the connections that uvicorn allows
_open: dict[PatientProtocol, None] = {}  # the oldest first


class PatientProtocol(H11Protocol):
    """Uvicorn's protocol, whose own patience begins after the first answer: `uvicorn --http` names this class."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.loop.call_later(LOOK_S, self._look, None, 0)
        _open[self] = None
        if self.limit_concurrency and len(self.connections) > CROWDED * self.limit_concurrency:
            silent = (each for each in _open if each.idle and not each.transport.is_closing())
            next(silent).transport.abort()  # if need be, this one

    def connection_lost(self, exc: Exception | None) -> None:
        _open.pop(self, None)
        super().connection_lost(exc)

    @property
    def idle(self) -> bool:
        """Whether no request is under way: none has begun, or the last one has its answer."""
        return self.cycle is None or self.cycle.response_complete

    def _look(self, seen: Any, looks: int) -> None:
        """Close what has begun no request since the last look, and what is at the same one for too long."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        looks = looks + 1 if cycle is seen else 0
        if (self.idle and cycle is seen) or looks >= ANSWERED_LOOKS:
            self.transport.abort()
        else:
            self.loop.call_later(LOOK_S, self._look, cycle, looks)
