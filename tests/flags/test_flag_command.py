"""`manage.py flags`: what a person types, reads and is told."""

from __future__ import annotations

import getpass
import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, ProgrammingError

from helios import flags
from helios.flags import services
from helios.flags.models import FeatureFlag, FeatureFlagHistory

pytestmark = pytest.mark.django_db


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("flags", *words, stdout=out)
    return out.getvalue()


def data(*words: str) -> Any:
    return json.loads(run(*words, "--json"))


def test_list_shows_every_flag_with_what_it_does_now() -> None:
    lines = {line.split()[0]: line for line in run("list").splitlines()}
    assert len(lines) == 15
    assert "on for everybody" in lines["garch_volatility"]
    assert "off for everybody; once enabled, on for 25 %" in lines["websocket_v2"]
    assert "not wired yet" in lines["black_litterman"]
    assert "not wired yet" not in lines["auto_trading"]


def test_list_as_json_holds_every_field() -> None:
    rows = {row["name"]: row for row in data("list")}
    assert rows["websocket_v2"] == {
        "name": "websocket_v2",
        "enabled": False,
        "strategy": "percentage",
        "percentage": 25,
        "whitelist": [],
        "blacklist": [],
        "gradual_start": None,
        "gradual_end": None,
        "stickiness": "",
        "description": rows["websocket_v2"]["description"],
        "owner": "",
        "expires_at": None,
        "resume_strategy": "",
        "generation": rows["websocket_v2"]["generation"],
        "wired": False,
        "effect": "off for everybody; once enabled, on for 25 %",
    }


def test_a_change_is_told_and_kept_with_actor_and_reason() -> None:
    assert run("enable", "auto_trading", "--reason", "opening").strip() == "auto_trading: on for everybody"
    assert "as it already was" in run("enable", "auto_trading")
    entry = FeatureFlagHistory.objects.filter(flag_id="auto_trading").first()
    assert (entry.actor, entry.reason) == (f"cli:{getpass.getuser()}", "opening")
    answer = data("disable", "auto_trading")
    assert (answer["enabled"], answer["changed"], answer["action"]) == (False, True, "disable")


def test_kill_percentage_and_whitelist_reach_the_flag() -> None:
    assert data("set-percentage", "websocket_v2", "40")["percentage"] == 40
    assert data("whitelist", "advanced_risk_engine", "add", "AAPL", "MSFT")["whitelist"] == ["AAPL", "MSFT"]
    assert data("whitelist", "advanced_risk_engine", "remove", "AAPL")["whitelist"] == ["MSFT"]
    assert "killed" in run("kill", "websocket_v2")
    flags.refresh_if_behind()
    assert flags.explain("websocket_v2").reason is flags.Reason.KILLED


def test_a_flag_that_is_not_wired_says_so_when_it_is_changed() -> None:
    assert "not wired yet: changes nothing" in run("enable", "black_litterman")


def test_show_tells_the_flag_and_its_last_changes() -> None:
    services.set_percentage("websocket_v2", 50, actor="ada", reason="a try")
    text = run("show", "websocket_v2")
    assert "percentage: 50" in text
    assert "set-percentage by ada (a try) percentage 25 -> 50" in text
    assert "the second-generation stream client" in text
    assert [row["action"] for row in data("show", "websocket_v2")["history"]] == ["set-percentage", "create"]


def test_history_is_newest_first_limited_and_of_one_flag_or_all() -> None:
    services.enable("auto_trading", actor="ada")
    services.whitelist_add("advanced_risk_engine", ["AAPL"], actor="ada")
    assert [row["name"] for row in data("history", "--limit", "2")] == [
        "advanced_risk_engine",
        "auto_trading",
    ]
    assert [row["action"] for row in data("history", "auto_trading")] == ["enable", "create"]
    assert "whitelist - -> AAPL" in run("history", "advanced_risk_engine")
    assert run("history", "--limit", "0").strip() == "none"


def test_the_history_of_a_flag_that_went_can_still_be_read() -> None:
    services.create("of_ours", actor="ada")
    FeatureFlag.objects.filter(name="of_ours").delete()
    assert [row["action"] for row in data("history", "of_ours")] == ["create"]


def test_restore_puts_back_what_is_missing() -> None:
    FeatureFlag.objects.filter(name="auto_trading").delete()
    assert [row["name"] for row in data("restore")] == ["auto_trading"]
    assert run("restore").strip() == "none"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["show", "auto_tradng"], "did you mean auto_trading"),
        (["history", "auto_tradng"], "did you mean auto_trading"),
        (["kill", "auto_tradng"], "did you mean auto_trading"),
        (["set-percentage", "websocket_v2", "101"], "from 0 to 100, was 101"),
        (["set-percentage", "websocket_v2", "-1"], "from 0 to 100, was -1"),
        (["set-percentage", "websocket_v2", "ten"], "from 0 to 100, was 'ten'"),
        (["whitelist", "advanced_risk_engine", "remove", "AAPL"], "was not: AAPL"),
        (["explode"], "invalid choice"),
        ([], "required"),
    ],
)
def test_mistakes_end_in_one_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence) as caught:
        run(*words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ProgrammingError("relation does not exist"), "run `manage.py migrate` first"),
        (OperationalError("connection refused\nIs the server running?"), "did not: connection refused$"),
    ],
)
def test_a_database_that_is_not_ready_ends_in_one_sentence(
    error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(FeatureFlag.objects, "order_by", fail)
    with pytest.raises(CommandError, match=sentence):
        run("list")


def test_a_person_without_a_name_is_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", nameless)
    run("enable", "auto_trading")
    assert FeatureFlagHistory.objects.filter(flag_id="auto_trading").first().actor == "cli"


def test_words_for_each_strategy() -> None:
    services.edit("black_litterman", {"enabled": True, "strategy": "blacklist"}, actor="ada")
    services.enable("advanced_risk_engine", actor="ada")
    services.enable("neural_network_v2", actor="ada")
    services.enable("paper_trading_v2", actor="ada")
    services.edit("portfolio_optimizer_v2", {"enabled": True, "strategy": "all_off"}, actor="ada")
    effects = {row["name"]: row["effect"] for row in data("list")}
    assert effects["black_litterman"] == "on for everybody except nobody, as its list is empty"
    assert effects["advanced_risk_engine"] == "on only for nobody, as its list is empty"
    assert effects["neural_network_v2"] == "on for 0 %, which is nobody"
    assert effects["paper_trading_v2"].startswith("on for a share that grows to 10 % from 20")
    assert effects["portfolio_optimizer_v2"] == "off for everybody"
