"""Processes at a swap: which load what, who is waited for, and what one that cannot does to the others."""

from __future__ import annotations

import os
from datetime import timedelta

import psycopg2
import pytest
from django.utils import timezone

from helios import outage
from helios.modules import loading, presence, process, services, swap_worker, swapping
from helios.modules.errors import ModuleLoadFailed, SwapFailed
from helios.modules.models import ModuleProcess, ModuleSwap, ModuleVersion
from tests.helios.modules.conftest import used

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_gate")]


def present(**fields: object) -> ModuleProcess:
    made = presence.enter("worker")
    ModuleProcess.objects.filter(pk=made).update(**fields)
    return ModuleProcess.objects.get(pk=made)


def test_a_process_that_cannot_load_it_keeps_everybody_on_the_old_version(oracle, monkeypatch):
    other = present()
    real = swapping._step

    def step(row, state):
        real(row, state)
        if state == "PREPARING":
            presence.answer(other.pk, row.pk, "module oracle could not be imported: no such library here")

    monkeypatch.setattr(swapping, "_step", step)
    with pytest.raises(SwapFailed, match=r"worker .* could not load oracle 1\.1\.0\+.*: .*no such library here"):
        services.swap("oracle", "1.1.0", actor="ann")
    assert used() == oracle["1.0.0"]
    assert ModuleVersion.objects.get(label=oracle["1.1.0"]).state == "LOADED"  # its tests it has passed


def test_a_process_prepares_only_what_has_passed_its_tests(oracle):
    """Whoever could write a swap's row would have every process run what nobody has tested."""
    version = ModuleVersion.objects.select_related("module").get(label=oracle["1.1.0"])
    loading.forget_code("oracle", version.digest)
    swap = swapping.begin("oracle", "1.1.0", actor="ann", reason="")
    ModuleSwap.objects.filter(pk=swap.pk).update(state="PREPARING")
    worker = swap_worker.SwapWorker("worker")
    worker._beat()
    worker._prepare()
    assert loading.loaded_copy("oracle", version.digest) is None
    assert ModuleProcess.objects.get().prepared == {}
    ModuleVersion.objects.filter(pk=version.pk).update(state="LOADED")
    worker._prepare()
    assert loading.loaded_copy("oracle", version.digest) is not None
    assert ModuleProcess.objects.get().prepared == {str(swap.pk): ""}


def test_a_process_that_lives_and_says_nothing_holds_the_swap_up(oracle, monkeypatch):
    monkeypatch.setattr(swapping, "PREPARE_S", 0.2)
    silent = present()
    with pytest.raises(SwapFailed, match=f"{silent} must answer within 0.2 s, was alive and silent"):
        services.swap("oracle", "1.1.0", actor="ann")
    assert used() == oracle["1.0.0"]


@pytest.mark.parametrize("lost", [{"pid": 2**22 + 1}, {"seen_at": "2026-01-01T00:00Z"}], ids=["ended", "silent"])
def test_a_process_that_is_lost_while_it_loads_it_keeps_everybody_on_the_old_version(oracle, monkeypatch, lost):
    def alive(swap_id: int) -> list[ModuleProcess]:
        presence.answer(present(**lost).pk, swap_id, None)
        ModuleProcess.objects.update(**lost)
        return found(swap_id)

    found = presence.lost_while_loading
    monkeypatch.setattr(presence, "lost_while_loading", alive)
    with pytest.raises(SwapFailed, match=r"worker .* ended or fell silent while it loaded oracle 1\.1\.0"):
        services.swap("oracle", "1.1.0", actor="ann")
    assert used() == oracle["1.0.0"]


def test_dead_processes_are_not_waited_for(oracle):
    present(host="elsewhere", seen_at=timezone.now() - timedelta(seconds=presence.STALE_S + 5))
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    present(pid=child)
    assert services.swap("oracle", "1.1.0", actor="ann").processes == 0
    assert presence.clean() == 0  # the swap has removed the one; the other's row may still be renewed
    ModuleProcess.objects.update(seen_at=timezone.now() - timedelta(seconds=presence.FORGET_S + 5))
    assert presence.clean() == 1


def test_a_process_is_heard_of_until_it_leaves():
    made = presence.enter("worker", generation=3)
    assert presence.beat(made, generation=4, loaded=["risk 0123"])
    row = ModuleProcess.objects.get(pk=made)
    assert (row.generation, row.loaded, row.pid) == (4, ["risk 0123"], os.getpid())
    assert [each.pk for each in presence.live()] == [made]
    presence.leave(made)
    assert presence.live() == []
    assert presence.beat(made, generation=5, loaded=[]) is False


def test_a_process_keeps_its_last_answers_only():
    made = presence.enter("worker")
    for swap_id in range(20):
        presence.answer(made, swap_id, "")
    assert sorted(map(int, ModuleProcess.objects.get(pk=made).prepared)) == list(range(12, 20))


def test_a_process_answers_for_the_version_it_loaded_or_could_not(oracle, monkeypatch):
    tested, version = (
        ModuleVersion.objects.select_related("module").filter(label__in=oracle.values()).order_by("id")[:2]
    )
    assert swap_worker._loaded(tested) == ""
    assert swap_worker._loaded(version).endswith("must have passed its tests to be loaded, it never did")
    monkeypatch.setattr(process, "load_version", lambda _: (_ for _ in ()).throw(SystemExit(3)))
    assert swap_worker._loaded(version) == "SystemExit: 3"


@pytest.fixture
def wanted(oracle, monkeypatch) -> list[ModuleVersion]:
    """What a floor above has every worker load ahead."""
    ModuleVersion.objects.filter(label=oracle["1.1.0"]).update(state="LOADED")
    asked = [ModuleVersion.objects.get(label=oracle["1.1.0"])]
    monkeypatch.setattr(swap_worker, "_wanted", [lambda: asked])
    return asked


def test_what_is_wanted_ahead_is_loaded_before_a_task_asks(wanted):
    (version,) = wanted
    worker = swap_worker.SwapWorker("worker")
    loading.forget_code("oracle", version.digest)
    worker._load_ahead()
    assert loading.loaded_copy("oracle", version.digest) is not None


def test_what_has_not_passed_its_tests_is_not_loaded_ahead(wanted):
    (version,) = wanted
    version.state = "FAILED"
    loading.forget_code("oracle", version.digest)
    swap_worker.SwapWorker("worker")._load_ahead()
    assert loading.loaded_copy("oracle", version.digest) is None


def test_what_cannot_be_loaded_ahead_is_told_once_and_left_to_the_task(wanted, monkeypatch, logged):
    def missing(_: object) -> None:
        raise ModuleLoadFailed("no such library here")

    loading.forget_code("oracle", wanted[0].digest)
    monkeypatch.setattr(process, "load_version", missing)
    worker = swap_worker.SwapWorker("worker")
    worker._load_ahead()
    worker._load_ahead()
    assert logged == ["modules.not_loaded_ahead"]


def test_a_process_asks_nothing_of_a_database_that_is_away(monkeypatch, logged):
    """It looks around several times a second, and each time it would fail and say so."""
    worker = swap_worker.SwapWorker("worker")
    asked = []

    def work() -> None:
        asked.append(1)
        raise psycopg2.OperationalError("connection refused")

    monkeypatch.setattr(outage.POSTGRES, "_ask", work)
    for _ in range(20):
        worker._asking(work)
    assert logged == ["outage.began"]
    assert len(asked) <= 3  # by the listener once, and by the thread that waits for the end
