"""`ensure_admin`: the first administrator, once, with a password nobody else has seen."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import User

from helios.web.management.commands.ensure_admin import ensure_admin
from tests.support.commands import printed
from tests.support.together import at_once


def run(*args: str) -> str:
    return printed("ensure_admin", *args)


@pytest.mark.django_db
def test_the_first_start_makes_an_admin_that_can_log_in() -> None:
    made = json.loads(run("--json"))
    assert made["created"]
    user = User.objects.get(username=made["username"])
    assert user.check_password(made["password"])
    assert user.is_superuser
    assert len(made["password"]) >= 16


@pytest.mark.django_db
def test_the_second_start_changes_nothing() -> None:
    first = run()
    assert "admin / " in first
    assert json.loads(run("--json")) == {"created": False}
    assert "nothing was changed" in run()
    assert User.objects.count() == 1


@pytest.mark.django_db
def test_two_installations_get_two_passwords() -> None:
    first = ensure_admin()
    User.objects.all().delete()
    second = ensure_admin()
    assert first is not None
    assert second is not None
    assert first[1] != second[1]


@pytest.mark.django_db
def test_an_account_called_admin_without_rights_is_left_alone() -> None:
    User.objects.create_user("admin", password="a-person-of-that-name")
    made = ensure_admin()
    assert made is not None
    assert made[0] == "admin2"
    assert not User.objects.get(username="admin").is_superuser
    assert User.objects.get(username="admin").check_password("a-person-of-that-name")


@pytest.mark.django_db
def test_a_superuser_who_cannot_log_in_does_not_count() -> None:
    User.objects.create_superuser("gone", is_active=False)
    assert ensure_admin() is not None


@pytest.mark.django_db(transaction=True)
def test_two_first_starts_at_once_make_one_admin() -> None:
    made = at_once(lambda _: ensure_admin(), range(2))
    assert sum(result is not None for result in made) == 1
    assert User.objects.filter(is_superuser=True).count() == 1
