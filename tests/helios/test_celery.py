"""What the Celery application knows."""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings

from helios.celery import app, config
from tests.support import warm

PRINTS = """
import sys
import celery_app
celery_app._logs()
celery_app._logs()
print("a module prints", "password=hunter2-hunter2", "\\x1b[2J")
sys.stderr.write("and complains: redis://:hunter3-hunter3@valkey:6379/0\\n")
"""


def test_its_configuration_holds_what_celery_needs_and_no_other_setting() -> None:
    ours = {name.removeprefix("CELERY_").lower() for name in dir(settings) if name.startswith("CELERY_")}
    assert set(config) == ours
    told = app.conf.table(with_defaults=True)
    assert ours <= set(told)
    assert {"SECRET_KEY", "DATABASES", "CACHES", "REDIS_URL", "VAR_DIR"} & set(told) == set()
    for secret in (settings.SECRET_KEY, settings.DATABASES["default"]["PASSWORD"] or "no password"):
        assert secret not in str(told)


def test_what_code_prints_in_a_worker_is_a_log_line_without_secrets(tmp_path: Path) -> None:
    environ = {**os.environ, "HELIOS_VAR_DIR": str(tmp_path), "HELIOS_COMPONENT": "worker"}
    done = warm.run(["-c", PRINTS], env=environ, loaded=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    for shown in (done.stderr, (tmp_path / "logs" / "worker.log").read_text()):
        assert shown.count("a module prints password=***") == shown.count("redis://:***@valkey") == 1, shown
        assert "hunter" not in shown
        assert "\x1b" not in shown
