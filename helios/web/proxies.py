"""Who asks, where proxies stand in front: what the header says is believed as far as a setting names them."""

from __future__ import annotations

from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request

from helios.clients import whole
from helios.web.lifespan import Message


def address(request: HttpRequest | Request) -> str | None:
    """The client's address: the other end of the connection, or with `TRUSTED_PROXIES` what the first of them saw.

    Each proxy adds to `X-Forwarded-For` whom it was asked by; what stands before their entries anybody may write.
    """
    return _seen(request.META.get("REMOTE_ADDR") or None, request.META.get("HTTP_X_FORWARDED_FOR", ""))


def address_of(scope: Message) -> str:
    """Whose a request is that Django has not seen, by the same address; empty where it has none."""
    peer = (scope.get("client") or [None])[0]
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    return whole(_seen(peer, forwarded.decode("latin-1")) or "")


def _seen(peer: str | None, forwarded: str) -> str | None:
    if not settings.TRUSTED_PROXIES:
        return peer
    seen = forwarded.split(",")[-settings.TRUSTED_PROXIES :]
    try:
        return str(ip_address(seen[0].strip()))
    except ValueError:
        return peer
