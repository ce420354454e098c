"""Swaps of one slot against a plain model: owners that die at any step, watches, rollbacks, in any order."""

from __future__ import annotations

import pytest
from django.db import transaction
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from helios.modules import presence, swapping
from helios.modules.errors import ModuleRefused, SwapFailed, SwapRunning
from helios.modules.models import OPEN_SWAPS, Module, ModuleState, ModuleSwap, ModuleVersion, SwapState

pytestmark = pytest.mark.django_db

LABELS = ("1.0.0+a", "1.1.0+b", "1.2.0+c")
NOBODY = 2**22 + 1  # above every process number that Linux gives
CALLS = 3


class Swaps(RuleBasedStateMachine):
    """Each example runs in a transaction of its own that is taken back at its end."""

    @initialize()
    def begin(self) -> None:
        self.around = transaction.atomic()
        self.around.__enter__()
        slot = Module.objects.create(name="machine", path="tiers.machine", version="1.0.0", watch_calls=CALLS)
        made = [
            ModuleVersion.objects.create(
                module=slot, label=label, version=label[:5], path="tiers.machine", state="LOADED", registered_by="ada"
            )
            for label in LABELS
        ]
        swapping.fill_slot(slot, made[0], previous=None)
        slot.save()
        self.active, self.previous, self.generation = LABELS[0], "", slot.generation
        self.open: ModuleSwap | None = None
        self.watched: ModuleSwap | None = None
        self.seen = 0
        self.lost: list[ModuleSwap] = []  # swaps that were ended for their owners, which may still go on
        self.switched: list[ModuleSwap] = []

    def teardown(self) -> None:
        if hasattr(self, "around"):
            transaction.set_rollback(True)
            self.around.__exit__(None, None, None)

    @rule(label=st.sampled_from(LABELS))
    def ask_for(self, label: str) -> None:
        if self.open is not None:
            with pytest.raises(SwapRunning):
                swapping.begin("machine", label, actor="ann", reason="")
        elif label == self.active:
            with pytest.raises(ModuleRefused, match="is in use already"):
                swapping.begin("machine", label, actor="ann", reason="")
        else:
            self.open = swapping.begin("machine", label, actor="ann", reason="")

    @precondition(lambda self: self.open is not None)
    @rule()
    def go_on(self) -> None:
        following = {"CHECKING": SwapState.TESTING, "TESTING": SwapState.PREPARING}.get(self.open.state)
        if following is not None:
            swapping._step(self.open, following)
            return
        moved = self.open.from_version.label != self.active
        if moved:
            self._fails(lambda: swapping._switch(self.open))
            return
        swapping._switch(self.open)
        self.previous, self.active = self.active, self.open.to_version.label
        self.watched, self.seen = self.open, 0
        self.switched.append(self.open)
        self.open = None

    def _fails(self, work) -> None:
        with pytest.raises(SwapFailed) as caught:
            work()
        swapping._fail(self.open, caught.value)
        self.open = None

    @precondition(lambda self: self.open is not None)
    @rule()
    def its_tests_fail(self) -> None:
        swapping._fail(self.open, SwapFailed("NaN in row 3"))
        self.open = None

    @precondition(lambda self: self.open is not None)
    @rule()
    def its_owner_dies(self) -> None:
        ModuleSwap.objects.filter(pk=self.open.pk).update(owner=f"{presence.host()}:{NOBODY}")
        assert swapping.recover() == ["machine"]
        self.lost.append(self.open)
        self.open = None

    @precondition(lambda self: self.lost)
    @rule()
    def a_swap_that_was_ended_goes_on(self) -> None:
        lost = self.lost.pop()
        work = (
            swapping._switch
            if lost.state == SwapState.PREPARING
            else lambda row: swapping._step(row, SwapState.TESTING)
        )
        with pytest.raises(SwapFailed):
            work(lost)

    @precondition(lambda self: self.switched)
    @rule(data=st.data(), failed=st.booleans())
    def a_call_is_counted(self, data, failed: bool) -> None:
        swap = data.draw(st.sampled_from(self.switched))
        undone = swapping.watched(swap.pk, seen=1, failed=int(failed), error="it raised" if failed else "")
        if self.watched is None or swap.pk != self.watched.pk:
            assert undone == ""
            return
        self.seen += 1
        if failed:
            assert undone == "machine"
            self.active, self.previous, self.watched = self.previous, "", None
        elif self.seen >= CALLS:
            self.watched = None

    @rule()
    def a_person_rolls_back(self) -> None:
        if not self.previous:
            with pytest.raises(ModuleRefused):
                swapping.rollback("machine", actor="ann")
            return
        swapping.rollback("machine", actor="ann")
        self.active, self.previous, self.watched = self.previous, "", None
        self.lost += [self.open] if self.open else []
        self.open = None

    @invariant()
    def the_slot_is_as_the_model_says(self) -> None:
        if not hasattr(self, "active"):
            return
        slot = Module.objects.select_related("active", "previous").get(name="machine")
        assert slot.active.label == self.active
        assert (slot.previous.label if slot.previous else "") == self.previous
        assert slot.watch_id == (self.watched.pk if self.watched else None)
        assert list(slot.versions.filter(state=ModuleState.ACTIVE).values_list("label", flat=True)) == [self.active]

    @invariant()
    def one_swap_at_most_is_open_and_every_end_has_its_reason_and_time(self) -> None:
        if not hasattr(self, "active"):
            return
        still = ModuleSwap.objects.filter(module__name="machine", state__in=OPEN_SWAPS)
        assert [row.pk for row in still] == ([self.open.pk] if self.open else [])
        ended = ModuleSwap.objects.filter(module__name="machine").exclude(state__in=[*OPEN_SWAPS, SwapState.SWITCHED])
        assert not ended.filter(finished_at=None).exists()
        assert not ended.filter(state__in=["FAILED", "ROLLED_BACK"], error="").exists()

    @invariant()
    def every_switch_is_a_new_generation(self) -> None:
        if hasattr(self, "active"):
            latest = Module.objects.get(name="machine").generation
            assert latest >= self.generation
            self.generation = latest


def test_any_order_of_swaps_deaths_calls_and_rollbacks_is_as_the_model_says() -> None:
    run_state_machine_as_test(Swaps, settings=settings(max_examples=20, stateful_step_count=20, deadline=None))
