"""What a process loads before it works: a command that asks the database waits for no library that it does not use."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.support.places import ROOT

# Each of them takes a command between 20 ms and a second.
PAGES = (
    "django.test",
    "rest_framework.serializers",
    "drf_spectacular.plumbing",
    "requests",
    "jinja2",
    "unfold.admin",
    "rich",
)
NUMBERS = ("numpy", "scipy", "numba", "pandas", "polars", "talib", "skfolio", "optuna", "torch", "exchange_calendars")
CLIENTS = ("redis", "anthropic", "httpx", "aiohttp")
TASKS = ("celery", "kombu", "django_celery_beat.models", "timezone_field", "unfold")

RUN_COMMAND = "from helios.stack.commandline import run; run(['manage.py', 'list_data'])"
SET_UP = "import django; django.setup()"


def loaded(program: str, **more: str) -> set[str]:
    """Names of the modules that a new process has loaded after `program`."""
    told = "\nimport json, sys; sys.stderr.write('\\n' + json.dumps(list(sys.modules)))"
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "helios.settings", **more}
    result = subprocess.run(
        [sys.executable, "-c", program + told], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    return set(json.loads(result.stderr.splitlines()[-1]))


def test_a_light_command_loads_neither_pages_nor_numbers_nor_clients_nor_tasks(fresh_database: str) -> None:
    found = loaded(RUN_COMMAND, HELIOS_DATABASE_URL=fresh_database)
    assert found & {*PAGES, *NUMBERS, *CLIENTS, *TASKS, "psutil"} == set()


def test_a_command_that_only_changes_a_book_needs_nothing_that_sends_tasks() -> None:
    run_mode = RUN_COMMAND.replace("list_data", "mode', '--help")
    assert loaded(f"import contextlib\nwith contextlib.suppress(SystemExit): exec({run_mode!r})\n") & {*TASKS} == set()


def test_django_alone_loads_neither_pages_nor_numbers_nor_clients() -> None:
    assert loaded(SET_UP) & {*PAGES, *NUMBERS, *CLIENTS} == set()


def test_a_model_is_restored_without_the_algebra_that_torch_loads_for_a_draw_without_memory() -> None:
    restore = (
        "from tiers.predict import network as n; c = n.preset('compact'); "
        "n.restored(c, 5, n.CausalNetwork(c, 5).state_dict())"
    )
    assert "sympy" not in loaded(restore)
