"""A change is a row, a history entry, an event and a new generation, together or not at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, OperationalError, transaction
from django.test import override_settings

from helios import flags
from helios.control import generations
from helios.control.models import SubjectGeneration
from helios.errors import Conflict, Rejected
from helios.events.models import SystemEvent
from helios.flags import services
from helios.flags.core.context import FlagContext
from helios.flags.errors import InvalidFlagError, UnknownFlagError
from helios.flags.models import FeatureFlag, FeatureFlagHistory
from tests.support.together import at_once

pytestmark = pytest.mark.django_db
AAPL = FlagContext(symbol="AAPL")
LastChange = Callable[[str], FeatureFlagHistory]


def generation() -> int:
    return generations.read()["flags"].value


def test_enabling_writes_row_history_event_and_generation(last_change: LastChange) -> None:
    before = generation()
    change = services.enable("auto_trading", actor="ada", reason="opening")
    row, entry = FeatureFlag.objects.get(name="auto_trading"), last_change("auto_trading")
    assert (change.changed, row.enabled, row.generation) == (True, True, before + 1)
    assert (entry.action, entry.actor, entry.reason) == ("enable", "ada", "opening")
    assert (entry.before["enabled"], entry.after["enabled"]) == (False, True)
    assert entry.generation == generation() == change.generation == before + 1
    event = SystemEvent.objects.filter(kind="flag.changed").latest("id")
    assert (event.subject, event.source, event.severity) == ("auto_trading", "flags", "info")
    assert event.data["after"] == entry.after
    assert event.data["reason"] == "opening"


def test_a_change_is_seen_after_the_next_check() -> None:
    assert not flags.is_enabled("auto_trading")
    services.enable("auto_trading", actor="ada")
    assert not flags.is_enabled("auto_trading")
    assert flags.refresh_if_behind()
    assert flags.is_enabled("auto_trading")


def test_checking_the_generation_is_one_query(django_assert_num_queries) -> None:
    flags.snapshot()
    with django_assert_num_queries(3):  # in a transaction: two of them are its savepoint
        flags.refresh_if_behind()
    with django_assert_num_queries(0):
        flags.is_enabled("garch_volatility")
        flags.is_enabled("no_such_flag")


def test_a_change_that_changes_nothing_leaves_no_trace() -> None:
    before = generation(), FeatureFlagHistory.objects.count(), SystemEvent.objects.count()
    change = services.enable("garch_volatility", actor="ada")
    assert not change.changed
    assert (generation(), FeatureFlagHistory.objects.count(), SystemEvent.objects.count()) == before


def test_disabling_keeps_the_strategy() -> None:
    services.enable("websocket_v2", actor="ada")
    services.disable("websocket_v2", actor="ada")
    row = FeatureFlag.objects.get(name="websocket_v2")
    assert (row.enabled, row.strategy, row.percentage) == (False, "percentage", 25)


def test_a_killed_flag_is_off_for_everybody_until_it_is_enabled(last_change: LastChange) -> None:
    services.edit("websocket_v2", {"enabled": True, "percentage": 100}, actor="ada")
    services.kill("websocket_v2", actor="ada", reason="wrong prices")
    flags.refresh_if_behind()
    assert flags.explain("websocket_v2", AAPL).reason is flags.Reason.KILLED
    assert last_change("websocket_v2").action == "kill"
    assert SystemEvent.objects.latest("id").severity == "warning"
    assert not services.kill("websocket_v2", actor="ada").changed
    services.enable("websocket_v2", actor="ada")
    flags.refresh_if_behind()
    assert flags.is_enabled("websocket_v2", AAPL)
    assert FeatureFlag.objects.get(name="websocket_v2").resume_strategy == ""


def test_disabling_a_killed_flag_leaves_it_killed() -> None:
    services.kill("garch_volatility", actor="ada")
    assert not services.disable("garch_volatility", actor="ada").changed
    assert FeatureFlag.objects.get(name="garch_volatility").strategy == "kill_switch"


def test_a_killed_flag_refuses_a_new_percentage_or_strategy_but_not_a_new_owner() -> None:
    services.kill("websocket_v2", actor="ada")
    with pytest.raises(InvalidFlagError, match="must not be killed"):
        services.set_percentage("websocket_v2", 50, actor="ada")
    with pytest.raises(InvalidFlagError, match="must not be killed"):
        services.edit("websocket_v2", {"strategy": "all_on"}, actor="ada")
    assert services.edit("websocket_v2", {"owner": "desk"}, actor="ada").changed


def test_a_percentage_serves_its_share_once_the_flag_is_enabled() -> None:
    services.set_percentage("neural_network_v2", 100, actor="ada")
    flags.refresh_if_behind()
    assert not flags.is_enabled("neural_network_v2", AAPL)
    services.enable("neural_network_v2", actor="ada")
    flags.refresh_if_behind()
    assert flags.is_enabled("neural_network_v2", AAPL)


@pytest.mark.parametrize("percentage", [-1, 101, 12.5, "ten", True, None])
def test_a_bad_percentage_is_refused_and_nothing_is_written(percentage) -> None:
    before = generation(), FeatureFlagHistory.objects.count()
    with pytest.raises(InvalidFlagError, match="percentage must be a whole number from 0 to 100, was"):
        services.set_percentage("websocket_v2", percentage, actor="ada")
    assert (generation(), FeatureFlagHistory.objects.count()) == before
    assert FeatureFlag.objects.get(name="websocket_v2").percentage == 25


def test_the_whitelist_grows_and_shrinks() -> None:
    services.enable("advanced_risk_engine", actor="ada")
    services.whitelist_add("advanced_risk_engine", ["MSFT", "AAPL", "AAPL"], actor="ada")
    flags.refresh_if_behind()
    assert flags.is_enabled("advanced_risk_engine", AAPL)
    change = services.whitelist_remove("advanced_risk_engine", ["AAPL"], actor="ada")
    flags.refresh_if_behind()
    assert not flags.is_enabled("advanced_risk_engine", AAPL)
    assert change.after["whitelist"] == ["MSFT"]


def test_a_misspelt_entry_is_not_silently_left_on_the_whitelist() -> None:
    services.whitelist_add("advanced_risk_engine", ["AAPL"], actor="ada")
    with pytest.raises(InvalidFlagError, match="AAPPL"):
        services.whitelist_remove("advanced_risk_engine", ["AAPL", "AAPPL"], actor="ada")
    assert FeatureFlag.objects.get(name="advanced_risk_engine").whitelist == ["AAPL"]


@pytest.mark.parametrize("entries", [[""], ["x" * 129], ["AAPL", 7]])
def test_bad_whitelist_entries_are_refused(entries) -> None:
    with pytest.raises(InvalidFlagError, match="entries of a list must"):
        services.whitelist_add("advanced_risk_engine", entries, actor="ada")


def test_one_text_is_not_taken_for_a_list_of_letters() -> None:
    with pytest.raises(InvalidFlagError, match="list of texts, was 'AAPL'"):
        services.whitelist_add("advanced_risk_engine", "AAPL", actor="ada")
    with pytest.raises(InvalidFlagError, match="list of texts, was 'AAPL'"):
        services.edit("advanced_risk_engine", {"blacklist": "AAPL"}, actor="ada")


def test_enabling_a_gradual_flag_without_times_starts_a_ramp_of_a_week() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    services.enable("paper_trading_v2", actor="ada", now=now)
    row = FeatureFlag.objects.get(name="paper_trading_v2")
    assert (row.gradual_start, row.gradual_end) == (now, now + timedelta(days=7))
    services.disable("paper_trading_v2", actor="ada")
    services.enable("paper_trading_v2", actor="ada", now=now + timedelta(days=3))
    row.refresh_from_db()
    assert row.gradual_start == now


@pytest.mark.parametrize(
    "change",
    [
        lambda: services.enable("auto_tradng", actor="ada"),
        lambda: services.disable("auto_tradng", actor="ada"),
        lambda: services.kill("auto_tradng", actor="ada"),
        lambda: services.set_percentage("auto_tradng", 5, actor="ada"),
        lambda: services.whitelist_add("auto_tradng", ["AAPL"], actor="ada"),
        lambda: services.edit("auto_tradng", {"owner": "x"}, actor="ada"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(change) -> None:
    before = generation()
    with pytest.raises(UnknownFlagError, match="was 'auto_tradng'; did you mean auto_trading") as caught:
        change()
    assert isinstance(caught.value, Rejected)
    assert generation() == before


def test_a_name_unlike_any_other_points_at_the_list() -> None:
    with pytest.raises(UnknownFlagError, match="flags list"):
        services.enable("zzz", actor="ada")


def test_a_change_names_its_actor() -> None:
    with pytest.raises(InvalidFlagError, match="must name its actor"):
        services.enable("auto_trading", actor="")


def test_an_edit_sets_several_fields_in_one_change(last_change: LastChange) -> None:
    before = generation()
    services.edit(
        "black_litterman",
        {"enabled": True, "strategy": "blacklist", "blacklist": ["AAPL"], "owner": "desk"},
        actor="ada",
    )
    flags.refresh_if_behind()
    assert generation() == before + 1
    assert last_change("black_litterman").after["owner"] == "desk"
    assert not flags.is_enabled("black_litterman", AAPL)
    assert flags.is_enabled("black_litterman", FlagContext(symbol="MSFT"))


def test_the_second_of_two_editors_is_told() -> None:
    seen = FeatureFlag.objects.get(name="black_litterman").version
    services.edit("black_litterman", {"owner": "first"}, actor="ada", version=seen)
    with pytest.raises(Conflict, match="changed meanwhile by ada"):
        services.edit("black_litterman", {"owner": "second"}, actor="bob", version=seen)
    assert FeatureFlag.objects.get(name="black_litterman").owner == "first"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": "other"}, "fields of a flag must be among"),
        ({"strategy": "sometimes"}, "strategy must be one of all_on, .*was 'sometimes'"),
        ({"strategy": "kill_switch"}, "strategy must be one of"),
        ({"enabled": "yes"}, "enabled must be true or false, was 'yes'"),
        ({"gradual_start": datetime(2026, 1, 1, tzinfo=UTC)}, "both a start and an end"),
        (
            {"gradual_start": "2026-01-01", "gradual_end": "2026-02-01"},
            "gradual_start must be a moment in time with a time zone",
        ),
        ({"owner": "x" * 129}, "owner must have at most 128 letters"),
        ({"description": None}, "description must be a text"),
    ],
)
def test_an_edit_against_the_rules_is_refused_and_changes_nothing(fields: dict, sentence: str) -> None:
    before = generation()
    with pytest.raises(InvalidFlagError, match=sentence):
        services.edit("black_litterman", {"percentage": 7, **fields}, actor="ada")
    assert generation() == before
    assert FeatureFlag.objects.get(name="black_litterman").percentage == 0


def test_a_new_flag_is_off_until_it_is_enabled(last_change: LastChange) -> None:
    services.create("of_ours", {"description": "ours"}, actor="ada", reason="trial")
    flags.refresh_if_behind()
    assert not flags.is_enabled("of_ours")
    assert flags.explain("of_ours").reason is flags.Reason.DISABLED
    assert (last_change("of_ours").before, last_change("of_ours").reason) == (None, "trial")
    with pytest.raises(InvalidFlagError, match="must be free, was taken: of_ours"):
        services.create("of_ours", actor="ada")


@pytest.mark.parametrize("name", ["", "with space", "ünï", "x" * 101, "-x"])
def test_a_new_flag_needs_a_plain_name(name: str) -> None:
    with pytest.raises(InvalidFlagError, match="name must be 1 to 100"):
        services.create(name, actor="ada")


def test_a_rolled_back_change_leaves_nothing_and_is_not_served() -> None:
    before = generation(), FeatureFlagHistory.objects.count()

    def fail() -> None:
        with transaction.atomic():
            services.enable("auto_trading", actor="ada")
            flags.refresh_if_behind()
            raise RuntimeError("later step")

    with pytest.raises(RuntimeError, match="later step"):
        fail()
    assert (generation(), FeatureFlagHistory.objects.count()) == before
    flags.refresh_if_behind()
    assert not flags.is_enabled("auto_trading")
    services.enable("black_litterman", actor="ada")  # the same number as the change that was rolled back
    flags.refresh_if_behind()
    assert not flags.is_enabled("auto_trading")
    assert flags.is_enabled("black_litterman")


@pytest.mark.parametrize(
    "fields",
    [
        {"percentage": 101},
        {"percentage": -1},
        {"strategy": "sometimes"},
        {"strategy": "kill_switch", "enabled": True, "resume_strategy": "all_on"},
        {"strategy": "kill_switch"},
        {"resume_strategy": "all_on"},
        {"gradual_start": datetime(2026, 1, 1, tzinfo=UTC)},
        {"gradual_start": datetime(2026, 1, 2, tzinfo=UTC), "gradual_end": datetime(2026, 1, 1, tzinfo=UTC)},
        {"name": "no spaces"},
        {"generation": -1},
    ],
)
def test_the_database_itself_refuses_contradicting_flags(fields: dict) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        FeatureFlag.objects.create(**{"name": "by_hand", **fields})


def test_the_database_keeps_one_generation_row_and_history_with_an_actor() -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        SubjectGeneration.objects.create(subject="flags")
    with pytest.raises(IntegrityError), transaction.atomic():
        FeatureFlagHistory.objects.create(flag_id="auto_trading", action="x", actor="", generation=1)


def test_a_row_that_this_release_cannot_read_is_off_and_the_others_serve(logged: list[str]) -> None:
    FeatureFlag.objects.filter(name="black_litterman").update(whitelist=[""], enabled=True)
    assert not flags.is_enabled("black_litterman")
    assert flags.is_enabled("garch_volatility")
    assert "flags.unreadable" in logged


def test_a_read_that_breaks_half_way_leaves_the_snapshot_and_the_callers_transaction_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    services.enable("auto_trading", actor="ada")
    flags.refresh_if_behind()
    services.disable("auto_trading", actor="ada")

    def fail(*_: str) -> None:
        raise OperationalError("the connection broke")

    with monkeypatch.context() as broken:
        broken.setattr(FeatureFlag.objects, "values", fail)
        assert flags.refresh_if_behind() is False
    assert flags.is_enabled("auto_trading")
    assert flags.snapshot().stale
    assert flags.refresh_if_behind()
    assert not flags.is_enabled("auto_trading")


def test_models_read_like_what_they_are() -> None:
    services.enable("auto_trading", actor="ada")
    assert str(FeatureFlag.objects.get(name="auto_trading")) == "auto_trading"
    assert str(FeatureFlagHistory.objects.first()) == "auto_trading enable by ada"
    assert str(SubjectGeneration.objects.get(pk="flags")) == f"flags generation {generation()}"


def test_the_own_process_sees_its_change_when_it_is_committed(committed_flags: None) -> None:
    assert not flags.is_enabled("auto_trading")
    services.enable("auto_trading", actor="ada")
    assert flags.is_enabled("auto_trading")


def test_a_change_is_committed_even_when_redis_cannot_hear_of_it(committed_flags: None, logged: list[str]) -> None:
    with override_settings(REDIS_URL="unix:///nowhere/valkey.sock?db=0"):
        services.enable("auto_trading", actor="ada")
    assert FeatureFlag.objects.get(name="auto_trading").enabled
    assert "control.not_announced" in logged


def test_changes_made_at_once_by_many_are_all_kept(committed_flags: None) -> None:
    before, n_threads, each = generation(), 4, 5

    def add(number: int) -> None:
        for step in range(each):
            services.whitelist_add("advanced_risk_engine", [f"S{number}-{step}"], actor=f"t{number}")

    at_once(add, range(n_threads))
    assert len(FeatureFlag.objects.get(name="advanced_risk_engine").whitelist) == n_threads * each
    assert generation() == before + n_threads * each
    history = FeatureFlagHistory.objects.filter(flag_id="advanced_risk_engine", action="whitelist-add")
    numbers = list(history.order_by("id").values_list("generation", flat=True))
    assert numbers == list(range(before + 1, before + 1 + n_threads * each))
