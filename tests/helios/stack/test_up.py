"""`make up`: set-up once, five processes, one page of addresses, and nothing left after Ctrl-C."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from helios.console import Console
from helios.env import Env
from helios.stack import children, training, up
from helios.stack.children import StackError
from helios.stack.steps import Step, Steps
from tests.support.harness import run_sql
from tests.support.running import OUTAGE, Up, answers, free_ports
from tests.support.servers import UNSAFE_SETTINGS

# The real thing, less the steps that load data and train: those are the demo's business.
SHORT_UP = f"""
import sys
from helios.stack import postgres, up
postgres.SETTINGS = {{**postgres.SETTINGS, **{UNSAFE_SETTINGS}}}  # it need not outlive the machine
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
    assert asked == ["migrate", "import_data", "train", "demo_book", "ensure_admin"]


def test_a_later_start_does_neither(
    asked: list[str], make_env: Callable[..., Env], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "exists", lambda *_: True)
    monkeypatch.setattr(Steps, "run", lambda _, step: asked.append(step.words[0]) or {"created": False})
    assert set_up(make_env(environment="staging")) is None
    assert asked == ["migrate", "demo_book", "ensure_admin"]


def test_the_password_is_on_the_page_only_when_it_was_made(make_env: Callable[..., Env]) -> None:
    def page(admin: dict[str, str] | None, **settings: Any) -> str:
        console = Console(file=io.StringIO(), width=250)
        console.print(up.addresses(make_env(web_port=8123, flower_port=5123, **settings), admin))
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    assert "admin / pw" in page({"username": "admin", "password": "pw"})
    assert "manage.py changepassword admin` sets a new" in page(None, flower_basic_auth="me:own")
    assert "http://127.0.0.1:8123/admin/" in page(None)
    assert "http://127.0.0.1:5123" in page(None)
    kept = make_env().flower_login()
    assert [kept.replace(":", " / ") in page(None) for _ in range(2)] == [True, True]


def test_a_start_that_is_refused_for_its_ports_writes_nothing(make_env: Callable[..., Env], free_port: int) -> None:
    env = make_env(web_port=free_port, flower_port=free_port)
    before = sorted(env.var_dir.rglob("*"))
    with pytest.raises(StackError, match=f"Port {free_port} is given to both"):
        up.run(env, Console(file=io.StringIO()))
    assert sorted(env.var_dir.rglob("*")) == before
    assert not env.flower_login_path.exists()


def test_each_line_carries_its_process_and_brackets_stay_as_they_are() -> None:
    console = Console(file=io.StringIO(), width=40)
    emit = up.coloured(console)
    emit("web", "[red] is text")
    emit("new", "x" * 60)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == ["web         | [red] is text", "new         | " + "x" * 60]


def test_a_console_that_takes_nothing_holds_up_nobody() -> None:
    source, sink = os.pipe()
    shown: list[str] = []
    with os.fdopen(source) as reading, os.fdopen(sink, "w") as file:
        later = up.ConsoleQueue(console := Console(file=file, width=200))
        emit = partial(later, up.coloured(console))
        for number in range(3 * up.MOST_WAITING):  # 150 bytes each, and nobody reads
            emit("web", f"{number:06} {'x' * 130}")
        later.end(timeout_s=0.1)
        reader = threading.Thread(target=lambda: shown.extend(reading))
        reader.start()
        later.end(timeout_s=60)
        file.close()
        reader.join(60)
    lines = [line.split()[2] for line in shown if line.startswith("web")]
    assert lines[: up.MOST_WAITING] == [f"{number:06}" for number in range(up.MOST_WAITING)]
    (told,) = [line for line in shown if "left out" in line]
    assert told.startswith(f"{3 * up.MOST_WAITING - len(lines):,} lines are left out here")


@pytest.fixture
def start(root: Path) -> Iterator[Callable[..., Up]]:
    made: list[Up] = []

    def launch(**env: str) -> Up:
        made.append(Up(root, ["-c", SHORT_UP], **env))
        return made[-1]

    yield launch
    for each in made:
        if each.process.poll() is None:
            each.end(signal.SIGKILL)


@pytest.mark.stack
def test_the_whole_stack_comes_up_mends_itself_and_leaves_nothing_after_ctrl_c(
    start: Callable[..., Up], root: Path
) -> None:
    web, flower = free_ports(2)
    assert start(HELIOS_WEB_PORT=str(web), HELIOS_FLOWER_PORT=str(web)).process.wait(60) == 1  # a first try, refused
    running = start(HELIOS_WEB_PORT=str(web), HELIOS_FLOWER_PORT=str(flower))
    running.await_text("Helios is running")
    again = start(HELIOS_WEB_PORT=str(web), HELIOS_FLOWER_PORT=str(flower))
    assert again.process.wait(60) == 1
    assert again.text().count(f"This stack runs already (process {running.process.pid})") == 1
    assert re.search(r"Login\s+│\s+admin / \S{16,}", running.text()), running.text()
    assert answers(f"http://127.0.0.1:{web}/health")
    assert children.wait_until(lambda: answers(f"http://127.0.0.1:{flower}/static/favicon.ico"), timeout_s=120)
    assert children.wait_until(lambda: running.answering() >= {"worker", "gpu", "maintenance"}, timeout_s=120)
    flower_shows_tasks_to_who_has_the_login_and_settings_to_nobody(running, f"http://127.0.0.1:{flower}")
    a_flood_of_requests_takes_few_connections(running, f"http://127.0.0.1:{web}")
    kills_are_mended(running, web)
    family = psutil.Process(running.process.pid).children(recursive=True)
    assert len(family) >= 5
    assert running.end(signal.SIGINT) == 0
    assert "Everything is stopped." in running.text()
    assert [each.pid for each in family if children.is_alive(each.pid)] == []
    for folder in ("postgres", "valkey"):
        assert children.processes_in(root / "var" / folder) == []
    assert_few_words(running)


def flower_shows_tasks_to_who_has_the_login_and_settings_to_nobody(running: Up, flower: str) -> None:
    found = re.search(r"Login to Flower\s+│\s+(admin) / (\S{16,})", running.text())
    assert found, running.text()
    login = (found[1], found[2])
    kept = running.var / "flower_login"
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == (":".join(login), 0o600)
    pages = ("/workers", "/tasks", "/api/workers", "/metrics", "/healthcheck")
    for path in pages:
        assert httpx.get(flower + path).status_code == 401
        assert httpx.get(flower + path, auth=login, headers={"Host": "evil.example"}).status_code == 400
    host, port = flower.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as stranger:
        stranger.sendall(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 104857600\r\n\r\n")
        assert stranger.recv(12) == b"HTTP/1.1 400"
    healthy = httpx.get(f"{flower}/healthcheck", auth=login)
    assert (healthy.text, healthy.headers["X-Frame-Options"]) == ("OK", "DENY")
    workers = httpx.get(f"{flower}/api/workers?refresh=1", auth=login, timeout=30).json()
    assert len(workers) == 3
    secrets = [(running.var / "secret_key").read_text(), running.endpoints.database_url, running.endpoints.redis_url]
    for name, worker in workers.items():
        assert worker["conf"] == {}
        page = httpx.get(f"{flower}/worker/{name}", auth=login, timeout=30)
        assert page.status_code == 200
        assert [each for each in secrets if each in page.text + json.dumps(worker)] == []
    browser = httpx.Client(base_url=flower)
    assert browser.get("/workers", auth=login).status_code == 200
    assert [httpx.get(flower + path, auth=("admin", "guess")).status_code for path in pages] == [401] * 5
    assert httpx.get(f"{flower}/workers", auth=login).status_code == 429
    assert browser.get("/workers", auth=login).status_code == 200  # it is known
    browser.close()


def a_flood_of_requests_takes_few_connections(running: Up, web: str) -> None:
    """230 at once took all of PostgreSQL's connections; a web process has 20 threads that ask it."""
    counted = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    before = int(run_sql(running.endpoints.database_url, counted)[0][0])

    async def flood(path: str) -> list[int]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=web, timeout=120, limits=limits) as client:
            return [each.status_code for each in await asyncio.gather(*(client.get(path) for _ in range(230)))]

    assert set(asyncio.run(flood("/health/ready"))) == {200}
    assert set(asyncio.run(flood("/api/books/"))) <= {401, 429, 503}
    assert int(run_sql(running.endpoints.database_url, counted)[0][0]) - before <= 17


def kills_are_mended(running: Up, web: int) -> None:
    """`kill -9` of PostgreSQL, of Valkey and of a worker: all are there again, and beat's tasks are carried out."""
    killed = {name: running.kill(name) for name in ("PostgreSQL", "Valkey", "worker")}
    running.await_text("PostgreSQL  | ended unexpectedly; runs again after")
    running.await_text("Valkey      | ended unexpectedly; runs again after")
    running.await_text("worker      | was killed by SIGKILL; starts again in 1 s")
    at = run_sql(running.endpoints.database_url, "SELECT now()")[0][0]
    assert children.wait_until(lambda: running.answering() >= {"worker", "gpu", "maintenance"}, timeout_s=120)
    assert children.wait_until(lambda: answers(f"http://127.0.0.1:{web}/health/ready"), timeout_s=120)
    beaten = "SELECT count(*) FROM sentinel_heartbeats WHERE name = 'beat' AND ts > %s"
    assert children.wait_until(
        lambda: run_sql(running.endpoints.database_url, beaten, [at])[0][0] == 1, timeout_s=120, every_s=0.2
    ), running.text()
    assert {name: running.pid(name) for name in killed}.items().isdisjoint(killed.items())


def assert_few_words(running: Up) -> None:
    """A person can read what the console showed: no traceback, an outage in the same words whoever tells of it."""
    assert "Traceback" not in running.text()
    assert "Traceback" not in running.logged()
    assert [line for line in running.outages() if not OUTAGE.search(line)] == []
    assert len(running.lines) < 100, running.text()


def test_a_port_in_use_is_one_sentence_and_nothing_is_started(start: Callable[..., Up], root: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        running = start(HELIOS_WEB_PORT=str(port), HELIOS_FLOWER_PORT=str(free_ports(1)[0]))
        assert running.process.wait(60) == 1
        running._reader.join(10)
    assert running.text().startswith(f"Port {port} for web is already in use")
    assert running.text().count("\n") == 1
    assert not (root / "var" / "postgres").exists()


@pytest.mark.parametrize(
    ("there", "done"),
    [
        (set(), ["load", "train", "book"]),
        ({"sample"}, ["train", "book"]),
        ({"sample", "model"}, ["book"]),
        ({"own"}, []),  # whoever has bars of their own needs neither the sample's model nor its book
        ({"own", "model"}, []),
    ],
)
def test_it_sets_up_the_sample_unless_a_person_has_bars_of_their_own(
    monkeypatch: pytest.MonkeyPatch, there: set[str], done: list[str]
) -> None:
    names = [(up.LOAD, "load"), (up.TRAIN, "train"), (up.BOOK, "book")]
    asked, stored = list[Step](), set(there)

    class Noting(Steps):
        def __init__(self) -> None: ...

        def run(self, step: Step, **_: Any) -> dict[str, Any]:
            asked.append(step)
            if step is up.LOAD:
                stored.add("sample")
            return {}

    def exists(_: Env, query: str) -> bool:
        if "ml_models" in query:
            return "model" in stored
        return bool({"sample"} & stored if "sample:" in query else {"sample", "own"} & stored)

    monkeypatch.setattr(training, "exists", exists)
    monkeypatch.setattr(training, "remember", lambda *_: None)
    up.set_up(Env(), Noting())
    assert [name for step in asked for one, name in names if step is one] == done
