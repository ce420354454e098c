"""Addresses of servers, from settings alone."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from helios.env import Env
from helios.errors import SettingsError
from helios.stack import endpoints


def test_embedded_addresses_lie_in_one_socket_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found = endpoints.embedded(Path("/srv/h/var"))
    assert found.database_url == "postgresql://helios@/helios?host=/srv/h/var/run&port=5432"
    assert found.redis_url == "unix:///srv/h/var/run/valkey.sock?db=0"


@pytest.fixture
def ann(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Who runs this process: an ordinary user with a home."""
    person = SimpleNamespace(pw_dir="/home/ann")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(pwd, "getpwuid", {1000: person}.__getitem__)
    return person


@pytest.mark.usefixtures("ann")
def test_a_long_folder_gets_a_short_socket_path_that_stays_the_same() -> None:
    deep = Path("/srv") / ("d" * 120) / "var"
    folder = endpoints.socket_dir(deep)
    assert len(str(folder / ".s.PGSQL.5432")) < 107
    assert folder == endpoints.socket_dir(deep)
    assert folder != endpoints.socket_dir(deep.with_name("other"))


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize("sign", list(" #&+%,\\'\"?:=@;~[]{}()<>|*$!\nü\udce9"))
def test_a_folder_that_clients_would_read_otherwise_gets_sockets_elsewhere(
    monkeypatch: pytest.MonkeyPatch, sign: str
) -> None:
    folder = endpoints.socket_dir(Path(f"/srv/a{sign}b/var"))
    assert folder.parent == Path("/home/ann/.helios")
    assert folder not in {endpoints.socket_dir(Path(f"/srv/a{other}b/var")) for other in "-_._" if other != sign}
    for name in ("TMPDIR", "HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, "/elsewhere")
    assert folder == endpoints.socket_dir(Path(f"/srv/a{sign}b/var"))


def test_no_socket_lies_where_others_may_write(ann: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = Path("/srv") / ("d" * 120) / "var"
    for home in ("/home/" + "a" * 90, "/home/änn"):
        ann.pw_dir = home
        with pytest.raises(SettingsError, match=r"^HELIOS_VAR_DIR must be a shorter folder .*, was /srv/d+/var$"):
            endpoints.socket_dir(deep)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)  # a number without a name
    with pytest.raises(SettingsError, match="HELIOS_VAR_DIR must be a shorter folder"):
        endpoints.socket_dir(deep)
    elsewhere = {"database_url": "postgresql://db/x", "redis_url": "redis://q/0"}
    found = endpoints.configured(Env(_env_file=None, var_dir=deep, **elsewhere))
    assert (found.database_url, found.redis_url) == tuple(elsewhere.values())
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert endpoints.socket_dir(deep).parent == endpoints.ROOT_STATE


@pytest.mark.usefixtures("ann")
def test_a_plus_and_a_blank_are_two_folders() -> None:
    assert endpoints.embedded(Path("/srv/a b/var")) != endpoints.embedded(Path("/srv/a+b/var"))
    for folder in ("/srv/a+b", "/srv/a b"):
        assert endpoints.django_database(endpoints.postgres_url(Path(folder)))["HOST"] == folder


def test_root_keeps_its_servers_outside_a_closed_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "home").mkdir(mode=0o700)
    home = endpoints.server_home(tmp_path / "home" / "helios" / "var")
    assert home.is_relative_to(endpoints.ROOT_STATE)


def test_an_ordinary_user_keeps_its_servers_in_its_closed_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (tmp_path / "home").mkdir(mode=0o700)
    assert endpoints.server_home(tmp_path / "home" / "var") == tmp_path / "home" / "var"


def test_the_nearest_closed_folder_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "open").mkdir(parents=True)
    (closed / "open").chmod(0o755)
    closed.chmod(0o700)
    assert endpoints.closed_folder(closed / "open" / "not-there" / "var") == closed


def test_a_database_url_becomes_djangos_settings() -> None:
    entry = endpoints.django_database("postgresql://me:p%40ss@db.example:5433/h?sslmode=require&options=-c%20a%3Db")
    assert (entry["USER"], entry["PASSWORD"], entry["HOST"], entry["PORT"], entry["NAME"]) == (
        *("me", "p@ss", "db.example", "5433", "h"),
    )
    assert entry["OPTIONS"]["sslmode"] == "require"
    assert entry["OPTIONS"]["options"].endswith(" -c a=b")


def test_a_server_that_went_without_a_word_is_given_up_within_seconds() -> None:
    options = endpoints.django_database("postgresql://me@db.example/h?tcp_user_timeout=3000")["OPTIONS"]
    assert options["tcp_user_timeout"] == "3000"
    assert options["keepalives_idle"] + options["keepalives_interval"] * options["keepalives_count"] <= 15
    assert endpoints.django_database("postgresql://me@db.example/h")["OPTIONS"]["tcp_user_timeout"] <= 10_000


@pytest.mark.parametrize(("component", "idle"), [("", "0s"), ("web", "0s"), ("gpu", "300s"), ("maintenance", "300s")])
def test_a_worker_holds_nothing_while_it_idles_for_longer_than_its_tasks_may_take(
    monkeypatch: pytest.MonkeyPatch, component: str, idle: str
) -> None:
    monkeypatch.setenv("HELIOS_COMPONENT", component)
    entry = endpoints.django_database("postgresql://me@db.example/h")
    assert f"-c idle_in_transaction_session_timeout={idle} " in entry["OPTIONS"]["options"] + " "


def test_a_socket_folder_in_the_query_is_the_host() -> None:
    entry = endpoints.django_database("postgresql://postgres@/helios?host=/run/pg&port=5432")
    assert (entry["HOST"], entry["PORT"], entry["NAME"]) == ("/run/pg", "5432", "helios")


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite:///x", "nonsense"])
def test_another_kind_of_database_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="HELIOS_DATABASE_URL must start with postgresql://"):
        endpoints.django_database(url)


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("unix:///run/v.sock?db=3", "redis+socket:///run/v.sock?virtual_host=3"),
        ("unix:///run/v.sock", "redis+socket:///run/v.sock?virtual_host=0"),
        ("redis://q:6379/1", "redis://q:6379/1"),
        ("rediss://q:6379/1", "rediss://q:6379/1?ssl_cert_reqs=required"),
        ("rediss://q/1?ssl_cert_reqs=none", "rediss://q/1?ssl_cert_reqs=none"),
        ("redis://[::1]:6379/1", "redis://[::1]:6379/1"),
    ],
)
def test_a_redis_url_becomes_celerys(url: str, broker: str) -> None:
    assert endpoints.celery_broker(url) == broker


def test_another_kind_of_broker_is_refused() -> None:
    with pytest.raises(ValueError, match=r"HELIOS_REDIS_URL must start with redis://.*was amqp://"):
        endpoints.celery_broker("amqp://q")
