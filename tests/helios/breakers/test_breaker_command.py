"""Breakers at the terminal."""

from __future__ import annotations

import json

import pytest
from django.core.management import CommandError

from helios.breakers.catalog import SHIPPED
from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent
from tests.support.commands import printed

pytestmark = pytest.mark.usefixtures("clean_redis", "breakers_present")


def row(name: str = "llm_api") -> CircuitBreaker:
    return CircuitBreaker.objects.get(name=name)


def command(*arguments: str) -> str:
    return printed("breakers", *arguments).strip()


def test_the_command_lists_every_breaker():
    assert [line.split()[0] for line in command("list").splitlines()] == sorted(SHIPPED)
    rows = json.loads(command("list", "--json"))
    assert rows[0]["name"] == "alpaca_api"
    assert (rows[0]["state"], rows[0]["failure_rate"], rows[0]["mode"]) == ("CLOSED", 0.0, "normal")


def test_the_command_opens_shows_closes_and_resets():
    assert json.loads(command("open", "llm_api", "--reason", "maintenance", "--json"))["changed"] is True
    shown = json.loads(command("show", "llm_api", "--json"))
    assert (shown["state"], shown["settings"]["failure_threshold"]) == ("FORCED_OPEN", 5)
    assert shown["history"][0]["reason"] == "maintenance"
    assert "CLOSED -> FORCED_OPEN: maintenance (" in command("show", "llm_api")
    assert json.loads(command("close", "llm_api", "--json"))["changed"] is True
    assert command("reset", "llm_api") == "reset: llm_api"
    assert json.loads(command("reset", "--all", "--json"))["reset"] == sorted(SHIPPED)
    assert json.loads(command("reset-all", "--json"))["reset"] == sorted(SHIPPED)
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
    assert CircuitBreakerEvent.objects.get().actor == "cli"


def test_the_command_sets_modes_and_tells_where_the_breaker_then_stands():
    answer = json.loads(command("metrics-only", "llm_api", "--reason", "trial", "--json"))
    assert answer == {"name": "llm_api", "state": "METRICS_ONLY", "changed": True, "version": 2}
    assert json.loads(command("normal", "llm_api", "--json"))["state"] == "CLOSED"
    with pytest.raises(CommandError, match="valr_api guards orders and must act"):
        command("metrics-only", "valr_api")


def test_the_command_creates_configures_and_deletes():
    created = json.loads(command("create", "news_api", "failure_rate=0.5", "minimum_calls=10", "--json"))
    assert (created["settings"]["failure_rate"], created["failure_rate"], created["version"]) == (0.5, 0.0, 1)
    changed = json.loads(command("configure", "news_api", "open_s=5", "--version", "1", "--reason", "why", "--json"))
    assert (changed["settings"]["open_s"], changed["version"]) == (5.0, 2)
    with pytest.raises(CommandError, match="news_api must still be at version 1, is at 2: it was changed meanwhile"):
        command("configure", "news_api", "open_s=6", "--version", "1")
    assert command("delete", "news_api") == "deleted: news_api"
    assert not CircuitBreaker.objects.filter(name="news_api").exists()
    told = command("history", "news_api").splitlines()
    assert told[0] == "name: news_api"
    assert "delete: deleted by a person (" in told[1]
    assert "configure: why; open_s: 60.0 -> 5.0 (" in told[2]


def test_the_command_tells_history_as_json_with_a_limit():
    command("open", "llm_api")
    command("close", "llm_api")
    answer = json.loads(command("history", "llm_api", "--limit", "1", "--json"))
    assert [(each["action"], each["changes"]) for each in answer["history"]] == [("close", {})]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create", "llm_api"), "a new breaker's name must be free, was taken: llm_api"),
        (("create", "news_api", "open_s"), "settings are given as SETTING=VALUE, was open_s"),
        (("configure", "llm_api", "colour=red"), "settings of a breaker are .*, was colour"),
        (("configure", "llm_api", "open_s=soon"), "open_s must be a number, was 'soon'"),
        (("delete", "llm_api"), "llm_api ships with Helios"),
        (("history", "moon"), "no circuit breaker is named 'moon'"),
    ],
)
def test_the_command_says_what_is_wrong_with_settings(arguments: tuple[str, ...], message: str):
    with pytest.raises(CommandError, match=message):
        command(*arguments)
