"""A wrong setting is told in one sentence that names the variable, and never shows a secret."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from examples import stories
from helios import env as env_module
from helios.env import Env, get_env
from helios.errors import SettingsError
from helios.stack import commandline, environment
from helios.stack.environment import load_env
from tests.support import warm
from tests.support.backtests import prices
from tests.support.commands import answered
from tests.support.places import ROOT
from trading.market.instruments import ensure_instrument
from trading.market.write import upsert_bars

NUMBERS = ("HELIOS_INITIAL_CASH", "HELIOS_FEE_BPS", "HELIOS_SLIPPAGE_BPS", "HELIOS_MAX_BAR_LATENESS_S")
NUMBERS += ("HELIOS_STALLED_CYCLE_S", "HELIOS_LLM_TIMEOUT_S", "HELIOS_WEB_PORT", "HELIOS_WORKER_CONCURRENCY")


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
    with pytest.raises(SettingsError, match=sentence) as caught:
        load_env()
    assert "\n" not in str(caught.value)


def test_two_wrong_values_are_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELIOS_WEB_PORT", "x")
    monkeypatch.setenv("HELIOS_LLM_TIMEOUT_S", "0")
    with pytest.raises(SettingsError, match=r"HELIOS_WEB_PORT.*; HELIOS_LLM_TIMEOUT_S"):
        load_env()


def test_production_without_a_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELIOS_ENVIRONMENT", "prod")
    monkeypatch.delenv("HELIOS_SECRET_KEY", raising=False)
    with pytest.raises(SettingsError, match="HELIOS_SECRET_KEY must be set when HELIOS_ENVIRONMENT is prod"):
        load_env()


def test_a_var_folder_that_cannot_be_made_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HELIOS_VAR_DIR", str(tmp_path / "file" / "var"))
    with pytest.raises(SettingsError, match="HELIOS_VAR_DIR cannot be written: "):
        load_env()


@pytest.mark.parametrize(("mode", "wanted"), [(0o755, {0o711, 0o750}), (0o700, {0o700})])
def test_nobody_else_looks_into_the_var_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: int, wanted: set[int]
) -> None:
    shared, own, new = tmp_path / "shared", tmp_path / "var", tmp_path / "another" / "var"
    for folder in (shared, own):
        folder.mkdir()
        folder.chmod(mode)
    monkeypatch.setattr(environment, "BASE_DIR", tmp_path)
    for folder in (shared, own, new):
        monkeypatch.setenv("HELIOS_VAR_DIR", str(folder))
        get_env.cache_clear()
        load_env()
    assert stat.S_IMODE(own.stat().st_mode) in wanted
    assert stat.S_IMODE(new.stat().st_mode) in {0o711, 0o750}
    assert stat.S_IMODE(shared.stat().st_mode) == mode  # nobody said that it is Helios's alone


def test_a_command_with_a_wrong_setting_ends_with_that_sentence_alone() -> None:
    result = warm.run(["manage.py", "check"], env={**os.environ, "HELIOS_WEB_PORT": "abc"})
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


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `.env` of the test's own; the variables it sets are not in the environment."""
    for name in ("HELIOS_FEE_BPS", "HELIOS_INITIAL_CASH", "HELIOS_SLIPPAGE_BPS", "HELIOS_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(env_module, "ENV_FILE", tmp_path / ".env")
    return tmp_path / ".env"


@pytest.mark.parametrize(
    "written",
    [
        b"\xef\xbb\xbfHELIOS_FEE_BPS=7\nHELIOS_INITIAL_CASH=5000\n",
        b'# comment\r\nHELIOS_FEE_BPS=7\r\nHELIOS_INITIAL_CASH="5000"\r\nexport HELIOS_SLIPPAGE_BPS=2 # none\r\n',
        b"HELIOS_FEE_BPS = 7\n HELIOS_INITIAL_CASH= 5000 \n",
        b"helios_fee_bps=7\nHELIOS_INITIAL_CASH=5000\nHELIOS_LOG_LEVEL=\nPOSTGRES_PASSWORD=x\nHELIOS_WEB_BIND=1.2.3.4:80\n",
    ],
    ids=["byte-order mark", "windows", "blanks", "lower case and names of others"],
)
def test_an_env_file_is_read_as_it_was_meant(env_file: Path, written: bytes) -> None:
    env_file.write_bytes(written)
    env = load_env()
    assert (env.fee_bps, env.initial_cash, env.slippage_bps, env.log_level) == (7.0, 5000, 2.0, "INFO")


@pytest.mark.django_db
def test_a_backtest_goes_by_the_values_of_an_env_file(env_file: Path) -> None:
    env_file.write_text("HELIOS_FEE_BPS=7\nHELIOS_INITIAL_CASH=5000\nHELIOS_SLIPPAGE_BPS=0\n")
    bars = prices([10.0, 10.0, 10.0], [10.0, 10.0, 11.0], symbol="AAA-USDT")
    ensure_instrument("AAA-USDT", "crypto")
    upsert_bars(replace(bars, ts=np.array(["2024-01-02", "2024-01-03", "2024-01-04"], dtype="datetime64[us]")), "test")
    got = answered("backtest", "--strategy", "buy_and_hold", "--symbols", "AAA-USDT")
    assert (got["cash"], got["costs_bps"]) == (5000.0, {"fee": 7.0, "slippage": 0.0})
    assert got["fees_paid"] == pytest.approx(5000 - 5000 / 1.0007, abs=0.01)  # all of the money, the fee included
    assert got["total_return_pct"] == pytest.approx(100 * (1.1 / 1.0007 - 1), abs=0.01)


def test_what_runs_on_servers_of_its_own_does_so_whatever_an_env_file_names(
    env_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env_file.write_text("HELIOS_DATABASE_URL=postgresql://helios@db/helios\nHELIOS_REDIS_URL=redis://queue:6379/0\n")
    for name in ("HELIOS_DATABASE_URL", "HELIOS_REDIS_URL", "HELIOS_VAR_DIR", "HELIOS_WEB_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert not load_env().embedded_postgres
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(stories, "HOME", tmp_path / "stories")
    stories.prepare_environment()
    env_module.get_env.cache_clear()
    assert (load_env().embedded_postgres, load_env().embedded_valkey) == (True, True)


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (b"HELIOS_LOG_LEVEL=INFO\nHELIOS_FEE_BPS=\xe9\n", "must be UTF-8, was not at line 2, byte 16$"),
        ("HELIOS_FEE_BPS=7\n".encode("utf-16"), "must be UTF-8, was not at line 1, byte 1$"),
        (b"HELIOS_FEE_BPS=7\nHELIOS_FEE_BPS\n", "line 2 must be NAME=value, was not$"),
        (b"A=1\nfoo bar\n", "line 2 must be NAME=value, was not$"),
        (b'HELIOS_SECRET_KEY="abc\n', "line 1 must be NAME=value, was not$"),
        (b"HELIOS_FEE_BPS=7\nHELIOS_INITAL_CASH=6000\n", "no setting of Helios, did you mean HELIOS_INITIAL_CASH[?]$"),
        (
            b"helios_inital_cash=6000\n",
            "helios_inital_cash in .*no setting of Helios, did you mean HELIOS_INITIAL_CASH",
        ),
    ],
)
def test_an_env_file_that_cannot_be_followed_is_named(env_file: Path, written: bytes, sentence: str) -> None:
    env_file.write_bytes(written)
    with pytest.raises(SettingsError, match=sentence) as refusal:
        load_env()
    assert str(env_file) in str(refusal.value)
    assert "6000" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("HELIOS_INITAL_CASH", ", did you mean HELIOS_INITIAL_CASH?"),
        ("HELIOS_ANTHROPIC_API_KEY", ", did you mean ANTHROPIC_API_KEY?"),
        ("HELIOS_QQQQ", ": .env.example lists them all"),
    ],
)
def test_an_unknown_name_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, advice: str) -> None:
    monkeypatch.setenv(name, "S3cret-value")
    with pytest.raises(SettingsError) as refusal:
        load_env()
    assert str(refusal.value) == f"{name} in the environment is no setting of Helios{advice}"


def test_every_name_with_our_prefix_that_the_project_uses_is_known() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    known = {env_module.variable(field) for field in Env.model_fields} | env_module.ELSEWHERE
    own = {Path(__file__).relative_to(ROOT).as_posix(), "CHANGELOG.md"}
    for name in set(listed.stdout.split("\0")[:-1]) - own:
        with contextlib.suppress(UnicodeDecodeError, FileNotFoundError):
            text = (ROOT / name).read_text(encoding="utf-8")
            read = re.findall(r"""environ(?:\.get\(|\[|\.pop\(|\.setdefault\()["'](HELIOS_\w+)""", text)
            read += (
                re.findall(r"(?:^\s*#?|\$\{)(HELIOS_\w+)[:=]", text, re.MULTILINE) if not name.endswith(".py") else []
            )
            assert set(read) <= known, name


@pytest.mark.parametrize("value", ["mydata", "./mydata", "x/../mydata"])
@pytest.mark.parametrize("variable", ["HELIOS_VAR_DIR", "HELIOS_MODULES_DIR"])
def test_a_relative_folder_lies_beside_the_env_file_wherever_one_stands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.chdir(tmp_path)
    assert getattr(get_env(), variable.removeprefix("HELIOS_").lower()) == ROOT / "mydata"


def test_a_folder_of_a_user_who_does_not_exist_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELIOS_VAR_DIR", "~nobody-of-that-name/var")
    with pytest.raises(SettingsError, match=r"^HELIOS_VAR_DIR must be a folder, was '~nobody-of-that-name/var': "):
        load_env()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *[(name, value) for name in NUMBERS for value in ("nan", "inf", "-1")],
        *[("HELIOS_FEE_BPS", value) for value in ("-inf", "0x10", "1,5", " ")],
        *[("HELIOS_INITIAL_CASH", value) for value in ("0", "1e12", "1e999999", "0.000000001", "5,000")],
        ("HELIOS_MAX_BAR_LATENESS_S", "1e300"),
        ("HELIOS_STALLED_CYCLE_S", "1e300"),
        ("HELIOS_LLM_MODEL", "  "),
        ("HELIOS_DEBUG", "maybe"),
        ("HELIOS_MODULE_PACKAGES", "tiers;trading"),
        ("HELIOS_MODULE_PACKAGES", "tiers, ../x"),
        ("HELIOS_ANTHROPIC_BASE_URL", "api.example"),
        ("HELIOS_ANTHROPIC_BASE_URL", "https://user:pass@api.example"),
        ("HELIOS_LOG_LEVEL", "\udce9"),
        ("HELIOS_API_RATE_READ", "5/hour"),
    ],
)
def test_a_value_out_of_bounds_is_one_sentence_with_its_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as refusal:
        load_env()
    assert str(refusal.value).startswith(variable)
    assert str(refusal.value).count("HELIOS_") == 1
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("value", ["sk-line\nbreak", "sk-ümlaut", "sk- blank"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", value)
    with pytest.raises(SettingsError, match=r"^ANTHROPIC_API_KEY must be printable ASCII") as refusal:
        load_env()
    assert "sk-" not in str(refusal.value)


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("HELIOS_DATABASE_URL", "postgresql://helios:S3cr/et@127.0.0.1:1/helios"),
        ("HELIOS_REDIS_URL", "redis://:S3cr#et@127.0.0.1:1/0"),
    ],
)
def test_a_command_with_a_broken_url_does_nothing_and_shows_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], variable: str, url: str
) -> None:
    monkeypatch.setenv(variable, url)
    monkeypatch.setenv("HELIOS_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setattr(commandline.children, "leave_on_sigterm", lambda: None)
    assert commandline.run(["manage.py", "flags", "enable", "auto_trading"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"{variable} cannot be read as ")
    assert shown.err.count("\n") == 1
    assert "S3c" not in shown.err
    assert not (tmp_path / "var").exists()


def test_a_pydantic_error_itself_shows_no_value(tmp_path: Path) -> None:
    with pytest.raises(ValidationError) as error:
        Env(_env_file=None, var_dir=tmp_path, redis_url="redis://:S3cr#et@h", fee_bps="S3cret")
    assert "S3c" not in str(error.value)


@pytest.mark.parametrize("entry_point", ["celery_app", "helios.asgi"])
def test_a_program_that_loads_us_ends_with_the_sentence_alone(entry_point: str) -> None:
    environ = {**os.environ, "HELIOS_REDIS_URL": "redis://:S3cr#et@127.0.0.1:1/0"}
    run = warm.run(["-c", f"import {entry_point}"], env=environ)
    assert run.returncode == 1
    assert run.stderr.startswith("HELIOS_REDIS_URL cannot be read as ")
    assert run.stderr.count("\n") == 1
    assert "S3c" not in run.stderr + run.stdout


def test_an_empty_signing_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret_key").touch()
    with pytest.raises(SettingsError, match=r"secret_key must hold the signing key, was empty"):
        Env(_env_file=None, var_dir=tmp_path).resolved_secret_key()


def test_the_login_of_flower_is_made_once_and_kept_for_this_user(tmp_path: Path) -> None:
    env = Env(_env_file=None, var_dir=tmp_path)
    made = env.flower_login()
    assert re.fullmatch(r"admin:\S{16,}", made)
    assert env.flower_login() == made
    assert env.flower_login_path.stat().st_mode & 0o777 == 0o600
    configured = Env(_env_file=None, var_dir=tmp_path, FLOWER_BASIC_AUTH="ann:own")
    assert configured.flower_login() == "ann:own"


@pytest.mark.parametrize("login", ["ann", "ann:", ":pw", "ann:pw,bob"])
def test_a_login_of_flower_has_a_user_and_a_password(login: str) -> None:
    with pytest.raises(ValidationError, match=r"FLOWER_BASIC_AUTH must be user:password, or several") as raised:
        Env(_env_file=None, FLOWER_BASIC_AUTH=login)
    assert "pw" not in str(raised.value.errors()[0]["msg"])
