"""`api_token`: a token for somebody, with a role, shown once."""

from __future__ import annotations

import json
import re
from importlib import import_module
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError
from django.db import connection
from django.test import Client
from loguru import logger

from helios.web.access import give_role, role_of
from helios.web.models import ApiToken
from helios.web.roles import Role
from helios.web.tokens import MAX_DAYS, digest_of
from tests.support.commands import answered, printed
from tests.support.people import in_days

pytestmark = pytest.mark.django_db


def run(*args: str) -> str:
    return printed("api_token", *args)


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
    token = re.search(r"helios_\S+", text)
    assert token
    assert ApiToken.objects.get(revoked_at=None).digest == digest_of(token[0])


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
        (
            ("new", "--role", "viewer", "--name", "two words"),
            "a token's name must be 1 to 64 letters, .* was 'two words'",
        ),
        (("new", "--role", "viewer", "--days", "0"), "--days must be from 1 to 3650, was 0"),
        (("ann", "--revoke", "bot"), "ann must have a token named 'bot' to revoke it, has none"),
        (("ann", "--revoke", "bot", "--list"), "not allowed with"),
        ((), "a user must be named, unless all tokens are asked for with --list; none was"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(args: tuple[str, ...], sentence: str) -> None:
    User.objects.create_user("gone", is_active=False)
    User.objects.create_user("ann")
    User.objects.create_superuser("root")
    before = (User.objects.count(), ApiToken.objects.count())
    with pytest.raises(CommandError, match=sentence):
        run(*args)
    assert (User.objects.count(), ApiToken.objects.count()) == before


def test_the_token_is_in_no_log() -> None:
    lines: list[Any] = []
    sink = logger.add(lambda message: lines.append(str(message.record)), level="TRACE")
    try:
        token = json.loads(run("desk-bot", "--role", "viewer", "--json"))["token"]
    finally:
        logger.remove(sink)
    assert token not in "".join(lines)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Token {token}"}


def made(*args: str) -> str:
    return str(json.loads(run(*args, "--json"))["token"])


def test_only_the_hash_of_a_token_is_kept() -> None:
    token = made("desk-bot", "--role", "viewer")
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_jsonb(t)::text FROM api_tokens t")
        (row,) = cursor.fetchone()
    assert token not in row
    assert token.removeprefix("helios_") not in row
    assert digest_of(token) in row


def test_tokens_of_other_names_stay_when_one_is_made_or_revoked(client: Client) -> None:
    bot = made("desk-bot", "--role", "viewer", "--name", "bot")
    board = made("desk-bot", "--name", "board")
    assert "The token bot of desk-bot opens nothing any more." in run("desk-bot", "--revoke", "bot")
    assert client.get("/api/books/", headers=bearer(bot)).json()["detail"] == "The token bot is revoked."
    assert client.get("/api/books/", headers=bearer(board)).status_code == 200


def test_an_expired_token_opens_nothing(client: Client) -> None:
    token = made("desk-bot", "--role", "viewer", "--days", str(MAX_DAYS))
    ApiToken.objects.update(expires_at=in_days(-1))
    response = client.get("/api/books/", headers=bearer(token))
    assert (response.status_code, response.json()["detail"]) == (401, "The token default is expired.")


@pytest.mark.parametrize("kind", ["expired", "unmarked"])
def test_a_token_that_is_about_to_disappoint_is_told_once(client: Client, kind: str) -> None:
    token = made("night-bot", "--role", "viewer", "--name", kind)
    if kind == "expired":
        ApiToken.objects.update(expires_at=in_days(-1))
    else:  # one of before marks were made, or of another key
        token = token[:-1] + ("0" if token[-1] != "0" else "1")
        ApiToken.objects.update(digest=digest_of(token))
    told: list[Any] = []
    sink = logger.add(lambda each: told.append((each.record["message"], each.record["extra"])), level="WARNING")
    try:
        for _ in range(3):
            client.get("/api/books/", headers=bearer(token))
    finally:
        logger.remove(sink)
    ((message, fields),) = [each for each in told if each[0].startswith("token.")]
    assert message == f"token.{kind}_in_use"
    assert (fields["user"], fields["name"]) == ("night-bot", kind)


def test_another_scheme_is_named(client: Client) -> None:
    token = answered("api_token", "ana", "--role", "viewer")["token"]
    answer = client.get("/api/books/", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["detail"]) == (401, "Send `Authorization: Token <it>`, was Bearer.")


def test_a_token_of_a_deactivated_user_opens_nothing(client: Client) -> None:
    token = made("desk-bot", "--role", "viewer")
    User.objects.update(is_active=False)
    assert client.get("/api/books/", headers=bearer(token)).status_code == 401


def test_the_last_use_is_written_once_a_minute(client: Client, django_assert_num_queries: Any) -> None:
    token = made("desk-bot", "--role", "viewer")
    assert json.loads(run("--list", "--json"))["tokens"][0]["used_at"] is None
    client.get("/api/books/", headers=bearer(token))
    first = ApiToken.objects.get().used_at
    assert first is not None
    client.get("/api/books/", headers=bearer(token))
    assert ApiToken.objects.get().used_at == first
    ApiToken.objects.update(used_at=in_days(-0.01))
    client.get("/api/books/", headers=bearer(token))
    assert ApiToken.objects.get().used_at > first


def test_the_list_shows_whose_tokens_there_are_and_no_token(capsys: pytest.CaptureFixture[str]) -> None:
    token = made("desk-bot", "--role", "viewer")
    run("desk-bot")
    run("ann", "--role", "trader", "--name", "board")
    rows = json.loads(run("--list", "--json"))["tokens"]
    assert [(row["user"], row["name"], row["state"]) for row in rows] == [
        ("ann", "board", "valid"), ("desk-bot", "default", "valid"), ("desk-bot", "default", "revoked")
    ]  # fmt: skip
    assert [row["user"] for row in json.loads(run("ann", "--list", "--json"))["tokens"]] == ["ann"]
    run("--list")
    shown = capsys.readouterr().out
    assert "desk-bot" in shown
    assert token not in shown


def test_plain_tokens_of_before_are_hashed_and_go_on(client: Client) -> None:
    user = User.objects.create_user("old")
    give_role(user, Role.VIEWER)
    key = "0123456789abcdef0123456789abcdef01234567"
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE authtoken_token (key varchar(40) PRIMARY KEY, created timestamptz, user_id int)")
        cursor.execute("INSERT INTO authtoken_token VALUES (%s, now(), %s)", [key, user.pk])
        cursor.execute(import_module("helios.web.migrations.0002_api_tokens").HASH_PLAIN_TOKENS)
        cursor.execute("SELECT to_regclass('authtoken_token')")
        assert cursor.fetchone() == (None,)
    assert client.get("/api/books/", headers=bearer(key)).status_code == 200
