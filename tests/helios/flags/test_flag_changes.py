"""Schedules, ramps, versions and restoring: what else services do with a flag."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios import flags
from helios.control import news
from helios.errors import Conflict
from helios.flags import catalog, process, rows, selectors, services
from helios.flags.core.buckets import share
from helios.flags.core.context import FlagContext
from helios.flags.core.fields import check_text
from helios.flags.errors import InvalidFlagError, UnknownChangeError, UnknownFlagError
from helios.flags.models import JSON_LISTS, FeatureFlag, FeatureFlagHistory
from helios.flags.observers import differing
from helios.flags.reader import definition_from
from helios.flags.rows import Change
from helios.flags.snapshots import FlagStore
from tests.support.together import at_once

START = datetime(2027, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def row(name: str) -> FeatureFlag:
    return FeatureFlag.objects.get(name=name)


@pytest.mark.django_db
def test_a_schedule_moves_the_share_step_by_step() -> None:
    steps = [(START + DAY * n, share) for n, share in enumerate((1, 2, 5, 10, 25, 50, 100))]
    services.set_schedule("websocket_v2", steps, actor="ada")
    flag = definition_from(vars(row("websocket_v2")))
    shares = [share(flag, START + DAY * n) for n in (-1, 0, 1, 2, 3, 4, 5, 6, 60)]
    assert shares == [25, 1, 2, 5, 10, 25, 50, 100, 100]
    assert row("websocket_v2").schedule[0] == {"at": "2027-01-01T00:00:00+00:00", "percentage": 1}
    assert "on for 25 % now and 1 % from 2027-01-01 00:00 UTC, 6 more steps follow" in selectors.effect(
        row("websocket_v2"), START - DAY
    )


@pytest.mark.django_db
def test_a_percentage_set_by_hand_or_an_empty_schedule_ends_the_schedule() -> None:
    for end in (
        lambda: services.set_percentage("websocket_v2", 30, actor="ada"),
        lambda: services.set_schedule("websocket_v2", [], actor="ada"),
    ):
        services.set_schedule("websocket_v2", [(START, 5)], actor="ada")
        end()
        assert row("websocket_v2").schedule == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ([(START, 5), (START, 10)], "steps of a schedule must come in order of time"),
        ([(START + DAY, 5), (START, 10)], "steps of a schedule must come in order of time"),
        ([(START, 101)], "from 0 to 100, was 101"),
        ([(START.replace(tzinfo=None), 5)], "a step's moment must be a time with a time zone"),
        ([("tomorrow", 5)], "a step's moment must be"),
    ],
)
def test_a_bad_schedule_is_refused(steps: list, sentence: str) -> None:
    with pytest.raises(InvalidFlagError, match=sentence):
        services.set_schedule("websocket_v2", steps, actor="ada")
    assert row("websocket_v2").schedule == []


@pytest.mark.django_db
def test_a_ramp_grows_from_its_first_to_its_last_share() -> None:
    services.set_ramp("neural_network_v2", START, START + 10 * DAY, 10, 60, actor="ada")
    flag = definition_from(vars(row("neural_network_v2")))
    assert [share(flag, START + DAY * n) for n in (-1, 0, 5, 10)] == [0, 10, 35, 60]
    assert "grows from 10 % to 60 % from 2027-01-01 00:00 UTC" in selectors.effect(row("neural_network_v2"))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("start", "end", "begin", "finish", "sentence"),
    [
        (START, START, 0, 50, "must end after its start"),
        (START, START - DAY, 0, 50, "must end after its start"),
        (START, START + DAY, 60, 50, "must not fall, was from 60 to 50"),
        (START, START + DAY, -1, 50, "gradual_from must be a whole number from 0 to 100, was -1"),
        (START, START + DAY, 0, 101, "percentage must be a whole number from 0 to 100, was 101"),
        (START.replace(tzinfo=None), START + DAY, 0, 50, "with a time zone"),
    ],
)
def test_a_bad_ramp_is_refused(start: datetime, end: datetime, begin: int, finish: int, sentence: str) -> None:
    with pytest.raises(InvalidFlagError, match=sentence):
        services.set_ramp("neural_network_v2", start, end, begin, finish, actor="ada")
    assert row("neural_network_v2").strategy == "percentage"


@pytest.mark.django_db
def test_a_killed_flag_refuses_ramps_and_schedules() -> None:
    services.kill("websocket_v2", actor="ada")
    with pytest.raises(InvalidFlagError, match="must not be killed"):
        services.set_ramp("websocket_v2", START, START + DAY, 0, 50, actor="ada")
    with pytest.raises(InvalidFlagError, match="must not be killed"):
        services.set_schedule("websocket_v2", [(START, 5)], actor="ada")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        lambda version: services.enable("websocket_v2", actor="bob", version=version),
        lambda version: services.disable("websocket_v2", actor="bob", version=version),
        lambda version: services.kill("websocket_v2", actor="bob", version=version),
        lambda version: services.set_percentage("websocket_v2", 9, actor="bob", version=version),
        lambda version: services.set_schedule("websocket_v2", [], actor="bob", version=version),
        lambda version: services.set_ramp("websocket_v2", START, START + DAY, 0, 9, actor="bob", version=version),
        lambda version: services.whitelist_add("websocket_v2", ["AAPL"], actor="bob", version=version),
        lambda version: services.whitelist_remove("websocket_v2", ["AAPL"], actor="bob", version=version),
        lambda version: services.edit("websocket_v2", {"owner": "bob"}, actor="bob", version=version),
        lambda version: services.restore("websocket_v2", None, actor="bob", version=version),
    ],
)
def test_every_change_can_be_held_to_the_version_that_was_seen(change) -> None:
    seen = row("websocket_v2").version
    services.edit("websocket_v2", {"description": "theirs"}, actor="ada")
    with pytest.raises(Conflict, match=f"at version {seen}, is at {seen + 1}"):
        change(seen)
    assert row("websocket_v2").description == "theirs"


def test_of_many_editors_who_saw_the_same_version_exactly_one_gets_through(committed_flags: None) -> None:
    seen = row("websocket_v2").version

    def edit(number: int) -> Change | None:
        try:
            return services.edit("websocket_v2", {"owner": f"e{number}"}, actor=f"e{number}", version=seen)
        except Conflict:
            return None

    done = [change for change in at_once(edit, range(6)) if change is not None]
    assert [change.after["owner"] for change in done] == [row("websocket_v2").owner]
    assert row("websocket_v2").version == seen + 1


@pytest.mark.django_db
def test_a_flag_is_put_back_as_any_of_its_changes_left_it() -> None:
    services.set_percentage("websocket_v2", 40, actor="ada")
    entry = FeatureFlagHistory.objects.filter(flag_id="websocket_v2").first()
    services.set_ramp("websocket_v2", START, START + DAY, 0, 9, actor="ada")
    services.kill("websocket_v2", actor="ada")
    change = services.restore("websocket_v2", entry.pk, actor="bob", reason="back")
    assert change.after == entry.after
    assert FeatureFlagHistory.objects.filter(flag_id="websocket_v2").first().action == "restore"
    killed = FeatureFlagHistory.objects.filter(flag_id="websocket_v2", action="kill").get()
    services.restore("websocket_v2", killed.pk, actor="bob")
    assert (row("websocket_v2").strategy, row("websocket_v2").resume_strategy) == ("kill_switch", "gradual")
    assert row("websocket_v2").gradual_start == START


@pytest.mark.django_db
def test_an_entry_of_an_older_release_gets_defaults_for_what_it_did_not_know() -> None:
    now = rows.state(row("websocket_v2"))
    old = {key: value for key, value in now.items() if key not in {"rules", "variants"}}
    entry = FeatureFlagHistory.objects.create(
        flag_id="websocket_v2", action="edit", actor="ada", before=None, after=old, generation=1
    )
    services.edit("websocket_v2", {"variants": [{"name": "a", "weight": 1}]}, actor="ada")
    services.restore("websocket_v2", entry.pk, actor="bob")
    assert row("websocket_v2").variants == []


@pytest.mark.django_db
def test_only_a_flags_own_history_restores_it() -> None:
    other = FeatureFlagHistory.objects.filter(flag_id="auto_trading").first()
    with pytest.raises(UnknownChangeError, match="must be one of websocket_v2's history"):
        services.restore("websocket_v2", other.pk, actor="ada")
    with pytest.raises(UnknownFlagError):
        services.restore("never_was", actor="ada")
    services.create("of_ours", actor="ada")
    services.archive("of_ours", actor="ada")
    gone = FeatureFlagHistory.objects.filter(flag_id="of_ours").first()
    with pytest.raises(InvalidFlagError, match="took of_ours away"):
        services.restore("of_ours", gone.pk, actor="ada")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"constraints": [{"contextName": "x", "operator": "SOMEHOW"}]}, "constraints"),
        ({"variants": [{"name": "a", "weight": 1}, {"name": "a", "weight": 1}]}, "variants"),
        ({"rules": [{"name": "homeMade"}]}, "rules"),
        ({"prerequisites": [{"feature": ""}]}, "prerequisites"),
        ({"schedule": [{"at": "noon", "percentage": 1}]}, "schedule"),
        ({"percentage": "7"}, "percentage"),
        ({"environments": ["x" * 65]}, "environments"),
        ({"group_id": "x" * 101}, "group_id"),
        ({"constraints": [{"contextName": "x", "operator": "IN", "values": [float("nan")]}]}, "constraints"),
        ({"rules": [{"name": "default"}] * 501}, "rules"),
        ({"owner": "half \ud800"}, "owner"),
        ({"constraints": [{"contextName": "\x00", "operator": "IN"}]}, "constraints"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_changes_nothing(fields: dict, field: str) -> None:
    before = rows.state(row("black_litterman"))
    with pytest.raises(InvalidFlagError) as caught:
        services.edit("black_litterman", fields, actor="ada")
    assert caught.value.field == field
    assert "\n" not in str(caught.value)
    assert rows.state(row("black_litterman")) == before


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=8), each, max_size=3),
    max_leaves=8,
)


@pytest.mark.django_db
@given(field=st.sampled_from([*JSON_LISTS, "segments"]), value=json_values)
def test_any_json_is_taken_or_refused_and_the_table_stays_readable(field: str, value: object) -> None:
    with contextlib.suppress(InvalidFlagError):
        services.edit("black_litterman", {field: value}, actor="ada")
    definition_from(vars(row("black_litterman")))  # what stands in the table can be read


@pytest.mark.parametrize("value", ["a\x00", ["fine", "a\x00"], {"a\x00": 1}, {"a": [{"b": "\udc00"}]}])
def test_text_that_no_database_holds_is_found_however_deep(value: object) -> None:
    with pytest.raises(InvalidFlagError, match="description must hold text that can be stored"):
        check_text("description", value)
    check_text("description", {"a": ["fine", 7, None, "é😀"]})


@pytest.mark.django_db
def test_an_actor_needs_a_name_that_fits() -> None:
    for actor in ("", "x" * 151):
        with pytest.raises(InvalidFlagError, match="must name its actor"):
            services.enable("auto_trading", actor=actor)
    with pytest.raises(InvalidFlagError, match="reason must hold text"):
        services.enable("auto_trading", actor="ada", reason="nul \x00")


@pytest.mark.django_db
def test_listeners_hear_the_names_of_flags_that_may_answer_otherwise(logged: list[str]) -> None:
    services.create("parent", actor="ada")
    services.create("child", {"prerequisites": [{"feature": "parent"}]}, actor="ada")
    flags.refresh_if_behind()
    heard: list[frozenset[str]] = []

    def raises(_: object) -> None:
        raise RuntimeError("a listener's mistake")

    quits = [flags.on_change(raises), flags.on_change(heard.append)]
    services.enable("parent", actor="ada")
    services.edit("auto_trading", {"owner": "desk"}, actor="ada")  # a note: nothing answers otherwise
    flags.refresh_if_behind()
    assert heard == [frozenset({"parent", "child"})]
    assert "flags.listener_failed" in logged
    for leave in quits:
        leave()
    services.disable("parent", actor="ada")
    flags.refresh_if_behind()
    assert len(heard) == 1


@pytest.mark.django_db
def test_a_changed_segment_is_told_as_a_change_of_its_users() -> None:
    from helios.flags import segments

    segments.create("asia", actor="ada")
    services.create("plain", {"segments": ["asia"]}, actor="ada")
    services.create("ruled", {"strategy": "rules", "rules": [{"name": "default", "segments": ["asia"]}]}, actor="ada")
    flags.refresh_if_behind()
    before = flags.snapshot()
    segments.edit("asia", {"constraints": [{"contextName": "x", "operator": "IN", "values": ["y"]}]}, actor="ada")
    flags.refresh_if_behind()
    assert differing(before, flags.snapshot()) == {"plain", "ruled"}
    assert differing(before, before) == frozenset()


@pytest.mark.django_db
def test_staleness_is_told_when_it_begins_and_when_it_ends() -> None:
    flags.snapshot()
    heard: list[bool] = []
    leave = flags.on_staleness(heard.append)
    for present in (True, True, False):
        process._store.mark("redis", present=present)
    leave()
    assert heard == [True, False]


@pytest.mark.django_db
def test_with_redis_and_the_database_away_the_last_snapshot_serves_and_says_stale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from django.db import OperationalError

    from helios.control import generations

    services.whitelist_add("advanced_risk_engine", ["AAPL"], actor="ada")
    services.enable("advanced_risk_engine", actor="ada")
    flags.refresh_if_behind()

    def away(*_: object, **__: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(generations, "read", away)
    process._store.mark("redis", present=True)
    assert flags.refresh_if_behind() is False
    snapshot = flags.snapshot()
    assert (snapshot.status, snapshot.faults) == ("STALE", {"database", "redis"})
    assert flags.is_enabled("advanced_risk_engine", FlagContext(symbol="AAPL"))
    assert not flags.is_enabled("advanced_risk_engine", FlagContext(symbol="MSFT"))


@pytest.mark.django_db
def test_one_batch_has_one_generation_and_one_announcement(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks
) -> None:
    announced: list[str] = []
    monkeypatch.setattr(news, "announce", lambda _url, _subject, words: announced.append(words))
    FeatureFlag.objects.filter(name__in=["auto_trading", "garch_volatility"]).delete()
    with django_capture_on_commit_callbacks(execute=True):
        restored = services.install_missing(actor="ada")
    assert len(restored) == 2
    assert {each.generation for each in restored} == {restored[0].generation}
    assert announced == [f"generation {restored[0].generation}"]


@pytest.mark.django_db
def test_buttons_say_what_they_will_do_before_they_are_pressed() -> None:
    services.kill("websocket_v2", actor="ada")
    told = selectors.outcomes(row("websocket_v2"))
    assert told["enable"] == f"on for 25 %: {catalog.BY_NAME['websocket_v2'].on}"
    assert told["disable"].endswith(catalog.BY_NAME["websocket_v2"].off)
    assert "held off until somebody enables it on purpose" in told["kill"]


@pytest.mark.django_db
def test_conditions_and_variants_are_part_of_the_effect() -> None:
    services.create("parent", actor="ada")
    services.create(
        "of_ours",
        {
            "enabled": True,
            "environments": ["prod", "staging"],
            "constraints": [
                {"contextName": "price", "operator": "NUM_GTE", "value": "5", "inverted": True},
                {"contextName": "symbol", "operator": "IN", "values": ["B", "A"], "caseInsensitive": True},
            ],
            "prerequisites": [{"feature": "parent", "enabled": False}, {"feature": "auto_trading", "variants": ["x"]}],
            "variants": [{"name": "red", "weight": 1}, {"name": "blue", "weight": 3}],
        },
        actor="ada",
    )
    assert selectors.effect(row("of_ours")) == (
        "on for everybody, if not: price is at least 5 and symbol is one of A, B, whatever the case"
        " and the environment is prod or staging and parent is off and auto_trading serves x"
        "; variants: red 25%, blue 75%"
    )


def test_a_store_of_its_own_can_be_listened_to_as_well() -> None:
    class Still:
        def generation(self):
            raise AssertionError("not asked")

        load = generation

    store = FlagStore(Still(), catalog.defaults)
    leave = store.on_change(lambda *_: None)
    leave()
