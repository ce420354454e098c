"""`manage.py ensure_admin`: the first administrator of a fresh installation."""

from __future__ import annotations

import json
import secrets
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandParser
from django.db import connection, transaction

USERNAME: Final = "admin"


class Command(BaseCommand):
    help = "Create the superuser `admin` with a generated password, shown once; nothing happens when one exists."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        password = ensure_admin()
        if options["json"]:
            result = {"created": password is not None, "username": USERNAME, "password": password}
            if password is None:
                result = {"created": False}
            self.stdout.write(json.dumps(result))
        elif password is None:
            self.stdout.write("A superuser exists; nothing was changed.")
        else:
            self.stdout.write(f"Admin login (shown only now): {USERNAME} / {password}")


def ensure_admin() -> str | None:
    """The password of the superuser it made, or None when there was one already.

    A table lock keeps two first starts from making two; a user without rights called `admin` is left
    alone and the new one gets a number.
    """
    users = get_user_model()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {connection.ops.quote_name(users._meta.db_table)} IN SHARE ROW EXCLUSIVE MODE")
        if users.objects.filter(is_superuser=True, is_active=True).exists():
            return None
        password = secrets.token_urlsafe(15)
        users.objects.create_superuser(username=USERNAME, password=password)
    return password
