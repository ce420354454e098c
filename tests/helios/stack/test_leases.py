"""The first process starts the embedded servers, the last one stops them, whatever happens between."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import psutil
import psycopg2
import pytest

from helios.env import Env
from helios.stack import children, endpoints, leases, servers, stop
from helios.stack.children import StackError
from helios.stack.servers import Lease, embedded_servers
from tests.support.places import ROOT

pytestmark = pytest.mark.usefixtures("quick_servers")
MakeEnv = Callable[..., Env]
HOLD = """
import sys
from pathlib import Path
from helios.env import Env
from helios.stack.servers import Lease
env = Env(_env_file=None, var_dir=Path(sys.argv[1]), database_url=None, redis_url=None)
with Lease(env) as lease:
    print(lease.started, flush=True)
    sys.stdin.readline()
"""
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(1, flush=True)
while True:
    signal.pause()
"""


def living_leases(env: Env) -> list[int]:
    return leases.living(leases.folder_of(env.var_dir))


def running(env: Env) -> tuple[bool, bool]:
    found = embedded_servers(env)
    assert found.postgres is not None
    assert found.valkey is not None
    return found.postgres.pid() is not None, found.valkey.pid() is not None


def hold_elsewhere(env: Env) -> subprocess.Popen[bytes]:
    """Another process that holds a lease until it gets a line; it finds a data folder there."""
    server = embedded_servers(env).postgres
    assert server is not None
    server.data_dir.parent.mkdir(parents=True, exist_ok=True)
    server._initialise(Path(), None)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(env.var_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert other.stdout is not None
    other.stdout.readline()
    return other


def test_servers_run_for_the_length_of_the_block(make_env: MakeEnv) -> None:
    env = make_env()
    with Lease(env) as lease:
        assert lease.started == ["PostgreSQL", "Valkey"]
        assert running(env) == (True, True)
        url = endpoints.django_database(endpoints.embedded(env.var_dir).database_url)
        psycopg2.connect(host=url["HOST"], port=url["PORT"], user=url["USER"], dbname=url["NAME"]).close()
    assert running(env) == (False, False)
    assert lease.release() is False


def test_nobody_else_may_hold_the_lock_that_every_command_waits_for(make_env: MakeEnv) -> None:
    env = make_env()
    folder = leases.folder_of(env.var_dir)
    folder.mkdir(parents=True)
    folder.chmod(0o755)  # as an earlier version left it
    with Lease(env):
        assert (folder / "lock").exists()
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_block_that_fails_stops_them_too(make_env: MakeEnv) -> None:
    env = make_env()
    with pytest.raises(RuntimeError), Lease(env):
        raise RuntimeError
    assert running(env) == (False, False)


def test_the_last_of_two_processes_stops_them(make_env: MakeEnv) -> None:
    env = make_env()
    other = hold_elsewhere(env)
    with Lease(env) as lease:
        assert lease.started == []
        assert living_leases(env) == sorted([os.getpid(), other.pid])
    assert running(env) == (True, True)
    other.communicate(b"\n")
    assert running(env) == (False, False)


def test_a_killed_holder_counts_as_gone(make_env: MakeEnv) -> None:
    env = make_env()
    other = hold_elsewhere(env)
    other.kill()
    other.communicate()
    assert running(env) == (True, True)
    with Lease(env) as lease:
        assert lease.started == []
    assert running(env) == (False, False)


def test_a_lease_with_a_reused_number_counts_as_gone(make_env: MakeEnv) -> None:
    env = make_env()
    lease = leases.path_of(leases.folder_of(env.var_dir), 1)
    lease.parent.mkdir(parents=True)
    lease.symlink_to("boot:0")  # process 1 lives, but it did not begin in that moment
    another = lease.with_suffix(".1")  # of a container, which has a process 1 of its own
    another.symlink_to("boot:0")
    assert living_leases(env) == []
    assert [path.name for path in lease.parent.iterdir()] == [another.name]


def test_a_step_of_the_wall_clock_takes_nobodys_lease(make_env: MakeEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    env = make_env()
    other = hold_elsewhere(env)
    since_boot = psutil._pslinux.boot_time()  # psutil tells when a process began by this, and the clock moves it
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: since_boot + 3_600)
    with Lease(env):
        assert living_leases(env) == sorted([os.getpid(), other.pid])
    assert running(env) == (True, True)
    other.communicate(b"\n")
    assert running(env) == (False, False)


def test_a_lease_is_taken_where_not_a_byte_can_be_written(make_env: MakeEnv) -> None:
    env = make_env(database_url="postgresql://h/x", redis_url="redis://h")
    with Lease(env):
        pass
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            (env.var_dir / "file").write_text("x")
        with Lease(env):
            found = living_leases(env)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert found == [os.getpid()]


def test_a_server_that_is_killed_runs_again_while_somebody_holds_a_lease(make_env: MakeEnv) -> None:
    env = make_env()
    said: list[str] = []
    with Lease(env, lambda name, sentence: said.append(f"{name} {sentence}")) as lease:
        for name, server in lease.servers.named().items():
            pid = server.pid()
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            assert children.wait_until(lambda name=name: any(name in each for each in said), timeout_s=120)
            assert server.pid() not in {None, pid}
        assert [re.sub(r"\d+\.\d", "N", each) for each in said] == [
            "PostgreSQL ended unexpectedly; runs again after N s",
            "Valkey ended unexpectedly; runs again after N s",
        ]
    assert running(env) == (False, False)


class Failing:
    """A server that is gone and cannot be started."""

    def __init__(self, error: Exception, until: int) -> None:
        self.tries, self._error, self._until = 0, error, until

    def pid(self) -> int | None:
        return None

    def start(self) -> bool:
        self.tries += 1
        if self.tries < self._until:
            raise self._error
        return True


def test_a_server_that_cannot_start_is_tried_again_with_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[int] = []
    monkeypatch.setattr(servers, "pause_s", lambda n: paused.append(n) or 0.0)
    said: list[str] = []
    server = Failing(OSError("its folder\nis full"), until=3)
    keeper = servers._Keeper("Valkey", server, lock=nullcontext, say=lambda *words: said.append(" ".join(words)))
    keeper._replace(missed_at=0.0)
    assert server.tries == 3
    assert said[0] == "Valkey ended unexpectedly and cannot be started, next try in 0 s: its folder is full"
    assert "runs again after" in said[2]
    assert sorted(set(paused)) == [1, 2]


def test_a_server_that_ends_while_its_database_is_made_is_one_sentence(
    make_env: MakeEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise psycopg2.OperationalError("server closed the connection\nunexpectedly")

    monkeypatch.setattr(servers.EmbeddedPostgres, "_make_database", gone)
    env = make_env(redis_url="redis://h")
    with pytest.raises(StackError, match=r"cannot be made: server closed the connection unexpectedly$"):
        Lease(env)
    assert children.processes_in(env.var_dir / "postgres") == []
    assert living_leases(env) == []


def test_external_servers_are_neither_started_nor_stopped(make_env: MakeEnv) -> None:
    env = make_env(database_url="postgresql://h/x", redis_url="redis://h")
    with Lease(env) as lease:
        assert lease.started == []
        assert lease.servers == servers.Servers(None, None)


def test_a_forked_child_releases_nothing(make_env: MakeEnv) -> None:
    env = make_env(database_url="postgresql://h/x", redis_url="redis://h")
    with Lease(env) as lease:
        owner, lease._owner = lease._owner, -1  # as a child would see it: another process id
        assert lease.release() is False
        lease._owner = owner


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_one_sentence(make_env: MakeEnv, root: Path) -> None:
    root.chmod(0o500)
    with pytest.raises(StackError, match="Helios cannot write to"):
        Lease(make_env())


def test_a_file_where_the_folder_must_be_is_one_sentence(make_env: MakeEnv, root: Path) -> None:
    (root / "var").write_text("")
    with pytest.raises(StackError, match=r"Helios cannot write to .*: Not a directory"):
        Lease(make_env())


def test_stopping_is_refused_while_a_process_uses_the_servers(make_env: MakeEnv) -> None:
    env = make_env(redis_url="redis://h", database_url="postgresql://h/x")
    with Lease(env), pytest.raises(StackError, match=f"Helios is running .process {os.getpid()}."):
        stop.run(env)


def test_stopping_leaves_the_data_and_cleaning_removes_what_lies_outside(
    make_env: MakeEnv, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = root / "outside"
    for module in (servers, stop):
        monkeypatch.setattr(module, "server_home", lambda _: outside)
        monkeypatch.setattr(module, "socket_dir", lambda _: outside / "run")
    env = make_env()
    found = embedded_servers(env)
    found.start()
    assert running(env) == (True, True)
    stop.run(env)
    assert running(env) == (False, False)
    assert (outside / "postgres" / "PG_VERSION").exists()
    stop.run(env, remove=True)
    assert not outside.exists()


def test_stop_as_a_command_reports_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, make_env: MakeEnv, capsys: pytest.CaptureFixture[str]
) -> None:
    env = make_env(redis_url="redis://h", database_url="postgresql://h/x")
    monkeypatch.setattr(stop, "load_env", lambda: env)
    assert stop.main() == 0
    with Lease(env):
        assert stop.main() == 1
    assert capsys.readouterr().err.startswith("Helios is running")


def test_a_process_that_ignores_a_polite_signal_is_killed() -> None:
    stubborn = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    assert children.end(stubborn.pid, first=children.signal.SIGTERM, timeout_s=0.2) is False
    stubborn.communicate()
    assert children.is_alive(stubborn.pid) is False
    assert children.end(stubborn.pid, first=children.signal.SIGTERM, timeout_s=0.2) is True


def test_a_server_that_cannot_start_leaves_the_other_one_not_running(
    make_env: Callable[..., Env], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Path:
        raise StackError("The embedded Valkey is not installed")

    monkeypatch.setattr("helios.stack.valkey.binary", missing)
    env = make_env()
    with pytest.raises(StackError, match="The embedded Valkey is not installed"):
        servers.Lease(env)
    assert (env.var_dir / "postgres" / "PG_VERSION").exists()
    assert children.processes_in(env.var_dir / "postgres") == []
    assert living_leases(env) == []


def test_the_servers_files_of_root_follow_a_moved_project_and_not_a_copied_one(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(endpoints, "ROOT_STATE", root / "state")
    closed = root / "closed"
    closed.mkdir(mode=0o700)
    first, moved, copied = (closed / name / "var" for name in ("helios \udce9\n", "moved", "copied"))
    first.mkdir(parents=True)
    servers.adopt_moved_files(first)
    (endpoints.server_home(first) / "postgres").mkdir(parents=True)

    first.parent.rename(moved.parent)
    servers.adopt_moved_files(moved)
    assert (endpoints.server_home(moved) / "postgres").is_dir()
    assert not endpoints.server_home(first).exists()

    shutil.copytree(moved.parent, copied.parent)
    servers.adopt_moved_files(copied)
    assert (endpoints.server_home(moved) / "postgres").is_dir()
    assert not endpoints.server_home(copied).exists()
