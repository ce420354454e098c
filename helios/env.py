"""The environment, read once and strictly: every setting a person can change has its type here."""

from __future__ import annotations

import contextlib
import os
import secrets
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

BASE_DIR = Path(__file__).resolve().parent.parent
_RATE = r"^[1-9]\d{0,8}/(s|min|h|day)$"

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
ByTimeframe = Annotated[dict[Literal["1m", "5m", "15m", "1h", "1d"], Seconds], NoDecode]


class Env(BaseSettings):
    """Settings from the environment and `.env`; names carry the prefix `HELIOS_`."""

    model_config = SettingsConfigDict(
        env_prefix="HELIOS_",
        env_file=BASE_DIR / ".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    environment: Literal["dev", "staging", "prod"] = "dev"
    debug: bool = False
    secret_key: SecretStr | None = None
    allowed_hosts: str = "localhost,127.0.0.1,[::1]"
    cors_allowed_origins: str = ""
    var_dir: Path = BASE_DIR / "var"

    module_packages: str = "tiers,trading,examples.modules"  # the only packages that modules are loaded from
    modules_dir: Path | None = None  # where their code is laid out; absent: var_dir/modules

    database_url: SecretStr | None = None  # absent: the embedded PostgreSQL under var_dir
    redis_url: SecretStr | None = None  # absent: the embedded Valkey under var_dir

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"

    # Requests of one user (anon: of one address without a name) in a second, minute, hour or day.
    api_rate_read: str = Field(default="1200/min", pattern=_RATE)
    api_rate_write: str = Field(default="240/min", pattern=_RATE)
    api_rate_sensitive: str = Field(default="60/min", pattern=_RATE)
    api_rate_anon: str = Field(default="60/min", pattern=_RATE)

    web_port: int = Field(default=8000, ge=1, le=65535)
    flower_port: int = Field(default=5555, ge=1, le=65535)
    worker_concurrency: int = Field(default=2, ge=1, le=64)

    anthropic_api_key: SecretStr | None = Field(default=None, validation_alias="ANTHROPIC_API_KEY")
    anthropic_base_url: str | None = None
    llm_model: str = "claude-sonnet-5-5"
    llm_timeout_s: float = Field(default=20.0, gt=0, le=120)

    initial_cash: Decimal = Decimal(100_000)
    fee_bps: float = Field(default=5.0, ge=0, le=1000)
    slippage_bps: float = Field(default=2.0, ge=0, le=1000)
    # A quarter of the bar, at least 30 s and at most an hour.
    max_bar_lateness_s: ByTimeframe = {"1m": 30.0, "5m": 75.0, "15m": 225.0, "1h": 900.0, "1d": 3600.0}
    # For the symbols that are still without the bar: a tenth of it, at least 5 s and at most 5 minutes.
    bar_wait_s: ByTimeframe = {"1m": 6.0, "5m": 30.0, "15m": 90.0, "1h": 300.0, "1d": 300.0}
    stalled_cycle_s: float = Field(default=30.0, gt=0)  # no progress for so long: the chain is sent again
    live_trading_armed: bool = False  # the first of the two keys; the second is `manage.py mode live --confirm`

    @field_validator("var_dir", "modules_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().resolve() if value is not None else None

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
            raise ValueError("HELIOS_SECRET_KEY must be set when HELIOS_ENVIRONMENT is prod")
        path = self.var_dir / "secret_key"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".secret_key-{os.getpid()}")
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_urlsafe(50))
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)  # the first of several starts wins, and nobody reads half a key
            draft.unlink()
        return path.read_text().strip()


@lru_cache(maxsize=1)
def get_env() -> Env:
    """The process's settings, read once."""
    return Env()
