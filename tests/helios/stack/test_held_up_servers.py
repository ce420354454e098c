"""Servers that recover, hang, answer by errors, or cannot write: nobody ends them, or starts a second one."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from helios.stack import children, environment, leases, stop
from helios.stack.children import StackError
from helios.stack.servers import Lease, embedded_servers
from tests.helios.stack.test_leases import MakeEnv, running

pytestmark = pytest.mark.usefixtures("quick_servers")


def test_who_wants_servers_that_are_held_up_waits_for_them_and_ends_none(make_env: MakeEnv) -> None:
    env = make_env()
    with Lease(env):
        both = embedded_servers(env).named().values()
        pids = [one.pid() or 0 for one in both]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)  # as one that recovers, or loads what it holds
        going_on = threading.Timer(6, lambda: [os.kill(pid, signal.SIGCONT) for pid in pids])  # one look takes 5 s
        going_on.start()
        with ThreadPoolExecutor() as asking:
            assert [*asking.map(lambda one: one.start(), both)] == [False, False]
        assert [one.pid() for one in both] == pids


def test_a_server_that_cannot_be_seen_keeps_its_folder(make_env: MakeEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """As from another container, which sees its files and not its processes."""
    with Lease(env := make_env()):
        for server in embedded_servers(env).named().values():
            os.kill(before := server.pid() or 0, signal.SIGSTOP)
            with monkeypatch.context() as container:
                container.setattr(children, "processes_in", lambda *_: [])
                container.setattr(children, "SILENT_S", 0.5)
                container.setattr(children, "runs_in", lambda *_: False)
                container.setattr(leases, "living", lambda _: [])
                for act in (server.start, partial(stop.run, env, remove=True)):
                    with pytest.raises(StackError, match="must be used by no other server"):
                        act()
            assert server.pid() == before
            os.kill(before, signal.SIGCONT)


def test_what_a_shell_has_set_for_another_server_ends_none(make_env: MakeEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lease(env := make_env()):
        server = embedded_servers(env).postgres
        assert server is not None
        before = server.pid()
        monkeypatch.setenv("PGSERVICE", "another")
        assert server.start() is False
        assert server.pid() == before
        monkeypatch.setattr(environment, "get_env", lambda: env)
        environment.load_env()
        assert server.clients() == 0  # by libpq
        assert "PGSERVICE" not in os.environ


def test_who_works_in_a_servers_folder_is_none_of_it(make_env: MakeEnv) -> None:
    env = make_env()
    with Lease(env):
        both = embedded_servers(env).named().values()
        others = [subprocess.Popen(["sleep", "60"], cwd=one.data_dir) for one in both]
        for one in both:
            os.kill(before := one.pid() or 0, signal.SIGKILL)
            assert children.wait_until(lambda: one.pid() not in (None, before) and one._answers(), timeout_s=30)  # noqa: B023
    for other in others:
        assert other.poll() is None
        other.kill()
        other.wait()


def test_who_ends_where_nothing_can_be_written_any_more_leaves_no_server(
    make_env: MakeEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = make_env()
    lease = Lease(env)
    opened = Path.open

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def read_only(path: Path, mode: str = "r", *given: Any, **named: Any) -> Any:
        return opened(path, mode, *given, **named) if mode in {"r", "rb"} else refused()

    monkeypatch.setattr(Path, "open", read_only)
    for name in ("unlink", "symlink_to", "write_text"):
        monkeypatch.setattr(Path, name, refused)
    lease.release()
    monkeypatch.undo()
    assert running(env) == (False, False)


def test_a_valkey_that_answers_by_an_error_is_there(make_env: MakeEnv) -> None:
    env = make_env(database_url="postgresql://h/x")
    with Lease(env):
        valkey = embedded_servers(env).valkey
        assert valkey is not None
        client = redis.Redis.from_url(valkey.url())
        client.config_set("busy-reply-threshold", 10)
        with ThreadPoolExecutor() as beside:
            endless = beside.submit(client.eval, "while 1 do end", 0)
            assert children.wait_until(lambda: valkey._ask("PING").startswith("-BUSY"), timeout_s=30)
            assert valkey.start() is False
            assert len(children.processes_in(valkey.data_dir)) == 1
            redis.Redis.from_url(valkey.url()).script_kill()
            assert isinstance(endless.exception(), redis.ResponseError)
