"""What a person does to a breaker, in Python, at the terminal and in the admin."""

from __future__ import annotations

import importlib
import json
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.urls import reverse

from helios import flags
from helios.breakers import CircuitOpen, SharedStateAway, UnknownBreaker, breaker, process, services
from helios.breakers.catalog import SHIPPED
from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent
from helios.breakers.store import SharedStore
from helios.flags import services as flag_services

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("clean_redis", "breakers_installed"),
]


@pytest.fixture
def redis_away(tmp_path) -> None:
    process.current().__dict__["store"] = SharedStore.from_url(f"unix://{tmp_path}/nobody.sock?db=0")


def fail() -> None:
    raise OSError("the vendor is down")


def open_it(name: str = "llm_api") -> None:
    for _ in range(SHIPPED[name].config.failure_threshold):
        with pytest.raises(OSError, match="vendor"):
            breaker(name).call(fail)


def row(name: str = "llm_api") -> CircuitBreaker:
    return CircuitBreaker.objects.get(name=name)


def history() -> list[tuple[str, str, str, str]]:
    return list(CircuitBreakerEvent.objects.order_by("id").values_list("breaker", "before", "after", "actor"))


def test_the_migration_installs_what_the_catalog_ships():
    migration = importlib.import_module("helios.breakers.migrations.0003_shipped_breakers")
    installed = {
        name: (failures, open_s, order_path, text) for name, failures, open_s, order_path, text in migration.SHIPPED
    }
    assert installed == {
        name: (each.config.failure_threshold, each.config.open_s, each.order_path, each.description)
        for name, each in SHIPPED.items()
    }
    assert {each.name: each.settings() for each in CircuitBreaker.objects.all()} == SHIPPED


def test_missing_breakers_are_put_back_and_present_ones_left_alone():
    CircuitBreaker.objects.filter(name="llm_api").delete()
    CircuitBreaker.objects.filter(name="valr_api").update(open_s=5)
    assert services.restore_shipped() == ["llm_api"]
    assert row("valr_api").open_s == 5


def test_forcing_open_refuses_every_call_until_it_is_closed():
    breaker("llm_api").call(str, 1)
    assert services.force_open("llm_api", actor="ann", reason="vendor maintenance") is True
    assert services.force_open("llm_api", actor="ann") is False
    with pytest.raises(CircuitOpen) as caught:
        breaker("llm_api").call(str, 1)
    assert caught.value.retry_after_s is None
    assert services.status(row()).sentence().startswith("Opened by a person")
    assert services.close("llm_api", actor="bob") is True
    assert breaker("llm_api").call(str, 1) == "1"
    assert history() == [
        ("llm_api", "CLOSED", "FORCED_OPEN", "ann"),
        ("llm_api", "FORCED_OPEN", "CLOSED", "bob"),
    ]
    assert CircuitBreakerEvent.objects.order_by("id")[0].reason == "vendor maintenance"


def test_a_forced_opening_holds_through_the_loss_of_everything_in_redis(clean_redis):
    services.force_open("llm_api", actor="ann")
    clean_redis.flushdb()
    process.forget()
    with pytest.raises(CircuitOpen):
        breaker("llm_api").call(str, 1)


def test_closing_ends_an_open_interval_at_once():
    open_it()
    assert services.status(row()).state == "OPEN"
    assert services.close("llm_api", actor="ann") is True
    assert services.close("llm_api", actor="ann") is False
    assert breaker("llm_api").call(str, 1) == "1"


def test_resetting_forgets_failures_of_a_closed_breaker_too():
    for _ in range(3):
        with pytest.raises(OSError, match="vendor"):
            breaker("llm_api").call(fail)
    assert services.status(row()).sentence() == "Calls pass; 3 of the last 3 calls failed."
    services.reset("llm_api", actor="ann")
    assert services.status(row()).sentence() == "Calls pass."
    assert history() == [("llm_api", "CLOSED", "CLOSED", "ann")]


def test_all_can_be_reset_together():
    open_it()
    assert services.reset_all(actor="ann") == sorted(SHIPPED)
    assert {services.status(each).state for each in CircuitBreaker.objects.all()} == {"CLOSED"}


def test_the_state_is_told_in_plain_words(clean_redis):
    open_it()
    assert services.status(row()).sentence() == "Calls are refused for another 60 s; then the next goes as a probe."
    clean_redis.hset("helios:{breakers}:llm_api", "open_until", "1")
    assert services.status(row()).sentence() == "The open interval is over: the next call goes as a probe."
    process.forget()
    with breaker("llm_api"):
        assert services.status(row()).sentence() == "Being tried again: 1 probe(s) under way."


@pytest.mark.usefixtures("redis_away")
def test_without_redis_a_person_can_open_but_not_close_and_is_told_so():
    assert services.status(row()).sentence() == "Redis cannot be reached; the last state recorded was closed."
    assert services.force_open("llm_api", actor="ann") is True
    for change in (services.close, services.reset):
        with pytest.raises(SharedStateAway, match="llm_api was left as it is"):
            change("llm_api", actor="ann")
    assert row().forced_open
    assert len(history()) == 1
    with pytest.raises(CircuitOpen):
        breaker("llm_api").call(str, 1)


def test_the_flag_turned_off_makes_breakers_measure_except_those_that_guard_orders():
    flag_services.disable("circuit_breakers", actor="ann")
    flags.refresh_if_behind()
    open_it("neural_network")
    open_it("valr_api")
    assert breaker("neural_network").call(str, 1) == "1"
    with pytest.raises(CircuitOpen):
        breaker("valr_api").call(str, 1)


def test_an_unknown_name_is_told_with_those_there_are():
    with pytest.raises(UnknownBreaker, match=r"no circuit breaker is named 'moon'; there are alpaca_api"):
        services.close("moon", actor="ann")


def test_a_shipped_breaker_without_a_row_gets_one_when_it_is_changed():
    CircuitBreaker.objects.all().delete()
    services.force_open("llm_api", actor="ann")
    assert row().forced_open


def test_numbers_that_contradict_each_other_reach_neither_the_row_nor_the_database():
    broken = row()
    broken.window_calls = 2
    with pytest.raises(ValueError, match="window_calls must hold"):
        services.configure(broken)
    with pytest.raises(IntegrityError), transaction.atomic():
        broken.save()


# --- at the terminal ---


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("breakers", *arguments, stdout=out)
    return out.getvalue().strip()


def test_the_command_lists_every_breaker():
    assert [line.split()[0] for line in command("list").splitlines()] == sorted(SHIPPED)
    rows = json.loads(command("list", "--json"))
    assert rows[0]["name"] == "alpaca_api"
    assert rows[0]["state"] == "CLOSED"


def test_the_command_opens_shows_closes_and_resets():
    assert json.loads(command("open", "llm_api", "--reason", "maintenance", "--json"))["changed"] is True
    shown = json.loads(command("show", "llm_api", "--json"))
    assert (shown["state"], shown["failure_threshold"]) == ("FORCED_OPEN", 5)
    assert shown["history"][0]["reason"] == "maintenance"
    assert "CLOSED -> FORCED_OPEN: maintenance" in command("show", "llm_api")
    assert json.loads(command("close", "llm_api", "--json"))["changed"] is True
    assert command("reset", "llm_api") == "reset: llm_api"
    assert json.loads(command("reset", "--all", "--json"))["reset"] == sorted(SHIPPED)
    CircuitBreaker.objects.filter(name="llm_api").delete()
    assert command("restore") == "restored: llm_api"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "moon"), "no circuit breaker is named 'moon'"),
        (("open", "moon"), "no circuit breaker is named 'moon'"),
        (("reset",), "name one breaker, or say --all"),
        (("reset", "llm_api", "--all"), "name one breaker, or say --all"),
    ],
)
def test_the_command_refuses_in_one_sentence(arguments: tuple[str, ...], message: str):
    with pytest.raises(CommandError, match=message):
        command(*arguments)


def test_a_terminal_without_a_name_is_still_somebody(monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: (_ for _ in ()).throw(KeyError("uid")))
    command("open", "llm_api")
    assert history()[0][3] == "command line"


# --- in the admin ---

LIST = "admin:breakers_circuitbreaker_changelist"


@pytest.fixture
def page(client, transactional_db):
    """A browser with a superuser logged in; `client` is Valkey's in this folder."""
    from django.test import Client

    browser = Client()
    browser.force_login(get_user_model().objects.create_superuser("ann", password="a-long-password"))
    return browser


def act(page, action: str, name: str = "llm_api") -> str:
    form = {"action": action, "_selected_action": [row(name).pk]}
    return page.post(reverse(LIST), form, follow=True).content.decode()


def test_the_list_shows_states_in_words(page):
    open_it()
    text = page.get(reverse(LIST)).content.decode()
    assert "Calls are refused for another" in text
    assert "5 of 10 calls, for 60 s" in text


def test_the_actions_open_close_and_reset(page):
    assert "llm_api is now forced open" in act(page, "open_selected")
    assert row().forced_open
    assert "nothing to do, it was so already" in act(page, "open_selected")
    assert "llm_api is now closed" in act(page, "close_selected")
    assert "llm_api was reset" in act(page, "reset_selected")
    assert {actor for *_, actor in history()} == {"ann"}


@pytest.mark.usefixtures("redis_away")
def test_an_action_that_fails_says_why(page):
    assert "llm_api was left as it is" in act(page, "close_selected")


def test_one_breakers_page_shows_its_history_and_saves_its_settings(page):
    services.force_open("llm_api", actor="ann", reason="vendor maintenance")
    url = reverse("admin:breakers_circuitbreaker_change", args=[row().pk])
    assert "vendor maintenance" in page.get(url).content.decode()
    form = {
        "description": "Claude", "failure_threshold": 2, "window_calls": 4, "minimum_calls": 2, "open_s": 5,
        "half_open_permits": 1, "permit_s": 5, "events-TOTAL_FORMS": 0, "events-INITIAL_FORMS": 0,
    }  # fmt: skip
    changes = process.current().store.changes()
    assert page.post(url, form).status_code == 302
    assert (row().name, row().failure_threshold, row().description) == ("llm_api", 2, "Claude")
    assert process.current().store.changes() == changes + 1
    wrong = page.post(url, form | {"window_calls": 1})
    assert "The window must hold the failure threshold" in wrong.content.decode()


def test_a_breaker_is_added_by_name(page):
    url = reverse("admin:breakers_circuitbreaker_add")
    form = {
        "name": "news_api", "failure_threshold": 2, "window_calls": 4, "minimum_calls": 2, "open_s": 5,
        "half_open_permits": 1, "permit_s": 5, "events-TOTAL_FORMS": 0, "events-INITIAL_FORMS": 0,
    }  # fmt: skip
    assert page.post(url, form).status_code == 302
    assert row("news_api").failure_threshold == 2


def test_history_is_read_only(page):
    services.force_open("llm_api", actor="ann")
    assert page.get(reverse("admin:breakers_circuitbreakerevent_changelist")).status_code == 200
    assert page.get(reverse("admin:breakers_circuitbreakerevent_add")).status_code == 403


def test_a_reader_sees_no_buttons_that_change(page):
    from django.contrib.auth.models import Permission

    reader = get_user_model().objects.create_user("eve", password="a-long-password", is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="view_circuitbreaker"))
    page.force_login(reader)
    assert "Force open" not in page.get(reverse(LIST)).content.decode()
    act(page, "open_selected")
    assert not row().forced_open
