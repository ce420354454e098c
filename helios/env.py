"""The environment, read once and strictly: every setting a person can change has its type here."""

from __future__ import annotations

import contextlib
import os
import secrets
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

BASE_DIR = Path(__file__).resolve().parent.parent
_RATE = r"^[1-9]\d{0,8}/(s|min|h|day)$"


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
    max_bar_lateness_s: float = Field(default=120.0, gt=0)
    stalled_cycle_s: float = Field(default=30.0, gt=0)  # no progress for so long: the chain is sent again
    live_trading_armed: bool = False  # the first of the two keys; the second is `manage.py mode live --confirm`

    @field_validator("var_dir", "modules_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().resolve() if value is not None else None

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
