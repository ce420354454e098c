"""The first real calls after a switch: counted, written down, rolled back when they fail, by people too."""

from __future__ import annotations

import os

import pytest

from helios.events.models import SystemEvent
from helios.modules import presence, process, services, swapping, watch
from helios.modules.errors import ModuleLoadFailed, ModuleRefused, SwapFailed, WatchedCallFailed
from helios.modules.gate import runs
from helios.modules.models import Module, ModuleProcess, ModuleSwap, ModuleVersion
from tests.helios.modules.conftest import used

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_gate")]


FAULTY = "VERSION = '1.2.0'\ndef run(value):\n    raise ValueError('wrong shape')\n"


@pytest.fixture
def faulty(oracle, code) -> str:
    """Label of a version in use whose every call fails."""
    label = services.register("oracle", code("oracle", FAULTY)).label
    services.swap("oracle", label, actor="ann")
    process.refresh_if_behind()
    return label


def call() -> object:
    return watch.guarded(process.resolve("oracle")).run(1)


def test_the_first_failed_call_brings_the_version_before_back(oracle, faulty):
    with pytest.raises(
        WatchedCallFailed, match=r"module oracle 1.2.0.* failed in a watched call: ValueError: wrong sh"
    ):
        call()
    assert watch.fallback_label("oracle") == oracle["1.0.0"]
    assert watch.flush() == ["oracle"]
    assert used() == oracle["1.0.0"]
    swap, back = ModuleSwap.objects.order_by("id")
    assert (swap.state, swap.watch_seen, swap.watch_failed) == ("ROLLED_BACK", 1, 1)
    assert "wrong shape" in swap.error
    assert (back.kind, back.state, back.actor) == ("rollback", "COMPLETED", "watch")
    version = ModuleVersion.objects.get(label=faulty)
    assert version.state == "FAILED"
    assert "wrong shape" in version.error
    assert SystemEvent.objects.get(kind="module.rolled_back").severity == "critical"
    assert watch.fallback_label("oracle") == oracle["1.0.0"]


def test_nobody_takes_the_version_before_away(oracle, faulty):
    with pytest.raises(ModuleRefused, match=r"1\.0\.0.* is what a roll-back brings: put another version in first"):
        services.unload("oracle", oracle["1.0.0"])
    services.unload("oracle", oracle["1.1.0"])
    with pytest.raises(WatchedCallFailed):
        call()
    assert watch.flush() == ["oracle"]
    assert used() == oracle["1.0.0"]


@pytest.mark.parametrize("verdict", ["", "is too slow"])
def test_testing_the_version_before_keeps_no_roll_back_waiting(oracle, monkeypatch, verdict):
    services.configure("oracle", watch_calls=0)
    services.swap("oracle", "1.1.0", actor="ann")
    generation = Module.objects.get(name="oracle").generation
    states = []

    def tested(version: ModuleVersion, *_: object, **__: object) -> str:
        states.append(ModuleVersion.objects.get(pk=version.pk).state)
        return verdict

    monkeypatch.setattr(runs, "passes", tested)
    if verdict:
        with pytest.raises(ModuleLoadFailed, match="module oracle is too slow"):
            services.load("oracle", oracle["1.0.0"], actor="operator")
        with pytest.raises(SwapFailed):
            services.swap("oracle", oracle["1.0.0"], actor="hot reload")
    else:
        assert services.load("oracle", oracle["1.0.0"], actor="operator").state == "LOADED"
        assert Module.objects.get(name="oracle").generation == generation
    assert set(states) == {"LOADED"}
    services.rollback("oracle", actor="ann")
    assert used() == oracle["1.0.0"]


def test_a_roll_back_fills_the_slot_that_somebody_emptied(oracle):
    Module.objects.filter(name="user").delete()
    services.swap("oracle", "1.1.0", actor="ann")
    services.unload("oracle", actor="operator")
    with pytest.raises(ModuleRefused, match="is what a roll-back brings"):
        services.unload("oracle", oracle["1.0.0"], actor="operator")
    back = services.rollback("oracle", actor="ann")
    assert (back.from_version, used()) == (None, oracle["1.0.0"])


def test_the_version_before_may_fill_the_emptied_slot_by_an_activation_too(oracle):
    Module.objects.filter(name="user").delete()
    services.swap("oracle", "1.1.0", actor="ann")
    services.unload("oracle", actor="operator")
    services.activate("oracle", oracle["1.0.0"], actor="ann")
    assert used() == oracle["1.0.0"]
    assert Module.objects.get(name="oracle").previous is None


def test_nothing_of_a_class_of_the_module_leaves_with_the_error(faulty):
    with pytest.raises(WatchedCallFailed) as caught:
        call()
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert caught.value.label == faulty


def test_a_process_that_dies_in_a_watched_call_is_a_failed_call(oracle, faulty):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    swap = Module.objects.get(name="oracle").watch_id
    made = presence.enter("worker")
    presence.calling(made, swap)
    services.recover()
    assert used() == faulty  # it lives
    ModuleProcess.objects.filter(pk=made).update(pid=child)
    services.recover()
    assert used() == oracle["1.0.0"]
    assert "died in a watched call" in ModuleSwap.objects.get(pk=swap).error
    assert not ModuleProcess.objects.exists()


def test_whoever_marks_is_told_before_and_after_each_watched_call(oracle, faulty):
    marks = []
    watch.mark_with(marks.append)
    with pytest.raises(WatchedCallFailed):
        call()
    assert marks == [Module.objects.get(name="oracle").watch_id, None]


def test_a_process_that_cannot_load_it_takes_a_watched_version_back(oracle, monkeypatch):
    """One that came up after the others had it ready: on another machine, or on a full disk."""
    services.swap("oracle", "1.1.0", actor="ann")
    real = process._implementation

    def full(name: str, digest: str, path: str, version: str) -> object:
        if version == "1.1.0":
            raise ModuleLoadFailed("module oracle could not be laid out: no space left")
        return real(name, digest, path, version)

    monkeypatch.setattr(process, "_implementation", full)
    process.forget()
    with pytest.raises(WatchedCallFailed, match="module oracle could not be laid out"):
        process.resolve("oracle")
    assert watch.flush() == ["oracle"]
    assert used() == oracle["1.0.0"]


def test_after_the_watch_a_process_that_cannot_load_says_so_and_nobody_else_changes(oracle, monkeypatch):
    def full(*_: object) -> object:
        raise ModuleLoadFailed("no space left")

    monkeypatch.setattr(process, "_implementation", full)
    process.forget()
    with pytest.raises(ModuleLoadFailed, match="no space left"):
        process.resolve("oracle")
    assert watch.flush() == []


def test_more_failures_can_be_allowed(oracle, faulty):
    services.configure("oracle", watch_failures=3)
    process.refresh_if_behind()
    for expected in ([], [], ["oracle"]):
        with pytest.raises(WatchedCallFailed):
            call()
        assert watch.flush() == expected


def test_good_calls_complete_the_swap_and_the_guard_goes(oracle):
    services.configure("oracle", watch_calls=3)
    swap = services.swap("oracle", "1.1.0", actor="ann")
    process.refresh_if_behind()
    for _ in range(3):
        assert call() == ("1.1.0", 1)
    assert ModuleSwap.objects.get(pk=swap.pk).state == "SWITCHED"
    assert watch.flush() == []
    swap.refresh_from_db()
    assert (swap.state, swap.watch_seen, swap.watch_failed) == ("COMPLETED", 3, 0)
    process.refresh_if_behind()
    active = process.resolve("oracle")
    assert active.watch is None


def test_without_watched_calls_a_swap_is_complete_at_once(oracle):
    services.configure("oracle", watch_calls=0)
    assert services.swap("oracle", "1.1.0", actor="ann").state == "COMPLETED"
    process.refresh_if_behind()
    assert process.resolve("oracle").watch is None


def test_nothing_is_asked_of_the_database_when_nothing_was_watched(oracle, django_assert_num_queries):
    assert call() == ("1.0.0", 1)
    with django_assert_num_queries(0):
        assert watch.flush() == []


def test_a_pinned_older_version_is_not_watched(oracle, faulty):
    assert process.resolve_pinned("oracle", oracle["1.0.0"]).watch is None
    assert process.resolve_pinned("oracle", faulty).watch is not None


def test_a_transient_error_is_nobodys_fault_yet(oracle, code):
    text = "from helios.errors import Transient\nVERSION = '1.2.0'\ndef run(value):\n    raise Transient('slow')\n"
    services.swap("oracle", services.register("oracle", code("oracle", text)).label, actor="ann")
    process.refresh_if_behind()
    with pytest.raises(Exception, match=r"failed in a watched call: slow$"):
        call()
    assert watch.flush() == []
    assert used().startswith("1.2.0")


def test_a_hook_that_fails_at_the_switch_counts_as_a_failed_call(oracle, code):
    text = "VERSION = '1.2.0'\ndef run(value): ...\ndef on_activate(): raise OSError('no card')\n"
    process.resolve("oracle")
    services.swap("oracle", services.register("oracle", code("oracle", text)).label, actor="ann")
    process.refresh_if_behind()
    assert watch.flush() == ["oracle"]
    assert "on_activate of module oracle failed: OSError: no card" in ModuleSwap.objects.earliest("id").error
    assert used() == oracle["1.0.0"]


def test_counts_that_could_not_be_written_are_kept(oracle, faulty, monkeypatch):
    with pytest.raises(WatchedCallFailed):
        call()
    with monkeypatch.context() as away:
        away.setattr(swapping, "watched", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            watch.flush()
    assert watch.flush() == ["oracle"]


def test_late_counts_of_a_swap_that_has_ended_change_nothing(oracle, faulty):
    for _ in range(2):
        with pytest.raises(WatchedCallFailed):
            call()
        watch.flush()
    assert used() == oracle["1.0.0"]
    assert ModuleSwap.objects.filter(kind="rollback").count() == 1
    watch.failed(10**9, "of a swap that does not exist")
    assert watch.flush() == []


def test_what_guards_a_module_lets_everything_else_through(faulty):
    assert watch.guarded(process.resolve("oracle")).VERSION == "1.2.0"


def test_a_person_can_roll_back_once(oracle):
    services.swap("oracle", "1.1.0", actor="ann")
    back = services.rollback("oracle", actor="ann", reason="too eager")
    assert (back.kind, back.state, back.reason, used()) == ("rollback", "COMPLETED", "too eager", oracle["1.0.0"])
    assert ModuleSwap.objects.earliest("id").state == "ROLLED_BACK"
    assert ModuleVersion.objects.get(label=oracle["1.1.0"]).state == "LOADED"
    with pytest.raises(ModuleRefused, match="must have a version before the one in use to go back to, has none"):
        services.rollback("oracle", actor="ann")


@pytest.fixture
def needed(oracle, code) -> None:
    """A version under watch that a module in use has come to need since."""
    services.swap("oracle", "1.1.0", actor="ann")
    needs_more = services.register("user", code("user", version="1.0.1"), dependencies={"oracle": "^1.1.0"})
    services.swap("user", needs_more.label, actor="ann")


def test_a_person_rolls_nothing_back_that_others_need(needed):
    with pytest.raises(ModuleRefused, match=r"module user in use needs oracle \^1\.1\.0, but 1\.0\.0 would fill it"):
        services.rollback("oracle", actor="ann")


def test_a_failed_version_leaves_its_slot_whatever_others_need_and_that_is_told(oracle, needed):
    watch.failed(Module.objects.get(name="oracle").watch_id, "a watched call failed")
    assert watch.flush() == ["oracle"]
    assert used() == oracle["1.0.0"]
    assert ModuleSwap.objects.earliest("id").state == "ROLLED_BACK"
    told = SystemEvent.objects.get(kind="module.rolled_back")
    assert told.severity == "critical"
    assert "a watched call failed; module user in use needs oracle ^1.1.0" in told.data["reason"]


def test_a_failed_version_without_one_to_go_back_to_stays_and_that_is_told(oracle):
    services.swap("oracle", "1.1.0", actor="ann")
    ModuleVersion.objects.filter(label=oracle["1.0.0"]).update(state="UNLOADED")
    watch.failed(Module.objects.get(name="oracle").watch_id, "a watched call failed")
    assert watch.flush() == []
    assert "it could not be rolled back: module oracle can go back to a" in ModuleSwap.objects.earliest("id").error
    assert used() == oracle["1.1.0"]
    assert SystemEvent.objects.get(kind="module.rollback_refused").severity == "critical"


def test_a_swap_after_a_watched_one_ends_the_watch(oracle, code):
    first = services.swap("oracle", "1.1.0", actor="ann")
    services.swap("oracle", services.register("oracle", code("oracle", version="1.3.0")).label, actor="ann")
    first.refresh_from_db()
    assert first.state == "COMPLETED"
    assert Module.objects.get(name="oracle").previous.label == oracle["1.1.0"]


def test_a_failed_version_may_be_tried_again_on_purpose(oracle, monkeypatch):
    with monkeypatch.context() as strict:
        strict.setattr(runs, "passes", lambda *_, **__: "too slow")
        with pytest.raises(SwapFailed):
            services.swap("oracle", "1.1.0", actor="ann")
    assert services.swap("oracle", "1.1.0", actor="ann").state == "SWITCHED"
