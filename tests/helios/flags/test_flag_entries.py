"""Entries with blanks or commas around or inside: stored as they were meant, or refused, by every way into a flag."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError

from helios import flags
from helios.flags import segments, services
from helios.flags.core.context import FlagContext
from helios.flags.core.normalising import normalised
from helios.flags.errors import InvalidFlagError
from helios.flags.models import FeatureFlag, FeatureFlagHistory, FlagSegment
from helios.flags.unleash import importing
from tests.support.commands import printed

pytestmark = pytest.mark.django_db
MONEY = "advanced_risk_engine"
MSFT = FlagContext(symbol="MSFT")


def command(*words: str) -> str:
    return printed("flags", *words)


def is_on(name: str, context: FlagContext = MSFT) -> bool:
    flags.refresh_if_behind()
    return flags.is_enabled(name, context)


@pytest.mark.parametrize("typed", [" MSFT", "MSFT\n", "\u00a0MSFT", "MSFT\u200b", "AAPL,MSFT", "AAPL, MSFT ,"])
def test_a_limit_of_money_holds_for_what_was_typed(typed: str) -> None:
    services.edit(MONEY, {"strategy": "whitelist", "enabled": True}, actor="ada")
    command("whitelist", MONEY, "add", typed)
    assert is_on(MONEY)
    assert "on, on the list" in command("check", MONEY, "--symbol", " MSFT")
    command("whitelist", MONEY, "remove", typed)
    assert FeatureFlag.objects.get(name=MONEY).whitelist == []


@pytest.mark.parametrize("typed", ["", "  ", "MS\nFT", "MS\u200bFT"])
def test_the_command_refuses_what_nobody_can_see(typed: str) -> None:
    with pytest.raises(CommandError, match=r"must (be|not be) "):
        command("whitelist", MONEY, "add", typed)
    assert FeatureFlag.objects.get(name=MONEY).whitelist == []


CONSTRAINT = {"contextName": " symbol", "operator": "IN", "values": ["MSFT\n", " AAPL"]}
TIDY = {"contextName": "symbol", "operator": "IN", "values": ["MSFT", "AAPL"]}
TRIMMED: list[tuple[str, Any, Any]] = [
    ("whitelist", ["MSFT ", "AAPL\n", "MSFT"], ["AAPL", "MSFT"]),
    ("blacklist", ["\tMSFT"], ["MSFT"]),
    ("environments", [" prod"], ["prod"]),
    ("segments", [" large_caps "], ["large_caps"]),
    ("stickiness", "userId ", "userId"),
    ("group_id", " g ", "g"),
    ("owner", "Ada, of risk\n", "Ada, of risk"),
    ("constraints", [CONSTRAINT], [TIDY]),
    ("prerequisites", [{"feature": "auto_trading "}], [{"feature": "auto_trading"}]),
    (
        "rules",
        [
            {
                "name": "flexibleRollout",
                "parameters": {"rollout": "5", "stickiness": " userId"},
                "segments": ["large_caps "],
            }
        ],
        [
            {
                "name": "flexibleRollout",
                "parameters": {"rollout": "5", "stickiness": "userId"},
                "segments": ["large_caps"],
            }
        ],
    ),
    ("rules", [{"name": "default", "constraints": [CONSTRAINT]}], [{"name": "default", "constraints": [TIDY]}]),
    (
        "variants",
        [{"name": "a ", "weight": 1, "overrides": [{"contextName": "userId", "values": ["ada "]}]}],
        [{"name": "a", "weight": 1, "overrides": [{"contextName": "userId", "values": ["ada"]}]}],
    ),
]


@pytest.mark.parametrize(("field", "given", "kept"), TRIMMED)
def test_every_list_of_a_flag_is_stored_without_the_blanks_around(field: str, given: Any, kept: Any) -> None:
    segments.create("large_caps", actor="ada")
    services.edit(MONEY, {field: given}, actor="ada")
    assert getattr(FeatureFlag.objects.get(name=MONEY), field) == kept
    entry = FeatureFlagHistory.objects.filter(flag_id=MONEY).first()
    assert entry is not None
    assert entry.after[field] == kept
    services.create("another", {field: given}, actor="ada")
    assert getattr(FeatureFlag.objects.get(name="another"), field) == kept


REFUSED: list[tuple[str, Any, str]] = [
    ("whitelist", ["AAPL\n", "  "], r"whitelist\[1\] must not be blank"),
    ("whitelist", ["AAPL,MSFT"], r"whitelist\[0\] must be one entry without a comma, was 'AAPL,MSFT'"),
    ("blacklist", ["MS\nFT"], r"blacklist\[0\] must be one line of visible letters, was 'MS\\nFT'"),
    ("group_id", "   ", "group_id must not be blank"),
    ("stickiness", "user\tId", "stickiness must be one line"),
    ("owner", "ada\nbob", "owner must be one line"),
    (
        "constraints",
        [{**TIDY, "values": ["AAPL,MSFT"]}],
        r"constraints\[0\].values\[0\] must be one entry without a comma",
    ),
    (
        "rules",
        [{"name": "default", "constraints": [{**TIDY, "values": ["\n"]}]}],
        r"rules\[0\].constraints\[0\].values\[0\]",
    ),
    (
        "variants",
        [{"name": "a\u200bb", "weight": 1}],
        r"variants\[0\].name must be one line of visible letters, was 'a\\u200bb'",
    ),
]


@pytest.mark.parametrize(("field", "given", "told"), REFUSED)
def test_what_could_never_match_is_refused_with_its_path_and_nothing_is_kept(field: str, given: Any, told: str) -> None:
    before = FeatureFlagHistory.objects.count()
    with pytest.raises(InvalidFlagError, match=told) as refused:
        services.edit(MONEY, {field: given}, actor="ada")
    assert refused.value.field == field
    assert FeatureFlagHistory.objects.count() == before


def test_values_of_attributes_keep_their_commas_and_of_affixes_their_blanks() -> None:
    city = {"contextName": "city", "operator": "IN", "values": ["New York, NY "]}
    title = {"contextName": "title", "operator": "STR_CONTAINS", "values": [" and ", ""]}
    assert normalised("constraints", [city, title]) == [{**city, "values": ["New York, NY"]}, title]


def test_a_segment_is_normalised_too() -> None:
    segments.create("large_caps", {"constraints": [CONSTRAINT]}, actor="ada")
    assert FlagSegment.objects.get().constraints == [TIDY]
    segments.edit("large_caps", {"constraints": [{**CONSTRAINT, "values": ["IBM "]}]}, actor="ada")
    assert FlagSegment.objects.get().constraints == [{**TIDY, "values": ["IBM"]}]


def test_a_blank_actor_is_nobody() -> None:
    with pytest.raises(InvalidFlagError, match="must name its actor"):
        services.enable(MONEY, actor=" ")


def state(values: list[str]) -> dict[str, Any]:
    constraint = {"contextName": "symbol", "operator": "IN", "values": values}
    return {
        "features": [
            {"name": "plain", "enabled": True, "strategies": [{"name": "default"}]},
            {
                "name": "listed",
                "enabled": True,
                "strategies": [{"name": "default", "constraints": [constraint], "segments": [3]}],
                "dependencies": [{"feature": "plain "}],
            },
        ],
        "segments": [{"id": 3, "name": "Large caps", "constraints": [constraint]}],
    }


def test_an_imported_state_is_trimmed_and_says_where() -> None:
    told = {each.name: each.notes for each in importing.import_state(state([" MSFT"]), actor="ada")}
    assert told["plain"] == ()
    assert told["listed"] == (
        "features[1].strategies[0].constraints[0].values[0]: the blanks around ' MSFT' are left out",
        "features[1].dependencies[0].feature: the blanks around 'plain ' are left out",
    )
    assert told["Large-caps"][0] == "segments[0].constraints[0].values[0]: the blanks around ' MSFT' are left out"
    assert is_on("listed")


@pytest.mark.parametrize("odd", [[], {}, None], ids=repr)
@pytest.mark.parametrize("key", ["contextName", "operator"])
def test_a_constraint_named_by_no_text_is_left_to_the_checks_and_refused_in_one_sentence(key: str, odd: Any) -> None:
    named = {**TIDY, key: odd}
    overrides = [{"contextName": odd, "values": ["a"]}]
    assert normalised("constraints", [named]) == [named]
    assert normalised("variants", [{"name": "a", "overrides": overrides}]) == [{"name": "a", "overrides": overrides}]
    whole = state(["MSFT"])
    whole["segments"][0]["constraints"] = [named]
    with pytest.raises(InvalidFlagError, match=key):
        importing.import_state(whole, actor="ada")
    assert not FlagSegment.objects.exists()


@pytest.mark.parametrize(("values", "strict"), [(["AAPL,MSFT"], False), (["MS\nFT"], False), ([" MSFT"], True)])
def test_an_imported_state_that_cannot_be_meant_is_refused_whole(values: list[str], strict: bool) -> None:
    with pytest.raises(InvalidFlagError, match=r"^features\[1\]\.strategies\[0\]\.constraints\[0\]\.values\[0\] must "):
        importing.import_state(state(values), actor="ada", strict=strict)
    assert not FeatureFlag.objects.filter(name="plain").exists()
    assert not FlagSegment.objects.exists()
