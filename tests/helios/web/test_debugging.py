"""The page of an unexpected error in a debugging server shows no secret."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client, RequestFactory
from django.views.debug import get_exception_reporter_class

from helios import logs
from helios.env import Env

# far from the code below, whose lines the page shows
PASSWORD = "S3cr/et-<x>"
URL = f"redis://:{quote(PASSWORD, safe='')}@queue.example/0"


@pytest.fixture(autouse=True)
def _own_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    env = Env(_env_file=None, var_dir=tmp_path, redis_url=URL)
    monkeypatch.setattr(logs, "get_env", lambda: env)
    logs._own_redactor.cache_clear()
    yield
    logs._own_redactor.cache_clear()


def test_the_page_for_a_wrong_host_shows_no_setting_and_no_password_that_was_sent(
    settings: Any, client: Client
) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = True, ["helios.example"]
    settings.OTHERS_LOGIN = "a.short"
    sent = {"username": "ann", "password": "pw.o"}
    response = client.post("/admin/login/", sent, headers={"host": "evil.example", "authorization": "Token t0k3n"})
    page = response.content.decode()
    assert (response.status_code, "DisallowedHost" in page) == (400, True)
    for shown in ("a.short", "pw.o", "t0k3n", "CELERY_BROKER_URL", str(settings.VAR_DIR)):
        assert shown not in page


@pytest.mark.parametrize("form", ["get_traceback_html", "get_traceback_text"])
def test_neither_settings_nor_variables_of_a_debugging_page_show_a_password(settings: Any, form: str) -> None:
    settings.DEBUG = True
    settings.REDIS_URL = URL
    given = {"password": PASSWORD, "host": "queue.example"}
    request = RequestFactory().get("/")
    try:
        raise ValueError(f"cannot connect with {given}")  # noqa: TRY301
    except ValueError:
        page = getattr(get_exception_reporter_class(request)(request, *sys.exc_info()), form)()
    assert "queue.example" in page
    assert PASSWORD[:4] not in page
