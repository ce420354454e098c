"""Who may do what: every route has a rule, every rule holds, and what is safer is never refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.views.generic import RedirectView
from hypothesis import given
from hypothesis import strategies as st

from helios.breakers.models import CircuitBreaker
from helios.flags import roles as flag_roles
from helios.flags import segments, services
from helios.flags.models import FeatureFlag
from helios.flags.roles import MONEY_FLAGS, Direction
from helios.web import roles
from helios.web.access import give_role, role_of
from helios.web.management.commands import roles as roles_command
from helios.web.roles import Role, policy
from tests.support.people import Api, api_of, person
from tests.support.places import ROOT
from tiers.contracts import Switches
from tiers.risk import kelly

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("unlimited")]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ROLES = (None, *Role)


def routes(found: Any = None, prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """Name, address and view of every route but those of the admin, which has permissions of its own."""
    for each in (found or get_resolver()).url_patterns:
        where = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            if each.namespace != "admin":
                yield from routes(each, where)
        elif isinstance(each, URLPattern):
            yield str(each.name), where, each.callback


def methods_of(view: Any) -> set[str]:
    kind = getattr(view, "view_class", None) or getattr(view, "cls", None)
    if kind is None or issubclass(kind, RedirectView):  # a page, or the way to a picture
        return {"GET"}
    return {method for method in METHODS if hasattr(kind, method.lower())}


def asked(name: str) -> list[tuple[str, str]]:
    """Method and address of the declared methods of API routes."""
    return [
        (method, "/" + where.replace("<str:name>", "nobody").replace("<int:pk>", "1"))
        for route, where, _ in routes()
        if route == name
        for method in policy()[name]
    ]


def test_every_route_and_method_has_a_rule_and_every_rule_a_route() -> None:
    found = {name: methods_of(view) for name, _, view in routes()}
    declared = {name: set(rules) for name, rules in policy().items()}
    assert found == declared


def test_who_may_put_code_in_charge_is_one_answer_for_every_way() -> None:
    ways = ("module-swap", "module-activate", "module-rollback", "rollout-start", "rollout-resume", "rollout-promote")
    assert {policy()[name]["POST"].role for name in ways} == {Role.TRADER}
    assert flag_roles.for_flag("hot_reload_modules", Direction.ON) is Role.TRADER
    for name in ("module-unload", "rollout-pause", "rollout-abort"):  # what takes code out of charge is never kept away
        assert policy()[name]["POST"].role is Role.OPERATOR


def test_what_puts_shipped_code_in_charge_without_a_gate_is_within_reach_of_a_shell_only() -> None:
    reached = {path for path in ROOT.glob("helios/**/*.py") if "restore_shipped" in path.read_text()}
    commands = {ROOT / f"helios/{room}/management/commands/{room}.py" for room in ("modules", "breakers")}
    assert reached == commands | {ROOT / f"helios/{room}/services.py" for room in ("modules", "breakers")}


def test_names_of_routes_are_unique() -> None:
    names = [name for name, _, _ in routes()]
    assert sorted(names) == sorted(set(names))


def test_what_the_table_does_not_name_is_refused(viewer: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roles, "_policy", {})
    response = viewer.get("feature-flags")
    assert (response.status_code, response.json()["detail"]) == (
        403,
        "this address has no rule yet that says who may use it",
    )


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.label if role else "none")
def test_each_role_may_what_the_table_says_and_is_told_what_it_lacks(control_plane: None, role: Role | None) -> None:
    api = api_of(role)
    for name, rules in policy().items():
        for method, where in asked(name):
            needed = rules[method].role
            if needed is None or not where.startswith("/api/"):
                continue
            response = api.send(method, where, b"[" if method != "GET" else None)  # no JSON: nothing is changed
            if role is None or role < needed:
                assert response.status_code == 403, (method, where)
                held = role.label if role else "none"
                assert response.json()["detail"] == f"this needs the role {needed.label}, you have {held}"
            else:
                assert response.status_code in {200, 400, 404, 422}, (method, where, response.content)


def test_without_a_name_every_route_of_the_api_asks_for_one(client: Client, control_plane: None) -> None:
    for name, rules in policy().items():
        for method, where in asked(name):
            if rules[method].role is not None:
                assert client.generic(method, where).status_code == 401, (method, where)


def test_a_viewer_reads_everything_and_changes_nothing() -> None:
    for name, rules in policy().items():
        for method, rule in rules.items():
            if method == "GET":
                assert rule.role in {None, Role.VIEWER}, name
            elif not name.startswith("client-"):
                assert rule.role is not None, name
                assert rule.role >= Role.OPERATOR, name


@pytest.mark.parametrize("name", sorted(MONEY_FLAGS))
def test_an_operator_turns_a_flag_of_the_money_to_its_safer_side_only(operator: Api, trader: Api, name: str) -> None:
    turns = {Direction.ON: ("enable",), Direction.OFF: ("disable", "kill-switch")}
    for direction, actions in turns.items():
        for action in actions:
            answer = operator.post(f"feature-flags/{name}/{action}")
            assert answer.status_code == (200 if direction is MONEY_FLAGS[name] else 403)
            if answer.status_code == 403:
                assert answer.json()["detail"] == "this needs the role trader, you have operator"
                assert trader.post(f"feature-flags/{name}/{action}").status_code == 200
    for action in {"enable", "disable"} - set(turns.get(MONEY_FLAGS[name], ())):
        assert operator.post(f"feature-flags/{action}?name={name}").status_code == 403
    assert operator.post(f"feature-flags/{name}/percentage", {"percentage": 50}).status_code == 403
    assert operator.patch(f"feature-flags/{name}", {"strategy": "all_on"}).status_code == 403
    assert operator.patch(f"feature-flags/{name}", {"description": "words change nothing"}).status_code == 200


def test_every_switch_of_a_decision_is_a_flag_of_the_money() -> None:
    assert {field.name for field in fields(Switches)} <= set(MONEY_FLAGS)


def test_what_makes_positions_larger_in_some_case_is_nobodys_safer_side() -> None:
    """A small edge: Kelly takes next to nothing, the fixed fraction a fifth of the equity. So off is no safer side."""
    expected, sigma = np.array([1e-6]), np.array([0.01])
    kelly_size = kelly.kelly_size(expected, sigma, fraction=0.5, cap=1.0)
    assert kelly_size < kelly.fixed_size(expected, fraction=0.2)
    assert MONEY_FLAGS["kelly_position_sizing"] is None


def test_an_operator_may_always_kill_auto_trading(operator: Api, trader: Api) -> None:
    assert trader.post("feature-flags/auto_trading/enable").json()["enabled"] is True
    killed = operator.post("feature-flags/auto_trading/kill-switch", {"reason": "something is wrong"})
    assert killed.json()["strategy"] == "kill_switch"
    assert operator.post("feature-flags/auto_trading/enable").status_code == 403
    assert FeatureFlag.objects.get(name="auto_trading").enabled is False


def test_killing_a_protection_is_a_traders_decision(operator: Api, trader: Api) -> None:
    assert operator.post("feature-flags/circuit_breakers/kill-switch").status_code == 403
    assert trader.post("feature-flags/circuit_breakers/kill-switch").status_code == 200


def test_other_flags_are_an_operators(operator: Api) -> None:
    for action in ("disable", "enable", "kill-switch"):
        assert operator.post(f"feature-flags/websocket_streaming/{action}").status_code == 200


def test_a_flag_that_money_hangs_on_is_a_traders_at_whatever_remove(operator: Api, trader: Api) -> None:
    segments.create("pilots", actor="tests")
    services.create("desk_open", {"segments": ["pilots"]}, actor="tests")
    services.create("week_day", {"prerequisites": [{"feature": "desk_open"}]}, actor="tests")
    assert operator.post("feature-flags/desk_open/enable").status_code == 200
    services.edit("auto_trading", {"prerequisites": [{"feature": "week_day"}]}, actor="tests")
    assert operator.patch("feature-flags/desk_open", {"owner": "desk"}).status_code == 200
    for action in ("enable", "disable", "kill-switch"):
        assert operator.post(f"feature-flags/desk_open/{action}").status_code == 403
    assert operator.post("feature-flags/percentage", {"name": "week_day", "percentage": 5}).status_code == 403
    assert operator.patch("feature-flags/desk_open", {"segments": []}).status_code == 403
    assert operator.patch("segments/pilots", {"constraints": []}).status_code == 403
    assert trader.post("feature-flags/desk_open/disable").status_code == 200
    assert operator.post("feature-flags/auto_trading/kill-switch").status_code == 200


def test_a_segment_that_money_depends_on_is_a_traders(operator: Api, trader: Api) -> None:
    segments.create("pilots", {"constraints": []}, actor="tests")
    assert operator.patch("segments/pilots", {"description": "free"}).status_code == 200
    services.edit("auto_trading", {"segments": ["pilots"]}, actor="tests")
    assert operator.patch("segments/pilots", {"description": "used"}).status_code == 403
    assert trader.patch("segments/pilots", {"description": "used"}).status_code == 200


def test_breakers_of_the_order_path_are_a_traders_but_opening_one_is_not(operator: Api, trader: Api) -> None:
    CircuitBreaker.objects.filter(name="valr_api").update(order_path=True)
    assert operator.post("circuit-breakers/valr_api/open", {"reason": "the venue is odd"}).status_code == 200
    for action in ("close", "reset"):
        assert operator.post(f"circuit-breakers/valr_api/{action}").status_code == 403
    assert operator.post("circuit-breakers/reset-all").status_code == 403
    assert trader.post("circuit-breakers/valr_api/close").status_code == 200
    assert trader.post("circuit-breakers/reset-all").status_code == 200


def test_a_superuser_may_everything(control_plane: None, admin_user: User) -> None:
    assert role_of(admin_user) is Role.TRADER
    assert Api(admin_user).post("feature-flags/auto_trading/enable").status_code == 200


def test_a_deactivated_user_has_no_role() -> None:
    user = person(Role.TRADER)
    user.is_active = False
    assert role_of(user) is None


def test_groups_are_read_once_for_a_user_object(django_assert_num_queries: Any) -> None:
    user = User.objects.get(pk=person(Role.OPERATOR).pk)
    with django_assert_num_queries(1):
        assert [role_of(user) for _ in range(3)] == [Role.OPERATOR] * 3


def test_giving_a_role_takes_the_others_and_leaves_other_groups() -> None:
    user = person(Role.TRADER)
    user.groups.add(Group.objects.create(name="research"))
    give_role(user, Role.VIEWER)
    assert set(user.groups.values_list("name", flat=True)) == {"viewer", "research"}
    assert role_of(user) is Role.VIEWER


@given(st.sampled_from(sorted(MONEY_FLAGS)), st.sampled_from(Direction))
def test_one_side_of_a_money_flag_is_free_and_the_other_is_not(name: str, turn: Direction) -> None:
    free = flag_roles.for_flag(name, turn) is Role.OPERATOR
    assert free == (turn in {Direction.NOTES, MONEY_FLAGS[name]})


# --- groups in the database ---


def codes(role: Role) -> set[str]:
    return set(Group.objects.get(name=role.label).permissions.values_list("codename", flat=True))


def test_each_group_holds_the_permissions_of_the_one_before_and_more() -> None:
    viewer, operator, trader = (codes(role) for role in Role)
    assert viewer < operator < trader
    assert all(code.startswith("view_") for code in viewer)
    assert {"view_featureflag", "view_order", "view_rollout"} <= viewer
    assert {"change_featureflag", "change_circuitbreaker", "change_module"} <= operator - viewer
    assert "change_book" in trader - operator


def test_no_group_touches_accounts_or_tokens() -> None:
    assert not {code for code in codes(Role.TRADER) if code.endswith(("_user", "_group", "_token", "_idempotencykey"))}


def test_migrating_again_puts_a_changed_group_back_as_it_was() -> None:
    before = codes(Role.OPERATOR)
    Group.objects.get(name="operator").permissions.clear()
    Group.objects.get(name="viewer").delete()
    call_command("migrate", verbosity=0)
    assert codes(Role.OPERATOR) == before
    assert codes(Role.VIEWER)


def test_staff_of_a_role_see_in_the_admin_what_the_role_may(client: Client) -> None:
    user = person(Role.VIEWER)
    user.is_staff = True
    user.save()
    client.force_login(user)
    assert client.get("/admin/flags/featureflag/").status_code == 200
    assert client.get("/admin/auth/user/").status_code == 403


def test_the_documents_have_the_table_of_roles_as_the_command_prints_it() -> None:
    """`manage.py roles` makes it; every address, every button with a role and its command stand in it."""
    rows = list(roles_command.table())
    assert {(method, address) for method, address, *_ in rows} == {
        (method, "/" + where.replace("<str:name>", "{name}").replace("<int:pk>", "{pk}"))
        for name, where, _ in routes()
        for method in policy()[name]
    }
    shown = (ROOT / "docs" / "security.md").read_text()
    assert roles_command.markdown(rows) in shown
    assert "| POST | `/api/books/{name}/halt` | operator |  | Books: Halt | `mode halt` |" in shown
    guide = (ROOT / "docs" / "api.md").read_text()
    for name, safer in MONEY_FLAGS.items():
        assert f"| `{name}` | {safer or 'neither'}" in guide


def test_the_command_shows_the_same_table(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("roles", "--json")
    rows = json.loads(capsys.readouterr().out)
    assert {"method": "POST", "address": "/api/books/{name}/resume", "role": "trader", "a trader instead": "",
            "in the admin": "Books: Resume", "at the terminal": "mode resume"} in rows  # fmt: skip


def test_a_route_has_one_rule_from_one_room() -> None:
    with pytest.raises(ValueError, match="a route must have one rule, index has another already"):
        roles.add({"index": {}})
