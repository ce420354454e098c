"""Settings that start and still would hurt are named before they do."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from corsheaders.checks import check_settings
from django.core.checks import run_checks

from helios import system_checks as checks
from helios.modules.gate import runs
from tests.support import warm


def codes(messages: list[Any]) -> list[str]:
    return [message.id for message in messages]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The process's environment, to be changed by a test."""
    fake = SimpleNamespace(embedded_postgres=False, embedded_valkey=False, live_trading_armed=False)
    monkeypatch.setattr(checks, "get_env", lambda: fake)
    return fake


def test_the_settings_we_ship_pass(settings: Any, tmp_path: Path) -> None:
    settings.VAR_DIR = tmp_path  # the tests' own is made past the start that closes it
    assert [code for code in codes(run_checks()) if code != "helios.I001"] == []


def test_walls_that_the_machine_does_not_allow_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.walls() == [] or "without: " in checks.walls()[0].msg
    monkeypatch.setattr(runs, "missing_walls", lambda: ["file namespace", "Landlock"])
    (told,) = checks.walls()
    assert (told.id, told.msg) == (
        "helios.I001",
        "Candidate modules are tested here without: file namespace, Landlock.",
    )


@pytest.mark.parametrize(("environment_name", "found"), [("dev", []), ("staging", ["E001"]), ("prod", ["E001"])])
def test_a_debugging_server_is_for_development(settings: Any, environment_name: str, found: list[str]) -> None:
    settings.ENVIRONMENT, settings.DEBUG = environment_name, True
    assert codes(checks.debugging()) == [f"helios.{code}" for code in found]


@pytest.mark.parametrize(
    ("mode", "found"), [(0o755, ["helios.W003"]), (0o770, ["helios.W003"]), (0o750, []), (0o711, [])]
)
def test_a_var_folder_that_others_may_look_into_is_told(
    settings: Any, tmp_path: Path, mode: int, found: list[str]
) -> None:
    settings.VAR_DIR = tmp_path / "var"
    assert checks.var_folder() == []
    settings.VAR_DIR.mkdir()
    settings.VAR_DIR.chmod(mode)
    assert codes(checks.var_folder()) == found


def test_production_needs_named_hosts_and_real_servers(settings: Any, environment: SimpleNamespace) -> None:
    settings.ENVIRONMENT, settings.ALLOWED_HOSTS = "prod", ["*"]
    environment.embedded_valkey = True
    assert codes(checks.production()) == ["helios.E002", "helios.E003"]


@pytest.mark.parametrize(
    ("component", "words"),
    [
        ("web", ["-c", "import helios.asgi"]),
        ("worker", ["-m", "celery", "-A", "celery_app", "worker", "-P", "solo"]),
        ("flower", ["-m", "celery", "-A", "celery_app", "flower", "--port=0"]),
    ],
)
def test_no_process_starts_with_an_error_in_its_settings(component: str, words: list[str], tmp_path: Path) -> None:
    wrong = {"HELIOS_ENVIRONMENT": "staging", "HELIOS_DEBUG": "1", "HELIOS_COMPONENT": component}
    ended = warm.run(words, env={**os.environ, **wrong, "HELIOS_VAR_DIR": str(tmp_path)})
    assert ended.returncode != 0
    assert ended.stderr.strip().endswith("HELIOS_DEBUG must be off when HELIOS_ENVIRONMENT is staging.")


def test_a_sound_production_environment_passes(settings: Any, environment: SimpleNamespace) -> None:
    settings.ENVIRONMENT, settings.DEBUG, settings.ALLOWED_HOSTS = "prod", False, ["helios.example.org"]
    assert checks.production() == []


@pytest.mark.parametrize(
    "origin", ["*", "desk.example.org", "https://desk.example.org/path", "ftp://x", "https://", "null"]
)
def test_an_origin_that_is_none_is_refused(settings: Any, origin: str) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://good.example.org:8443", origin]
    found = [*checks.cors_origins(), *check_settings()]
    assert set(codes(found)) <= {"helios.E004", "corsheaders.E013", "corsheaders.E014"}
    assert origin in " ".join(each.msg + (each.hint or "") for each in found)


def test_a_task_may_not_outlive_its_message(settings: Any) -> None:
    settings.CELERY_TASK_TIME_LIMIT = settings.VISIBILITY_TIMEOUT_S
    assert codes(checks.celery()) == ["helios.E005"]


def test_every_queue_has_to_exist(settings: Any) -> None:
    settings.CELERY_TASK_QUEUES = {"default": {}}
    (found,) = checks.celery()
    assert found.id == "helios.E006"
    assert "gpu" in found.msg


def test_the_armed_key_outside_of_production_is_a_warning(environment: SimpleNamespace) -> None:
    assert checks.live_trading() == []
    environment.live_trading_armed = True
    assert codes(checks.live_trading()) == ["helios.W001"]
