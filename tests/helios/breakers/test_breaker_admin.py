"""Breakers in the admin."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.urls import reverse

from helios.breakers import process, services
from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent
from tests.support.vendors import open_circuit

pytestmark = pytest.mark.usefixtures("clean_redis")
committed = pytest.mark.usefixtures("breakers_installed")  # other connections see what is written
present = pytest.mark.usefixtures("breakers_present")


def row(name: str = "llm_api") -> CircuitBreaker:
    return CircuitBreaker.objects.get(name=name)


def history() -> list[tuple[str, str, str, str]]:
    return list(CircuitBreakerEvent.objects.order_by("id").values_list("breaker", "before", "after", "actor"))


LIST = "admin:breakers_circuitbreaker_changelist"
FORM = {
    "failure_threshold": 2, "failure_rate": 0, "slow_call_s": 0, "slow_call_rate": 0, "minimum_calls": 2,
    "window_calls": 4, "window_s": 0, "open_s": 5, "open_multiplier": 1, "open_max_s": 0, "open_jitter": 0,
    "half_open_permits": 1, "permit_s": 5, "events-TOTAL_FORMS": 0, "events-INITIAL_FORMS": 0,
}  # fmt: skip


@pytest.fixture
def page(client, db):
    """A browser with a superuser logged in; `client` is Valkey's in this folder."""
    from django.test import Client

    browser = Client()
    browser.force_login(get_user_model().objects.create_superuser("ann", password="a-long-password"))
    return browser


def act(page, action: str, name: str = "llm_api") -> str:
    form = {"action": action, "_selected_action": [row(name).pk]}
    return page.post(reverse(LIST), form, follow=True).content.decode()


@committed
def test_the_list_shows_states_in_words(page):
    open_circuit()
    text = page.get(reverse(LIST)).content.decode()
    assert "Calls are refused for another" in text
    assert "5 failures in the last 10 calls, for 60 s" in text


@present
def test_the_actions_open_close_and_reset(page):
    assert "llm_api is now forced open" in act(page, "open_selected")
    assert row().mode == "forced_open"
    assert "nothing to do, it was so already" in act(page, "open_selected")
    assert "llm_api is now closed" in act(page, "close_selected")
    assert "llm_api was reset" in act(page, "reset_selected")
    assert {actor for *_, actor in history()} == {"ann"}


@present
@pytest.mark.usefixtures("redis_away")
def test_an_action_that_fails_says_why(page):
    assert "llm_api was left as it is" in act(page, "close_selected")


@committed
def test_one_breakers_page_shows_its_history_and_saves_its_settings(page):
    services.force_open("llm_api", actor="ann", reason="vendor maintenance")
    url = reverse("admin:breakers_circuitbreaker_change", args=[row().pk])
    assert "vendor maintenance" in page.get(url).content.decode()
    form = FORM | {"description": "Claude", "reason": "a tighter leash", "seen_version": row().version}
    changes = process.current().store.changes()
    assert page.post(url, form).status_code == 302
    assert (row().name, row().failure_threshold, row().description) == ("llm_api", 2, "Claude")
    assert process.current().store.changes() == changes + 1
    assert "a tighter leash" in page.get(url).content.decode()
    wrong = page.post(url, form | {"window_calls": 1, "seen_version": row().version})
    assert "The window must hold the failure threshold" in wrong.content.decode()


@present
def test_a_breaker_is_added_by_name(page):
    url = reverse("admin:breakers_circuitbreaker_add")
    form = FORM | {"name": "news_api"}
    assert page.post(url, form).status_code == 302
    assert row("news_api").failure_threshold == 2


@present
def test_history_is_read_only(page):
    services.force_open("llm_api", actor="ann")
    assert page.get(reverse("admin:breakers_circuitbreakerevent_changelist")).status_code == 200
    assert page.get(reverse("admin:breakers_circuitbreakerevent_add")).status_code == 403


@present
def test_a_reader_sees_no_buttons_that_change(page):
    reader = get_user_model().objects.create_user("eve", password="a-long-password", is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="view_circuitbreaker"))
    page.force_login(reader)
    assert "Force open" not in page.get(reverse(LIST)).content.decode()
    act(page, "open_selected")
    assert row().mode == "normal"


@present
def test_the_actions_set_modes(page):
    assert "llm_api now only measures" in act(page, "measure_selected")
    assert "Only measures, every call passes" in page.get(reverse(LIST)).content.decode()
    assert "llm_api acts again" in act(page, "normal_selected")
    assert "valr_api guards orders and must act" in act(page, "measure_selected", "valr_api")


@present
def test_the_second_of_two_people_who_change_a_breaker_is_told(page):
    url = reverse("admin:breakers_circuitbreaker_change", args=[row().pk])
    seen = row().version
    services.configure("llm_api", {"open_s": 30}, actor="bob")
    answer = page.post(url, FORM | {"description": "Claude", "seen_version": seen}, follow=True)
    told = "Nothing was changed: llm_api must still be at version 1, is at 2: it was changed meanwhile by bob"
    assert told in answer.content.decode()
    assert (row().open_s, row().failure_threshold) == (30, 5)


@present
def test_settings_that_make_no_sense_are_told_in_the_form_or_above_it(page):
    url = reverse("admin:breakers_circuitbreaker_change", args=[row().pk])
    form = FORM | {"seen_version": row().version}
    assert "Rates and jitter are shares" in page.post(url, form | {"failure_rate": 2}).content.decode()
    answer = page.post(url, form | {"open_s": 1e9}, follow=True)
    assert "open_s must be above 0 and at most 604800 seconds" in answer.content.decode()
    assert row().version == 1


@present
def test_one_that_was_added_can_be_deleted_and_a_shipped_one_cannot(page):
    services.create("news_api", actor="ann")
    url = reverse("admin:breakers_circuitbreaker_delete", args=[row("news_api").pk])
    assert page.post(url, {"post": "yes"}).status_code == 302
    assert not CircuitBreaker.objects.filter(name="news_api").exists()
    assert history()[-1] == ("news_api", "CLOSED", "CLOSED", "ann")
    shipped = reverse("admin:breakers_circuitbreaker_delete", args=[row().pk])
    assert page.post(shipped, {"post": "yes"}).status_code == 403


@present
def test_many_cannot_be_deleted_past_the_services(page):
    act(page, "delete_selected")
    assert CircuitBreaker.objects.filter(name="llm_api").exists()
