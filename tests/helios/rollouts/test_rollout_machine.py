"""The machine against a plain model: nothing moves forward without a Success or a person, and an end is an end."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from helios.rollouts.core import machine
from helios.rollouts.core.machine import LIVE, SERVING, Cause, Progress, State, Verdict
from helios.rollouts.errors import RolloutRefused

ENDS = {State.SUCCEEDED, State.ROLLED_BACK, State.ABORTED}


class Machine(RuleBasedStateMachine):
    """Any order of what people, analyses and swaps may do; `model` is kept by hand beside the machine."""

    @initialize(n_steps=st.integers(1, 7), limits=st.tuples(st.integers(1, 3), st.integers(1, 3)))
    def begin(self, n_steps, limits) -> None:
        self.now = Progress(n_steps=n_steps, inconclusive_limit=limits[0], error_limit=limits[1])
        self.model = {"state": "PENDING", "step": 0, "silent": [], "hard": False}

    def _try(self, transition, allowed: set[str], **named) -> bool:
        before = self.now
        if before.state in allowed:
            self.now = transition(before, **named)
            return True
        with pytest.raises(RolloutRefused, match=f"was {before.state}"):
            transition(before, **named)
        return False

    def _forward(self) -> None:
        self.model["silent"] = []
        if self.model["step"] == self.now.n_steps - 1:
            self.model["state"] = "PROMOTING"
        else:
            self.model |= {"state": "RUNNING", "step": self.model["step"] + 1}

    @rule()
    def start(self) -> None:
        if self._try(machine.start, {"PENDING"}):
            self.model["state"] = "RUNNING"

    @rule()
    def pause(self) -> None:
        if self._try(machine.pause, {"RUNNING"}):
            self.model["state"] = "PAUSED"

    @rule()
    def resume(self) -> None:
        if self._try(machine.resume, {"PAUSED"}):
            self.model |= {"state": "RUNNING", "silent": []}

    @rule()
    def promote(self) -> None:
        if self._try(machine.promote, {"RUNNING", "PAUSED"}):
            self._forward()

    @rule()
    def promote_full(self) -> None:
        if self._try(machine.promote, {"RUNNING", "PAUSED"}, full=True):
            self.model |= {"state": "PROMOTING", "silent": []}

    @rule()
    def abort(self) -> None:
        if self._try(machine.abort, {"PENDING", "RUNNING", "PAUSED"}):
            self.model["state"] = "ABORTED"

    @rule()
    def abort_while_nobody_swaps(self) -> None:
        if self._try(machine.abort, {"PENDING", "RUNNING", "PAUSED", "PROMOTING"}, idle=True):
            self.model["state"] = "ABORTED"

    @rule()
    def succeed(self) -> None:
        if self._try(machine.analysed, {"RUNNING"}, verdict=Verdict.SUCCESS):
            self._forward()

    @rule()
    def fail(self) -> None:
        if self._try(machine.analysed, {"RUNNING"}, verdict=Verdict.FAILED):
            self.model["state"] = "PAUSED"

    @rule(verdict=st.sampled_from([Verdict.INCONCLUSIVE, Verdict.ERROR]))
    def say_nothing(self, verdict) -> None:
        step = self.now.step
        if self._try(machine.analysed, {"RUNNING"}, verdict=verdict):
            self.model["silent"].append(verdict)
            limit = self.now.inconclusive_limit if verdict is Verdict.INCONCLUSIVE else self.now.error_limit
            if self.model["silent"].count(verdict) >= limit:
                self.model["state"] = "PAUSED"
            assert self.now.step == step
            assert self.now.state in {State.RUNNING, State.PAUSED}

    @rule()
    def breach(self) -> None:
        if self._try(machine.breached, {"RUNNING", "PAUSED"}):
            self.model |= {"state": "ROLLED_BACK", "hard": True}

    @rule()
    def breach_while_nobody_swaps(self) -> None:
        if self._try(machine.breached, {"RUNNING", "PAUSED", "PROMOTING"}, idle=True):
            self.model |= {"state": "ROLLED_BACK", "hard": True}

    @rule()
    def swapped(self) -> None:
        if self._try(machine.promoted, {"PROMOTING"}):
            self.model["state"] = "SUCCEEDED"

    @rule()
    def taken_back(self) -> None:
        if self._try(machine.taken_back, {"SUCCEEDED"}):
            self.model["state"] = "ROLLED_BACK"

    @rule()
    def not_swapped(self) -> None:
        if self._try(machine.promotion_failed, {"PROMOTING"}):
            self.model["state"] = "PAUSED"

    @invariant()
    def as_the_model_says(self) -> None:
        if hasattr(self, "now"):
            assert (self.now.state, self.now.step) == (self.model["state"], self.model["step"])

    @invariant()
    def paused_names_its_cause_and_nothing_else_does(self) -> None:
        if hasattr(self, "now"):
            assert (self.now.cause is not Cause.NONE) == (self.now.state is State.PAUSED)

    @invariant()
    def a_hard_failure_is_the_end(self) -> None:
        if hasattr(self, "now") and self.model["hard"]:
            assert self.now.state is State.ROLLED_BACK
            assert self.now.state not in SERVING


TestMachine = Machine.TestCase
TestMachine.settings = settings(stateful_step_count=30, deadline=None)

EVERY_MOVE = [
    machine.start,
    machine.pause,
    machine.resume,
    machine.promote,
    machine.abort,
    machine.breached,
    machine.promoted,
    machine.promotion_failed,
    lambda now: machine.analysed(now, Verdict.SUCCESS),
    lambda now: machine.analysed(now, Verdict.FAILED),
]


@pytest.mark.parametrize("end", sorted(ENDS))
@pytest.mark.parametrize("move", EVERY_MOVE)
def test_nothing_leaves_an_end(end: State, move) -> None:
    with pytest.raises(RolloutRefused, match=f"was {end}"):
        move(Progress(state=end, n_steps=3))


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_paused_rollout_does_not_move_by_an_analysis(verdict: Verdict) -> None:
    with pytest.raises(RolloutRefused, match="must be RUNNING to be analysed, was PAUSED"):
        machine.analysed(Progress(state=State.PAUSED, n_steps=3), verdict)


def test_the_third_inconclusive_reading_pauses_and_an_error_between_does_not_help() -> None:
    now = Progress(state=State.RUNNING, n_steps=3)
    readings = (Verdict.INCONCLUSIVE, Verdict.ERROR, Verdict.INCONCLUSIVE)
    for verdict in readings:
        now = machine.analysed(now, verdict)
        assert now.state is State.RUNNING
    now = machine.analysed(now, Verdict.INCONCLUSIVE)
    assert (now.state, now.cause, now.step) == (State.PAUSED, Cause.INCONCLUSIVE, 0)


def test_a_success_forgets_what_was_inconclusive_before() -> None:
    now = Progress(state=State.RUNNING, n_steps=3, n_inconclusive=2, n_errors=2)
    now = machine.analysed(now, Verdict.SUCCESS)
    assert (now.step, now.n_inconclusive, now.n_errors) == (1, 0, 0)


def test_a_failed_promotion_can_be_tried_again_from_the_last_step() -> None:
    now = machine.promotion_failed(Progress(state=State.PROMOTING, step=2, n_steps=3))
    assert now.cause is Cause.PROMOTION_FAILED
    assert machine.promote(now).state is State.PROMOTING


def test_what_serves_is_live() -> None:
    assert SERVING < LIVE
    assert LIVE.isdisjoint(ENDS)
    assert set(State) == LIVE | ENDS
