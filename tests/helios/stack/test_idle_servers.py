"""Servers stay up for the next command, and stop by themselves when none came."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

from helios import liveness
from helios.env import Env
from helios.stack import children, idle, leases, stop
from helios.stack.servers import Lease, embedded_servers
from tests.helios.stack.test_leases import hold_elsewhere, running

pytestmark = pytest.mark.usefixtures("quick_servers")
SHORT_S, LONG_S, LIMIT_S = 2.0, 600.0, 60.0
MakeEnv = Callable[..., Env]


@pytest.fixture
def make(make_env: MakeEnv) -> Iterator[MakeEnv]:
    """Settings with an idle time; caretakers end with the test."""
    made: list[Env] = []

    def settings(idle_s: float, **more: object) -> Env:
        made.append(make_env(servers_idle_s=idle_s, **more))
        return made[-1]

    yield settings
    for env in made:
        idle.dismiss(env.var_dir)
    for pid in list(children._ours):
        children.reap(pid)


def used(env: Env) -> int:
    """A command that comes and goes; the caretaker's process id afterwards, 0 without one."""
    with Lease(env):
        pass
    note = idle.read(env.var_dir)
    return note.pid if note else 0


def leases_lock(env: Env) -> Path:
    return leases.folder_of(env.var_dir) / "lock"


def stopped(env: Env) -> bool:
    return children.wait_until(lambda: running(env) == (False, False), timeout_s=LIMIT_S, every_s=0.2)


def test_the_second_command_finds_them_running_and_the_last_is_followed_by_a_clean_stop(
    make: MakeEnv, root: Path
) -> None:
    env, other = make(SHORT_S), make(LONG_S, var_dir=root / "other" / "var")
    first, elsewhere = used(env), used(other)
    with Lease(env) as lease:
        assert lease.started == []
    assert idle.read(env.var_dir).pid == first
    assert stopped(env)
    assert children.wait_until(lambda: not children.reap(first), timeout_s=LIMIT_S)
    assert not (env.var_dir / "postgres" / "postmaster.pid").exists()  # a server that was killed leaves it
    assert idle.read(env.var_dir) is None
    assert running(other) == (True, True)
    assert liveness.birth(elsewhere)


def test_a_lease_or_a_connection_keeps_them_up_however_long(make: MakeEnv) -> None:
    env = make(SHORT_S)
    used(env)
    server = embedded_servers(env).postgres
    assert server is not None
    connection = psycopg2.connect(server.dsn())
    with Lease(env):
        assert not children.wait_until(lambda: running(env) != (True, True), timeout_s=2 * SHORT_S, every_s=0.3)
    assert not children.wait_until(lambda: running(env) != (True, True), timeout_s=2 * SHORT_S, every_s=0.3)
    connection.close()
    assert stopped(env)


def test_a_killed_caretaker_harms_nothing_and_the_next_command_starts_another(make: MakeEnv) -> None:
    env = make(LONG_S)
    first = used(env)
    os.kill(first, signal.SIGKILL)
    assert children.wait_until(lambda: not children.reap(first), timeout_s=LIMIT_S)
    assert running(env) == (True, True)
    second = used(env)
    assert second not in {0, first}
    now = env.model_copy(update={"servers_idle_s": 0.0})
    assert used(now) == 0
    assert running(env) == (False, False)
    assert liveness.birth(second) is None


def test_commands_that_end_at_once_share_one_caretaker(make: MakeEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    env = make(LONG_S)
    monkeypatch.setenv("HELIOS_SERVERS_IDLE_S", str(LONG_S))
    with Lease(env):
        others = [hold_elsewhere(env) for _ in range(3)]
    assert idle.read(env.var_dir) is None  # those three still use them
    for other in others:
        assert other.stdin
        other.stdin.write(b"\n")
        other.stdin.flush()
    for other in others:
        other.communicate()
    assert idle.read(env.var_dir)
    command = ["pgrep", "-f", "-c", f"helios.stack.idle_process {env.var_dir}"]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "1"


def test_stopping_ends_the_caretaker_first(make: MakeEnv) -> None:
    env = make(LONG_S)
    caretaker = used(env)
    stop.run(env)
    assert running(env) == (False, False)
    assert liveness.birth(caretaker) is None


def test_a_folder_that_is_removed_takes_its_servers_along(make: MakeEnv) -> None:
    env = make(LONG_S)
    caretaker = used(env)
    pids = [server.pid() for server in embedded_servers(env).named().values()]
    for _ in range(2):  # each look takes the lock
        before = leases_lock(env).stat().st_mtime_ns
        assert children.wait_until(lambda: leases_lock(env).stat().st_mtime_ns != before, timeout_s=LIMIT_S)  # noqa: B023
    shutil.rmtree(env.var_dir)
    assert children.wait_until(lambda: not any(map(children.reap, pids)), timeout_s=LIMIT_S, every_s=0.2)
    assert children.wait_until(lambda: not children.reap(caretaker), timeout_s=LIMIT_S)


def test_without_a_caretaker_they_stop_with_the_command(make: MakeEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    env = make(LONG_S)
    with Lease(env) as lease:
        monkeypatch.setattr(children, "spawn", full)
        assert lease.release() is True
    assert running(env) == (False, False)
    assert leases.living(leases.folder_of(env.var_dir)) == []
