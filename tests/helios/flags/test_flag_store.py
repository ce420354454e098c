"""One snapshot a process: replaced whole, read without I/O, honest about being out of touch."""

from __future__ import annotations

import dataclasses
import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from helios.errors import Transient
from helios.flags.core.context import FlagContext
from helios.flags.core.definition import FlagDefinition, Reason, Strategy
from helios.flags.core.parts import Segment
from helios.flags.snapshots import MAX_UNKNOWN_NAMES, FlagStore, Generation

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Tables:
    """Flag tables in memory that can be away, and count how often they are asked."""

    def __init__(self, **flags: bool) -> None:
        self.flags = dict(flags)
        self.now = Generation(1, uuid.uuid4())
        self.away = False
        self.asked = self.loaded = 0

    def write(self, **flags: bool) -> None:
        self.flags.update(flags)
        self.now = Generation(self.now.value + 1, uuid.uuid4())

    def generation(self) -> Generation:
        self.asked += 1
        if self.away:
            raise Transient("the tables must answer, did not")
        return self.now

    def load(self) -> tuple[Generation, dict[str, FlagDefinition], dict[str, Segment]]:
        state = self.generation()
        self.loaded += 1
        return state, {name: FlagDefinition(name=name, enabled=on) for name, on in self.flags.items()}, {}


def defaults() -> dict[str, FlagDefinition]:
    return {"shipped": FlagDefinition(name="shipped", enabled=True)}


def store_of(tables: Tables) -> FlagStore:
    return FlagStore(tables, defaults, clock=lambda: NOW)


def test_lookups_ask_the_tables_once_and_never_again() -> None:
    tables = Tables(a=True, b=False)
    store = store_of(tables)
    assert [store.is_enabled("a"), store.is_enabled("b"), store.is_enabled("none")] == [True, False, False]
    asked = tables.asked
    tables.write(a=False)
    assert [store.is_enabled(name) for name in ("a", "b", "none")] == [True, False, False]
    assert tables.asked == asked


def test_a_refresh_reads_only_when_the_generation_is_another_one() -> None:
    tables = Tables(a=False)
    store = store_of(tables)
    assert store.refresh_if_behind() is True
    assert store.refresh_if_behind() is False
    assert tables.loaded == 1
    tables.write(a=True)
    assert store.refresh_if_behind() is True
    assert store.is_enabled("a")
    assert store.snapshot().generation == 2


def test_a_restored_database_with_the_same_number_is_read_again() -> None:
    tables = Tables(a=True)
    store = store_of(tables)
    store.refresh_if_behind()
    tables.flags, tables.now = {"a": False}, Generation(tables.now.value, uuid.uuid4())
    assert store.refresh_if_behind() is True
    assert not store.is_enabled("a")


def test_a_snapshot_cannot_be_changed() -> None:
    store = store_of(Tables(a=True))
    held = store.snapshot()
    with pytest.raises(TypeError):
        held.flags["a"] = FlagDefinition(name="a")  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        held.faults = frozenset({"x"})  # type: ignore[misc]


def test_a_held_snapshot_stays_as_it_was_when_flags_change() -> None:
    tables = Tables(a=True)
    store = store_of(tables)
    held = store.snapshot()
    tables.write(a=False)
    store.refresh_if_behind()
    assert held.flags["a"].enabled
    assert not store.snapshot().flags["a"].enabled


def test_without_tables_the_last_snapshot_serves_and_says_stale(logged: list[str]) -> None:
    tables = Tables(a=True)
    store = store_of(tables)
    store.refresh_if_behind()
    tables.away = True
    for _ in range(3):
        assert store.refresh_if_behind() is False
    assert store.is_enabled("a")
    assert store.snapshot().stale
    assert logged.count("flags.stale") == 1
    tables.away = False
    assert store.refresh_if_behind() is False  # nothing changed meanwhile
    assert not store.snapshot().stale
    assert logged.count("flags.current") == 1


def test_a_change_made_while_the_tables_were_away_arrives_with_them() -> None:
    tables = Tables(a=True)
    store = store_of(tables)
    store.refresh_if_behind()
    tables.away = True
    store.refresh_if_behind()
    tables.write(a=False)
    tables.away = False
    assert store.refresh_if_behind() is True
    assert not store.is_enabled("a")
    assert not store.snapshot().stale


def test_a_process_that_starts_without_tables_serves_the_shipped_defaults() -> None:
    tables = Tables(a=True)
    tables.away = True
    store = store_of(tables)
    assert store.is_enabled("shipped")
    assert store.snapshot().stale
    assert store.snapshot().generation == -1
    tables.away = False
    store.refresh_if_behind()
    assert [store.is_enabled("a"), store.is_enabled("shipped"), store.snapshot().stale] == [
        True,
        False,
        False,
    ]


def test_redis_being_away_makes_the_snapshot_stale_until_it_is_back() -> None:
    tables = Tables(a=True)
    store = store_of(tables)
    store.mark("redis", present=True)
    tables.write(a=False)
    store.refresh_if_behind()
    assert store.snapshot().stale  # the flags are new, but the next change would go unheard
    store.mark("redis", present=False)
    store.mark("redis", present=False)
    assert not store.snapshot().stale


def test_an_unknown_flag_is_off_counted_and_logged_once(logged: list[str]) -> None:
    store = store_of(Tables(a=True))
    assert [store.is_enabled("nobody"), store.is_enabled("nobody"), store.is_enabled("none")] == [False] * 3
    assert store.unknown() == {"nobody": 2, "none": 1}
    assert logged.count("flags.unknown") == 2
    assert store.explain("nobody").reason is Reason.UNKNOWN


def test_made_up_names_do_not_fill_the_memory() -> None:
    store = store_of(Tables())
    for number in range(MAX_UNKNOWN_NAMES + 50):
        store.is_enabled(f"made_up_{number}")
    store.is_enabled("made_up_0")
    counts = store.unknown()
    assert len(counts) == MAX_UNKNOWN_NAMES
    assert counts["made_up_0"] == 2


def test_a_gradual_flag_uses_the_clock_or_the_moment_given() -> None:
    tables = Tables()
    store = store_of(tables)
    rising = FlagDefinition(
        name="rising",
        enabled=True,
        strategy=Strategy.GRADUAL,
        percentage=100,
        gradual_start=NOW - timedelta(hours=2),
        gradual_end=NOW - timedelta(hours=1),
    )
    tables.load = lambda: (tables.now, {"rising": rising}, {})  # type: ignore[method-assign]
    aapl = FlagContext(symbol="AAPL")
    assert store.is_enabled("rising", aapl)
    assert not store.explain("rising", aapl, NOW - timedelta(hours=3))


def test_lookups_go_on_while_another_thread_reads() -> None:
    tables = Tables(a=True)
    store = store_of(tables)
    store.refresh_if_behind()
    tables.write(a=False)
    reading, go_on = threading.Event(), threading.Event()
    plain = tables.load

    def slow() -> tuple[Generation, dict[str, FlagDefinition], dict[str, Segment]]:
        reading.set()
        assert go_on.wait(10)
        return plain()

    tables.load = slow  # type: ignore[method-assign]
    worker = threading.Thread(target=store.refresh_if_behind)
    worker.start()
    assert reading.wait(10)
    assert [store.is_enabled("a"), store.is_enabled("nobody")] == [True, False]
    go_on.set()
    worker.join()
    assert not store.is_enabled("a")


def test_locks_held_at_a_fork_do_not_block_the_child() -> None:
    store = store_of(Tables(a=True))
    store.refresh_if_behind()
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with store.lock, store._counting:
            held.set()
            release.wait(10)

    worker = threading.Thread(target=hold)
    worker.start()
    assert held.wait(10)
    store.renew_locks()  # what the child does
    store.is_enabled("nobody")
    assert store.refresh_if_behind() is False
    release.set()
    worker.join()


class StoreAgainstModel(RuleBasedStateMachine):
    """Whatever happens to tables and Redis, the store serves the last state that it could read."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = Tables(a=False)
        self.store = store_of(self.tables)
        self.served, self.faults = {"shipped": True}, {"database"}
        self.tables.away = True
        self.store.refresh_if_behind()

    @rule(name=st.sampled_from(["a", "b"]), on=st.booleans())
    def change(self, name: str, on: bool) -> None:
        self.tables.write(**{name: on})

    @rule(away=st.booleans())
    def tables_go_or_come(self, away: bool) -> None:
        self.tables.away = away

    @rule(away=st.booleans())
    def redis_goes_or_comes(self, away: bool) -> None:
        self.store.mark("redis", present=away)
        self.faults = self.faults | {"redis"} if away else self.faults - {"redis"}

    @rule()
    def check(self) -> None:
        self.store.refresh_if_behind()
        if self.tables.away:
            self.faults = self.faults | {"database"}
        else:
            self.served, self.faults = dict(self.tables.flags), self.faults - {"database"}

    @invariant()
    def serves_the_last_state_read(self) -> None:
        for name in ("a", "b", "shipped"):
            assert self.store.is_enabled(name) is self.served.get(name, False)
        assert self.store.snapshot().faults == self.faults
        assert self.store.snapshot().stale is bool(self.faults)


TestStoreAgainstModel = StoreAgainstModel.TestCase
TestStoreAgainstModel.settings = settings(stateful_step_count=20, deadline=None)
