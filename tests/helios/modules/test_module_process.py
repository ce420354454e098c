"""What one process resolves, and when it notices that something changed."""

from __future__ import annotations

import os
import shutil

import pytest

from helios.control import generations
from helios.modules import loading, process, services
from helios.modules.errors import ModuleLoadFailed, ModuleNotActive, ModuleRefused, SeveralVersions, UnknownModule
from helios.modules.models import Module, ModuleCode, ModuleVersion

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_gate")]


@pytest.fixture
def oracle(code) -> None:
    Module.objects.all().delete()
    services.register("oracle", code("oracle"), "1.0.0")
    services.activate("oracle")


@pytest.mark.usefixtures("oracle")
def test_a_name_resolves_to_its_version_path_and_code(package):
    found = process.resolve("oracle")
    assert (found.name, found.path, found.watch) == ("oracle", f"{package}.oracle", None)
    assert found.version == f"1.0.0+{found.digest[:8]}"
    assert found.implementation.run("x") == ("1.0.0", "x")


@pytest.mark.usefixtures("oracle")
def test_resolving_again_asks_nobody(django_assert_num_queries):
    process.resolve("oracle")
    with django_assert_num_queries(0):
        assert process.resolve("oracle") is process.resolve("oracle")
        process.pins()
        process.generation()


@pytest.mark.usefixtures("oracle")
def test_a_swap_is_seen_at_the_next_check_and_not_before(code):
    before = process.resolve("oracle")
    services.unload("oracle")
    services.activate("oracle", services.register("oracle", code("oracle_two", version="1.1.0"), "1.1.0").label)
    assert process.resolve("oracle") is before
    assert process.pins() == {"oracle": before.version}
    assert process.refresh_if_behind() is True
    now = process.resolve("oracle")
    assert now.version.startswith("1.1.0+")
    assert process.pins() == {"oracle": now.version}
    assert (before.implementation.run(1), now.implementation.run(1)) == (("1.0.0", 1), ("1.1.0", 1))


@pytest.mark.usefixtures("oracle")
def test_a_check_without_a_change_is_one_small_query(django_assert_num_queries):
    assert process.refresh_if_behind() is True  # the first one reads the table
    with django_assert_num_queries(1):
        assert process.refresh_if_behind() is False


@pytest.mark.usefixtures("oracle")
def test_modules_out_of_use_are_not_pinned_and_not_resolved():
    services.unload("oracle")
    assert process.pins() == {}
    with pytest.raises(ModuleNotActive, match="module oracle must be ACTIVE to be used, was UNLOADED"):
        process.resolve("oracle")


@pytest.mark.usefixtures("oracle")
def test_an_unknown_name_is_told_with_those_there_are():
    with pytest.raises(UnknownModule, match="no module is named 'seer'; there are oracle"):
        process.resolve("seer")


def test_an_empty_registry_says_so():
    Module.objects.all().delete()
    assert process.refresh_if_behind() is True
    assert process.generation() == generations.read()["modules"].value
    with pytest.raises(UnknownModule, match="there are none"):
        process.resolve("risk")


@pytest.mark.usefixtures("oracle")
def test_sources_that_are_not_those_of_their_hash_are_refused(package):
    code = ModuleCode.objects.get(path=f"{package}.oracle")
    ModuleCode.objects.filter(pk=code.pk).update(files={"oracle.py": code.files["oracle.py"] + "# more\n"})
    loading.forget_code("oracle", code.pk)
    with pytest.raises(ModuleLoadFailed, match=r"module oracle must have the content .*, its files are others"):
        process.resolve("oracle")


@pytest.mark.usefixtures("oracle")
def test_a_version_without_kept_sources_says_what_to_do(package):
    ModuleVersion.objects.update(code=None)
    with pytest.raises(ModuleLoadFailed, match="module oracle must have its sources kept, there are none: register"):
        process.resolve("oracle")


@pytest.mark.usefixtures("oracle")
def test_what_is_no_longer_allowed_is_not_loaded(settings):
    settings.MODULE_PACKAGES = ("tiers",)
    loading.forget_code("oracle", ModuleVersion.objects.get(module__name="oracle").digest)
    with pytest.raises(ModuleRefused, match="modules may be loaded from tiers only"):
        process.resolve("oracle")


# --- pins ---


@pytest.fixture
def two(oracle, code) -> tuple[str, str]:
    """Labels of two versions of the oracle, the second in use."""
    first = process.resolve("oracle").version
    services.unload("oracle")
    second = services.register("oracle", code("oracle", version="1.1.0")).label
    services.activate("oracle", second)
    process.refresh_if_behind()
    return first, second


def test_a_pinned_version_is_the_one_that_a_cycle_began_with(two):
    first, second = two
    assert process.resolve_pinned("oracle", first).implementation.run(1) == ("1.0.0", 1)
    assert process.resolve_pinned("oracle", second) is process.resolve("oracle")


def test_a_pin_is_looked_up_once(two, django_assert_num_queries):
    found = process.resolve_pinned("oracle", two[0])
    with django_assert_num_queries(0):
        assert process.resolve_pinned("oracle", two[0]) is found


def test_a_process_that_never_saw_a_version_loads_it_from_the_kept_sources(two, tmp_path, package):
    first = ModuleVersion.objects.get(label=two[0])
    process.forget()
    loading.forget_code("oracle", first.digest)
    (tmp_path / package / "oracle.py").unlink()
    shutil.rmtree(tmp_path / "laid_out")
    assert process.resolve_pinned("oracle", two[0]).implementation.run(1) == ("1.0.0", 1)


def test_a_plain_version_is_a_pin_too(two):
    assert process.resolve_pinned("oracle", "1.0.0").version == two[0]
    assert process.resolve_pinned("oracle", "1.1.0").version == two[1]


def test_of_several_contents_of_a_plain_version_the_one_in_use_is_meant_else_none(two, code):
    newer = services.register("oracle", code("oracle", "VERSION = '1.1.0'\ndef run(value):\n    return 'other'\n"))
    assert process.resolve_pinned("oracle", "1.1.0").version == two[1]
    services.register("oracle", code("oracle", "VERSION = '1.0.0'\ndef run(value):\n    return 'newest'\n"))
    services.load("oracle", newer.label)
    assert process.resolve_pinned("oracle", newer.label).implementation.run(1) == "other"
    process.forget()
    with pytest.raises(SeveralVersions, match=r"1\.0\.0 may be"):
        process.resolve_pinned("oracle", "1.0.0")


def test_an_unknown_pin_is_told_with_those_there_are(two):
    with pytest.raises(UnknownModule, match=r"module oracle has no version 9\.9\.9; there are 1\.1\.0\+"):
        process.resolve_pinned("oracle", "9.9.9")
    with pytest.raises(UnknownModule, match="no module is named 'seer'; there are oracle"):
        process.resolve_pinned("seer", "1.0.0")


def test_a_version_that_never_passed_its_tests_is_loaded_by_no_pin(two, code):
    source = "VERSION = '1.2.0'\nraise SystemExit('it was imported')\n"
    candidate = services.register("oracle", code("oracle", source))
    for label in (candidate.label, "1.2.0"):
        with pytest.raises(ModuleNotActive, match=r"module oracle 1\.2\.0\+.* must have passed its tests"):
            process.resolve_pinned("oracle", label)
    with pytest.raises(ModuleLoadFailed):
        services.load("oracle", candidate.label)
    with pytest.raises(ModuleNotActive, match="must have passed its tests"):
        process.resolve_pinned("oracle", candidate.label)


def test_pinned_versions_of_a_module_out_of_use_are_still_there(two):
    services.unload("oracle")
    process.refresh_if_behind()
    assert process.resolve_pinned("oracle", two[1]).implementation.run(1) == ("1.1.0", 1)


# --- switches in a process ---

STATEFUL = """
VERSION = {version!r}
TOLD = []
memory = {{}}
def run(key, value=None):
    if value is not None:
        memory[key] = value
    return memory.get(key)
def on_activate(): TOLD.append("on_activate")
def on_deactivate(): TOLD.append("on_deactivate")
def export_state(): return dict(memory)
def import_state(state, from_version): memory.update(state); TOLD.append(from_version)
"""


@pytest.fixture
def replace(code):
    """Put a version with this source into the slot, and let this process notice."""

    def do(source: str) -> loading.ActiveModule:
        row = services.register("oracle", code("oracle", source))
        if Module.objects.get(name="oracle").active:
            services.unload("oracle")
        services.activate("oracle", row.label)
        process.refresh_if_behind()
        return process.resolve("oracle")

    return do


def test_what_a_version_remembers_goes_over_to_the_next_one(replace):
    old = replace(STATEFUL.format(version="1.0.0"))
    old.implementation.run("fit", 7)
    new = replace(STATEFUL.format(version="1.1.0"))
    assert new.implementation.run("fit") == 7
    assert [old.version, "on_activate"] == new.implementation.TOLD
    assert old.implementation.TOLD == ["on_activate", "on_deactivate"]


def test_a_hook_that_fails_at_the_switch_is_logged_and_the_version_serves(replace, logged):
    replace(STATEFUL.format(version="1.0.0")).implementation.run("fit", 7)
    new = replace(STATEFUL.format(version="1.1.0") + "def import_state(*_): raise ValueError('other shape')\n")
    assert "modules.hook_failed" in logged
    assert new.implementation.run("fit") is None
    assert new.implementation.TOLD == ["on_activate"]


ASKS_WRONGLY = """
def on_activate():
    from django.db import connection
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")
"""


def test_a_hook_that_asks_the_database_wrongly_leaves_the_callers_transaction_usable(replace, logged):
    replace(STATEFUL.format(version="1.0.0"))
    assert replace(STATEFUL.format(version="1.1.0") + ASKS_WRONGLY).implementation.VERSION == "1.1.0"
    assert "modules.hook_failed" in logged
    assert Module.objects.filter(name="oracle").exists()


def test_a_version_that_cannot_be_loaded_here_is_told_when_it_is_asked_for(replace, monkeypatch, logged):
    replace(STATEFUL.format(version="1.0.0"))
    real = loading.load_code
    monkeypatch.setattr(loading, "load_code", lambda *_, **__: (_ for _ in ()).throw(ModuleLoadFailed("no disk")))
    monkeypatch.setattr(loading, "loaded_copy", lambda *_: None)
    generations.advance("modules")
    assert process.refresh_if_behind() is True
    assert "modules.not_loaded" in logged
    with pytest.raises(ModuleLoadFailed, match="no disk"):
        process.resolve("oracle")
    assert set(process.load_active()) == {"no disk"}
    monkeypatch.setattr(loading, "load_code", real)
    assert process.resolve("oracle").implementation.VERSION == "1.0.0"


def test_a_process_keeps_few_old_copies(replace):
    held = [replace(STATEFUL.format(version=f"1.0.{number}")).digest for number in range(loading.KEPT + 3)]
    kept = [digest for slot, digest in loading.loaded() if slot == "oracle"]
    assert held[-1] in kept
    assert held[0] not in kept
    assert len(kept) <= loading.KEPT + 2


@pytest.mark.usefixtures("oracle")
def test_a_forked_child_reads_the_table_itself():
    process.resolve("oracle")
    child = os.fork()
    if child == 0:
        os._exit(0 if not process._store.loaded else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert process._store.loaded
