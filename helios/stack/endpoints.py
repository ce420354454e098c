"""Where the servers are reached: functions from settings to addresses."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import stat
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from helios import server_urls
from helios.env import Env
from helios.errors import SettingsError

MAX_SOCKET_PATH = 90  # the kernel's limit is 107 bytes; leave room for the file's name
# What libpq (a comma parts two hosts), PostgreSQL's lists, URLs and the kernel all read the same.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")
# Under whose names processes speak to the database; what each may do there is in `helios.db.roles`.
OWNER, WORKER, MAINTENANCE = "helios", "helios_worker", "helios_maintenance"
CONNECTIONS = {WORKER: 120, MAINTENANCE: 30}  # at most, of 200: who halts a book finds one, whatever workers keep
OF_COMPONENT = {"worker": WORKER, "gpu": WORKER, "maintenance": MAINTENANCE}
# Said by each connection, so that it wins over what a role was set to: any role may `ALTER ROLE` itself.
_SESSION = {
    **dict.fromkeys(("statement_timeout", "transaction_timeout", "lock_timeout", "idle_session_timeout"), "0"),
    **dict.fromkeys(("default_transaction_read_only", "default_transaction_deferrable", "exit_on_error"), "off"),
    "default_transaction_isolation": r"read\ committed",
    "search_path": "public",
    "local_preload_libraries": "",
    # What values mean: a role may have set itself to others, and each worker would read them so.
    "extra_float_digits": "1",
    "transform_null_equals": "off",
    "array_nulls": "on",
    "bytea_output": "hex",
    "IntervalStyle": "postgres",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
    "client_connection_check_interval": "2s",  # what a process was in when it was killed ends with it
}
# A server that went without a word, as in a fail-over, is given up soon: by itself the kernel tries for a quarter of an
# hour, or for two hours where it waits for an answer alone.
_PATIENCE = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
LONGEST_TASK_S = 300  # a worker that idles in a transaction for longer hangs, and holds its rows for nobody
ROOT_STATE = Path("/var/lib/helios")  # where root keeps the server files of a checkout nobody else may enter


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Addresses of the two servers, as URLs that `HELIOS_DATABASE_URL` and `HELIOS_REDIS_URL` accept."""

    database_url: str
    redis_url: str


def digest(path: Path) -> str:
    """A short name for a folder, stable between runs."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


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
    """The folder of the embedded servers' sockets, where nobody else can put one: under `var`, or under the home of
    the user where that path is too long or not plain.

    Raises: SettingsError where neither will do.
    """
    home = _home()
    for folder in (server_home(var_dir) / "run", *([home / f"run-{digest(var_dir)}"] if home else [])):
        if _PLAIN_PATH.fullmatch(str(folder)) and len(str(folder)) <= MAX_SOCKET_PATH - len("/.s.PGSQL.5432"):
            return folder
    raise SettingsError(
        f"HELIOS_VAR_DIR must be a shorter folder of letters, digits and . _ - for the servers' sockets, was {var_dir}"
    )


def _home() -> Path | None:
    """By the user's number: two shells with other variables must not miss each other's servers."""
    if os.geteuid() == 0:
        return ROOT_STATE
    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".helios"
    except KeyError:
        return None  # a number without a name, as in some containers


def postgres_url(folder: Path, *, user: str = OWNER) -> str:
    """The address of the database of the server whose socket lies in `folder`, as `HELIOS_DATABASE_URL` takes it."""
    return f"postgresql://{user}@/helios?host={quote(os.fsencode(folder))}&port=5432"


def valkey_url(socket: Path, db: int = 0) -> str:
    """The address of a Unix socket, as `HELIOS_REDIS_URL` takes it."""
    return f"unix://{quote(os.fsencode(socket))}?db={db}"


def embedded(var_dir: Path, *, component: str = "") -> Endpoints:
    """The addresses of the embedded servers of this `var` folder, running or not, as a component reaches them."""
    folder = socket_dir(var_dir)
    user = OF_COMPONENT.get(component, OWNER)
    return Endpoints(database_url=postgres_url(folder, user=user), redis_url=valkey_url(folder / "valkey.sock"))


def configured(env: Env) -> Endpoints:
    """The addresses that these settings name; of the embedded servers where they name none."""
    database, redis = env.database_url, env.redis_url
    own = partial(embedded, env.var_dir, component=os.environ.get("HELIOS_COMPONENT", ""))  # there may be none
    return Endpoints(
        database_url=(database.get_secret_value() if database else own().database_url),
        redis_url=(redis.get_secret_value() if redis else own().redis_url),
    )


def django_database(url: str) -> dict[str, Any]:
    """Django's DATABASES entry for a `postgresql://` URL. Raises: ValueError with one sentence."""
    parts = server_urls.read(url, server_urls.DATABASE)
    query = dict(parts.query)
    idle_s = LONGEST_TASK_S if os.environ.get("HELIOS_COMPONENT") in OF_COMPONENT else 0
    session = {**_SESSION, "idle_in_transaction_session_timeout": f"{idle_s}s"}
    said = [*(f"-c {name}={value}" for name, value in session.items()), query.pop("options", "")]
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/") or "helios",
        "USER": parts.user,
        "PASSWORD": parts.password,
        "HOST": query.pop("host", parts.host),
        "PORT": query.pop("port", str(parts.port or "")),
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {**_PATIENCE, "application_name": "helios", "options": " ".join(said).strip(), **query},
    }


def celery_broker(url: str) -> str:
    """Celery's form of a redis URL. Raises: ValueError with one sentence.

    kombu spells a Unix socket `redis+socket://`, takes `;` for the end of a URL, and checks no certificate unless told.
    """
    parts = server_urls.read(url, server_urls.REDIS)
    login = f"{quote(parts.user, safe='')}:{quote(parts.password, safe='')}@" if parts.user or parts.password else ""
    if parts.scheme == "unix":
        return f"redis+socket://{login}{quote(parts.path)}?virtual_host={parts.query.get('db', '0')}"
    query = {"ssl_cert_reqs": "required"} if parts.scheme == "rediss" else {}
    host = f"[{parts.host}]" if ":" in parts.host else parts.host
    address = f"{parts.scheme}://{login}{host}" + (f":{parts.port}" if parts.port else "") + parts.path
    return f"{address}?{urlencode(query | dict(parts.query))}".rstrip("?")
