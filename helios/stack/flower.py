"""Flower's pages, for the names of this machine and for who has the login only."""

from __future__ import annotations

from typing import Any

from django.http.request import split_domain_port, validate_host
from flower.app import Flower
from flower.views.monitor import Healthcheck, Metrics
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, ErrorHandler, authenticated

from helios.entries import parts
from helios.env import get_env


def ask_for_the_login() -> None:
    """The two pages that Flower shows to anybody ask for the login like the others."""
    for page in (Metrics, Healthcheck):
        page.get = authenticated(page.get)


def refuse_other_hosts() -> None:
    """Answer 400 where anything was asked for under another name than those of HELIOS_ALLOWED_HOSTS.

    A foreign page whose name was turned to this machine (DNS rebinding) has such a name. Flower has no option for it,
    so its application looks before it chooses a handler.
    """
    allowed = parts(get_env().allowed_hosts)

    def find_handler(flower: Flower, request: HTTPServerRequest, **more: Any) -> Any:
        domain, _port = split_domain_port(request.host)
        if validate_host(domain, allowed):
            return Application.find_handler(flower, request, **more)
        return flower.get_handler_delegate(request, ErrorHandler, {"status_code": 400})

    Flower.find_handler = find_handler
