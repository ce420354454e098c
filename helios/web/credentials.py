"""Which token or session of ours a request's head carries, found with a bounded amount of work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from django.conf import settings

from helios.web.marks import is_marked

Headers = Sequence[tuple[bytes, bytes]]

COOKIES: Final = 8_192  # bytes of a Cookie header; Helios sets three, of 2 KiB together


def credential(headers: Headers) -> str:
    """The token, or else the session id, that this server made; empty for a stranger."""
    given = _only(value for name, value in headers if name == b"authorization").rpartition(" ")[2]
    return given if is_marked(given) else marked_cookie(headers, settings.SESSION_COOKIE_NAME)


def marked_cookie(headers: Headers, name: str) -> str:
    """The value of a cookie that this server made; empty without one, with several, and among too many others."""
    given = _only(value for header, value in headers if header == b"cookie")
    if len(given) > COOKIES:
        return ""
    cookies = (each.partition("=") for each in given.split(";"))
    values = [value.strip() for cookie, _, value in cookies if cookie.strip() == name]
    return values[0] if len(values) == 1 and is_marked(values[0]) else ""


def _only(values: Iterable[bytes]) -> str:
    """The one value of a header; empty for none and for several."""
    given = list(values)
    return given[0].decode("latin-1") if len(given) == 1 else ""
