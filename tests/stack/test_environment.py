"""A wrong setting is told in one sentence that names the variable, and never shows a secret."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helios.env import Env, get_env
from helios.stack.children import StackError
from helios.stack.environment import load_env

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def _fresh_settings() -> Iterator[None]:
    get_env.cache_clear()
    yield
    get_env.cache_clear()


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("HELIOS_WEB_PORT", "abc", r"^HELIOS_WEB_PORT: input should be a valid integer.*, was 'abc'$"),
        ("HELIOS_WEB_PORT", "70000", "HELIOS_WEB_PORT: input should be less than or equal to 65535"),
        (
            "HELIOS_ENVIRONMENT",
            "qa",
            "HELIOS_ENVIRONMENT: input should be 'dev', 'staging' or 'prod', was 'qa'",
        ),
        ("HELIOS_LOG_LEVEL", "loud", "HELIOS_LOG_LEVEL: input should be"),
        ("HELIOS_FEE_BPS", "-1", "HELIOS_FEE_BPS: input should be greater than or equal to 0"),
        (
            "HELIOS_DATABASE_URL",
            "mysql://h/x",
            "HELIOS_DATABASE_URL must start with postgresql://, was mysql://",
        ),
        ("HELIOS_REDIS_URL", "http://h", "HELIOS_REDIS_URL must start with redis://"),
        (
            "HELIOS_MAX_BAR_LATENESS_S",
            "120",
            "^HELIOS_MAX_BAR_LATENESS_S: should name seconds by timeframe.*'120'$",
        ),
        ("HELIOS_MAX_BAR_LATENESS_S", "7m=3", "HELIOS_MAX_BAR_LATENESS_S: input should be '1m', .*, was '7m'"),
        ("HELIOS_MAX_BAR_LATENESS_S", "1m=40,1m=50", "HELIOS_MAX_BAR_LATENESS_S: .* each once"),
        ("HELIOS_BAR_WAIT_S", "1m=0", "HELIOS_BAR_WAIT_S: input should be greater than 0"),
        ("HELIOS_BAR_WAIT_S", "1h=900", "^HELIOS_BAR_WAIT_S must be below .* of 1h bars they were 900 and 900$"),
    ],
)
def test_a_wrong_value_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(StackError, match=sentence) as caught:
        load_env()
    assert "\n" not in str(caught.value)


def test_two_wrong_values_are_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELIOS_WEB_PORT", "x")
    monkeypatch.setenv("HELIOS_LLM_TIMEOUT_S", "0")
    with pytest.raises(StackError, match=r"HELIOS_WEB_PORT.*; HELIOS_LLM_TIMEOUT_S"):
        load_env()


def test_production_without_a_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELIOS_ENVIRONMENT", "prod")
    monkeypatch.delenv("HELIOS_SECRET_KEY", raising=False)
    with pytest.raises(StackError, match="HELIOS_SECRET_KEY must be set when HELIOS_ENVIRONMENT is prod"):
        load_env()


def test_a_var_folder_that_cannot_be_made_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HELIOS_VAR_DIR", str(tmp_path / "file" / "var"))
    with pytest.raises(StackError, match="HELIOS_VAR_DIR cannot be written: "):
        load_env()


def test_a_command_with_a_wrong_setting_ends_with_that_sentence_alone() -> None:
    result = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={**os.environ, "HELIOS_WEB_PORT": "abc"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("HELIOS_WEB_PORT: ")
    assert result.stderr.count("\n") == 1


def test_the_example_file_names_every_setting_with_its_default() -> None:
    example: dict[str, str] = {}
    for line in (ROOT / ".env.example").read_text().splitlines():
        name, _, value = line.lstrip("#").partition("=")
        if name.isupper() and " " not in name:
            example[name] = value
    for field, info in Env.model_fields.items():
        name = str(info.validation_alias or f"HELIOS_{field.upper()}")
        assert name in example, f"{name} is missing in .env.example"
    documented = {key: value for key, value in example.items() if value and key.startswith("HELIOS_")}
    shown = Env(_env_file=ROOT / ".env.example")
    for field in Env.model_fields:
        name = f"HELIOS_{field.upper()}"
        if name in documented and f"\n{name}=" in (ROOT / ".env.example").read_text() and name not in os.environ:
            assert getattr(shown, field) == Env.model_fields[field].default, name
