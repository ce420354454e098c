"""`manage.py flags`: what a person types, reads and is told."""

from __future__ import annotations

import getpass
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from helios import flags
from helios.control.bounds import FILE_BYTES
from helios.flags import services
from helios.flags.models import FeatureFlag, FeatureFlagHistory
from tests.support.commands import printed

pytestmark = pytest.mark.django_db


def run(*words: str) -> str:
    return printed("flags", *words)


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
        "gradual_from": 0,
        "gradual_start": None,
        "gradual_end": None,
        "schedule": [],
        "stickiness": "",
        "group_id": "",
        "environments": [],
        "segments": [],
        "constraints": [],
        "prerequisites": [],
        "rules": [],
        "variants": [],
        "description": rows["websocket_v2"]["description"],
        "owner": "",
        "expires_at": None,
        "resume_strategy": "",
        "generation": rows["websocket_v2"]["generation"],
        "version": 0,
        "wired": True,
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


STATE = {
    "version": 1,
    "features": [
        {"name": "Feature.A", "enabled": True, "strategies": [{"name": "default"}]},
        {"name": "garch_volatility", "enabled": False, "strategies": []},
    ],
}
SUITE = {
    "name": "a suite",
    "state": {"version": 1, "features": [{"name": "on", "enabled": True, "strategies": [{"name": "default"}]}]},
    "tests": [{"description": "is on", "context": {}, "toggleName": "on", "expectedResult": True}],
}


def saved(folder: Path, name: str, content: Any) -> str:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_check_tells_the_answer_with_its_reason_and_variant_the_variant() -> None:
    services.whitelist_add("advanced_risk_engine", ["AAPL"], actor="ada")
    services.enable("advanced_risk_engine", actor="ada")
    services.create(
        "fills",
        {"enabled": True, "variants": [{"name": "book", "weight": 1, "payload": {"type": "number", "value": "3"}}]},
        actor="ada",
    )
    assert run("check", "advanced_risk_engine", "--symbol", "AAPL").strip() == "advanced_risk_engine: on, on the list"
    assert data("check", "advanced_risk_engine", "--user", "bob")["reason"] == "not on the list"
    assert run("variant", "fills", "--symbol", "AAPL").strip() == "fills: book, number 3 (the flag is on)"
    assert data("variant", "auto_trading")["name"] == "disabled"
    assert data("variant", "fills")["payload"] == {"type": "number", "value": "3"}


def test_check_looks_at_attributes_and_at_another_moment() -> None:
    on_desk_7 = [{"contextName": "desk", "operator": "IN", "values": ["7"]}]
    services.create("of_ours", {"enabled": True, "constraints": on_desk_7}, actor="ada")
    assert data("check", "of_ours", "--attribute", "desk=7")["enabled"] is True
    assert "a constraint does not hold: desk IN 7" in run("check", "of_ours", "--attribute", "desk=8")
    run("schedule", "websocket_v2", "2027-01-01T00:00Z=100")
    run("enable", "websocket_v2")
    assert data("check", "websocket_v2", "--at", "2027-01-02T00:00Z")["enabled"] is True
    assert data("check", "websocket_v2")["reason"] == "the context names nobody to hold a percentage on"


def test_schedules_and_ramps_are_set_and_shown() -> None:
    text = run("schedule", "websocket_v2", "2027-01-01T00:00Z=1", "2027-01-02T00:00:00+02:00=50")
    assert "1 % from 2027-01-01 00:00 UTC, 1 more steps follow" in text
    assert "schedule: 1% from 2027-01-01T00:00:00+00:00,50% from" in run("show", "websocket_v2")
    ramp = ["--start", "2027-01-01T00:00Z", "--end", "2027-02-01T00:00Z", "--from", "5", "--to", "50"]
    assert data("ramp", "websocket_v2", *ramp)["gradual_from"] == 5


def test_who_and_why_and_only_if_still_as_seen() -> None:
    run("enable", "auto_trading", "--actor", "release-bot", "--reason", "opening", "--if-version", "0")
    assert FeatureFlagHistory.objects.filter(flag_id="auto_trading").first().actor == "release-bot"
    with pytest.raises(CommandError, match="at version 0, is at 1: it was changed meanwhile by release-bot"):
        run("disable", "auto_trading", "--if-version", "0")


def test_restore_puts_a_flag_back_and_archive_takes_one_away() -> None:
    run("set-percentage", "websocket_v2", "40")
    entry = data("history", "websocket_v2")[0]["entry"]
    run("set-percentage", "websocket_v2", "50")
    assert data("restore", "websocket_v2", "--entry", str(entry))["percentage"] == 40
    assert f"{entry:>6} " in run("history", "websocket_v2")
    services.create("of_ours", actor="ada")
    assert run("archive", "of_ours").strip() == "of_ours: archived; `manage.py flags restore of_ours` brings it back"
    assert data("restore", "of_ours")["action"] == "restore"
    assert data("archive", "of_ours")["changed"] is True


def test_segments_are_made_listed_shown_and_removed(tmp_path: Path) -> None:
    asia = [{"contextName": "region", "operator": "IN", "values": ["asia"]}]
    assert run("segments").strip() == "none"
    assert "region is one of asia; used by no flag" in run("segments", "asia", "--constraints", json.dumps(asia))
    services.create("of_ours", {"segments": ["asia"]}, actor="ada")
    assert data("segments", "asia")["used_by"] == ["of_ours"]
    with pytest.raises(CommandError, match="must not be in use"):
        run("segments", "asia", "--remove")
    changed = run("segments", "asia", "--constraints", f"@{saved(tmp_path, 'none.json', [])}", "--description", "all")
    assert "holds for everybody" in changed
    assert "as it already was" in run("segments", "asia", "--description", "all")
    run("archive", "of_ours")
    assert run("segments", "asia", "--remove").strip() == "asia: removed"
    with pytest.raises(CommandError, match="a segment's name must be a known one"):
        run("segments", "asia")


def test_stale_lists_flags_with_owner_and_action() -> None:
    services.create("of_ours", {"enabled": True, "owner": "desk"}, actor="ada")
    assert run("stale").strip() == "none"
    line = run("stale", "--days", "0")
    assert "of_ours" in line
    assert "on for everybody" in line
    assert "owner desk" in line
    assert data("stale", "--days", "0")[0]["action"].startswith("keep its on branch")


def test_import_tells_what_became_of_each_flag(tmp_path: Path) -> None:
    path = saved(tmp_path, "state.json", STATE)
    assert "would be created" in run("import", path, "--dry-run")
    assert not FeatureFlag.objects.filter(name="Feature.A").exists()
    text = run("import", path)
    assert "flag     Feature.A                                created" in text
    assert "kept  ships with Helios; --overwrite replaces it" in text
    assert data("import", path, "--overwrite")[1] == {
        "kind": "flag",
        "name": "garch_volatility",
        "outcome": "updated",
        "notes": [],
        "dry_run": False,
    }
    assert FeatureFlagHistory.objects.filter(flag_id="Feature.A").get().reason == "imported from state.json"


def test_import_warns_of_what_it_does_not_know_and_refuses_it_when_strict(tmp_path: Path) -> None:
    later = {"contextName": "desk", "operator": "LIKE", "values": ["a%"]}
    state = {"features": [{"name": "Feature.L", "strategies": [{"name": "default", "constraints": [later]}]}]}
    path = saved(tmp_path, "later.json", state)
    with pytest.raises(CommandError, match=r"features\[0\].strategies\[0\].constraints\[0\].operator must be one of"):
        run("import", path, "--strict")
    assert not FeatureFlag.objects.filter(name="Feature.L").exists()
    assert run("import", path).strip().splitlines() == [
        "flag     Feature.L                                created",
        "  warning: Feature.L: strategies[0].constraints[0]: no operator is called 'LIKE' here: it never holds",
    ]


def test_conformance_prints_each_failure_and_exits_with_one(tmp_path: Path) -> None:
    good = saved(tmp_path, "good.json", SUITE)
    assert run("conformance", good).strip() == "1 passed, 0 failed"
    assert data("conformance", good) == {"exit": 0, "lines": ["1 passed, 0 failed"]}
    failing = {**SUITE, "tests": [{**SUITE["tests"][0], "expectedResult": False}]}
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("flags", "conformance", saved(tmp_path, "bad.json", failing), stdout=out)
    assert ended.value.code == 1
    assert out.getvalue().startswith("FAILED a suite: is on")
    assert out.getvalue().strip().endswith("0 passed, 1 failed")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["import", "nowhere.json"], "nowhere.json must be a file that can be read"),
        (["check", "auto_tradng"], "did you mean auto_trading"),
        (["variant", "auto_tradng"], "did you mean auto_trading"),
        (["check", "auto_trading", "--attribute", "desk"], "--attribute must read NAME=VALUE"),
        (["check", "auto_trading", "--at", "noon"], "a time must be ISO 8601 with a zone"),
        (["schedule", "websocket_v2", "2027-01-01"], "a step must read TIME=PERCENTAGE"),
        (["schedule", "websocket_v2", "2027-01-01T00:00=5"], "a time must be ISO 8601 with a zone"),
        (["ramp", "websocket_v2", "--start", "2027-01-01T00:00Z", "--end", "2026-01-01T00:00Z"], "must end after"),
        (["archive", "garch_volatility"], "ships with Helios must stay"),
        (["restore", "websocket_v2", "--entry", "999999999"], "must be one of websocket_v2's history"),
        (["segments", "asia", "--constraints", "{"], "constraints must be JSON"),
        (["segments", "asia", "--constraints", "{}"], "constraints must be a list of objects"),
    ],
)
def test_mistakes_with_the_newer_actions_end_in_one_sentence_too(words: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence) as caught:
        run(*words)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="must be a JSON file"):
        run("import", saved(tmp_path, "broken.json", "{"))


@pytest.mark.parametrize("words", [["import", "{}"], ["segments", "asia", "--constraints", "@{}"]])
def test_a_file_of_more_than_all_flags_is_refused(tmp_path: Path, words: list[str]) -> None:
    file = saved(tmp_path, "large.json", "[]" + " " * FILE_BYTES)
    with pytest.raises(CommandError, match=r"large.json must be a file of 8 MiB at most, was larger$"):
        run(*(each.format(file) for each in words))


def test_what_a_terminal_obeys_is_shown_as_its_escape() -> None:
    services.enable("websocket_v2", actor="ann", reason="\x1b]0;pwn\x07\x1b[2J\n     9 forged")
    shown = run("history", "websocket_v2").splitlines()[0]
    assert r"(\x1b]0;pwn\x07\x1b[2J\n     9 forged)" in shown
    assert data("history", "websocket_v2")[0]["reason"].startswith("\x1b]0;")
    with pytest.raises(CommandError) as refused:
        run("show", "\x1b[2J\x07")
    assert str(refused.value).replace("\n", "").isprintable()


@pytest.mark.parametrize("number", ["²", "--5", "-", "5" * 5_000])
def test_what_is_no_number_is_told_in_a_sentence(number: str) -> None:
    with pytest.raises(CommandError, match="a step must read TIME=PERCENTAGE"):
        run("schedule", "websocket_v2", f"2027-01-31T09:00Z={number}")
    with pytest.raises(CommandError, match="percentage must be"):
        run("set-percentage", "websocket_v2", f" {number}")
    with pytest.raises(CommandError, match="rollout"):
        call_command("rollouts", "show", number.strip("-") or "0")
