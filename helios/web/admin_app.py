"""The admin as an app: its pages are loaded where they are served or checked, not by every command."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.contrib.auth import authenticate
from django.core.checks import CheckMessage, Tags, register
from django.core.paginator import InvalidPage
from django.http import Http404, HttpRequest, HttpResponse


class AdminConfig(SimpleAdminConfig):
    """`helios.urls` discovers the pages; so does their check, which may come before the check of the URLs."""

    default = True

    def ready(self) -> None:
        register(check_dependencies, Tags.admin)
        register(_check_pages, Tags.admin)


def _check_pages(**options: Any) -> list[CheckMessage]:
    admin.autodiscover()
    return list(check_admin_app(options["app_configs"]))


def search(request: HttpRequest) -> HttpResponse:
    """What the search box asks for; a page that its results do not have is not found, which unfold leaves to Django."""
    try:
        response: HttpResponse = admin.site.admin_view(admin.site.search)(request)  # type: ignore[attr-defined]
    except InvalidPage as error:
        raise Http404(str(error)) from error
    return response


def password_change(request: HttpRequest) -> HttpResponse:
    """The page on which people change their own password, where a guess of the old one counts as that of a login."""
    if request.method == "POST" and request.user.is_authenticated:
        old = request.POST.get("old_password", "")
        known = authenticate(request, username=request.user.get_username(), password=old)
        if known is None and getattr(request, "axes_locked_out", False):
            return HttpResponse()  # django-axes answers in its place
    response: HttpResponse = admin.site.admin_view(admin.site.password_change)(request)
    return response
