"""Whose address counts: what a header says is believed as far as proxies are known to stand in front."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from django.test import Client, RequestFactory

from helios import system_checks
from helios.web.proxies import address
from tests.support import warm
from tests.support.places import ROOT

PEER = "10.0.0.1"


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, None, PEER),
        (0, "203.0.113.9", PEER),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        (2, "1.1.1.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        (1, "2001:DB8::9", "2001:db8::9"),
        (1, None, PEER),
        (1, "unknown", PEER),
    ],
)
def test_an_address_is_what_the_first_trusted_proxy_saw(
    settings: Any, proxies: int, forwarded: str | None, expected: str
) -> None:
    settings.TRUSTED_PROXIES = proxies
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    assert address(RequestFactory(REMOTE_ADDR=PEER).get("/", headers=headers)) == expected


@pytest.mark.parametrize(("proxies", "status"), [(0, 301), (1, 200)])
def test_that_a_request_came_over_https_is_believed_of_a_trusted_proxy_alone(
    proxies: int, status: int, settings: Any, tmp_path: Path
) -> None:
    outside = {"HELIOS_ENVIRONMENT": "staging", "HELIOS_TRUSTED_PROXIES": str(proxies), "HELIOS_VAR_DIR": str(tmp_path)}
    words = ["-c", "from helios import settings as s; print(s.SECURE_SSL_REDIRECT, s.SECURE_PROXY_SSL_HEADER)"]
    told = warm.run(words, env={**os.environ, **outside}).stdout.split(" ", 1)
    settings.SECURE_SSL_REDIRECT = told[0] == "True"
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if "HTTP" in told[1] else None
    assert Client().get("/docs", headers={"X-Forwarded-Proto": "https"}).status_code == status


def test_outside_of_dev_it_is_told_that_no_proxy_is_believed(settings: Any) -> None:
    settings.ENVIRONMENT = "prod"
    (told,) = system_checks.proxies()
    assert told.id == "helios.W002"
    settings.TRUSTED_PROXIES = 1
    assert system_checks.proxies() == []


def test_the_server_itself_believes_no_header() -> None:
    """Uvicorn would believe those of every connection from the loopback interface."""
    assert '"--no-proxy-headers"' in (ROOT / "Dockerfile").read_text()
