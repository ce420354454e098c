"""One process's view of one circuit: what lets a closed call pass without asking anybody.

**Why a success in CLOSED needs no round trip.** Only a failure can open a circuit, and every failure is
shared at once. Successes merely push older failures out of the window, so a worker may keep its own for a
moment and share them in one batch: with its next failure, or when its view is older than `REFRESH_S`.
Batching equals recording one by one (see `core`), so all that can differ is the order of outcomes of
*different* workers within that moment, and an idle worker's unshared successes, which make the circuit open
earlier, never later. The other price is that a worker notices another's opening up to `REFRESH_S` late.
Circuits on the order path do not pay it: they ask before every call.

**When Redis is away** the process decides with the pure core on its last view, on the process's own clock,
and asks Redis again every `AWAY_S`. Local generations are negative, so a result that belongs to the time
alone can never be taken for a shared one. On the order path nobody decides alone: calls are refused. Calls
that only reduce a position always pass there, whatever the state.
"""

from __future__ import annotations

import itertools
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from helios.breakers import core
from helios.breakers.catalog import Settings
from helios.breakers.core import Circuit, Config, Outcome, Permit, State, Step
from helios.breakers.errors import CircuitOpen, SharedStateAway
from helios.breakers.journal import Entry, Journal, moment
from helios.breakers.store import Reply

REFRESH_S = 0.1
AWAY_S = 1.0
_ALONE = 1 << 62  # what a generation is lowered by while the process decides alone: always below zero
_REASONS = {
    State.OPEN: "it is open after failures",
    State.HALF_OPEN: "it is half-open and its probes are under way",
}


class Store(Protocol):
    """What a circuit needs of the shared state; `store.SharedStore` is it."""

    def acquire(
        self, name: str, config: Config, *, token: str, generation: int, successes: int, enforce: bool
    ) -> Reply: ...

    def record(
        self, name: str, config: Config, permit: Permit, outcome: Outcome, *, successes: int, enforce: bool
    ) -> Reply: ...

    def peek(self, name: str, config: Config) -> Reply: ...


class ProcessCircuit:
    """The circuit `name` as this process sees it. Safe to use from several threads.

    `acting` tells whether breakers act at all (the flag `circuit_breakers`); `on_changes` hears the number of
    configuration changes that Redis knows of.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        *,
        store: Store,
        journal: Journal,
        acting: Callable[[], bool],
        on_changes: Callable[[int], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.settings = settings
        self._store = store
        self._journal = journal
        self._acting = acting
        self._on_changes = on_changes
        self._clock = clock
        self._lock = threading.Lock()
        self._view = Circuit()  # open_until on this process's clock
        self._unshared = 0  # successes of the view's generation that Redis has not heard of
        self._passing: Permit | None = None  # the permit of every call while the view is fresh and lets all pass
        self._fresh_until = 0.0
        self._away_until = 0.0
        self._enforce = True
        prefix = f"{os.getpid():x}-{secrets.token_hex(4)}-"
        self._tokens = map(prefix.__add__, map(str, itertools.count()))

    @property
    def view(self) -> Circuit:
        """The circuit as this process last saw it."""
        return self._view

    def configure(self, settings: Settings) -> None:
        """Use other settings from the next call on."""
        with self._lock:
            self.settings = settings
            self._fresh_until = 0.0

    def expire(self) -> None:
        """Ask Redis at the next call, however fresh the view is."""
        self._fresh_until = 0.0

    def passing(self) -> Permit | None:
        """The right to make one call where no question is needed, else None."""
        return self._passing if self._clock() < self._fresh_until else None

    def acquire(self, reducing: bool = False) -> Permit:
        """The right to make one call; raises `CircuitOpen` when it is refused."""
        passing = self._passing
        if passing is not None and self._clock() < self._fresh_until:
            return passing
        try:
            return self._decide()
        except CircuitOpen:
            if reducing and self.settings.order_path:
                return Permit(self._view.generation)  # counts only where the circuit is closed
            raise

    def succeeded(self, permit: Permit) -> None:
        """`record` for the case that counts in nanoseconds: a call that went well."""
        if permit.token:
            self.record(permit, Outcome.SUCCESS)
            return
        with self._lock:
            if permit.generation == self._view.generation:
                self._unshared += 1

    def record(self, permit: Permit, outcome: Outcome) -> None:
        """Report how the call of `permit` ended; never raises."""
        if not permit.token and outcome is not Outcome.FAILURE:
            if outcome is Outcome.SUCCESS:
                self.succeeded(permit)
            return
        config, successes = self.settings.config, self._take_unshared(permit.generation)
        if self._clock() >= self._away_until:
            try:
                reply = self._store.record(
                    self.name, config, permit, outcome, successes=successes, enforce=self._enforce
                )
            except SharedStateAway:
                self._leave()
            else:
                self._adopt(reply)
                return
        self._record_alone(permit, outcome, successes)

    def _decide(self) -> Permit:
        now = self._clock()
        self._enforce = self.settings.order_path or self._acting()
        if self.settings.forced_open and self._enforce:
            self._look()
            if self.settings.forced_open:
                raise CircuitOpen(self.name, reason="a person opened it", retry_after_s=None)
        step = self._ask(now)
        if step.permit is None:
            raise CircuitOpen(self.name, reason=_REASONS[step.circuit.state], retry_after_s=step.retry_after_s)
        return step.permit

    def _ask(self, now: float) -> Step:
        """The decision of Redis, or this process's own while Redis is away or its last word is fresh."""
        view = self._view
        if self._enforce and now < self._fresh_until and view.state is State.OPEN and now < view.open_until:
            return Step(circuit=view, retry_after_s=view.open_until - now)
        if now >= self._away_until:
            try:
                return self._ask_shared()
            except SharedStateAway:
                self._leave()
        if self.settings.order_path:
            reason = "the shared state of the breakers cannot be reached, and orders are not sent without it"
            raise CircuitOpen(self.name, reason=reason, retry_after_s=self._away_until - now)
        return self._ask_alone(now)

    def _ask_shared(self) -> Step:
        with self._lock:
            generation, successes, self._unshared = self._view.generation, self._unshared, 0
        try:
            reply = self._store.acquire(
                self.name,
                self.settings.config,
                token=next(self._tokens),
                generation=generation,
                successes=successes,
                enforce=self._enforce,
            )
        except SharedStateAway:
            with self._lock:
                self._unshared += successes
            raise
        self._adopt(reply)
        return reply.step

    def _look(self) -> None:
        """Hear of configuration changes while calls are refused without asking."""
        if self._clock() >= max(self._fresh_until, self._away_until):
            try:
                self._adopt(self._store.peek(self.name, self.settings.config))
            except SharedStateAway:
                self._leave()

    def _adopt(self, reply: Reply) -> None:
        """Take over what Redis says, as of now on this process's clock."""
        now = self._clock()
        circuit = replace(reply.step.circuit, open_until=now + reply.open_for_s)
        with self._lock:
            if circuit.generation != self._view.generation:
                self._unshared = 0
            self._view = circuit
            self._away_until = 0.0
            self._refresh(now + (0.0 if self.settings.order_path else REFRESH_S))
        self._write_down(reply.step, moment(reply.now), shared=True)
        self._on_changes(reply.changes)

    def _leave(self) -> None:
        """Redis is away: go on alone from the last view, under a generation that no shared one can equal."""
        with self._lock:
            now = self._clock()
            self._away_until = now + AWAY_S
            self._view = replace(self._view, generation=_alone(self._view.generation))
            self._refresh(self._away_until)

    def _refresh(self, fresh_until: float) -> None:
        passes = self._view.state is State.CLOSED or not self._enforce
        alone_on_order_path = self._away_until > 0 and self.settings.order_path
        blocked = self.settings.forced_open and self._enforce
        self._passing = Permit(self._view.generation) if passes and not alone_on_order_path and not blocked else None
        self._fresh_until = fresh_until

    def _ask_alone(self, now: float) -> Step:
        with self._lock:
            step = core.acquire(
                self._view, self.settings.config, now=now, token=next(self._tokens), enforce=self._enforce
            )
            self._view = step.circuit
            self._refresh(self._away_until)
        self._write_down(step, moment(time.time()), shared=False)
        return step

    def _record_alone(self, permit: Permit, outcome: Outcome, successes: int) -> None:
        own = Permit(_alone(permit.generation), permit.token)
        with self._lock:
            step = core.record(
                self._view,
                self.settings.config,
                own,
                outcome,
                now=self._clock(),
                successes=successes,
                enforce=self._enforce,
            )
            self._view = step.circuit
            self._refresh(self._away_until)
        self._write_down(step, moment(time.time()), shared=False)

    def _take_unshared(self, generation: int) -> int:
        with self._lock:
            if generation != self._view.generation:
                return 0
            successes, self._unshared = self._unshared, 0
            return successes

    def _write_down(self, step: Step, ts: datetime, *, shared: bool) -> None:
        if step.transition is None:
            return
        change = step.transition
        self._journal.add(
            Entry(
                ts=ts,
                name=self.name,
                before=change.before,
                after=change.after,
                reason=change.reason,
                shared=shared,
            )
        )


def _alone(generation: int) -> int:
    return generation if generation < 0 else generation - _ALONE
