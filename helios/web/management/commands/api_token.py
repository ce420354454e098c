"""`manage.py api_token USER [--role ROLE]`: a token for the API, shown once; `--list` and `--revoke` for the others."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from helios.console import Console, Table
from helios.plain_command import PlainCommand, actor
from helios.web import tokens
from helios.web.access import give_role, role_of
from helios.web.models import ApiToken
from helios.web.roles import Role


class Command(PlainCommand):
    help = "Make a user's API token, or replace the one of that name. It is shown only now; Helios keeps its hash."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "user", nargs="?", help="who uses the token; made, without a password, where a role is given"
        )
        parser.add_argument("--role", choices=[role.label for role in Role], help="the user's only role from now on")
        parser.add_argument("--name", default="default", help="what the token is for; a user has one of each name")
        parser.add_argument("--days", type=int, default=tokens.DAYS, help="how long it holds (default: %(default)s)")
        instead = parser.add_mutually_exclusive_group()
        instead.add_argument("--list", action="store_true", help="show the tokens, of all users or of one")
        instead.add_argument("--revoke", metavar="NAME", help="end the user's token of this name at once")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        username, by = options["user"], actor()
        if username is None and not options["list"]:
            raise CommandError("a user must be named, unless all tokens are asked for with --list; none was")
        if options["list"]:
            self._list(username, as_json=options["json"])
        elif options["revoke"] is not None:
            self._revoke(username, options["revoke"], actor=by, as_json=options["json"])
        else:
            self._make(username, options, actor=by)

    def _make(self, username: str, options: dict[str, Any], *, actor: str) -> None:
        if not 1 <= options["days"] <= tokens.MAX_DAYS:
            raise CommandError(f"--days must be from 1 to {tokens.MAX_DAYS}, was {options['days']}")
        role = Role[options["role"].upper()] if options["role"] else None
        expires_at = timezone.now() + timedelta(days=options["days"])
        with transaction.atomic():
            user = user_of(username, role)
            token, row, replaced = tokens.make(user, options["name"], expires_at=expires_at, actor=actor)
        held = role_of(user)
        label = held.label if held else None
        if options["json"]:
            result = {"user": username, "role": label, "token": token, "name": row.name, "replaced": replaced}
            self.stdout.write(json.dumps({**result, "expires_at": row.expires_at.isoformat()}))
            return
        what = "The new token, which replaces the one before," if replaced else "The token"
        self.stdout.write(f"{what} of {username} ({label or 'no role'}): {token}")
        self.stdout.write(
            f"It is named {row.name} and holds until {row.expires_at:%Y-%m-%d}. It is not shown again. "
            "Send it as `Authorization: Token <it>`."
        )

    def _revoke(self, username: str, name: str, *, actor: str, as_json: bool) -> None:
        tokens.revoke(tokens.named(username, name), actor=actor)
        if as_json:
            self.stdout.write(json.dumps({"user": username, "name": name, "revoked": True}))
        else:
            self.stdout.write(f"The token {name} of {username} opens nothing any more.")

    def _list(self, username: str | None, *, as_json: bool) -> None:
        rows = ApiToken.objects.select_related("user").order_by("user__username", "name", "-made_at")
        if username is not None:
            rows = rows.filter(user__username=username)
        shown = [_row(row) for row in rows]
        if as_json:
            self.stdout.write(json.dumps({"tokens": shown}))
            return
        table = Table("user", "name", "state", "made_at", "made_by", "expires_at", "used_at")
        for each in shown:
            table.add_row(*((each[str(column.header)] or "never")[:19] for column in table.columns))
        Console().print(table if shown else "There is no token yet; `manage.py api_token USER --role ROLE` makes one.")


def user_of(username: str, role: Role | None) -> User:
    """The user, with the role where one is given; `CommandError` with one sentence when refused."""
    user = User.objects.select_for_update().filter(username=username).first()
    if user is None:
        user = _new_user(username, role)
    if not user.is_active:
        raise CommandError(f"{username} must be active to have a token, was deactivated")
    if role is not None and user.is_superuser:
        raise CommandError(f"a superuser has every role, so --role must be left out for {username}")
    if role is not None:
        give_role(user, role)
    return user


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


def _row(token: ApiToken) -> dict[str, str | None]:
    return {
        "user": token.user.get_username(),
        "name": token.name,
        "state": token.state,
        "made_at": token.made_at.isoformat(),
        "made_by": token.made_by,
        "expires_at": token.expires_at.isoformat(),
        "used_at": token.used_at.isoformat() if token.used_at else None,
    }
