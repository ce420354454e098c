"""The admin shows where a rollout stands, and its buttons go the way of every other change."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from helios.rollouts import arm_decisions, describe, selectors, services
from helios.rollouts.arm_decisions import ArmDecision
from helios.rollouts.models import RolloutEvent
from helios.web.access import give_role
from helios.web.roles import Role
from tests.helios.rollouts.conftest import T0
from tests.support.arms import arm, reading

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clean_redis")]
LIST = "/admin/rollouts/rollout/"


def press(client: Client, button: str, row) -> str:
    response = client.post(LIST, {"action": f"{button}_selected", "_selected_action": [row.pk]}, follow=True)
    return response.content.decode()


def test_the_list_says_what_each_rollout_does(admin_client: Client, at_step) -> None:
    at_step(2)
    page = admin_client.get(LIST).content.decode()
    for expected in ("faster", "RUNNING", "momentum", "1 % of symbols (step 3 of 5)"):
        assert expected in page


def test_a_page_shows_arms_analyses_history_and_what_the_buttons_will_do(admin_client: Client, at_step, desk) -> None:
    row = at_step(2)
    rows = [
        ArmDecision(rollout_id=row.pk, step=2, cycle_id=1, bar_ts=T0, symbol=symbol, arm="challenger")
        for symbol in ("AAPL", "MSFT")
    ]
    arm_decisions.record(rows)
    page = admin_client.get(f"{LIST}{row.pk}/change/").content.decode()
    for expected in (
        "replay &gt; shadow &gt; [1 %] &gt; 50 % &gt; 100 %",
        "promote will serve 50 % of symbols: ",
        "abort will leave every symbol to sma_cross",
        "PnL net of cost, bps a decision",
        "1. replay over stored history, analysed at once, from 10 decisions of the challenger on",
        "2. shadow, nothing served, analysed every 60 s",
        "above 2 rolled back at once (from 1 samples on)",
        "2: shadow, nothing served",
        "Abort: the champion serves every symbol from the next cycle on",
        "every guard kept",
        "stepped",
    ):
        assert expected in page


def test_a_page_opens_before_anything_was_measured_and_when_measuring_fails(
    admin_client: Client, rollout, desk
) -> None:
    assert "nothing measured yet" in admin_client.get(f"{LIST}{rollout.pk}/change/").content.decode()
    services.advance(rollout.pk, T0)
    desk.failure = RuntimeError("away")
    assert admin_client.get(f"{LIST}{rollout.pk}/change/").status_code == 200


def test_the_buttons_steer_and_name_who_pressed_them(admin_client: Client, plan) -> None:
    row = plan()
    assert "faster is RUNNING: replay over stored history" in press(admin_client, "start", row)
    assert "faster is PAUSED" in press(admin_client, "pause", row)
    assert "faster is RUNNING" in press(admin_client, "resume", row)
    assert "faster is RUNNING: shadow, nothing served" in press(admin_client, "promote", row)
    assert "faster is ABORTED: over; sma_cross serves" in press(admin_client, "abort", row)
    entry = RolloutEvent.objects.first()
    assert (entry.action, entry.actor, entry.reason) == ("aborted", "admin", "from the list in the admin")


def test_a_button_that_does_not_fit_says_why(admin_client: Client, plan) -> None:
    page = press(admin_client, "resume", plan())
    assert "faster: a rollout must be PAUSED to be resumed, was PENDING" in page


def test_a_rolled_back_one_shows_its_reason(admin_client: Client, at_step, desk) -> None:
    row = at_step(1)
    desk.arms = reading(arm(n_errors=9))
    services.react(row.pk, T0 + timedelta(hours=1))
    page = admin_client.get(LIST).content.decode()
    assert "ROLLED_BACK" in page
    assert "exceptions 9 is above its hard limit 2" in page


def test_a_list_shows_the_first_clause_of_a_long_reason() -> None:
    assert describe.short("too few; too slow; too dear") == "too few; 2 more"
    assert describe.short("too few") == "too few"


def test_who_may_only_look_cannot_steer(client: Client, plan, django_user_model: type[User]) -> None:
    row = plan()
    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_rollout"))
    client.force_login(viewer)
    page = client.get(LIST).content.decode()
    assert "faster" in page
    assert "start_selected" not in page
    press(client, "start", row)
    assert selectors.get(row.pk).state == "PENDING"
    viewer.user_permissions.add(Permission.objects.get(codename="change_rollout"))
    give_role(viewer, Role.TRADER)
    press(client, "start", row)
    assert selectors.get(row.pk).state == "RUNNING"


@pytest.mark.parametrize("page", ["add/", "{pk}/delete/"])
def test_rollouts_are_neither_added_nor_deleted_by_hand(admin_client: Client, plan, page: str) -> None:
    assert admin_client.get(LIST + page.format(pk=plan().pk)).status_code == 403
