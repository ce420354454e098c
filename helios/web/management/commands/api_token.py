"""`manage.py api_token USER [--role ROLE]`: a token for the API, shown once."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from rest_framework.authtoken.models import Token

from helios.web.access import give_role, role_of
from helios.web.roles import Role


class Command(BaseCommand):
    help = "Make a user's API token, or replace it: the one before stops working. It is shown only now."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="who uses the token; made, without a password, where a role is given")
        parser.add_argument("--role", choices=[role.label for role in Role], help="the user's only role from now on")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        role = Role[options["role"].upper()] if options["role"] else None
        token, replaced = make_token(options["user"], role)
        held = role_of(token.user)
        if options["json"]:
            result = {"user": token.user.get_username(), "role": held.label if held else None, "token": token.key}
            self.stdout.write(json.dumps({**result, "replaced": replaced}))
            return
        what = "The new token, which replaces the one before," if replaced else "The token"
        self.stdout.write(f"{what} of {token.user.get_username()} ({held.label if held else 'no role'}): {token.key}")
        self.stdout.write("It is not shown again. Send it as `Authorization: Token <it>`.")


def make_token(username: str, role: Role | None) -> tuple[Token, bool]:
    """The user's new token, and whether there was one before; `CommandError` with one sentence when refused."""
    with transaction.atomic():
        user = User.objects.select_for_update().filter(username=username).first()
        if user is None:
            user = _new_user(username, role)
        if not user.is_active:
            raise CommandError(f"{username} must be active to have a token, was deactivated")
        if role is not None and user.is_superuser:
            raise CommandError(f"a superuser has every role, so --role must be left out for {username}")
        if role is not None:
            give_role(user, role)
        replaced = bool(Token.objects.filter(user=user).delete()[0])
        return Token.objects.create(user=user), replaced


def _new_user(username: str, role: Role | None) -> User:
    if role is None:
        raise CommandError(f"no user is called {username!r}; give a --role to make one")
    user = User(username=username)
    user.set_unusable_password()
    try:
        user.full_clean(exclude=["password"])
    except ValidationError as error:
        raise CommandError(f"a user's name must be valid, was {username!r}: {' '.join(error.messages)}") from error
    user.save()
    return user
