"""`manage.py ensure_admin`: the first administrator of a fresh installation."""

from __future__ import annotations

import json
import secrets
from itertools import count
from typing import Any, Final

from django.contrib.auth.models import User
from django.core.management.base import CommandParser
from django.db import connection, transaction

from helios.plain_command import PlainCommand

USERNAME: Final = "admin"


class Command(PlainCommand):
    help = "Create a superuser with a generated password, shown once; nothing happens when one exists."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        made = ensure_admin()
        if options["json"]:
            result = {"created": True, "username": made[0], "password": made[1]} if made else {"created": False}
            self.stdout.write(json.dumps(result))
        elif made is None:
            self.stdout.write("A superuser exists; nothing was changed.")
        else:
            self.stdout.write(f"Admin login (shown only now): {made[0]} / {made[1]}")


def ensure_admin() -> tuple[str, str] | None:
    """Name and password of the superuser it made, or None when there was an active one already.

    A table lock keeps two first starts from making two. An account called `admin` that is no active superuser
    is left as it is; the new one is then called `admin2`, and so on.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        table = connection.ops.quote_name(User._meta.db_table)  # noqa: SLF001 - documented by Django
        cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        if User.objects.filter(is_superuser=True, is_active=True).exists():
            return None
        taken = set(User.objects.filter(username__startswith=USERNAME).values_list("username", flat=True))
        names = (USERNAME if n == 1 else f"{USERNAME}{n}" for n in count(1))
        username = next(name for name in names if name not in taken)
        password = secrets.token_urlsafe(15)
        User.objects.create_superuser(username=username, password=password)
    return username, password
