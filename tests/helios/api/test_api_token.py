"""`api_token`: a token for somebody, with a role, shown once."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from loguru import logger
from rest_framework.authtoken.models import Token

from helios.web.access import role_of
from helios.web.roles import Role

pytestmark = pytest.mark.django_db


def run(*args: str) -> str:
    output = io.StringIO()
    call_command("api_token", *args, stdout=output)
    return output.getvalue()


def test_a_role_makes_the_user_and_the_token_works(client: Client) -> None:
    made = json.loads(run("desk-bot", "--role", "operator", "--json"))
    assert (made["user"], made["role"], made["replaced"]) == ("desk-bot", "operator", False)
    user = User.objects.get(username="desk-bot")
    assert not user.has_usable_password()
    assert not user.is_staff
    headers = {"Authorization": f"Token {made['token']}"}
    assert client.get("/api/modularity/status", headers=headers).json()["role"] == "operator"


def test_a_new_token_replaces_the_one_before(client: Client) -> None:
    first = json.loads(run("desk-bot", "--role", "viewer", "--json"))
    text = run("desk-bot")
    assert "replaces the one before" in text
    assert "(viewer)" in text
    assert client.get("/api/books/", headers={"Authorization": f"Token {first['token']}"}).status_code == 401
    assert Token.objects.get(user__username="desk-bot").key in text


def test_a_role_replaces_the_one_before() -> None:
    run("desk-bot", "--role", "trader")
    run("desk-bot", "--role", "viewer")
    assert role_of(User.objects.get(username="desk-bot")) is Role.VIEWER


def test_a_user_without_a_role_gets_a_token_that_says_so() -> None:
    User.objects.create_user("ann")
    assert "(no role)" in run("ann")


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("nobody",), "no user is called 'nobody'; give a --role to make one"),
        (("bad name!", "--role", "viewer"), "a user's name must be valid"),
        (("x" * 151, "--role", "viewer"), "a user's name must be valid"),
        (("gone", "--role", "viewer"), "gone must be active to have a token"),
        (("root", "--role", "viewer"), "a superuser has every role"),
        (("ann", "--role", "king"), "invalid choice"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(args: tuple[str, ...], sentence: str) -> None:
    User.objects.create_user("gone", is_active=False)
    User.objects.create_superuser("root")
    before = (User.objects.count(), Token.objects.count())
    with pytest.raises(CommandError, match=sentence):
        run(*args)
    assert (User.objects.count(), Token.objects.count()) == before


def test_the_token_is_in_no_log() -> None:
    lines: list[Any] = []
    sink = logger.add(lambda message: lines.append(str(message.record)), level="TRACE")
    try:
        token = json.loads(run("desk-bot", "--role", "viewer", "--json"))["token"]
    finally:
        logger.remove(sink)
    assert token not in "".join(lines)
