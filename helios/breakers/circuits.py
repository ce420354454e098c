"""One process's view of one circuit: what lets a closed call pass without asking anybody.

**Why a success needs no round trip.** Failures and slow calls are shared at once. Fast successes a process keeps
to itself and shares in one batch, which equals recording them one by one (see `core`): with its next failure or
slow call, with its next question, or `flusher.SHARE_S` after the first of them, when it makes no more calls too.
What holds: whatever decision is taken in Redis knows every failure and slow call that has ended anywhere, and
every success that ended more than `SHARE_S` and a round trip before, at the place in the window where it arrived.
So rates see the successes of other processes at most that much late, and an opening that a success completes (it
brings the window to `minimum_calls`) comes at most that much late. The other price is that a worker notices
another's opening up to `REFRESH_S` late. Circuits on the order path do not pay that: they ask before every call.
A process that is killed takes the successes of its last `SHARE_S` with it, never a failure.

**When Redis is away** the process decides with the pure core on its last view, on its own clock, and asks Redis
again every `AWAY_S`. On the order path nobody decides alone: calls are refused. Calls that only reduce a position
always pass there, whatever the state. What was measured alone is kept, no more than a window of it, and told to
Redis with its age in the first question that is answered; it counts unless the circuit has moved on meanwhile.
Local generations are negative, so that a result of that time is never taken for a shared one by accident. A
question that Redis answered too late for us to hear is told again: an outcome may count twice, never not at all.

**When Redis has lost its state** the circuit begins anew, closed; calls under way then count where they end.
"""

from __future__ import annotations

import itertools
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from helios.breakers.catalog import Settings
from helios.breakers.core import machine, sliding_window
from helios.breakers.core.config import Mode
from helios.breakers.core.machine import At, Circuit, Outcome, Permit, State, Step
from helios.breakers.errors import CircuitOpen, SharedStateAway
from helios.breakers.journal import Entry, Journal, moment
from helios.breakers.shared_state import Reply, SharedStore

REFRESH_S = 0.1
AWAY_S = 1.0
OUTRUN_S = 5.0  # no reply is on its way for longer
_ALONE = 1 << 62  # what a generation is lowered by while the process decides alone: always below zero
_REASONS = {
    State.OPEN: "it is open after failures",
    State.HALF_OPEN: "it is half-open and its probes are under way",
}
_UNREAD = "nobody could read yet whether a person opened it, and orders are not sent without knowing"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsharedOutcomes:
    """What Redis has not heard of: successes, and what was measured alone, on this process's clock."""

    generation: int
    successes: int = 0
    alone: str = ""

    def aged(self, now: float) -> str:
        """The outcomes with their ages, oldest first."""
        parts = [sliding_window.aged(self.alone, now), f"0S{self.successes}" if self.successes else ""]
        return ",".join(part for part in parts if part)


class ProcessCircuit:
    """The circuit `name` as this process sees it. Safe to use from several threads.

    `acting` tells whether breakers act at all (the flag `circuit_breakers`); `on_changes` hears the number of
    configuration changes that Redis knows of; `on_unshared` is told when there is something to `share`.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        *,
        store: SharedStore,
        journal: Journal,
        acting: Callable[[], bool],
        on_changes: Callable[[int], None] = lambda _: None,
        on_unshared: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._store = store
        self._journal = journal
        self._acting = acting
        self._on_changes = on_changes
        self._on_unshared = on_unshared
        self._clock = clock
        self._lock = threading.Lock()
        self._view = Circuit()  # open_until and closed_at on this process's clock
        self._heard = 0.0  # when the view was true, on Redis's clock
        self._ahead_s = 0.0  # this process's clock less that of Redis
        self._successes = 0  # of the view's generation, not shared yet
        self._alone = ""  # what was measured alone and not shared yet, on this process's clock
        self._left = 0  # the shared generation from which the process went on alone
        self._returned = 0  # the local generation in which it last stopped doing so
        self._passing: Permit | None = None  # the permit of every call while the view is fresh and lets all pass
        self._fresh_until = 0.0
        self._away_until = 0.0
        self._enforce = True
        self.configure(settings)
        prefix = f"{os.getpid():x}-{secrets.token_hex(4)}-"
        self._tokens = map(prefix.__add__, map(str, itertools.count()))

    @property
    def view(self) -> Circuit:
        """The circuit as this process last saw it."""
        return self._view

    @property
    def unshared(self) -> bool:
        """Whether there is anything that Redis has not heard of."""
        return bool(self._successes or self._alone)

    def configure(self, settings: Settings) -> None:
        """Use other settings from the next call on."""
        with self._lock:
            self.settings = settings
            self.slow_call_s = settings.config.slow_call_s  # what slow calls are told by; 0: nobody looks at a clock
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
        """`record` for the case that counts in nanoseconds: a call that went well, and fast."""
        with self._lock:
            kept = permit.generation == self._view.generation and not permit.token
            if kept:
                self._successes += 1
            first = self._successes == 1
        if kept:
            if first:
                self._on_unshared()
        elif permit.token or not machine.late(self._view, permit.generation):
            self._report(permit, Outcome.SUCCESS)

    def record(self, permit: Permit, outcome: Outcome) -> None:
        """Report how the call of `permit` ended; never raises."""
        if outcome is Outcome.SUCCESS:
            self.succeeded(permit)
        elif permit.token or outcome is not Outcome.IGNORED:
            self._report(permit, outcome)

    def share(self) -> bool:
        """Tell Redis what it has not heard of; False when that has to wait until Redis is back."""
        if not self.unshared:
            return True
        if self._clock() < self._away_until:
            return False
        try:
            self._tell(self._store.share, self._take(), enforce=self._enforce)
        except SharedStateAway:
            return False
        return True

    def _report(self, permit: Permit, outcome: Outcome) -> None:
        sender = self._sender(permit)
        if sender is None:
            return
        enforce = self._enforce
        if self._clock() >= self._away_until:
            try:
                self._tell(
                    self._store.record,
                    self._take(sender),
                    enforce=enforce,
                    token=permit.token,
                    outcome=outcome,
                )
            except SharedStateAway:
                pass  # alone, then
            else:
                return
        self._record_alone(permit, outcome, sender, enforce=enforce)

    def _decide(self) -> Permit:
        now = self._clock()
        settings = self.settings
        enforce = settings.order_path or (settings.mode is not Mode.METRICS_ONLY and self._acting())
        self._enforce = enforce
        if (settings.mode is Mode.FORCED_OPEN and enforce) or (settings.order_path and not settings.read):
            self._look()
            if self.settings.mode is Mode.FORCED_OPEN:
                raise CircuitOpen(self.name, reason="a person opened it", retry_after_s=None)
            if self.settings.order_path and not self.settings.read:
                raise CircuitOpen(self.name, reason=_UNREAD, retry_after_s=AWAY_S)
        step = self._ask(now, enforce=enforce)
        if step.permit is None:
            raise CircuitOpen(self.name, reason=_REASONS[step.circuit.state], retry_after_s=step.retry_after_s)
        return step.permit

    def _ask(self, now: float, *, enforce: bool) -> Step:
        """The decision of Redis, or this process's own while Redis is away or its last word is fresh."""
        view = self._view
        if enforce and now < self._fresh_until and view.state is State.OPEN and now < view.open_until:
            return Step(circuit=view, retry_after_s=view.open_until - now)
        if now >= self._away_until:
            try:
                return self._ask_shared(enforce=enforce)
            except SharedStateAway:
                pass  # alone, then
        if self.settings.order_path:
            reason = "the shared state of the breakers cannot be reached, and orders are not sent without it"
            raise CircuitOpen(self.name, reason=reason, retry_after_s=self._away_until - now)
        return self._ask_alone(now, enforce=enforce)

    def _ask_shared(self, *, enforce: bool) -> Step:
        return self._tell(self._store.acquire, self._take(), enforce=enforce, token=next(self._tokens)).step

    def _tell(self, ask: Callable[..., Reply], unshared: UnsharedOutcomes, *, enforce: bool, **what: Any) -> Reply:
        """Ask Redis and take over what it says; where it does not answer, keep the news and go on alone."""
        at = At(now=self._clock(), chance=machine.chance(next(self._tokens)), enforce=enforce)
        try:
            reply = ask(
                self.name, self.settings.config, at, unshared.generation, unshared=unshared.aged(at.now), **what
            )
        except SharedStateAway:
            self._give_back(unshared)
            self._leave()
            raise
        self._adopt(reply, enforce=enforce)
        return reply

    def _look(self) -> None:
        """Hear of configuration changes while calls are refused without asking."""
        if self._clock() >= max(self._fresh_until, self._away_until):
            try:
                self._adopt(self._store.peek(self.name, self.settings.config), enforce=True)
            except SharedStateAway:
                self._leave()

    def _adopt(self, reply: Reply, *, enforce: bool) -> None:
        """Take over what Redis says, as of now on this process's clock."""
        now = self._clock()
        ahead_s, circuit = now - reply.now, reply.step.circuit
        circuit = replace(circuit, open_until=now + reply.open_for_s, closed_at=circuit.closed_at + ahead_s)
        with self._lock:
            if not self._outrun(reply):
                if machine.late(circuit, self._reporting()):
                    self._successes, self._alone = 0, ""
                if self._view.generation < 0:
                    self._returned = self._view.generation
                self._view, self._ahead_s, self._heard = circuit, ahead_s, reply.now
                self._away_until = 0.0
                self._refresh(now + (0.0 if self.settings.order_path else REFRESH_S))
        self._write_down(reply.step, moment(reply.now), shared=True, enforced=enforce)
        self._on_changes(reply.changes)

    def _outrun(self, reply: Reply) -> bool:
        """Whether another thread has heard of a later generation while this reply was on its way."""
        older = 0.0 < self._heard - reply.now < OUTRUN_S  # by more: Redis's clock was turned back
        return older and reply.step.circuit.generation < self._view.generation

    def _leave(self) -> None:
        """Redis is away: go on alone from the last view, under a generation that no shared one can equal."""
        with self._lock:
            view, self._away_until = self._view, self._clock() + AWAY_S
            if view.generation >= 0:
                self._left = view.generation
                self._view = replace(
                    view,
                    generation=_alone(view.generation),
                    born=_alone(view.born),
                    window=sliding_window.moved(view.window, round(self._ahead_s * 1000)),
                )
            self._refresh(self._away_until)
        if self.unshared:
            self._on_unshared()

    def _refresh(self, fresh_until: float) -> None:
        passes = self._view.state is State.CLOSED or not self._enforce
        alone_on_order_path = self._away_until > 0 and self.settings.order_path
        blocked = self.settings.mode is Mode.FORCED_OPEN and self._enforce
        self._passing = Permit(self._view.generation) if passes and not alone_on_order_path and not blocked else None
        self._fresh_until = fresh_until

    def _ask_alone(self, now: float, *, enforce: bool) -> Step:
        token = next(self._tokens)
        at = At(now=now, chance=machine.chance(token), enforce=enforce)
        with self._lock:
            step = machine.acquire(self._view, self.settings.config, at, token=token)
            self._view = step.circuit
            self._refresh(self._away_until)
        self._write_down(step, moment(time.time()), shared=False, enforced=enforce)
        return step

    def _record_alone(self, permit: Permit, outcome: Outcome, sender: int, *, enforce: bool) -> None:
        """Decide on the result here, and keep it for Redis with the successes before it."""
        own, config = Permit(_alone(permit.generation), permit.token), self.settings.config
        with self._lock:
            successes, self._successes = self._successes, 0
            at = At(now=self._clock(), chance=machine.chance(next(self._tokens)), enforce=enforce)
            before = machine.share(self._view, config, at, generation=self._view.generation, unshared=f"0S{successes}")
            step = machine.record(before.circuit, config, at, permit=own, outcome=outcome)
            self._view = step.circuit
            self._alone = sliding_window.add(
                sliding_window.recent(self._alone, config, at.now), config, at.now, "S", successes
            )
            if sender == self._left and outcome is not Outcome.IGNORED:
                self._alone = sliding_window.add(self._alone, config, at.now, outcome.value, 1)
            self._refresh(self._away_until)
        for each in (before, step):
            self._write_down(each, moment(time.time()), shared=False, enforced=enforce)
        if self._alone:
            self._on_unshared()

    def _sender(self, permit: Permit) -> int | None:
        """The shared generation that the permit's result is told under; None where it comes too late for any."""
        generation, view = permit.generation, self._view
        if generation >= 0:
            return generation
        newest = view.generation if view.generation < 0 else self._returned
        return self._left if _alone(self._left) <= generation <= newest else None

    def _reporting(self) -> int:
        """The shared generation that what this process keeps belongs to."""
        return self._left if self._view.generation < 0 else self._view.generation

    def _take(self, sender: int | None = None) -> UnsharedOutcomes:
        """What Redis has not heard of, if it belongs to the generation of `sender`."""
        with self._lock:
            generation = self._reporting()
            if sender is not None and sender != generation:
                return UnsharedOutcomes(generation=sender)
            unshared = UnsharedOutcomes(generation=generation, successes=self._successes, alone=self._alone)
            self._successes, self._alone = 0, ""
            return unshared

    def _give_back(self, unshared: UnsharedOutcomes) -> None:
        """Keep what could not be told, unless another thread has heard meanwhile that it comes too late."""
        with self._lock:
            born = self._view.born + (_ALONE if self._view.generation < 0 else 0)
            if born <= unshared.generation < self._reporting():
                return
            self._successes += unshared.successes
            self._alone = ",".join(part for part in (unshared.alone, self._alone) if part)

    def _write_down(self, step: Step, ts: datetime, *, shared: bool, enforced: bool) -> None:
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
                enforced=enforced,
            )
        )


def _alone(generation: int) -> int:
    return generation if generation < 0 else generation - _ALONE
