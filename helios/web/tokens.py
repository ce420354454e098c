"""API tokens: a text that is shown once, of which only the hash is kept.

A token is 256 random bits, so one round of SHA-256 cannot be turned back, and finding its row is one lookup.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from loguru import logger
from rest_framework import exceptions
from rest_framework.authentication import TokenAuthentication

from helios.errors import NotFound, Rejected
from helios.web.marks import is_marked, marked
from helios.web.models import ApiToken

if TYPE_CHECKING:
    from datetime import datetime

PREFIX: Final = "helios_"  # so that people and scanners of secrets know one when they see it
DAYS: Final = 365
MAX_DAYS: Final = 3_650
USED_WITHIN: Final = timedelta(minutes=1)  # a last use is written at most so often


class HashedTokens(TokenAuthentication):
    """`Authorization: Token <it>`, of a token that is neither revoked nor expired and whose user is active."""

    def authenticate(self, request: Any) -> Any:
        if request.headers.get("Authorization", "").lower().startswith("bearer "):
            raise exceptions.AuthenticationFailed("Send `Authorization: Token <it>`, was Bearer.")
        return super().authenticate(request)

    def authenticate_credentials(self, key: str) -> tuple[Any, ApiToken]:
        token = ApiToken.objects.select_related("user").filter(digest=digest_of(key)).first()
        if token is None or token.state != "valid":
            why = "Invalid token." if token is None else f"The token {token.name} is {token.state}."
            if token is not None and token.state == "expired":
                _tell("token.expired_in_use", token.user.get_username(), token.name)
            raise exceptions.AuthenticationFailed(why)
        if not token.user.is_active:
            raise exceptions.AuthenticationFailed("User inactive or deleted.")
        if not is_marked(key):
            _tell("token.unmarked_in_use", token.user.get_username(), token.name)
        now = timezone.now()
        if token.used_at is None or now - token.used_at >= USED_WITHIN:
            ApiToken.objects.filter(pk=token.pk).update(used_at=now)
        return token.user, token


@lru_cache(maxsize=1_024)
def _tell(message: str, user: str, name: str) -> None:
    """Once a process: whoever sends it will go on sending it."""
    logger.bind(user=user, name=name).warning(message)


def digest_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def make(user: User, name: str, *, expires_at: datetime, actor: str) -> tuple[str, ApiToken, bool]:
    """A new token's text, which nothing keeps, its row, and whether it replaced a valid one of the user of that name.

    Raises `Rejected` for a name that is none, and an end that is past or too far away.
    """
    token, now = marked(PREFIX + secrets.token_urlsafe(32)), timezone.now()
    check_end(expires_at)
    row = ApiToken(user=user, name=name, digest=digest_of(token), expires_at=expires_at, made_by=actor)
    try:
        row.full_clean(validate_constraints=False)
    except ValidationError as error:
        raise Rejected(f"{' '.join(error.messages)}, was {name!r}") from error
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        before = ApiToken.objects.filter(user=user, name=name, revoked_at=None)
        replaced = any(each.state == "valid" for each in before)
        before.update(revoked_at=now, revoked_by=actor)
        row.save(force_insert=True)
    return token, row, replaced


def check_end(expires_at: datetime) -> None:
    """`Rejected` unless a token may end then."""
    now = timezone.now()
    if not now < expires_at <= now + timedelta(days=MAX_DAYS, minutes=1):
        raise Rejected(f"a token must end from now to {MAX_DAYS} days on, was {expires_at:%Y-%m-%d %H:%M} UTC")


def revoke(token: ApiToken, *, actor: str) -> bool:
    """Let a token open nothing from now on; whether it could have until now. Its row stays."""
    rows = ApiToken.objects.filter(pk=token.pk, revoked_at=None)
    return bool(rows.update(revoked_at=timezone.now(), revoked_by=actor))


def named(username: str, name: str) -> ApiToken:
    """The user's token of this name that is not revoked; `NotFound` names those there are."""
    rows = ApiToken.objects.filter(user__username=username, revoked_at=None)
    found = rows.filter(name=name).first()
    if found is None:
        names = ", ".join(rows.order_by("name").values_list("name", flat=True)) or "none"
        raise NotFound(f"{username} must have a token named {name!r} to revoke it, has {names}")
    return found
