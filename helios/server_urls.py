"""URLs of PostgreSQL and of Redis, read strictly.

Clients read an odd URL each in its own way: a password with `/` is a host and a port to one, an error that shows it to
the next. What RFC 3986 does not allow is refused here, once, before anybody connects.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

_CHAR = r"(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"
_SHAPE = re.compile(
    rf"[a-z]+://(?:(?P<user>{_CHAR}*)(?::(?P<password>(?:{_CHAR}|:)*))?@)?"
    rf"(?P<host>\[[0-9A-Fa-f:.]+\]|{_CHAR}*)(?::(?P<port>\d{{1,5}}))?"
    rf"(?P<path>(?:/(?:{_CHAR}|[:/])*)?)(?:\?(?P<query>(?:{_CHAR}|[:/?])*))?",
    re.ASCII,
)
_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What the URL of one kind of server may hold."""

    variable: str
    schemes: tuple[str, ...]
    form: str
    parameters: frozenset[str]


# Parameters of libpq that are handed on; user and password have their place before the @.
DATABASE = Kind(
    variable="HELIOS_DATABASE_URL",
    schemes=("postgresql", "postgres"),
    form="postgresql://user:password@host:5432/database",
    parameters=frozenset(
        {
            *("host", "port", "options", "application_name", "connect_timeout", "target_session_attrs"),
            *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "channel_binding", "tcp_user_timeout"),
            *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
        }
    ),
)
REDIS = Kind(
    variable="HELIOS_REDIS_URL",
    schemes=("redis", "rediss", "unix"),
    form="redis://:password@host:6379/0",
    parameters=frozenset({"ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUrl:
    """The parts of a URL, decoded."""

    scheme: str
    user: str
    password: str = field(repr=False)
    host: str
    port: int | None
    path: str
    query: Mapping[str, str]


def read(url: str, kind: Kind) -> ServerUrl:
    """The parts of a server's URL. Raises: ValueError with one sentence, of the URL only its scheme in it."""
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme not in kind.schemes:
        seen = scheme if re.fullmatch(r"[a-z][a-z0-9+.-]{0,15}", scheme, re.IGNORECASE) else "nothing"
        first = " or ".join(f"{each}://" for each in kind.schemes if each != "postgres")
        raise ValueError(f"{kind.variable} must start with {first}, was {seen}://")
    found = _SHAPE.fullmatch(url)
    if found is None:
        raise ValueError(_malformed(kind))
    try:
        raw = {name: unquote(value or "", errors="strict") for name, value in found.groupdict().items()}
        written = (found["query"] or "").replace("+", "%2B")  # which is no blank to libpq
        query = dict(parse_qsl(written, keep_blank_values=True, strict_parsing=True, errors="strict"))
    except ValueError:
        raise ValueError(_malformed(kind)) from None
    if "\0" in "".join([*raw.values(), *query.values()]):
        raise ValueError(_malformed(kind))
    parts = ServerUrl(
        scheme=scheme,
        user=raw["user"],
        password=raw["password"],
        host=raw["host"].strip("[]"),
        port=int(raw["port"]) if raw["port"] else None,
        path=raw["path"],
        query=query,
    )
    _check(parts, kind)
    return parts


def _check(parts: ServerUrl, kind: Kind) -> None:
    """Refuse what a client would meet only later, or pass over in silence."""
    variable = kind.variable
    for port in (parts.port, parts.query.get("port")):
        if port is not None and not (str(port).isdecimal() and 0 < int(port) <= _MAX_PORT):
            raise ValueError(f"{variable}: the port must be a number from 1 to {_MAX_PORT}, was {port!r}")
    allowed = frozenset({"db"}) if parts.scheme == "unix" else kind.parameters
    for name in parts.query.keys() - allowed:
        raise ValueError(f"{variable}: the parameter {name!r} is not known, known are {', '.join(sorted(allowed))}")
    if kind is REDIS:
        _check_redis(parts)


def _check_redis(parts: ServerUrl) -> None:
    number = parts.query.get("db", "0") if parts.scheme == "unix" else parts.path.removeprefix("/") or "0"
    if not (number.isascii() and number.isdecimal()):
        raise ValueError(f"HELIOS_REDIS_URL: the database must be a number, was {number!r}")
    if parts.scheme == "unix" and (parts.host or parts.port or len(parts.path) < len("/x")):
        raise ValueError("HELIOS_REDIS_URL: the path of the socket must follow unix://, as in unix:///run/valkey.sock")


def _malformed(kind: Kind) -> str:
    return (
        f"{kind.variable} cannot be read as {kind.form}: if the user or the password holds anything but letters and "
        "digits, such as / ? # [ ] @ % or a blank, write it URL-encoded (%2F for /)"
    )
