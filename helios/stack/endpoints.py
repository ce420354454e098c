"""Where the servers are reached: functions from settings to addresses."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

MAX_SOCKET_PATH = 90  # the kernel's limit is 107 bytes; leave room for the file's name
ROOT_STATE = Path("/var/lib/helios")  # where root keeps the server files of a checkout nobody else may enter


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Addresses of the two servers, as URLs that `HELIOS_DATABASE_URL` and `HELIOS_REDIS_URL` accept."""

    database_url: str
    redis_url: str


def digest(path: Path) -> str:
    """A short name for a folder, stable between runs."""
    return hashlib.sha256(str(path).encode()).hexdigest()[:12]


def closed_folder(path: Path) -> Path | None:
    """The nearest existing folder above `path` that other users may not enter; None when there is none."""
    for folder in path.parents:
        if folder.exists() and not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None


def server_home(var_dir: Path) -> Path:
    """The folder that holds the embedded servers' files.

    It is `var` itself, except for root with `var` inside a folder closed to others (such as its home):
    PostgreSQL refuses to run as root, so its system user must be able to reach its own files.
    """
    if os.geteuid() == 0 and closed_folder(var_dir) is not None:
        return ROOT_STATE / digest(var_dir)
    return var_dir


def socket_dir(var_dir: Path) -> Path:
    """The folder of the embedded servers' sockets: under `var`, or a short one when that path is too long."""
    wanted = server_home(var_dir) / "run"
    if len(str(wanted)) <= MAX_SOCKET_PATH - len("/.s.PGSQL.5432"):
        return wanted
    return Path(tempfile.gettempdir()) / f"helios-{digest(var_dir)}"


def embedded(var_dir: Path) -> Endpoints:
    """The addresses of the embedded servers of this `var` folder, running or not."""
    folder = socket_dir(var_dir)
    return Endpoints(
        database_url=f"postgresql://postgres@/helios?host={folder}&port=5432",
        redis_url=f"unix://{folder}/valkey.sock?db=0",
    )


def django_database(url: str) -> dict[str, Any]:
    """Django's DATABASES entry for a `postgresql://` URL."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ValueError(f"HELIOS_DATABASE_URL must start with postgresql://, was {parts.scheme or 'empty'}://")
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    options: dict[str, Any] = {"connect_timeout": 5, "application_name": "helios"}
    if "sslmode" in query:
        options["sslmode"] = query["sslmode"]
    if "options" in query:
        options["options"] = query["options"]
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "helios",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": query.get("host", parts.hostname or ""),
        "PORT": query.get("port", str(parts.port or "")),
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }


def celery_broker(url: str) -> str:
    """Celery's form of a redis URL: kombu spells a Unix socket `redis+socket://`."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        db = parse_qs(parts.query).get("db", ["0"])[-1]
        return f"redis+socket://{parts.path}?virtual_host={db}"
    if parts.scheme not in {"redis", "rediss"}:
        raise ValueError(
            f"HELIOS_REDIS_URL must start with redis://, rediss:// or unix://, was {parts.scheme or 'empty'}://"
        )
    return url
