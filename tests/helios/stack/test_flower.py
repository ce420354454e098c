"""Flower shows nothing to whoever has not its login."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any

import pytest
from flower.urls import handlers
from flower.views import BaseHandler
from flower.views.auth import LoginHandler, LogoutHandler
from flower.views.error import NotFoundErrorHandler
from tornado.web import HTTPError, StaticFileHandler

from helios.stack import flower

FOR_ANYBODY = {LoginHandler, LogoutHandler, NotFoundErrorHandler, StaticFileHandler}


def test_every_page_asks_for_the_login() -> None:
    flower.ask_for_the_login()
    pages = {getattr(each, "handler_class", None) or each[1] for each in handlers} - FOR_ANYBODY
    methods = {(page, name): getattr(page, name) for page in pages for name in ("get", "post")}
    own = {
        place: method
        for place, method in methods.items()
        if method.__qualname__ != "RequestHandler._unimplemented_method"
    }
    assert len(own) >= len(pages)
    assert {place for place, method in own.items() if not hasattr(method, "__wrapped__")} == set()


def test_an_address_guesses_five_times_in_a_quarter_of_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BaseHandler, "get_current_user", BaseHandler.get_current_user)
    clock = [1_000.0]
    monkeypatch.setattr(flower.time, "monotonic", lambda: clock[0])
    flower.slow_down_guesses()

    def ask(password: str | None, address: str = "10.0.0.1", kept: dict[str, str] | None = None) -> int:
        cookies = {} if kept is None else kept
        told = "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()
        request = SimpleNamespace(remote_ip=address, headers={} if password is None else {"Authorization": told})
        options = SimpleNamespace(basic_auth=["admin:right"], auth=None)
        page: Any = SimpleNamespace(
            request=request,
            application=SimpleNamespace(options=options),
            get_cookie=cookies.get,
            set_cookie=lambda name, value, **_: cookies.update({name: value}),
        )
        try:
            return 200 if BaseHandler.get_current_user(page) else 0
        except HTTPError as error:
            return error.status_code

    assert [ask(None) for _ in range(9)] == [401] * 9  # a browser asks so before it asks its user
    assert [ask("wrong") for _ in range(5)] == [401] * 5
    assert [ask("right"), ask("wrong"), ask(None), ask("right", "10.0.0.2")] == [429, 429, 429, 200]
    clock[0] += flower.LOCKED_S
    assert ask("right") == 200
    known: dict[str, str] = {}
    assert [ask("right", kept=known), len(known)] == [200, 1]
    assert [ask("wrong") for _ in range(6)] == [401] * 5 + [429]
    assert [ask("right", kept=known), ask("right", kept=dict.fromkeys(known, "forged"))] == [200, 429]
    assert [ask("wrong", kept=known) for _ in range(6)] == [401] * 5 + [429]  # its own end, too
    assert [ask("right", "10.0.0.3", known), ask("right", "10.0.0.3")] == [429, 200]
