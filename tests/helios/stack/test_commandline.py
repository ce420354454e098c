"""`manage.py`: servers when they are needed, and errors in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import django.db
import psycopg2.errors
import pytest
import redis

from helios.env import Env
from helios.errors import HeliosError, Rejected
from helios.redaction import printable
from helios.stack import children, commandline
from tests.support import warm
from tests.support.places import ROOT


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, make_env: Callable[..., Env]) -> None:
    """No signal handlers, no log set-up and no servers in the test's own process."""
    env = make_env(database_url="postgresql://h/x", redis_url="redis://h")
    monkeypatch.setattr(commandline, "load_env", lambda: env)
    monkeypatch.setattr(commandline, "configure", lambda *_, **__: None)
    monkeypatch.setattr(commandline.children, "leave_on_sigterm", lambda: None)


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def execute(_argv: list[str]) -> None:
        raise error

    monkeypatch.setattr(commandline, "execute_from_command_line", execute)


def database_error(kind: type[Exception], cause: Exception) -> Exception:
    error = kind(str(cause))
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "words", [("list_data", "--sym\x1b]0;x\x07"), ("changepassword", "\u202ebob"), ("x\x9b2J",), ("a\rb",)]
)
@pytest.mark.usefixtures("quiet")
def test_no_command_says_back_what_a_terminal_obeys(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    assert commandline.run(["manage.py", *words]) == 1
    said = capsys.readouterr().err
    assert said == f"words of a command must hold no control characters, one was {printable(words[-1])}\n"


@pytest.mark.parametrize(
    ("argv", "needed"),
    [
        (["manage.py"], False),
        (["manage.py", "help"], False),
        (["manage.py", "backtest", "--help"], False),
        (["manage.py", "findstatic", "web/admin.css"], False),
        (["manage.py", "--version"], False),
        (["manage.py", "backtest", "--json"], True),
        (["manage.py", "migrate"], True),
    ],
)
def test_servers_are_started_only_for_commands_that_need_them(argv: list[str], needed: bool) -> None:
    assert commandline.needs_servers(argv) is needed


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (Rejected("the symbol must be known, was XYZ"), "the symbol must be known, was XYZ"),
        (redis.ConnectionError("gone"), "Redis or Valkey (HELIOS_REDIS_URL) cannot be reached: gone"),
        (
            django.db.OperationalError("could not\n  connect"),
            "PostgreSQL (HELIOS_DATABASE_URL) cannot be reached: could not connect",
        ),
    ],
)
def test_expected_errors_become_one_sentence(
    quiet: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    sentence: str,
) -> None:
    failing(monkeypatch, error)
    assert commandline.run(["manage.py", "x"]) == 1
    assert capsys.readouterr().err == f"{sentence}\n"


def test_a_database_without_tables_says_what_to_run(
    quiet: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], empty_database: str
) -> None:
    connection = psycopg2.connect(empty_database)
    with connection.cursor() as cursor, pytest.raises(psycopg2.errors.UndefinedTable) as missing:
        cursor.execute("SELECT 1 FROM market_ohlc")
    connection.close()
    failing(monkeypatch, database_error(django.db.ProgrammingError, missing.value))
    assert commandline.run(["manage.py", "x"]) == 1
    assert capsys.readouterr().err == (
        'The database lacks tables of this version (relation "market_ohlc" does not exist): '
        f"run `{commandline.python()} manage.py migrate`\n"
    )


def test_an_unexpected_error_keeps_its_traceback(quiet: None, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, django.db.ProgrammingError("syntax"))
    with pytest.raises(django.db.ProgrammingError):
        commandline.run(["manage.py", "x"])


def test_traceback_can_be_asked_for(quiet: None, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, HeliosError("x"))
    with pytest.raises(HeliosError):
        commandline.run(["manage.py", "x", "--traceback"])


def test_ctrl_c_ends_with_130(quiet: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    assert commandline.run(["manage.py", "x"]) == 130
    assert capsys.readouterr().err == "Interrupted\n"


def test_a_command_starts_the_servers_it_needs_and_stops_them(root: Path) -> None:
    environ = {**os.environ, "HELIOS_VAR_DIR": str(root / "var")}
    for name in ("HELIOS_DATABASE_URL", "HELIOS_REDIS_URL"):
        environ.pop(name)
    result = subprocess.run(
        [sys.executable, "manage.py", "showmigrations", "contenttypes"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "[ ] 0001_initial" in result.stdout
    for folder in ("postgres", "valkey"):
        assert (root / "var" / folder).exists()
        assert children.processes_in(root / "var" / folder) == []
    assert list((root / "var" / "leases").glob("[0-9]*")) == []


def test_a_first_command_finds_tables_in_the_database_that_is_made_for_it(root: Path) -> None:
    environ = {**os.environ, "HELIOS_VAR_DIR": str(root / "var"), "HELIOS_SERVERS_IDLE_S": "0"}
    for name in ("HELIOS_DATABASE_URL", "HELIOS_REDIS_URL"):
        environ.pop(name)
    argv = [sys.executable, "manage.py", "mode", "--json"]
    first, second = (
        subprocess.run(argv, cwd=ROOT, env=environ, capture_output=True, text=True, check=False) for _ in range(2)
    )
    assert (first.returncode, json.loads(first.stdout)) == (0, {"books": []}), first.stderr
    assert first.stderr == "Making the tables of a new database ...\n"
    assert (second.stdout, second.stderr) == (first.stdout, "")


@pytest.mark.parametrize(
    "words",
    [
        ("list_data", "--json"),
        ("download_data", "--pairs", "BTC/ZAR"),
        ("stream", "--pairs", "BTC/ZAR"),  # which has logged what it tried before
        ("repair_data",),
        ("bus", "status"),
    ],
)
def test_a_command_against_an_unmigrated_database_is_one_sentence(empty_database: str, words: tuple[str, ...]) -> None:
    environ = {**os.environ, "HELIOS_DATABASE_URL": empty_database, "HELIOS_VALR_URL": "http://127.0.0.1:9"}
    result = warm.run(["manage.py", *words], env=environ)
    assert result.returncode == 1
    assert result.stdout == ""
    *before, said = result.stderr.splitlines()
    assert said.startswith("The database lacks tables of this version")
    assert not before or words[0] == "stream"
