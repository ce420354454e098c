"""The settings of a process that may end with one sentence where they are wrong."""

from __future__ import annotations

from helios.env import Env, get_env
from helios.errors import SettingsError
from helios.stack import endpoints


def load_env() -> Env:
    """The settings from the environment and `.env`. Raises: SettingsError with one sentence."""
    env = get_env()
    try:
        env.resolved_secret_key()
        endpoints.configured(env)
    except OSError as error:
        raise SettingsError(f"HELIOS_VAR_DIR cannot be written: {error.strerror or error}") from None
    return env


def load_env_or_exit() -> None:
    """The same for entry points that other programs import. Raises: SystemExit with the sentence."""
    try:
        load_env()
    except SettingsError as error:
        raise SystemExit(str(error)) from None
