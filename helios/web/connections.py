"""Connections that ask nothing, or never take their answer, are closed: a process has a bounded number of them."""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

LOOK_S: Final = 10.0  # between two looks at a connection
ANSWERED_LOOKS: Final = 12  # so many looks may a request take, with its answer


class PatientProtocol(H11Protocol):
    """Uvicorn's protocol, whose own patience begins after the first answer: `uvicorn --http` names this class."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.loop.call_later(LOOK_S, self._look, None, 0)

    def _look(self, seen: Any, looks: int) -> None:
        """Close what has begun no request since the last look, and what is at the same one for too long."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        idle = cycle is None or cycle.response_complete
        looks = looks + 1 if cycle is seen else 0
        if (idle and cycle is seen) or looks >= ANSWERED_LOOKS:
            self.transport.abort()
        else:
            self.loop.call_later(LOOK_S, self._look, cycle, looks)
