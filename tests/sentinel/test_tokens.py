"""Tokens of the API that end soon are named two weeks before, with the command that makes another."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from helios.web import tokens
from sentinel.audits import Limits, credentials
from sentinel.audits.facts import Snapshot, Token
from sentinel.probes import platform
from tests.support.people import in_days

NOW = timezone.now()


@pytest.mark.parametrize(("days", "named"), [(15, False), (14, True), (1, True), (0, False), (-1, False)])
def test_a_token_is_named_two_weeks_before_its_end(days: int, named: bool) -> None:
    token = Token(user="desk-bot", name="board", ends_at=NOW + timedelta(days=days))
    found = credentials.tokens(Snapshot(taken_at=NOW, readings={}, tokens=(token,)), Limits())
    assert [(each.code, each.subject) for each in found] == ([("TOKEN_ENDING", "desk-bot/board")] if named else [])


def test_the_sentence_names_whose_token_ends_when_and_what_makes_another() -> None:
    token = Token(user="desk-bot", name="board", ends_at=NOW + timedelta(days=3))
    (found,) = credentials.tokens(Snapshot(taken_at=NOW, readings={}, tokens=(token,)), Limits())
    assert found.message == (
        f"the API token board of desk-bot ends on {token.ends_at:%Y-%m-%d}: "
        "`manage.py api_token desk-bot --name board` makes another in its place"
    )
    assert (found.observed, found.limit) == ("3 days left", "14 days")


@pytest.mark.django_db
def test_only_tokens_that_open_something_are_read() -> None:
    ann, bob = User.objects.create_user("ann"), User.objects.create_user("bob", is_active=False)
    for user, name in ((ann, "board"), (ann, "revoked"), (bob, "of-nobody")):
        tokens.make(user, name, expires_at=in_days(9), actor="tests")
    tokens.revoke(tokens.named("ann", "revoked"), actor="tests")
    found, detail = platform.tokens()
    assert [(each.user, each.name) for each in found] == [("ann", "board")]
    assert detail == "1 hold"
