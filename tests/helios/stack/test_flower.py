"""Flower shows nothing to whoever has not its login."""

from __future__ import annotations

from flower.urls import handlers
from flower.views.auth import LoginHandler, LogoutHandler
from flower.views.error import NotFoundErrorHandler
from tornado.web import StaticFileHandler

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
