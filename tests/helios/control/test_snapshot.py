"""What a process holds of a subject: read once, again when its generation moved, and never half."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

import pytest

from helios.control.generations import Generation
from helios.control.snapshot import Snapshot, Store
from helios.errors import Transient


@dataclass(frozen=True, slots=True, kw_only=True)
class Names(Snapshot):
    names: tuple[str, ...] = ()


class Table:
    """One subject's table in memory."""

    def __init__(self) -> None:
        self.rows, self.value, self.asked, self.error = ("a",), 1, 0, None

    def ask(self) -> Generation:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return Generation(self.value)

    def load(self) -> Names:
        return Names(state=self.ask(), names=self.rows)


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def store(table: Table) -> Store[Names]:
    return Store("names", Names(), table.load, ask=table.ask)


def test_without_a_fallback_a_first_read_that_fails_is_the_callers(table: Table, store: Store[Names]) -> None:
    table.error = Transient("away")
    with pytest.raises(Transient, match="away"):
        store.snapshot()
    assert not store.loaded
    table.error = None
    assert store.snapshot().names == ("a",)


def test_an_error_that_is_not_of_the_moment_leaves_what_is_held(table: Table, store: Store[Names]) -> None:
    held = store.snapshot()
    table.value, table.error = 2, ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        store.refresh_if_behind(Generation(2))
    assert store.snapshot() is held


def test_what_the_caller_has_seen_is_not_asked_for_again(table: Table, store: Store[Names]) -> None:
    store.snapshot()
    asked = table.asked
    assert not store.refresh_if_behind(Generation(1))
    assert table.asked == asked
    table.rows, table.value = ("a", "b"), 2
    assert store.refresh_if_behind(Generation(2))
    assert store.snapshot().names == ("a", "b")


def test_rows_that_changed_without_their_generation_are_read_on_demand(table: Table, store: Store[Names]) -> None:
    store.snapshot()
    table.rows = ("c",)
    assert not store.refresh_if_behind()
    assert store.read()
    assert store.snapshot().names == ("c",)


def test_a_fault_is_remembered_until_the_table_answers_again(table: Table, store: Store[Names]) -> None:
    heard: list[frozenset[str]] = []
    store.snapshot()
    store.on_change(lambda _, now: heard.append(now.faults))
    table.error = Transient("away")
    for _ in range(2):
        assert not store.refresh_if_behind()
    table.error = None
    assert not store.refresh_if_behind()
    assert heard == [{"database"}, frozenset()]
    assert store.snapshot().names == ("a",)


def test_a_child_forked_while_a_thread_reads_can_read_itself(table: Table, store: Store[Names]) -> None:
    store.snapshot()
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with store.lock:
            held.set()
            release.wait(20)

    worker = threading.Thread(target=hold)
    worker.start()
    assert held.wait(20)
    child = os.fork()
    if child == 0:
        os._exit(0 if store.read() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    release.set()
    worker.join()
