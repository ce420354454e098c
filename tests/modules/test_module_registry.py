"""What one process resolves, and when it notices that something changed."""

from __future__ import annotations

import os

import pytest

from helios.modules import registry, services
from helios.modules.errors import ModuleLoadFailed, ModuleNotActive, UnknownModule
from helios.modules.models import Module

pytestmark = pytest.mark.django_db


@pytest.fixture
def oracle(code) -> None:
    Module.objects.all().delete()
    services.register("oracle", code("oracle"), "1.0.0")
    services.activate("oracle")


@pytest.mark.usefixtures("oracle")
def test_a_name_resolves_to_its_version_path_and_code(package):
    found = registry.resolve("oracle")
    assert (found.name, found.version, found.path) == ("oracle", "1.0.0", f"{package}.oracle")
    assert found.implementation.run("x") == ("1.0.0", "x")


@pytest.mark.usefixtures("oracle")
def test_resolving_again_asks_nobody(django_assert_num_queries):
    registry.resolve("oracle")
    with django_assert_num_queries(0):
        assert registry.resolve("oracle") is registry.resolve("oracle")
        registry.pins()
        registry.generation()


@pytest.mark.usefixtures("oracle")
def test_a_swap_is_seen_at_the_next_check_and_not_before(code):
    before = registry.resolve("oracle")
    services.unload("oracle")
    services.register("oracle", code("oracle_two", version="1.1.0"), "1.1.0")
    services.activate("oracle")
    assert registry.resolve("oracle") is before
    assert registry.pins() == {"oracle": "1.0.0"}
    assert registry.refresh_if_behind() is True
    assert registry.resolve("oracle").version == "1.1.0"
    assert registry.pins() == {"oracle": "1.1.0"}


@pytest.mark.usefixtures("oracle")
def test_a_check_without_a_change_is_one_small_query(django_assert_num_queries):
    assert registry.refresh_if_behind() is True  # the first one reads the table
    with django_assert_num_queries(1):
        assert registry.refresh_if_behind() is False


@pytest.mark.usefixtures("oracle")
def test_modules_out_of_use_are_not_pinned_and_not_resolved():
    services.unload("oracle")
    assert registry.pins() == {}
    with pytest.raises(ModuleNotActive, match="module oracle must be ACTIVE to be used, was UNLOADED"):
        registry.resolve("oracle")


@pytest.mark.usefixtures("oracle")
def test_an_unknown_name_is_told_with_those_there_are():
    with pytest.raises(UnknownModule, match="no module is named 'seer'; there are oracle"):
        registry.resolve("seer")


def test_an_empty_registry_says_so():
    Module.objects.all().delete()
    assert registry.refresh_if_behind() is True
    assert registry.generation() == 0
    with pytest.raises(UnknownModule, match="there are none"):
        registry.resolve("risk")


def test_a_process_whose_code_differs_from_the_registered_version_refuses_it(code):
    services.register("oracle", code("oracle"), "1.0.0")
    services.activate("oracle")
    Module.objects.filter(name="oracle").update(version="1.0.1")
    with pytest.raises(
        ModuleLoadFailed, match=r"module oracle is registered as 1\.0\.1, but the code in .* is 1\.0\.0"
    ):
        registry.resolve("oracle")


@pytest.mark.usefixtures("oracle")
def test_a_forked_child_reads_the_table_itself():
    registry.resolve("oracle")
    child = os.fork()
    if child == 0:
        os._exit(0 if registry._snapshot is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert registry._snapshot is not None
