"""The report for owners: what stands still, is expired, or is asked for and does not exist."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from helios import flags
from helios.flags import services, stale
from helios.flags.models import FeatureFlag

pytestmark = pytest.mark.django_db
NOW = timezone.now()
DAY = timedelta(days=1)


def report(after_days: float = 40, *, days: int = 30) -> dict[str, str]:
    """The reasons by flag, as they will be read some days from now."""
    return {each.name: each.reason for each in stale.report(days=days, now=NOW + after_days * DAY)}


def make(name: str, **fields: object) -> None:
    services.create(name, fields, actor="ada")


def test_a_fresh_table_has_nothing_to_report() -> None:
    assert report(0) == {}


def test_shipped_flags_may_stand_still_for_ever() -> None:
    assert report(4000) == {}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"enabled": True}, "on for everybody"),
        ({"enabled": True, "strategy": "percentage", "percentage": 100}, "on for everybody"),
        ({"enabled": True, "strategy": "blacklist"}, "on for everybody"),
        ({"enabled": True, "strategy": "all_off"}, "off for everybody"),
        ({"enabled": False}, "off for everybody"),
        ({"enabled": True, "strategy": "whitelist", "whitelist": ["AAPL"]}, "unchanged"),
        ({"enabled": True, "strategy": "percentage", "percentage": 40}, "unchanged"),
        ({"enabled": True, "environments": ["prod"]}, "unchanged"),
        ({"enabled": True, "environments": ["prod"], "strategy": "percentage", "percentage": 100}, "unchanged"),
    ],
)
def test_a_flag_that_stands_still_is_reported_after_the_days_with_what_to_do(fields: dict, reason: str) -> None:
    make("of_ours", owner="desk", **fields)
    assert report(29) == {}
    (found,) = stale.report(days=30, now=NOW + 31 * DAY)
    assert (found.name, found.reason, found.owner, found.action) == ("of_ours", reason, "desk", stale.ACTIONS[reason])
    assert found.days >= 30
    assert found.plain()["since"] == found.since.isoformat()
    assert report(29, days=10) == {"of_ours": reason}


def test_a_ramp_stands_still_only_from_its_end_on() -> None:
    make("ramped")
    services.set_ramp("ramped", NOW, NOW + 20 * DAY, 0, 100, actor="ada")
    services.enable("ramped", actor="ada")
    assert report(49) == {}
    assert report(51) == {"ramped": "on for everybody"}


def test_a_schedule_stands_still_only_from_its_last_step_on() -> None:
    make("scheduled", enabled=True)
    services.set_schedule("scheduled", [(NOW + 5 * DAY, 50), (NOW + 20 * DAY, 100)], actor="ada")
    assert report(49) == {}
    assert report(51) == {"scheduled": "on for everybody"}


def test_a_note_is_no_change_but_an_answer_is() -> None:
    make("of_ours", enabled=True)
    FeatureFlag.objects.filter(name="of_ours").update(owner="noted by hand")
    services.edit("of_ours", {"description": "a note"}, actor="ada")
    (found,) = [each for each in stale.report(days=0, now=timezone.now() + DAY) if each.name == "of_ours"]
    created = FeatureFlag.objects.get(name="of_ours").history.last().ts
    assert found.since == created


def test_an_expired_flag_is_reported_at_once_and_goes_on_being_evaluated() -> None:
    services.edit("garch_volatility", {"expires_at": NOW - DAY, "owner": "risk"}, actor="ada")
    flags.refresh_if_behind()
    assert report(0) == {"garch_volatility": "expired"}
    assert flags.is_enabled("garch_volatility")
    assert report(-2) == {}


def test_a_long_kill_is_reported_of_shipped_flags_too() -> None:
    services.kill("garch_volatility", actor="ada")
    assert report(29) == {}
    assert report(31) == {"garch_volatility": "killed"}


def test_a_flag_that_code_asks_for_and_nobody_made_is_reported() -> None:
    flags.is_enabled("no_such_flag")
    flags.is_enabled("no_such_flag")
    (found,) = stale.report(now=NOW)
    assert (found.name, found.reason, found.since) == ("no_such_flag", "unknown", None)
    assert found.action.startswith("asked for 2 times in this process")
    assert found.plain()["since"] is None


def test_the_since_of_a_report_is_a_moment() -> None:
    make("of_ours", enabled=True)
    assert all(isinstance(each.since, datetime) for each in stale.report(days=0, now=NOW + DAY))
