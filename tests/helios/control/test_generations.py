"""One query tells which subject of the control plane has moved."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from helios import breakers, flags
from helios.breakers import process as breakers_process
from helios.breakers import services as breaker_services
from helios.breakers.shared_state import SharedStore
from helios.control import generations
from helios.control.generations import NEVER_CHANGED
from helios.flags import services as flag_services
from helios.modules import process
from helios.modules import services as module_services

pytestmark = pytest.mark.django_db

CHANGES: dict[str, Callable[[], object]] = {
    "flags": lambda: flag_services.disable("garch_volatility", actor="ada"),
    "breakers": lambda: breaker_services.configure("llm_api", {"open_s": 7.0}, actor="ada"),
    "modules": lambda: module_services.configure("risk", watch_calls=3, actor="ada"),
}


@pytest.mark.parametrize("subject", CHANGES)
def test_a_change_moves_its_own_subject_only(subject: str, clean_redis: object) -> None:
    before = dict(generations.read())
    CHANGES[subject]()
    after = dict(generations.read())
    assert {name for name in after if after[name] != before.get(name, NEVER_CHANGED)} == {subject}
    assert after[subject].value == before.get(subject, NEVER_CHANGED).value + 1


def test_one_query_asks_for_all_of_them(django_assert_num_queries: Callable) -> None:
    with django_assert_num_queries(1):
        assert generations.read()["nobody"] == NEVER_CHANGED


def test_who_has_asked_already_need_not_ask_again(django_assert_num_queries: Callable) -> None:
    flags.refresh_if_behind()
    process.refresh_if_behind()
    seen = generations.read()
    breakers.refresh_if_behind(seen["breakers"])
    with django_assert_num_queries(0):
        assert not flags.refresh_if_behind(seen["flags"])
        assert not process.refresh_if_behind(seen["modules"])
        breakers.refresh_if_behind(seen["breakers"])


def test_a_newer_generation_that_the_caller_saw_is_read() -> None:
    flags.refresh_if_behind()
    process.refresh_if_behind()
    CHANGES["flags"]()
    CHANGES["modules"]()
    seen = generations.read()
    assert flags.refresh_if_behind(seen["flags"])
    assert process.refresh_if_behind(seen["modules"])
    assert process.generation() == seen["modules"].value


@pytest.mark.django_db(transaction=True)
def test_breakers_follow_the_generation_without_a_word_from_redis(
    clean_redis: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    circuit = breakers_process.current().circuit("llm_api")
    monkeypatch.setattr(SharedStore, "announce", lambda _: None)
    CHANGES["breakers"]()
    breakers.refresh_if_behind(generations.read()["breakers"])
    assert circuit.settings.config.open_s == 7.0


def test_a_restored_database_is_never_taken_for_the_one_that_was_read() -> None:
    first = generations.read()["flags"]
    generations.advance("flags")
    second = generations.read()["flags"]
    assert (second.value, second.token != first.token) == (first.value + 1, True)
