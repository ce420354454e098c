"""People with roles, and clients that speak for them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from helios.web import tokens
from helios.web.access import give_role
from helios.web.models import ApiToken
from helios.web.roles import Role

BASE = "/api/modularity"


def person(role: Role | None, name: str = "") -> User:
    """A user with this role only; None: an account without any."""
    user = User.objects.create_user(name or (role.label if role else "nobody"))
    if role is not None:
        give_role(user, role)
    return user


def in_days(number: float) -> datetime:
    """The moment so many days from now."""
    return timezone.now() + timedelta(days=number)


class Api:
    """A client with a token that sends JSON, and addresses below /api/modularity/ by their short form."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.token, row, _ = tokens.make(user, "tests", expires_at=in_days(1), actor="tests")
        ApiToken.objects.filter(pk=row.pk).update(used_at=timezone.now())  # the first request is like the others
        self.http = Client(headers={"Authorization": f"Token {self.token}"})

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """`headers` by name with underscores; a body that is bytes goes as it is."""
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        address = path if path.startswith("/") else f"{BASE}/{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content_type = named.pop("Content-Type", "application/json")
        response: HttpResponse = self.http.generic(method, address, raw, content_type=content_type, headers=named)
        return response

    def get(self, path: str, query: dict[str, Any] | None = None, **headers: str) -> Any:
        address = path if path.startswith("/") else f"{BASE}/{path}"
        return self.http.get(address, query or {}, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.send("POST", path, {} if body is None else body, **headers)

    def patch(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.send("PATCH", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self.send("DELETE", path, **headers)


def api_of(role: Role | None, name: str = "") -> Api:
    """A client for a new person of this role."""
    return Api(person(role, name))
