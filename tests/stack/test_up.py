"""`make up`: set-up once, five processes, one page of addresses, and nothing left after Ctrl-C."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from rich.console import Console

from helios.env import Env
from helios.stack import children, training, up
from helios.stack.steps import Step, Steps
from tests.harness import ROOT

# The real thing, less the steps that load data and train: those are the demo's business.
SHORT_UP = """
import sys
from helios.stack import up
def set_up(env, steps):
    steps.run(up.MIGRATE)
    return steps.run(up.ADMIN)
up.set_up = set_up
sys.exit(up.main())
"""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []

    def run(steps: Steps, step: Step) -> Any:
        seen.append(step.words[0])
        return {"created": True, "username": "admin", "password": "pw"} if step is up.ADMIN else {}

    monkeypatch.setattr(Steps, "run", run)
    monkeypatch.setattr(training, "remember", lambda *_: None)
    return seen


def set_up(env: Env) -> dict[str, str] | None:
    return up.set_up(env, Steps(Console(file=io.StringIO()), env.var_dir / "logs", "up"))


def test_the_first_start_loads_and_trains(
    asked: list[str], make_env: Callable[..., Env], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "exists", lambda *_: False)
    assert set_up(make_env()) == {"created": True, "username": "admin", "password": "pw"}
    assert asked == ["migrate", "ensure_admin", "import_data", "train", "demo_book"]


def test_a_later_start_does_neither(
    asked: list[str], make_env: Callable[..., Env], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "exists", lambda *_: True)
    monkeypatch.setattr(Steps, "run", lambda _, step: asked.append(step.words[0]) or {"created": False})
    assert set_up(make_env(environment="staging")) is None
    assert asked == ["migrate", "collectstatic", "ensure_admin", "demo_book"]


def test_the_password_is_on_the_page_only_when_it_was_made(make_env: Callable[..., Env]) -> None:
    def page(admin: dict[str, str] | None) -> str:
        console = Console(file=io.StringIO(), width=150)
        console.print(up.addresses(make_env(web_port=8123, flower_port=5123), admin))
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    assert "admin / pw" in page({"username": "admin", "password": "pw"})
    assert "Login" not in page(None)
    assert "http://127.0.0.1:8123/admin/" in page(None)
    assert "http://127.0.0.1:5123" in page(None)


def test_each_line_carries_its_process_and_brackets_stay_as_they_are() -> None:
    console = Console(file=io.StringIO(), width=40, highlight=False)
    emit = up.coloured(console)
    emit("web", "[red] is text")
    emit("new", "x" * 60)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == ["web         | [red] is text", "new         | " + "x" * 60]


def ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return found


class Up:
    """`make up` as a process, and what it printed."""

    def __init__(self, root: Path, **env: str) -> None:
        self.lines: list[str] = []
        environ = {**os.environ, "HELIOS_VAR_DIR": str(root / "var"), "HELIOS_WORKER_CONCURRENCY": "1", **env}
        for name in ("HELIOS_DATABASE_URL", "HELIOS_REDIS_URL"):
            environ.pop(name)
        self.process = subprocess.Popen(
            [sys.executable, "-c", SHORT_UP],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            self.lines.extend(iter(stream.readline, ""))

    def text(self) -> str:
        return "".join(self.lines)

    def await_text(self, text: str) -> None:
        here = children.wait_until(lambda: text in self.text() or self.process.poll() is not None, timeout_s=120)
        assert here, self.text()
        assert text in self.text(), self.text()

    def end(self, signum: signal.Signals) -> int:
        self.process.send_signal(signum)
        status = self.process.wait(120)
        self._reader.join(10)
        return status


@pytest.fixture
def start(root: Path) -> Iterator[Callable[..., Up]]:
    made: list[Up] = []

    def launch(**env: str) -> Up:
        made.append(Up(root, **env))
        return made[-1]

    yield launch
    for each in made:
        if each.process.poll() is None:
            each.end(signal.SIGKILL)


@pytest.mark.stack
def test_the_whole_stack_comes_up_and_leaves_nothing_after_ctrl_c(start: Callable[..., Up], root: Path) -> None:
    web, flower = ports(2)
    running = start(HELIOS_WEB_PORT=str(web), HELIOS_FLOWER_PORT=str(flower))
    running.await_text("Helios is running")
    assert re.search(r"Login\s+│\s+admin / \S{16,}", running.text()), running.text()
    assert answers(f"http://127.0.0.1:{web}/health")
    assert children.wait_until(lambda: answers(f"http://127.0.0.1:{flower}/healthcheck"), timeout_s=60)
    family = psutil.Process(running.process.pid).children(recursive=True)
    assert len(family) >= 5
    assert running.end(signal.SIGINT) == 0
    assert "Everything is stopped." in running.text()
    assert [each.pid for each in family if children.is_alive(each.pid)] == []
    for folder in ("postgres", "valkey"):
        assert children.processes_in(root / "var" / folder) == []


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_a_port_in_use_is_one_sentence_and_nothing_is_started(start: Callable[..., Up], root: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        running = start(HELIOS_WEB_PORT=str(port), HELIOS_FLOWER_PORT=str(ports(1)[0]))
        assert running.process.wait(60) == 1
        running._reader.join(10)
    assert running.text().startswith(f"Port {port} for web is already in use")
    assert running.text().count("\n") == 1
    assert not (root / "var" / "postgres").exists()
