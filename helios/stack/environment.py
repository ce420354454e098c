"""The settings of a process that may end with one sentence where they are wrong."""

from __future__ import annotations

import os
from pathlib import Path

from helios.env import BASE_DIR, Env, get_env
from helios.errors import SettingsError
from helios.stack import endpoints


def load_env() -> Env:
    """The settings from the environment and `.env`. Raises: SettingsError with one sentence."""
    env = get_env()
    if env.embedded_postgres:  # what a shell has set for another server, libpq would take for ours
        for name in [each for each in os.environ if each.startswith("PG")]:
            del os.environ[name]
    try:
        _close(env.var_dir)
        env.resolved_secret_key()
        endpoints.configured(env)
    except OSError as error:
        raise SettingsError(f"HELIOS_VAR_DIR cannot be written: {error.strerror or error}") from None
    return env


def _close(folder: Path) -> None:
    """Keep others from looking into the folder, where it is new or the one that is Helios's own.

    Under root they may pass through it: PostgreSQL and code under test run as other users.
    """
    open_to = 0o711 if os.geteuid() == 0 else 0o750
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    found = folder.stat()
    if (new or folder == BASE_DIR / "var") and found.st_uid == os.geteuid() and found.st_mode & 0o777 & ~open_to:
        folder.chmod(found.st_mode & 0o777 & open_to)


def load_env_or_exit() -> None:
    """The same for entry points that other programs import. Raises: SystemExit with the sentence."""
    try:
        load_env()
    except SettingsError as error:
        raise SystemExit(str(error)) from None
