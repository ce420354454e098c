"""Files that change under a module in use: swapped in, or refused once with the reason kept."""

from __future__ import annotations

import os

import pytest

from helios import flags
from helios.events.models import SystemEvent
from helios.flags import services as flag_services
from helios.modules import jobs, process, reloading, services, sources, swapping, watch
from helios.modules.errors import WatchedCallFailed
from helios.modules.gate import runs
from helios.modules.models import Module, ModuleJob, ModuleSwap, ModuleVersion
from helios.modules.tasks import watch_files

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_gate")]


@pytest.fixture(autouse=True)
def hot(db):
    """The flag is on, and this process has looked at no file."""
    flag_services.install_missing(actor="test")
    flag_services.enable("hot_reload_modules", actor="test")
    flags.forget()
    reloading._seen.clear()
    yield
    flags.forget()


@pytest.fixture
def oracle(code):
    """A slot in use; returns a function that writes its file."""
    Module.objects.all().delete()
    services.register("oracle", code("oracle"))
    services.activate("oracle")
    assert watch_files() == {}
    return lambda source=None, version="1.0.0": code("oracle", source, version=version)


def slot() -> Module:
    return Module.objects.select_related("active").get(name="oracle")


def test_files_that_did_not_change_are_not_even_read(oracle, monkeypatch):
    monkeypatch.setattr(sources, "read", lambda *_: 1 / 0)
    assert watch_files() == {}


def test_a_touched_file_with_the_same_content_is_no_change(oracle, package, tmp_path):
    os.utime(tmp_path / package / "oracle.py", (1, 1))
    assert watch_files() == {}
    assert ModuleVersion.objects.count() == 1


def test_a_changed_file_is_registered_tested_and_swapped(oracle):
    oracle(version="1.1.0")
    done = watch_files()
    assert done == {"oracle": f"swapped to {slot().active.label}"}
    assert (slot().version, slot().reload_error) == ("1.1.0", "")
    swap = ModuleSwap.objects.get()
    assert (swap.actor, swap.reason) == ("hot reload", "its files changed")
    assert watch_files() == {}


def test_changed_content_under_the_same_version_is_swapped_too(oracle):
    before = slot().active.label
    oracle("VERSION = '1.0.0'\ndef run(value): return 'mended'\n")
    watch_files()
    assert slot().active.label.partition("+")[0] == before.partition("+")[0] == "1.0.0"
    assert slot().active.label != before
    process.refresh_if_behind()
    assert process.resolve("oracle").implementation.run(1) == "mended"


def test_with_the_flag_off_a_change_waits_and_says_so_once(oracle):
    flag_services.disable("hot_reload_modules", actor="test")
    oracle(version="1.1.0")
    assert watch_files() == {"oracle": reloading.WAITS}
    assert watch_files() == {}
    assert (slot().version, slot().reload_error) == ("1.0.0", reloading.WAITS)
    assert SystemEvent.objects.filter(kind="module.reload_waits").count() == 1
    flag_services.enable("hot_reload_modules", actor="test")
    assert "swapped to 1.1.0" in watch_files()["oracle"]
    assert slot().reload_error == ""


def test_half_a_file_is_refused_and_the_whole_one_taken(oracle):
    oracle("VERSION = '1.1.0'\ndef run(val")
    assert "must be valid Python, oracle.py line 2 is not" in watch_files()["oracle"]
    assert "must be valid Python" in slot().reload_error
    assert watch_files() == {}
    oracle("VERSION = '1.1.0'\ndef run(value): return 1\n")
    assert "swapped to 1.1.0" in watch_files()["oracle"]


def test_what_fails_its_tests_is_not_tried_again_until_it_changes(oracle, monkeypatch):
    tries = []
    with monkeypatch.context() as strict:
        strict.setattr(runs, "passes", lambda *_, **__: tries.append(1) or "not finite")
        oracle(version="1.1.0")
        assert "did not pass its tests: not finite" in watch_files()["oracle"]
        assert watch_files() == {}
    assert "not finite" in slot().reload_error
    assert slot().version == "1.0.0"
    assert watch_files() == {}
    assert len(tries) == 1
    oracle(version="1.2.0")
    assert "swapped to 1.2.0" in watch_files()["oracle"]


def test_going_back_to_what_is_in_use_forgets_the_refusal(oracle):
    oracle("def run(")
    watch_files()
    assert slot().reload_error
    oracle()
    assert watch_files() == {}
    assert slot().reload_error == ""
    assert SystemEvent.objects.filter(kind="module.reload_settled").count() == 1


def test_what_was_rolled_back_stays_out(oracle):
    oracle("VERSION = '1.1.0'\ndef run(value): raise ValueError('no')\n")
    watch_files()
    process.refresh_if_behind()
    with pytest.raises(WatchedCallFailed):
        watch.guarded(process.resolve("oracle")).run(1)
    assert watch.flush() == ["oracle"]
    assert "this content was rolled back before" in watch_files()["oracle"]
    assert watch_files() == {}
    assert slot().version == "1.0.0"


def test_a_person_who_rolls_back_is_not_overruled(oracle):
    oracle(version="1.1.0")
    watch_files()
    services.rollback("oracle", actor="ann", reason="too early")
    assert "this content was rolled back before: too early" in watch_files()["oracle"]
    assert slot().version == "1.0.0"


def test_what_a_person_swapped_away_from_is_not_put_back_until_other_files_are_there(oracle, package, tmp_path):
    first = slot().active.label
    oracle(version="1.1.0")
    watch_files()
    third = services.register("oracle", oracle(version="1.2.0")).label
    oracle(version="1.1.0")
    for chosen in (first, third, first):
        services.swap("oracle", chosen, actor="ann", reason="1.1.0 loses money")
    assert watch_files() == {"oracle": f"it lay there when oracle {first} was chosen: swap to it, or change the files"}
    (tmp_path / package / "oracle.py").unlink()
    assert watch_files() == {}
    oracle(version="1.1.0")
    assert watch_files() == {}
    assert slot().active.label == first
    oracle(version="1.3.0")
    assert "swapped to 1.3.0" in watch_files()["oracle"]


def test_a_person_who_fills_an_emptied_slot_is_not_overruled(oracle):
    first = slot().active.label
    oracle(version="1.1.0")
    watch_files()
    services.unload("oracle", actor="bob")
    services.activate("oracle", first, actor="ann")
    assert f"when oracle {first} was chosen" in watch_files()["oracle"]
    assert slot().active.label == first


def test_a_choice_while_the_flag_is_off_holds_when_it_is_on_again(oracle):
    other = services.register("oracle", oracle(version="1.2.0")).label
    oracle(version="1.1.0")
    flag_services.disable("hot_reload_modules", actor="test")
    watch_files()
    services.swap("oracle", other, actor="ann")
    watch_files()
    flag_services.enable("hot_reload_modules", actor="test")
    assert watch_files() == {}
    assert slot().active.label == other


def test_a_choice_during_the_swap_of_another_slot_is_seen(oracle, code, monkeypatch):
    services.register("seer", code("seer"))
    services.activate("seer")
    chosen = services.register("seer", code("seer", version="1.2.0")).label
    code("seer", version="1.1.0")
    oracle(version="1.1.0")

    def meanwhile(version: ModuleVersion, *_: object, **__: object) -> str:
        if version.module.name == "oracle":
            services.swap("seer", chosen, actor="ann")
        return ""

    monkeypatch.setattr(runs, "passes", meanwhile)
    assert f"when seer {chosen} was chosen" in watch_files()["seer"]
    assert Module.objects.get(name="seer").version == "1.2.0"


def test_a_change_after_what_a_person_chose_was_seen_on_the_disk_is_followed(oracle):
    services.swap("oracle", services.register("oracle", oracle(version="1.1.0")).label, actor="ann")
    before = slot().generation
    assert watch_files() == {}
    assert slot().generation == before
    oracle(version="1.2.0")
    assert "swapped to 1.2.0" in watch_files()["oracle"]


def test_going_to_and_fro_between_two_good_contents_is_followed(oracle):
    for version in ("1.1.0", "1.0.0", "1.1.0"):
        oracle(version=version)
        assert f"swapped to {version}" in watch_files()["oracle"]


def test_a_slot_that_is_not_hot_reloadable_or_not_in_use_is_left_alone(oracle):
    services.configure("oracle", hot_reloadable=False)
    oracle(version="1.1.0")
    assert watch_files() == {}
    services.configure("oracle", hot_reloadable=True)
    services.unload("oracle")
    assert watch_files() == {}


def test_files_that_are_gone_are_told_once_and_the_module_serves_on(oracle, package, tmp_path):
    (tmp_path / package / "oracle.py").unlink()
    assert "nothing was found there" in watch_files()["oracle"]
    assert watch_files() == {}
    assert process.resolve("oracle").implementation.run(1) == ("1.0.0", 1)


def test_a_file_that_goes_while_it_is_looked_at_is_looked_at_again(oracle, monkeypatch, logged):
    with monkeypatch.context() as moving:
        moving.setattr(sources, "fingerprint", lambda _: (_ for _ in ()).throw(FileNotFoundError("moved")))
        assert watch_files() == {}
    assert "modules.files_moving" in logged


def test_one_slot_that_cannot_be_looked_at_keeps_nothing_from_the_others(oracle, code, monkeypatch, logged):
    services.register("aurora", code("aurora"))
    services.activate("aurora")
    job = jobs.enqueue(ModuleJob.Kind.TEST, "oracle", actor="ann")
    ModuleJob.objects.filter(pk=job.pk).update(created_at="2020-01-01T00:00Z")
    looks = sources.fingerprint
    monkeypatch.setattr(sources, "fingerprint", lambda path: 1 / 0 if path.endswith("aurora") else looks(path))
    oracle(version="1.1.0")
    assert watch_files() == {"oracle": f"swapped to {slot().active.label}"}
    assert "modules.not_looked_at" in logged
    monkeypatch.setattr(reloading, "watch_files", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        watch_files()
    assert ModuleJob.objects.get().state == "FAILED"


def test_a_swap_that_runs_already_is_waited_for(oracle):
    other = services.register("oracle", oracle(version="1.3.0"))
    swapping.begin("oracle", other.label, actor="bob", reason="")
    oracle(version="1.1.0")
    assert watch_files() == {}
    assert slot().reload_error == ""
    ModuleSwap.objects.update(state="FAILED", error="given up")
    assert "swapped to 1.1.0" in watch_files()["oracle"]


def test_a_dead_swap_is_cleared_on_the_way(oracle):
    other = services.register("oracle", oracle(version="1.3.0"))
    swapping.begin("oracle", other.label, actor="bob", reason="")
    oracle()
    ModuleSwap.objects.update(expires_at="2020-01-01T00:00Z", owner="elsewhere:1")
    watch_files()
    assert ModuleSwap.objects.get().state == "FAILED"


def test_after_a_swap_to_another_path_that_one_is_watched(oracle, code):
    services.swap("oracle", services.register("oracle", code("seer", version="1.5.0")).label, actor="ann")
    assert watch_files() == {}
    code("seer", version="1.5.1")
    assert "swapped to 1.5.1" in watch_files()["oracle"]
