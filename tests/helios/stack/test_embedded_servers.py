"""The embedded servers start, stop, survive kills, and clear up after crashes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest
import redis
from django.core.cache.backends.redis import RedisCache
from django.db import OperationalError
from django.db.utils import ConnectionHandler
from flower.utils.broker import Broker as Monitor
from kombu import Connection

from helios.breakers.shared_state import SharedStore
from helios.control.news import announce
from helios.env import Env
from helios.stack import children, endpoints, postgres, training
from helios.stack.children import StackError
from helios.stack.postgres import EmbeddedPostgres
from helios.stack.servers import embedded_servers
from helios.stack.valkey import EmbeddedValkey
from tests.support.places import ROOT
from tests.support.servers import UNSAFE_SETTINGS, servers_in


@pytest.fixture
def server(root: Path) -> Iterator[EmbeddedPostgres]:
    made, _ = servers_in(root)
    yield made
    made.stop()


@pytest.fixture
def valkey(root: Path) -> Iterator[EmbeddedValkey]:
    _, made = servers_in(root)
    yield made
    made.stop()


def ask(server: EmbeddedPostgres, statement: str) -> object:
    connection = psycopg2.connect(server.dsn())
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone() if cursor.description else None
    finally:
        connection.close()


LEFT_FOR_HELIOS = """
SELECT string_agg(concat(rolname, ' ', rolconnlimit), ', ' ORDER BY rolname) FROM pg_roles WHERE rolname ~ 'helios'
"""


def kill_and_wait(pid: int) -> None:
    children.end(pid, first=signal.SIGKILL, timeout_s=10)


def test_the_first_start_makes_a_database_of_version_18_in_utc(server: EmbeddedPostgres) -> None:
    assert server.start() is True
    found = ask(server, "SELECT current_setting('server_version_num')::int / 10000, current_setting('timezone')")
    assert found == (18, "UTC")
    assert ask(server, "SELECT current_setting('listen_addresses'), current_setting('max_connections')") == (
        *("", "200"),
    )
    assert ask(server, "SELECT current_database()") == ("helios",)
    assert ask(server, LEFT_FOR_HELIOS) == ("helios -1, helios_maintenance 30, helios_worker 120",)


def test_the_roles_of_containers_have_their_passwords_and_are_no_superusers(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EmbeddedPostgres, "_settle_roles", lambda _: None)
    monkeypatch.setattr(EmbeddedPostgres, "_make_database", lambda *_: None)
    server.start()  # as the image's is: empty
    passwords = {f"POSTGRES_{name}_PASSWORD": f"it's {name}" for name in ("OWNER", "WORKER", "MAINTENANCE")}
    where = {"PATH": f"{postgres.reachable_binaries(None)}:{os.environ['PATH']}", "PGHOST": str(server.socket_dir)}
    script = ROOT / "deploy" / "postgres" / "roles.sh"
    subprocess.run([script], env={**where, **passwords, "POSTGRES_USER": "postgres"}, check=True)
    asked = "SELECT string_agg(rolname, ' ' ORDER BY rolname), bool_or(rolsuper OR rolcreaterole OR rolcreatedb)"
    assert ask(server, f"{asked}, bool_and(rolpassword IS NOT NULL) FROM pg_authid WHERE rolname ~ 'helios'") == (
        *("helios helios_maintenance helios_worker", False, True),
    )
    assert ask(server, LEFT_FOR_HELIOS) == ("helios -1, helios_maintenance 30, helios_worker 120",)
    assert ask(server, "SELECT datdba::regrole::text FROM pg_database WHERE datname = 'helios'") == ("helios",)


def test_a_second_start_leaves_the_server_alone(server: EmbeddedPostgres) -> None:
    server.start()
    pid = server.pid()
    assert server.start() is False
    assert server.pid() == pid


def test_a_server_without_a_connection_left_is_left_alone(root: Path) -> None:
    settings = {**UNSAFE_SETTINGS, "max_connections": "5"}
    server = EmbeddedPostgres(data_dir=root / "pg", socket_dir=root / "run", log=root / "log", settings=settings)
    server.start()
    held: list[object] = []
    try:
        with contextlib.suppress(psycopg2.OperationalError):
            while True:
                held.append(psycopg2.connect(server.dsn()))
        pid = server.pid()
        with pytest.raises(psycopg2.OperationalError, match="too many clients"):
            psycopg2.connect(server.dsn())
        assert server.start() is False
        assert server.pid() == pid
    finally:
        held.clear()
        server.stop()


def test_the_servers_logs_are_not_for_others_and_hold_nothing_of_a_statement(
    server: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    server.log.parent.mkdir(parents=True, exist_ok=True)
    server.log.write_text("from before\n")
    server.log.chmod(0o666)
    server.start()
    valkey.start()
    for statement in (
        "SELECT 'sk-a-secret'::int",
        "CREATE TABLE t (p text UNIQUE)",
        "SELECT $$sk-a-secret$$ FROM nowhere",
    ):
        with contextlib.suppress(psycopg2.Error):
            ask(server, statement)
    server.stop()
    text = server.log.read_text()
    assert "database system is shut down" in text
    assert "sk-a-secret" not in text
    assert [stat.S_IMODE(each.log.stat().st_mode) for each in (server, valkey)] == [0o640, 0o640]


def test_a_stop_keeps_the_data_and_leaves_no_process(server: EmbeddedPostgres) -> None:
    server.start()
    ask(server, "CREATE TABLE kept AS SELECT 7 AS n")
    server.stop()
    assert server.pid() is None
    assert children.processes_in(server.data_dir) == []
    server.start()
    assert ask(server, "SELECT n FROM kept") == (7,)


def test_committed_rows_survive_sigkill(root: Path) -> None:
    run = root / "run"
    server = EmbeddedPostgres(data_dir=root / "pg", socket_dir=run, log=root / "log")  # durable, as in `make up`
    server.start()
    try:
        ask(server, "CREATE TABLE kept AS SELECT 7 AS n")
        pid = server.pid()
        assert pid is not None
        kill_and_wait(pid)
        assert server.pid() is None
        assert server.start() is True
        assert ask(server, "SELECT n FROM kept") == (7,)
    finally:
        server.stop()


def test_a_connection_that_was_idle_while_the_server_crashed_is_told_as_one_that_is_lost(
    server: EmbeddedPostgres, django_db_blocker: Any
) -> None:
    server.start()
    ask(server, "CHECKPOINT")  # of the tests' fast server nothing else outlives a crash
    entry = endpoints.django_database(endpoints.postgres_url(server.socket_dir))
    connection = ConnectionHandler({"default": entry})["default"]
    with django_db_blocker.unblock():
        connection.ensure_connection()
        crashing = psycopg2.connect(server.dsn())
        os.kill(crashing.info.backend_pid, signal.SIGKILL)
        assert children.wait_until(lambda: "terminating any other" in server.log.read_text(), timeout_s=60)
        with pytest.raises(OperationalError, match="server closed the connection"), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        connection.close()
        assert children.wait_until(lambda: answers(connection), timeout_s=60)
        connection.close()


def answers(connection: Any) -> bool:
    with contextlib.suppress(OperationalError), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return True
    return False


def test_a_stale_pid_file_with_a_reused_number_does_not_stop_the_start(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    lines = [str(os.getpid()), str(server.data_dir), "0", "5432", str(server.socket_dir), "", "0 0", "ready"]
    (server.data_dir / "postmaster.pid").write_text("\n".join(lines) + "\n")
    (server.socket_dir / ".s.PGSQL.5432.lock").write_text(f"{os.getpid()}\n")
    assert server.pid() is None
    assert server.start() is True
    assert ask(server, "SELECT 1") == (1,)


def test_a_first_start_that_was_interrupted_begins_anew(server: EmbeddedPostgres) -> None:
    half = server.data_dir.with_name(f"{server.data_dir.name}.new")
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    assert server.start() is True
    assert not half.exists()


def test_the_folders_are_closed_to_others(server: EmbeddedPostgres, valkey: EmbeddedValkey) -> None:
    server.start()
    valkey.start()
    for path in (server.data_dir, server.socket_dir, valkey.data_dir):
        assert path.stat().st_mode & 0o077 == 0
    assert valkey.socket.stat().st_mode & 0o077 == 0


def test_a_server_that_cannot_start_says_why(root: Path) -> None:
    run = root / "run"
    server = EmbeddedPostgres(
        data_dir=root / "pg", socket_dir=run, log=root / "log", settings={"shared_buffers": "many"}
    )
    with pytest.raises(StackError, match=r"(?s)PostgreSQL did not start; its log ends:.*shared_buffers"):
        server.start()
    assert children.processes_in(server.data_dir) == []


def test_a_folder_of_somebody_else_is_refused(server: EmbeddedPostgres) -> None:
    server.socket_dir.parent.mkdir(parents=True, exist_ok=True)
    server.socket_dir.symlink_to("/tmp")  # noqa: S108 - the attack itself
    with pytest.raises(StackError, match="is another user's: remove it or choose another HELIOS_VAR_DIR"):
        server.start()
    server.socket_dir.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_root_is_told_which_folder_shuts_postgresql_out(root: Path) -> None:
    closed = root / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(data_dir=closed / "x" / "pg", socket_dir=root / "run", log=root / "log")
    with pytest.raises(StackError, match=f"which may not enter {closed}: choose another HELIOS_VAR_DIR"):
        server.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_programs_in_a_closed_folder_are_copied_to_where_they_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "ROOT_STATE", root / "state")
    monkeypatch.setattr(postgres, "closed_folder", lambda path: root if "site-packages" in str(path) else None)
    bin_dir = postgres.reachable_binaries(children.service_identity())
    assert bin_dir.is_relative_to(root / "state" / "programs")
    assert postgres.reachable_binaries(children.service_identity()) == bin_dir
    identity = children.service_identity()
    assert identity is not None
    for program in ("postgres", "initdb"):
        result = subprocess.run(
            [bin_dir / program, "--version"],
            user=identity.pw_uid,
            group=identity.pw_gid,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "18." in result.stdout


def test_a_missing_wheel_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(StackError, match="set HELIOS_DATABASE_URL"):
        postgres.reachable_binaries(None)


def test_valkey_brings_its_queues_back_after_a_stop(valkey: EmbeddedValkey) -> None:
    valkey.start()
    client = redis.Redis(unix_socket_path=str(valkey.socket))
    client.rpush("queue", "first", "second")
    client.close()
    valkey.stop()
    assert valkey.pid() is None
    assert valkey.start() is True
    client = redis.Redis(unix_socket_path=str(valkey.socket))
    assert client.lrange("queue", 0, -1) == [b"first", b"second"]
    client.close()


def test_valkey_starts_again_after_sigkill(valkey: EmbeddedValkey) -> None:
    valkey.start()
    client = redis.Redis(unix_socket_path=str(valkey.socket))
    client.set("kept", "1")
    client.execute_command("WAITAOF", 1, 0, 5000)
    client.close()
    pid = valkey.pid()
    assert pid is not None
    kill_and_wait(pid)
    assert valkey.start() is True
    client = redis.Redis(unix_socket_path=str(valkey.socket))
    assert client.get("kept") == b"1"
    client.close()


def test_valkey_listens_on_no_port_and_forgets_nothing_when_full(valkey: EmbeddedValkey) -> None:
    valkey.start()
    assert valkey.start() is False
    client = redis.Redis(unix_socket_path=str(valkey.socket))
    assert client.config_get("port") == {"port": "0"}
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    client.close()


def test_valkey_that_cannot_start_says_why(root: Path) -> None:
    (root / "data").mkdir()
    (root / "data" / "appendonlydir").write_text("a file where a folder must be")
    valkey = EmbeddedValkey(data_dir=root / "data", socket=root / "v.sock", log=root / "v.log")
    with pytest.raises(StackError, match=r"(?s)Valkey did not start; its log ends:.*appendonlydir"):
        valkey.start()


def test_servers_of_a_killed_test_run_die_with_it(root: Path) -> None:
    program = (
        "import os, signal\nfrom pathlib import Path\nfrom tests.support.servers import UNSAFE_SETTINGS, servers_in\n"
        f"for server in servers_in(Path({str(root)!r})): server.start(die_with_us=True)\n"
        "print('up', flush=True)\nsignal.pause()\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"up\n"
    folders = (root / "pg", root / "valkey")
    assert all(children.processes_in(folder) for folder in folders)
    owner.kill()
    owner.communicate()
    gone = children.wait_until(lambda: not any(children.processes_in(folder) for folder in folders), timeout_s=120)
    assert gone


@pytest.mark.parametrize("folder", [b"-a b#c&d+e%25f,g\\h'i\"j?k:l=m@n;\no\xfc" + "ü".encode() * 60])
def test_servers_work_in_a_folder_of_any_name(make_env: Callable[..., Env], root: Path, folder: bytes) -> None:
    env = make_env(var_dir=root / os.fsdecode(folder) / "var")
    servers, found = embedded_servers(env), endpoints.embedded(env.var_dir)
    assert servers.start() == ["PostgreSQL", "Valkey"]
    assert servers.start() == []
    assert training.exists(env, "SELECT 1")
    assert redis.Redis.from_url(found.redis_url).ping()
    with Connection(endpoints.celery_broker(found.redis_url)) as broker:
        broker.ensure_connection(max_retries=1)
    folders = [server.data_dir for server in servers.named().values()]
    assert [each.parent for each in folders] == [env.var_dir] * 2
    servers.stop()
    assert [pid for each in folders for pid in children.processes_in(each)] == []
    shutil.rmtree(endpoints.socket_dir(env.var_dir))


def test_valkey_takes_no_socket_folder_of_somebody_else(valkey: EmbeddedValkey) -> None:
    valkey.socket.parent.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(valkey.socket.parent, 12_345, 12_345)
    else:
        valkey.socket.parent.rmdir()
        valkey.socket.parent.symlink_to("/tmp")  # noqa: S108 - the attack itself
    with pytest.raises(StackError, match="is another user's: remove it or choose another HELIOS_VAR_DIR"):
        valkey.start()


def test_every_client_of_valkey_logs_in_with_a_password_of_any_signs(valkey: EmbeddedValkey) -> None:
    password = "/#[]?@:% ü;,+'\"&=\\{}|^`<>~!$*()é€"
    valkey.start()
    redis.Redis(unix_socket_path=str(valkey.socket)).config_set("requirepass", password)
    url = valkey.url(3).replace("unix://", f"unix://:{quote(password, safe='')}@")
    assert redis.Redis.from_url(url).ping()
    assert SharedStore.from_url(url).changes() == 0
    assert announce(url, "flags", "generation 7")
    cache = RedisCache([url], {})
    cache.set("key", "value")
    assert cache.get("key") == "value"
    broker = endpoints.celery_broker(url)
    with Connection(broker) as connection, connection.SimpleQueue("queue") as queue:
        queue.put("task")
        assert queue.get(timeout=10).payload == "task"
    assert Monitor(broker).redis.connection_pool.connection_kwargs["password"] == password
    assert password not in Connection(broker).as_uri()
    assert quote(password, safe="") not in Connection(broker).as_uri()
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(unix_socket_path=str(valkey.socket)).ping()
