"""The admin asks for the roles that the API asks for: what moves money is a trader's there too."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import pytest
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser, Permission, User

from helios.breakers import services as breakers
from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent
from helios.flags import segments, services
from helios.flags.forms import FlagForm
from helios.flags.models import FeatureFlag, FeatureFlagHistory, FlagSegment
from helios.flags.roles import MONEY_FLAGS
from helios.modules.models import Module, ModuleVersion
from helios.rollouts import services as rollouts
from helios.rollouts.models import Rollout, RolloutEvent
from helios.web.admin_base import RoledAdmin
from helios.web.roles import Role, policy
from tests.support.admin_people import (
    BREAKERS,
    EVENTS,
    FLAGS,
    HISTORY,
    MODULES,
    PEOPLE,
    ROLLOUTS,
    SEGMENTS,
    Desk,
    save,
    sent,
    words,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("control_plane")]

ORDERS, OTHER = "alpaca_api", "neural_network"  # a breaker of the order path, and one that is not


@pytest.fixture(params=PEOPLE)
def desk(request: pytest.FixtureRequest, unlimited: None) -> Desk:
    return Desk(request.param)


@pytest.fixture
def operator() -> Desk:
    return Desk("operator")


def flag(name: str = "auto_trading") -> FeatureFlag:
    return FeatureFlag.objects.get(name=name)


def breaker(name: str = ORDERS) -> CircuitBreaker:
    return CircuitBreaker.objects.get(name=name)


# --- flags ---


FLAG_BUTTONS: Final = [
    ("enable", "auto_trading", Role.TRADER),
    ("disable", "auto_trading", Role.OPERATOR),
    ("kill", "auto_trading", Role.OPERATOR),
    ("set_percentage_of", "auto_trading", Role.TRADER),
    ("enable", "kelly_position_sizing", Role.TRADER),
    ("kill", "kelly_position_sizing", Role.TRADER),
    ("enable", "neural_network_v2", Role.TRADER),
    ("disable", "neural_network_v2", Role.OPERATOR),
    ("enable", "circuit_breakers", Role.OPERATOR),
    ("disable", "circuit_breakers", Role.TRADER),
    ("kill", "circuit_breakers", Role.TRADER),
    ("disable", "advanced_risk_engine", Role.TRADER),
    ("enable", "advanced_risk_engine", Role.OPERATOR),
    ("disable", "websocket_streaming", Role.OPERATOR),
    ("set_percentage_of", "websocket_streaming", Role.OPERATOR),
]


@pytest.mark.parametrize(("button", "name", "needed"), FLAG_BUTTONS)
def test_a_button_of_a_flag_asks_for_the_role_of_its_turn(desk: Desk, button: str, name: str, needed: Role) -> None:
    _turned_the_other_way(button, name)
    before = flag(name)
    page = desk.press(FLAGS, button, before, percentage="30")
    changed = flag(name).version != before.version
    assert changed is desk.at_least(needed)
    assert FeatureFlagHistory.objects.filter(flag_id=name, actor=desk.name).exists() is changed
    if not changed and desk.at_least(Role.OPERATOR):
        assert f"{name}: nothing was changed, this needs the role trader, you have operator" in page


def _turned_the_other_way(button: str, name: str) -> None:
    turn = services.disable if button == "enable" else services.enable
    turn(name, actor="before")


EDITS: Final[list[tuple[str, dict[str, Any], Role]]] = [
    ("auto_trading", {"enabled": True}, Role.TRADER),
    ("auto_trading", {"description": "Sends orders."}, Role.OPERATOR),
    ("auto_trading", {"owner": "desk", "description": "Sends orders."}, Role.OPERATOR),
    ("auto_trading", {"strategy": "percentage", "percentage": 10}, Role.TRADER),
    ("auto_trading", {"whitelist": ["AAPL"]}, Role.TRADER),
    ("circuit_breakers", {"enabled": False}, Role.TRADER),
    ("circuit_breakers", {"environments": ["prod"]}, Role.TRADER),
    ("kelly_position_sizing", {"enabled": False, "description": "Off for now."}, Role.TRADER),
    ("kelly_position_sizing", {"description": "Fractional."}, Role.OPERATOR),
    ("kelly_position_sizing", {"enabled": False, "percentage": 3}, Role.TRADER),
    ("websocket_streaming", {"enabled": False, "percentage": 3}, Role.OPERATOR),
]


@pytest.mark.parametrize(("name", "changes", "needed"), EDITS, ids=str)
def test_the_form_of_a_flag_asks_for_the_role_of_what_was_changed(
    desk: Desk, name: str, changes: dict[str, Any], needed: Role
) -> None:
    before = flag(name)
    response = save(desk, FLAGS, before, **changes)
    page = words(response)
    assert (flag(name).version != before.version) is desk.at_least(needed)
    if desk.at_least(needed):
        assert response.status_code == 302
    elif desk.at_least(Role.OPERATOR):
        assert "Nothing was changed: this needs the role trader, you have operator" in page
        assert list(response.context["adminform"].form.errors) == ["__all__"]
    else:
        assert response.status_code == 403


def test_a_new_flag_is_an_operators(desk: Desk) -> None:
    typed = {"name": "new_signal", "strategy": "all_on", "percentage": "0", "gradual_from": "0", "enabled": "on"}
    desk.http.post(f"{FLAGS}add/", typed | HISTORY)
    assert FeatureFlag.objects.filter(name="new_signal").exists() is desk.at_least(Role.OPERATOR)


def test_a_flag_of_the_money_that_is_gone_is_made_again_by_a_trader_only(desk: Desk) -> None:
    FeatureFlag.objects.filter(name="auto_trading").delete()
    typed = {"name": "auto_trading", "strategy": "all_on", "percentage": "0", "gradual_from": "0", "enabled": "on"}
    desk.http.post(f"{FLAGS}add/", typed | HISTORY)
    assert FeatureFlag.objects.filter(name="auto_trading").exists() is desk.at_least(Role.TRADER)


def test_a_form_that_nobody_filled_in_is_refused() -> None:
    form = FlagForm(sent(flag(), description="x"), instance=flag())
    assert isinstance(form.person, AnonymousUser)
    assert form.errors["__all__"] == ["Nothing was changed: this needs the role operator, you have none"]


def test_a_refused_form_shows_the_flag_as_it_is_and_keeps_what_was_typed(operator: Desk) -> None:
    response = save(operator, FLAGS, flag(), enabled=True)
    form = response.context["adminform"].form
    assert (form.instance.enabled, form["enabled"].value()) == (False, True)
    assert "off for everybody; once enabled, on for everybody" in words(response)


def test_several_flags_at_once_change_as_far_as_the_role_goes(operator: Desk) -> None:
    chosen = [str(flag(name).pk) for name in ("auto_trading", "black_litterman")]
    page = words(
        operator.http.post(FLAGS, {"action": "enable_selected", "_selected_action": chosen}, follow=True),
    )
    assert "auto_trading: nothing was changed" in page
    assert "black_litterman is now on" in page
    assert (flag().enabled, flag("black_litterman").enabled) == (False, True)


PREREQUISITE: Final = [{"feature": "websocket_streaming", "enabled": True}]


@pytest.mark.parametrize("button", ["disable", "kill", "set_percentage_of"])
def test_a_flag_that_money_hangs_on_is_a_traders(desk: Desk, button: str) -> None:
    services.edit("auto_trading", {"prerequisites": PREREQUISITE}, actor="before")
    before = flag("websocket_streaming")
    desk.press(FLAGS, button, before, percentage="30")
    save(desk, FLAGS, before, enabled=False)
    assert (flag("websocket_streaming").version != before.version) is desk.at_least(Role.TRADER)
    if desk.name == "operator":
        assert "Only a trader may" in desk.get(f"{FLAGS}{before.pk}/change/")


# --- segments ---


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ({}, Role.OPERATOR),
        ({"segments": ["europe"]}, Role.TRADER),
        ({"rules": [{"name": "default", "segments": ["europe"]}]}, Role.TRADER),
    ],
    ids=("free", "used", "used in a rule"),
)
def test_a_segment_of_the_money_is_a_traders(desk: Desk, fields: dict[str, Any], needed: Role) -> None:
    only = [{"contextName": "symbol", "operator": "IN", "values": ["SAP"]}]
    segments.create("europe", {"constraints": only}, actor="before")
    if fields:
        services.edit("auto_trading", fields, actor="before")
    row = FlagSegment.objects.get(name="europe")
    page = save(desk, SEGMENTS, row, constraints=[], description="everybody")
    assert page.status_code < 500
    assert (FlagSegment.objects.get(name="europe").version != row.version) is desk.at_least(needed)


def test_a_segment_that_nobody_uses_is_removed_by_an_operator(desk: Desk) -> None:
    segments.create("europe", {}, actor="before")
    desk.press(SEGMENTS, "remove", FlagSegment.objects.get(name="europe"))
    assert FlagSegment.objects.filter(name="europe").exists() is not desk.at_least(Role.OPERATOR)


# --- breakers ---


BREAKER_BUTTONS: Final = [
    ("open", ORDERS, Role.OPERATOR),
    ("close", ORDERS, Role.TRADER),
    ("reset", ORDERS, Role.TRADER),
    ("normal", ORDERS, Role.TRADER),
    ("open", OTHER, Role.OPERATOR),
    ("close", OTHER, Role.OPERATOR),
    ("reset", OTHER, Role.OPERATOR),
    ("measure", OTHER, Role.OPERATOR),
]


@pytest.mark.parametrize(("button", "name", "needed"), BREAKER_BUTTONS)
def test_a_button_of_a_breaker_asks_for_the_role_of_what_it_guards(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, button: str, name: str, needed: Role
) -> None:
    monkeypatch.setattr("helios.breakers.journal.write", lambda *_, **__: None)
    if button != "open":
        breakers.force_open(name, actor="before")
    page = desk.press(BREAKERS, button, breaker(name))
    lacking = "nothing was changed, this needs the role trader, you have operator"
    assert (lacking in page) is (desk.name == "operator" and needed is Role.TRADER)
    acted = CircuitBreakerEvent.objects.filter(breaker_id=name, actor=desk.name).exists()
    assert acted is desk.at_least(needed)
    assert (breakers.status(breaker(name)).state == "FORCED_OPEN") is (acted if button == "open" else not acted)


@pytest.mark.parametrize(
    ("name", "changes", "needed"),
    [
        (ORDERS, {"failure_threshold": 9}, Role.TRADER),
        (ORDERS, {"order_path": False}, Role.TRADER),
        (OTHER, {"order_path": True}, Role.TRADER),
        (OTHER, {"failure_threshold": 4}, Role.OPERATOR),
    ],
    ids=str,
)
def test_the_form_of_a_breaker_asks_for_a_trader_where_orders_are_guarded(
    desk: Desk, name: str, changes: dict[str, Any], needed: Role
) -> None:
    before = breaker(name)
    response = save(desk, BREAKERS, before, **changes)
    assert (breaker(name).version != before.version) is desk.at_least(needed)
    assert response.status_code == (302 if desk.at_least(needed) else _refusal(desk, before))


def _refusal(desk: Desk, row: CircuitBreaker) -> int:
    """A form error where something of the row may be changed, else the page that is only read."""
    return 200 if desk.name == "operator" and not row.order_path else 403


def test_a_new_breaker_of_the_order_path_is_a_traders(desk: Desk) -> None:
    typed = {key: value for key, value in sent(breaker()).items() if key not in {"name", "seen_version"}}
    desk.http.post(f"{BREAKERS}add/", typed | {"name": "broker", "order_path": "on"} | EVENTS)
    desk.http.post(f"{BREAKERS}add/", {k: v for k, v in typed.items() if k != "order_path"} | {"name": "feed"} | EVENTS)
    made = set(CircuitBreaker.objects.filter(name__in=("broker", "feed")).values_list("name", flat=True))
    assert made == ({"broker"} if desk.at_least(Role.TRADER) else set()) | (
        {"feed"} if desk.at_least(Role.OPERATOR) else set()
    )


def test_a_breaker_of_the_order_path_is_deleted_by_a_trader_only(desk: Desk) -> None:
    breakers.create("broker", {"order_path": True}, actor="before")
    if desk.name != "superuser":  # no role may delete: the permission is given by hand
        User.objects.get(username=desk.name).user_permissions.add(
            Permission.objects.get(codename="delete_circuitbreaker")
        )
    desk.http.post(f"{BREAKERS}{breaker('broker').pk}/delete/", {"post": "yes"})
    assert CircuitBreaker.objects.filter(name="broker").exists() is not desk.at_least(Role.TRADER)


# --- modules and rollouts ---


def test_a_module_is_unloaded_by_an_operator(desk: Desk) -> None:
    desk.press(MODULES, "unload", Module.objects.get(name="execute"))
    assert (Module.objects.get(name="execute").active is None) is desk.at_least(Role.OPERATOR)


def test_code_is_registered_by_an_operator(desk: Desk) -> None:
    typed = {"name": "predict", "path": "examples.modules.predict_tempered", "version": "", "dependencies": "{}"}
    desk.http.post(f"{MODULES}add/", typed | {"hot_reloadable": "on"})
    assert ModuleVersion.objects.filter(path=typed["path"]).exists() is desk.at_least(Role.OPERATOR)


def test_a_slot_is_made_by_a_trader(desk: Desk) -> None:
    typed = {"name": "spare", "path": "examples.modules.predict_tempered", "version": "", "dependencies": "{}"}
    desk.http.post(f"{MODULES}add/", typed | {"new_slot": "on"})
    assert Module.objects.filter(name="spare").exists() is desk.at_least(Role.TRADER)


@pytest.fixture
def rollout(settings: Any) -> Rollout:
    """A strategy's rollout that waits."""
    settings.ROLLOUT_STRATEGIES = lambda *_: "sma_cross"
    steps = [{"kind": "live", "percentage": share, "interval_s": 60, "min_samples": 10} for share in (1, 100)]
    return rollouts.create("faster", kind="strategy", target="demo", challenger="momentum", steps=steps, actor="before")


MOVES: Final = [
    ("start", (), "RUNNING", Role.TRADER),
    ("promote", (rollouts.start,), "RUNNING", Role.TRADER),
    ("resume", (rollouts.start, rollouts.pause), "RUNNING", Role.TRADER),
    ("pause", (rollouts.start,), "PAUSED", Role.OPERATOR),
    ("abort", (rollouts.start,), "ABORTED", Role.OPERATOR),
]


@pytest.mark.parametrize(("button", "before", "after", "needed"), MOVES, ids=lambda each: str(each)[:20])
def test_a_rollout_goes_on_by_a_trader_and_stops_by_an_operator(
    desk: Desk, rollout: Rollout, button: str, before: tuple[Callable[..., Rollout], ...], after: str, needed: Role
) -> None:
    for move in before:
        move(rollout.pk, actor="before", reason="setting the scene")
    was = Rollout.objects.get(pk=rollout.pk)
    desk.press(ROLLOUTS, button, rollout)
    now = Rollout.objects.get(pk=rollout.pk)
    assert (now.version != was.version) is desk.at_least(needed)
    assert now.state == (after if desk.at_least(needed) else was.state)
    assert RolloutEvent.objects.filter(actor=desk.name).exists() is desk.at_least(needed)


# --- what is offered, and what is said ---


PAGES: Final = (FLAGS, SEGMENTS, BREAKERS, MODULES, ROLLOUTS)
OFFERED: Final = {
    "operator": {"pause", "abort"},
    "trader": {"start", "pause", "resume", "promote", "abort"},
    "superuser": {"start", "pause", "resume", "promote", "abort"},
}


def test_buttons_that_a_person_may_never_use_are_not_offered(desk: Desk, rollout: Rollout) -> None:
    segments.create("europe", {}, actor="before")
    assert set(re.findall(r'value="(\w+)_selected"', desk.get(ROLLOUTS))) == OFFERED.get(desk.name, set())
    for page in PAGES:
        assert ("_selected" in desk.get(page)) is desk.at_least(Role.OPERATOR), page


@pytest.mark.parametrize("page", PAGES)
def test_a_list_says_what_the_role_does_not_cover(desk: Desk, page: str) -> None:
    said = desk.get(page)
    held = "none" if desk.name == "nobody" else desk.name
    reads = f"You can only read here: a change needs the role operator, you have {held}." in said
    assert reads is not desk.at_least(Role.OPERATOR)
    above = re.search(r"(only a trader|by a trader only)[^.<]*\.", said, re.IGNORECASE)
    assert (above is not None) is (desk.name == "operator" and page != MODULES)


def test_the_form_says_it_for_rows_of_the_money_alone(operator: Desk) -> None:
    for name in ("auto_trading", "websocket_streaming"):
        assert ("Only a trader may turn on auto_trading" in operator.get(f"{FLAGS}{flag(name).pk}/change/")) is (
            name in MONEY_FLAGS
        )
    for name in (ORDERS, OTHER):
        page = operator.get(f"{BREAKERS}{breaker(name).pk}/change/")
        assert ("Forcing one open is open to an operator" in page) is (name == ORDERS)
        assert ('name="_save"' in page) is (name != ORDERS)


def test_an_empty_list_says_what_will_stand_there(desk: Desk) -> None:
    Rollout.objects.all().delete()
    FlagSegment.objects.all().delete()
    assert "One is planned with `manage.py rollouts create`" in desk.get(ROLLOUTS)
    assert "No segment yet" in desk.get(SEGMENTS)
    assert "No row fits the search" in desk.get(f"{FLAGS}?q=nothing-like-it")


def test_the_chosen_action_is_shown_whole(operator: Desk) -> None:
    assert "web/admin.css" in operator.get(FLAGS)
    assert 'select[name="action"]' in operator.http.get("/static/web/admin.css").content.decode()


def test_every_button_of_a_page_with_roles_stands_in_the_table() -> None:
    pages = [page for page in admin.site._registry.values() if isinstance(page, RoledAdmin)]
    assert {page.model.__name__ for page in pages} == {
        *("FeatureFlag", "FlagSegment", "CircuitBreaker", "Module", "Rollout", "Book", "PipelineCycle"),
    }
    for page in pages:
        assert set(page.action_routes) == set(page.actions)
        for each in page.action_routes.values():
            method, route = each.split(" ")
            assert method in policy()[route]
