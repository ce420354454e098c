"""The pages outside the API proper: index, health, and facts about the running system."""

from __future__ import annotations

import math
import platform
import time
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from threading import Lock
from typing import Any, Final

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from helios import VERSION
from helios.api.system import health
from helios.api.system.shapes import SystemInfo
from helios.web.base_views import ApiView
from helios.web.openapi import described
from helios.web.problems import problem_response
from helios.web.throttling import stranger_wait_s

_STARTED: Final = time.time()
_making = Lock()
LINKS: Final = {
    "admin": "/admin/",
    "docs": "/docs",
    "redoc": "/redoc",
    "schema": "/api/schema/",
    "health": "/health",
    "ready": "/health/ready",
}


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Name, version and where to go: a page for browsers, JSON for everything else."""
    if "text/html" in request.headers.get("Accept", ""):
        return render(request, "web/index.html", {"version": VERSION, "links": LINKS})
    return JsonResponse({"name": "Helios", "version": VERSION, "links": LINKS})


@require_safe
@never_cache
def alive(_request: HttpRequest) -> JsonResponse:
    """Liveness: this process answers. Touches neither database nor Redis."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def ready(_request: HttpRequest) -> JsonResponse:
    """Readiness names what was missing a second ago: 503 without database, migrations or Redis, 200 else."""
    found = health.recent.components()
    missing = [component for component in found if not component.ok]
    unavailable = any(component.needed for component in missing)
    return JsonResponse(
        {
            "status": "unavailable" if unavailable else "degraded" if missing else "ready",
            "missing": [component.name for component in missing],
            "components": [asdict(component) for component in found],
        },
        status=HTTPStatus.SERVICE_UNAVAILABLE if unavailable else HTTPStatus.OK,
    )


@require_safe
def schema(request: HttpRequest) -> HttpResponse:
    """The OpenAPI document, made once a process; who reads it counts as a stranger, with or without a name."""
    wait_s = stranger_wait_s(request)
    if wait_s > 0:
        detail = "the document was asked for too often; read it again later"
        return problem_response(request, HTTPStatus.TOO_MANY_REQUESTS, detail, Retry_After=str(math.ceil(wait_s)))
    response = HttpResponse(_document(), content_type=OpenApiYamlRenderer.media_type)
    response.headers["Content-Disposition"] = 'inline; filename="Helios.yaml"'
    return response


def _document() -> bytes:
    with _making:  # drf-spectacular is for one thread at a time
        return _made()


@cache
def _made() -> bytes:
    found = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    return bytes(OpenApiYamlRenderer().render(found, renderer_context={}))  # type: ignore[no-untyped-call]


class SystemInfoView(ApiView):
    """Versions, sizes and times of the running system."""

    @described("system", "Describe the running system", "system_info", SystemInfo)
    def get(self, _request: Request) -> Response:
        """What runs here, in which versions and since when."""
        return Response(SystemInfo(system_info()).data)


def system_info() -> dict[str, Any]:
    """The body of `/api/system/info`; times are UTC, sizes bytes."""
    return {
        "name": "Helios",
        "version": VERSION,
        "environment": settings.ENVIRONMENT,
        "debug": settings.DEBUG,
        "python": platform.python_version(),
        "packages": {"django": django.get_version(), "celery": version("celery"), "torch": version("torch")},
        **health.server_versions(),
        "started_at": datetime.fromtimestamp(_STARTED, UTC),
        "uptime_s": round(time.time() - _STARTED, 1),
        "now": datetime.now(UTC),
    }
