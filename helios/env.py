"""The environment, read once and strictly: every setting a person can change has its type here.

A setting that is wrong, unknown or unreadable is one sentence that names it, before any command does anything.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from helios import env_file, server_urls
from helios.entries import parts
from helios.errors import SettingsError
from helios.spelling import nearest

# Else pydantic looks in every installed package for plugins.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

BASE_DIR = Path(__file__).resolve().parent.parent
ENV_FILE = BASE_DIR / ".env"
PREFIX = "HELIOS_"
EMBEDDED = "embedded"
OWN_SERVERS = dict.fromkeys(("HELIOS_DATABASE_URL", "HELIOS_REDIS_URL"), EMBEDDED)  # variables
# Names with our prefix that are read elsewhere: what a process is called, the mark of a gate's processes, the
# examples' token, and where docker compose publishes its ports.
ELSEWHERE = frozenset(
    {"HELIOS_COMPONENT", "HELIOS_GATE_RUN", "HELIOS_API_TOKEN", "HELIOS_WEB_BIND", "HELIOS_FLOWER_BIND"}
)
_RATE = r"^[1-9]\d{0,8}/(s|min|h|day)$"
_WEB_ADDRESS = re.compile(
    r"https?://[\w.-]+(:\d{1,5})?(/[\w./~-]*)?|https?://\[[0-9A-Fa-f:.]+\](:\d{1,5})?(/[\w./~-]*)?"
)

Seconds = Annotated[float, Field(gt=0, le=86_400)]
ByTimeframe = Annotated[dict[Literal["1m", "5m", "15m", "1h", "1d"], Seconds], NoDecode]


class Env(BaseSettings):
    """Settings from the environment and `.env`; names carry the prefix `HELIOS_`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_ignore_empty=True,
        extra="ignore",  # get_env() refuses what is unknown; other tools keep their names in the same file
        allow_inf_nan=False,
        hide_input_in_errors=True,  # which may be a secret
        frozen=True,
        populate_by_name=True,
    )

    environment: Literal["dev", "staging", "prod"] = "dev"
    debug: bool = False
    secret_key: SecretStr | None = None
    allowed_hosts: str = "localhost,127.0.0.1,[::1]"
    trusted_proxies: int = Field(default=0, ge=0, le=9)  # in front of the web process: their X-Forwarded-* is believed
    cors_allowed_origins: str = ""
    var_dir: Path = BASE_DIR / "var"

    module_packages: str = "tiers,trading,examples.modules"  # the only packages that modules are loaded from
    modules_dir: Path | None = None  # where their code is laid out; absent: var_dir/modules

    database_url: SecretStr | None = None  # absent, or "embedded": the PostgreSQL under var_dir
    redis_url: SecretStr | None = None  # absent, or "embedded": the Valkey under var_dir
    servers_idle_s: float = Field(default=300.0, ge=0, le=86_400)  # so long unused, they stop; 0: with the last command

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    console_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] | None = None  # absent: log_level
    log_format: Literal["text", "json"] = "text"

    # Requests of one user (anon: of one address without a name) in a second, minute, hour or day.
    api_rate_read: str = Field(default="1200/min", pattern=_RATE)
    api_rate_write: str = Field(default="240/min", pattern=_RATE)
    api_rate_sensitive: str = Field(default="60/min", pattern=_RATE)
    api_rate_safer: str = Field(default="240/min", pattern=_RATE)
    api_rate_anon: str = Field(default="60/min", pattern=_RATE)

    web_port: int = Field(default=8000, ge=1, le=65535)
    web_threads: int = Field(default=8, ge=1, le=64)  # of a web process, for reading; `web.lanes` has the others
    flower_port: int = Field(default=5555, ge=1, le=65535)
    flower_basic_auth: SecretStr | None = Field(default=None, validation_alias="FLOWER_BASIC_AUTH")  # user:password
    worker_concurrency: int = Field(default=2, ge=1, le=64)

    anthropic_api_key: SecretStr | None = Field(default=None, validation_alias="ANTHROPIC_API_KEY")
    anthropic_base_url: str | None = None
    valr_url: str = "https://api.valr.com"
    valr_api_key: SecretStr | None = Field(default=None, validation_alias="VALR_API_KEY")
    valr_api_secret: SecretStr | None = Field(default=None, validation_alias="VALR_API_SECRET")

    alpaca_data_url: str = "https://data.alpaca.markets"
    alpaca_stream_url: str = "https://stream.data.alpaca.markets"
    alpaca_feed: Literal["iex", "sip"] = "iex"  # of stocks
    alpaca_key_id: SecretStr | None = None
    alpaca_secret: SecretStr | None = None

    llm_model: str = "claude-sonnet-5-5"
    llm_timeout_s: float = Field(default=20.0, gt=0, le=120)

    initial_cash: Decimal = Field(default=Decimal(100_000), gt=0, lt=Decimal(10) ** 12, decimal_places=8)
    fee_bps: float = Field(default=5.0, ge=0, le=1000)
    slippage_bps: float = Field(default=2.0, ge=0, le=1000)
    # A quarter of the bar, at least 30 s and at most an hour.
    max_bar_lateness_s: ByTimeframe = {"1m": 30.0, "5m": 75.0, "15m": 225.0, "1h": 900.0, "1d": 3600.0}
    # For the symbols that are still without the bar: a tenth of it, at least 5 s and at most 5 minutes.
    bar_wait_s: ByTimeframe = {"1m": 6.0, "5m": 30.0, "15m": 90.0, "1h": 300.0, "1d": 300.0}
    stalled_cycle_s: float = Field(default=30.0, gt=0, le=86_400)  # no progress for so long: the chain is sent again
    live_trading_armed: bool = False  # the first of the two keys; the second is `manage.py mode live --confirm`

    @field_validator("*", mode="before")
    @classmethod
    def _not_blank(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str) and value and not value.strip():
            raise ValueError(f"{variable(info.field_name)} must be a value, or empty for its default, was {value!r}")
        return value

    @field_validator("var_dir", "modules_dir")
    @classmethod
    def _absolute(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        """A relative folder lies in the project's, beside `.env`, wherever a command is called from."""
        try:
            return (BASE_DIR / value.expanduser()).resolve() if value is not None else None
        except (RuntimeError, ValueError, OSError) as error:  # no such user, a loop of links, a zero byte
            raise ValueError(f"{variable(info.field_name)} must be a folder, was {str(value)!r}: {error}") from error

    @field_validator("database_url", "redis_url")
    @classmethod
    def _readable_url(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None or value.get_secret_value() == EMBEDDED:
            return None
        kind = server_urls.DATABASE if info.field_name == "database_url" else server_urls.REDIS
        server_urls.read(value.get_secret_value(), kind)
        return value

    @field_validator("anthropic_api_key", "valr_api_key", "valr_api_secret", "alpaca_key_id", "alpaca_secret")
    @classmethod
    def _sendable(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """A key goes into a header, where a line break or an umlaut would end in an error that shows it."""
        if value is not None and not re.fullmatch(r"[!-~]+", value.get_secret_value()):
            raise ValueError(f"{variable(info.field_name)} must be printable ASCII without blanks or line breaks")
        return value

    @field_validator("flower_basic_auth")
    @classmethod
    def _login(cls, value: SecretStr | None) -> SecretStr | None:
        """Flower takes several logins between commas; each needs a password."""
        if value is not None and not all(
            re.fullmatch(r"[^:]+:.+", each) for each in value.get_secret_value().split(",")
        ):
            raise ValueError("FLOWER_BASIC_AUTH must be user:password, or several of them between commas")
        return value

    @field_validator("anthropic_base_url", "valr_url", "alpaca_data_url", "alpaca_stream_url")
    @classmethod
    def _web_address(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and not _WEB_ADDRESS.fullmatch(value):
            name = variable(info.field_name)
            raise ValueError(f"{name} must be http(s)://host[:port][/path] without a user, was not")
        return value

    @field_validator("module_packages")
    @classmethod
    def _packages(cls, value: str) -> str:
        for name in parts(value):
            if not all(part.isidentifier() for part in name.split(".")):
                raise ValueError(f"HELIOS_MODULE_PACKAGES must be names of packages between commas, one was {name!r}")
        return value

    @field_validator("max_bar_lateness_s", "bar_wait_s", mode="before")
    @classmethod
    def _by_timeframe(cls, value: Any, info: ValidationInfo) -> Any:
        """`1m=20,1d=1800`; a timeframe that is left out keeps its default."""
        default: dict[str, float] = cls.model_fields[str(info.field_name)].default
        if not isinstance(value, str):
            return default | value
        pairs = [[part.strip() for part in each.split("=")] for each in value.split(",")]
        if any(len(pair) != 2 for pair in pairs) or len(dict(pairs)) != len(pairs):
            raise ValueError("should name seconds by timeframe, each once, such as 1m=20,1d=1800")
        return default | dict(pairs)

    @model_validator(mode="after")
    def _waits_end_in_time(self) -> Self:
        for timeframe, wait_s in self.bar_wait_s.items():
            limit_s = self.max_bar_lateness_s[timeframe]
            if wait_s >= limit_s:
                raise ValueError(
                    "HELIOS_BAR_WAIT_S must be below HELIOS_MAX_BAR_LATENESS_S, or what was waited for is never "
                    f"traded; of {timeframe} bars they were {wait_s:g} and {limit_s:g}"
                )
        return self

    @property
    def embedded_postgres(self) -> bool:
        return self.database_url is None

    @property
    def embedded_valkey(self) -> bool:
        return self.redis_url is None

    def resolved_secret_key(self) -> str:
        """The configured key, or one made once and kept in `var/secret_key` (never in production)."""
        if self.secret_key is not None:
            return self.secret_key.get_secret_value()
        if self.environment == "prod":
            raise SettingsError("HELIOS_SECRET_KEY must be set when HELIOS_ENVIRONMENT is prod")
        return _kept(self.var_dir / "secret_key", lambda: secrets.token_urlsafe(50), "the signing key")

    @property
    def flower_login_path(self) -> Path:
        """Where the login of Flower is kept when none is configured."""
        return self.var_dir / "flower_login"

    def flower_login(self) -> str:
        """`user:password` of Flower: the configured one, or one made once and kept in `flower_login_path`."""
        if self.flower_basic_auth is not None:
            return self.flower_basic_auth.get_secret_value()
        return _kept(self.flower_login_path, lambda: f"admin:{secrets.token_urlsafe(15)}", "Flower's login")


@lru_cache(maxsize=1)
def get_env() -> Env:
    """The process's settings, read once. Raises: SettingsError with one sentence that names every wrong setting."""
    _refuse_unknown(os.environ, "the environment")
    _refuse_unknown(env_file.names(ENV_FILE), str(ENV_FILE))
    try:
        return Env(_env_file=ENV_FILE)
    except ValidationError as error:
        raise SettingsError("; ".join(_sentence(detail) for detail in error.errors())) from None


def variable(field: str | None) -> str:
    """The name of a field's variable."""
    alias = Env.model_fields[field or ""].validation_alias
    return str(alias or f"{PREFIX}{(field or '').upper()}")


def _refuse_unknown(names: Iterable[str], where: str) -> None:
    known = {variable(field) for field in Env.model_fields} | ELSEWHERE
    unknown = sorted(name for name in names if name.upper().startswith(PREFIX) and name.upper() not in known)
    if unknown:
        problems = [f"{name} in {where} is no setting of Helios{_nearest(name, known)}" for name in unknown]
        raise SettingsError("; ".join(problems))


def _nearest(name: str, known: Iterable[str]) -> str:
    bare = {each.removeprefix(PREFIX): each for each in known}
    found = nearest(name.upper().removeprefix(PREFIX), bare)
    return f", did you mean {bare[found]}?" if found else ": .env.example lists them all"


def _sentence(detail: ErrorDetails) -> str:
    """`HELIOS_WEB_PORT: input should be …, was 'abc'`; a secret's value is never shown."""
    sentence = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:  # of several settings together: its sentence names them
        return sentence
    name = str(detail["loc"][0])
    field = Env.model_fields.get(name.lower())
    own = variable(name.lower()) if field else name.upper()
    if sentence.startswith(own):  # a validator's whole sentence
        return sentence
    secret = field is None or "Secret" in str(field.annotation)
    return f"{own}: {sentence[0].lower()}{sentence[1:]}" + ("" if secret else f", was {detail['input']!r}")


def _kept(path: Path, make: Callable[[], str], what: str) -> str:
    """A secret that is made at the first asking and kept for this user alone."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}-{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(make())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # the first of several starts wins, and nobody reads half a secret
        draft.unlink()
    kept = path.read_bytes().decode("ascii", errors="replace").strip()
    if not kept:
        raise SettingsError(f"{path} must hold {what}, was empty: remove it, and a new one is made")
    return kept
